"""Boilerplate: notices and links at the head or foot of page after page, and small pictures on many, are taken out."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from nyx_hf.data_builders.pages import PAGE, content_hash, dropped_row
from nyx_hf.data_builders.schema import Row

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class BoilerplateLimits:
    """When a block is boilerplate.

    Attributes:
        share: A text stands on at least this share of the pages,
        pages: and on at least this many,
        edge: each time among the first or last so many blocks of the page. Headings, terms and captions never count.
        icon_side: A picture no larger than this, in pixels, on so many pages is an icon, wherever it stands.
    """

    share: float = 0.1
    pages: int = 5
    edge: int = 4
    icon_side: int = 100


def find_boilerplate(pages: Iterable[Mapping[str, Any]], limits: BoilerplateLimits | None = None) -> frozenset[str]:
    """Finds the texts that stand at the edge of many pages, and the small pictures that stand on many.

    Args:
        pages: Rows of `PAGE`, looked at one by one.
        limits: When a block counts.

    Returns:
        Keys of the blocks: what `Boilerplate` takes out.
    """
    limits = limits or BoilerplateLimits()
    texts: Counter[str] = Counter()
    icons: Counter[str] = Counter()
    total = 0
    for page in pages:
        total += 1
        texts.update({_key(block) for block in _edges(page["content"], limits.edge) if _may_go(block)})
        small = {block["image"] for block in page["content"] if block["type"] == "image" and _is_small(block, limits)}
        icons.update(content_hash(image) for image in small)
    needed = max(limits.pages, limits.share * total)
    found = {key for key, times in texts.items() if times >= needed}
    return frozenset(found | {key for key, times in icons.items() if times >= limits.pages})


@dataclass(frozen=True)
class Boilerplate:
    """Takes known blocks out of pages' edges; it is what the stage `strip` runs.

    Attributes:
        keys: Out of `find_boilerplate`.
        edge: As in the limits that it was found with.
    """

    keys: frozenset[str]
    edge: int = BoilerplateLimits.edge

    def settings(self) -> dict[str, Any]:
        """Gives a hash of the blocks."""
        return {"keys": content_hash(sorted(self.keys)), "edge": self.edge}

    def __call__(self, pages: Sequence[Row]) -> list[list[Row]]:
        """Takes boilerplate out.

        Args:
            pages: Rows of `PAGE`.

        Returns:
            For each page the page, and a dropped row for each block that was taken out.
        """
        return [self._strip(page) for page in pages]

    def _strip(self, page: Row) -> list[Row]:
        edges = {id(block) for block in _edges(page["content"], self.edge)}
        gone: dict[int, str] = {}
        for number, block in enumerate(page["content"]):
            if block["type"] == "image":
                if content_hash(block["image"]) in self.keys:
                    gone[number] = "image: icon on many pages"
            elif id(block) in edges and _may_go(block) and _key(block) in self.keys:
                gone[number] = "text: boilerplate"
        kept = [block for number, block in enumerate(page["content"]) if number not in gone]
        dropped = [dropped_row(f"{page['id']}#block-{number}", reason, PAGE) for number, reason in gone.items()]
        if not kept:
            return [dropped_row(page["id"], "page: nothing but boilerplate", PAGE), *dropped]
        return [{**page, "content": kept}, *dropped]


def _edges(content: Sequence[Row], edge: int) -> list[Row]:
    texts = [block for block in content if block["type"] == "text"]
    return texts[:edge] + texts[max(edge, len(texts) - edge) :]


def _may_go(block: Mapping[str, Any]) -> bool:
    return block["type"] == "text" and block["role"] not in ("heading", "term", "caption")


def _is_small(block: Mapping[str, Any], limits: BoilerplateLimits) -> bool:
    with Image.open(io.BytesIO(block["image"])) as image:
        return max(image.size) <= limits.icon_side


def _key(block: Mapping[str, Any]) -> str:
    """Hashes a block's text whatever its case and numbers: dates and page numbers differ from page to page."""
    return content_hash(_DIGITS.sub("0", " ".join(block["text"].lower().split())))
