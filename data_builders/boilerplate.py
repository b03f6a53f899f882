"""Boilerplate: what stands at the head or foot of page after page, such as notices and links, is taken out."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nyx_hf.data_builders.pages import PAGE, content_hash, dropped_row
from nyx_hf.data_builders.schema import Row

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class BoilerplateLimits:
    """When a text block is boilerplate.

    Attributes:
        share: It stands on at least this share of the pages,
        pages: and on at least this many,
        edge: each time among the first or last so many blocks of the page. Headings, terms and captions never count.
    """

    share: float = 0.1
    pages: int = 5
    edge: int = 4


def find_boilerplate(pages: Iterable[Mapping[str, Any]], limits: BoilerplateLimits | None = None) -> frozenset[str]:
    """Finds the text blocks that stand at the edge of many pages.

    Args:
        pages: Rows of `PAGE`, looked at one by one.
        limits: When a block counts.

    Returns:
        Keys of the blocks: what `Boilerplate` takes out.
    """
    limits = limits or BoilerplateLimits()
    seen: Counter[str] = Counter()
    total = 0
    for page in pages:
        total += 1
        seen.update({_key(block) for block in _edges(page["content"], limits.edge) if _may_go(block)})
    needed = max(limits.pages, limits.share * total)
    return frozenset(key for key, times in seen.items() if times >= needed)


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
        gone = [
            number
            for number, block in enumerate(page["content"])
            if id(block) in edges and _may_go(block) and _key(block) in self.keys
        ]
        kept = [block for number, block in enumerate(page["content"]) if number not in set(gone)]
        dropped = [dropped_row(f"{page['id']}#block-{number}", "text: boilerplate", PAGE) for number in gone]
        if not kept:
            return [dropped_row(page["id"], "page: nothing but boilerplate", PAGE), *dropped]
        return [{**page, "content": kept}, *dropped]


def _edges(content: Sequence[Row], edge: int) -> list[Row]:
    texts = [block for block in content if block["type"] == "text"]
    return texts[:edge] + texts[max(edge, len(texts) - edge) :]


def _may_go(block: Mapping[str, Any]) -> bool:
    return block["type"] == "text" and block["role"] not in ("heading", "term", "caption")


def _key(block: Mapping[str, Any]) -> str:
    """Hashes a block's text whatever its case and numbers: dates and page numbers differ from page to page."""
    return content_hash(_DIGITS.sub("0", " ".join(block["text"].lower().split())))
