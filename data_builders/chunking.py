"""Stage 1 of NyxQA: pages cut into chunks at the borders of blocks, sentences and words, with nothing lost (Nyx §3.2).

"Each contains up to 200 textual tokens (excluding image tokens from the count)."
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from semantic_text_splitter import TextSplitter

from nyx_hf.data_builders.pages import CHUNK, dropped_row, images_of, text_of
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.token_counts import TokenCounter

_LEADS = ("heading", "term")  # what says what comes after it, and so ends no chunk


@dataclass(frozen=True)
class Chunker:
    """Cuts pages into chunks; it is what the stage `chunk` runs.

    Attributes:
        tokens: Counts tokens.
        max_tokens: Text tokens of a chunk, at most.
        max_images: Images of a chunk, at most.
        preset: `paper`: images do not count, the one too many begins a chunk, all text is kept. `official`: each image
            counts as one token, a page's last chunk is discarded unless it is full or the only one, and chunks of
            more than `max_images` are dropped, as in the authors' code.
    """

    tokens: TokenCounter = field(default_factory=TokenCounter)
    max_tokens: int = 200
    max_images: int = 5
    preset: Literal["paper", "official"] = "paper"

    def settings(self) -> dict[str, Any]:
        """Gives what chunks depend on."""
        return {
            "tokenizer": self.tokens.name,
            "revision": self.tokens.revision,
            "max_tokens": self.max_tokens,
            "max_images": self.max_images,
            "preset": self.preset,
        }

    def __call__(self, pages: Sequence[Row]) -> list[list[Row]]:
        """Cuts pages.

        Args:
            pages: Rows of `PAGE`.

        Returns:
            Rows of `CHUNK` for each page, with ids `<page>#<number>`.
        """
        return [list(self._chunks(page)) for page in pages]

    def _chunks(self, page: Row) -> Iterator[Row]:
        contents = list(self._packed(list(self._units(page["content"]))))
        for number, content in enumerate(contents):
            chunk_id = f"{page['id']}#{number}"
            if self.preset == "official" and len(contents) > 1 and number == len(contents) - 1:
                yield dropped_row(chunk_id, "chunk: the page's remainder", CHUNK)
            elif self.preset == "official" and len(images_of(content)) > self.max_images:
                yield dropped_row(chunk_id, "chunk: too many images", CHUNK)
            else:
                row = {"id": chunk_id, "page_id": page["id"], "number": number, "title": page["title"]}
                yield {**row, "content": content, "dropped": None}

    def _units(self, content: Sequence[Row]) -> Iterator[Row]:
        """Gives the blocks, those too long cut at sentences, lines, words or, if it must be, letters."""
        for block in content:
            if block["type"] == "image" or self.tokens.count(block["text"]) <= self.max_tokens:
                yield block
            else:
                splitter = TextSplitter.from_callback(self.tokens.count, self.max_tokens, trim=False)
                for piece in splitter.chunks(block["text"]):
                    if piece.strip():
                        yield {**block, "text": piece.strip()}

    def _packed(self, units: Sequence[Row]) -> Iterator[list[Row]]:
        """Fills chunks one after the other; what belongs together moves on together."""
        chunk: list[Row] = []
        for unit in units:
            if chunk and not self._fits([*chunk, unit]):
                staying, leading = _parted(chunk, unit)
                if staying and self._fits([*leading, unit]):
                    yield staying
                    chunk = leading
                else:
                    yield chunk
                    chunk = []
            chunk.append(unit)
        if chunk:
            yield chunk

    def _fits(self, chunk: Sequence[Row]) -> bool:
        images = len(images_of(chunk))
        tokens = self.tokens.count(text_of(chunk))
        if self.preset == "official":
            return tokens + images <= self.max_tokens
        return tokens <= self.max_tokens and images <= self.max_images


def _parted(chunk: list[Row], unit: Row) -> tuple[list[Row], list[Row]]:
    """Parts what stays in a chunk from what must stand with the unit behind it: its heading, its image or caption."""

    def belongs(before: Row) -> bool:
        if before["role"] in _LEADS:
            return True
        return {before["role"], unit["role"]} == {"caption", None}  # one is an image, which has no role

    together = sum(1 for _ in takewhile(belongs, reversed(chunk)))
    return chunk[: len(chunk) - together], chunk[len(chunk) - together :]
