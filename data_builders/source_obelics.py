"""OBELICS: web pages of text and images in turn (`HuggingFaceM4/OBELICS`), streamed; images fetched only if asked."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants

from nyx_hf.data_builders.fetching import FetchError, ImageFetcher
from nyx_hf.data_builders.pages import PAGE, content_hash, dropped_row, image_block, text_block
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream

REPOSITORY = "HuggingFaceM4/OBELICS"
_COLUMNS = ("images", "texts", "general_metadata")


def _fetcher() -> ImageFetcher:
    return ImageFetcher(Path(constants.HF_HOME) / "nyx_hf" / "images")


@dataclass(frozen=True)
class ObelicsSource:
    """Pages of OBELICS: in each row texts and images' addresses take turns, in reading order.

    Attributes:
        place: The split, `train`.
        images: `fetch` asks the web for them, `skip` leaves them out and counts them.
        local: A folder that holds the repository, where it was downloaded.
        revision: The Hub's branch, tag or commit.
        fetcher: Fetches images.
    """

    place: str = "train"
    images: Literal["fetch", "skip"] = "skip"
    local: str | None = None
    revision: str | None = None
    fetcher: ImageFetcher = field(default_factory=_fetcher)
    own: bool = field(default=False, init=False)

    @property
    def label(self) -> str:
        """The repository and the split."""
        return f"{REPOSITORY}:{self.place}"

    def settings(self) -> dict[str, Any]:
        """Gives whether images are fetched, and what they must be."""
        return {"kind": "obelics", "images": self.images, **vars(self.fetcher.limits)}

    def refs(self) -> Iterator[Row]:
        """Streams the rows: what a page is made from is the ref's payload.

        Raises:
            LayoutError: If a column is missing.
        """
        pins = {} if self.revision is None else {REPOSITORY: self.revision}
        upstream = Upstream(None if self.local is None else Path(self.local), pins)
        for row in upstream.rows(REPOSITORY, split=self.place, columns=_COLUMNS):
            kept = {"images": row["images"], "texts": row["texts"], "url": _url(row["general_metadata"])}
            state = content_hash(kept)
            yield {"id": f"obelics-{state[:16]}", "state": state, "payload": json.dumps(kept, ensure_ascii=False)}

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Makes pages, fetching the images of all of them together."""
        rows = [json.loads(ref["payload"]) for ref in refs]
        found: dict[str, bytes | FetchError] = {}
        if self.images == "fetch":
            wanted = [url for row in rows for url in row["images"] if url]
            found = dict(zip(wanted, self.fetcher.fetch(wanted), strict=True))
        return [_page(ref["id"], row, found) for ref, row in zip(refs, rows, strict=True)]


def _page(page_id: str, row: Row, found: dict[str, bytes | FetchError]) -> list[Row]:
    blocks: list[Row] = []
    dropped: list[Row] = []
    for number, (url, text) in enumerate(zip(row["images"], row["texts"], strict=False)):
        blocks += [text_block(piece.strip()) for piece in (text or "").split("\n\n") if piece.strip()]
        if url:
            image = found.get(url, FetchError("image: not asked for"))
            if isinstance(image, bytes):
                blocks.append(image_block(image))
            else:
                dropped.append(dropped_row(f"{page_id}#item-{number}", str(image), PAGE))
    if not blocks:
        return [dropped_row(page_id, "page: no text and no image", PAGE), *dropped]
    return [{"id": page_id, "title": None, "url": row["url"], "content": blocks, "dropped": None}, *dropped]


def _url(metadata: Any) -> str | None:
    """Reads a page's address from its metadata, a JSON text."""
    try:
        value = json.loads(metadata) if isinstance(metadata, str) else metadata
    except ValueError:
        return None
    url = value.get("url") if isinstance(value, dict) else None
    return url if isinstance(url, str) else None
