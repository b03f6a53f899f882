"""How much of the documents an answerer is shown; what does not fit is left out from the end, and counted."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nyx_hf.data_builders.image_scaling import scaled
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.token_counts import TokenCounter


@dataclass(frozen=True)
class ContextBudget:
    """What an answerer may be shown.

    Attributes:
        tokens: Text tokens of all documents together.
        images: Images of all documents together; a frame of a video is one.
        pixels: Pixels of one image: a larger one is scaled down.
        counter: Counts tokens.
    """

    tokens: int = 8192
    images: int = 16
    pixels: int = 1280 * 28 * 28
    counter: TokenCounter = field(default_factory=TokenCounter)

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.images < 0 or self.pixels < 1:
            raise ValueError(
                f"found tokens={self.tokens}, images={self.images}, pixels={self.pixels}, expected tokens and pixels "
                "of 1 or more, images of 0 or more"
            )

    def fit(self, documents: Sequence[Sequence[Row]]) -> tuple[list[list[Row]], Counter[str]]:
        """Makes documents fit, the first ones before the last.

        Args:
            documents: Contents, the best first.

        Returns:
            Texts and images of each in their order, images scaled and as bytes, frames as images; and what was left
            out: `text tokens`, `images`, and `documents` of which nothing is left.
        """
        tokens, images, cut = self.tokens, self.images, Counter[str]()
        fitted: list[list[Row]] = []
        for document in documents:
            parts: list[Row] = []
            for part in _flat(document):
                if part["type"] == "image":
                    if images:
                        parts.append(self._image(part["image"]["bytes"]))
                        images -= 1
                    else:
                        cut["images"] += 1
                    continue
                text, wanted = part["text"], self.counter.count(part["text"])
                if wanted > tokens:
                    text = self._prefix(text, tokens)
                    cut["text tokens"] += wanted - (self.counter.count(text) if text else 0)
                    wanted = tokens
                tokens -= wanted
                if text.strip():
                    parts.append({"type": "text", "text": text})
            cut["documents"] += not parts
            fitted.append(parts)
        return [parts for parts in fitted if parts], +cut

    def shown(self, content: Sequence[Row]) -> list[Row]:
        """Scales the images of a query, of which nothing is left out."""
        return [self._image(part["image"]["bytes"]) if part["type"] == "image" else part for part in _flat(content)]

    def _image(self, file: bytes) -> Row:
        return {"type": "image", "image": {"bytes": scaled(file, self.pixels), "path": None}}

    def _prefix(self, text: str, tokens: int) -> str:
        """Gives the longest run of a text's first words that fits."""
        ends = [place for place in range(1, len(text)) if text[place].isspace() and not text[place - 1].isspace()]
        fitting = bisect_right(ends, tokens, key=lambda end: self.counter.count(text[:end]))
        return text[: ends[fitting - 1]] if fitting else ""


def _flat(content: Sequence[Row]) -> list[Row]:
    """Gives texts and images, frames of videos among them."""
    parts: list[Row] = []
    for part in content:
        if part["type"] == "video":
            parts += [{"type": "image", "image": frame} for frame in part["video"]]
        else:
            parts.append(part)
    return parts
