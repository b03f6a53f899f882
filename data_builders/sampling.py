"""Seeded choices that hold when rows are added: samples that keep a mix, and splits by document."""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

OFFICIAL_MIX = {"text": 0.6329, "one image": 0.2985, "several images": 0.0686}
"""Shares of the authors' 10,000 chunks by modality."""


def seeded_fraction(name: str, seed: int) -> float:
    """Gives a number from 0 to 1 that depends on a name and a seed alone, spread evenly over names."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def stratified_sample(
    ids: Sequence[str], groups: Sequence[str], count: int, seed: int, mix: Mapping[str, float] | None = None
) -> list[int]:
    """Draws rows so that the groups keep their shares (Nyx §3.2, "preserving the original modality distribution").

    Each group gives those of its rows whose seeded hash is lowest: as rows are added or changed, most of a sample
    stays.

    Args:
        ids: Ids of the rows.
        groups: Each row's group.
        count: Rows to draw; all where there are no more.
        seed: Seed of the draw.
        mix: Share of each group; as among the rows where it is None. What a group lacks, the others give.

    Returns:
        Numbers of the drawn rows, ascending.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(ids)), key=lambda number: (seeded_fraction(ids[number], seed), ids[number])):
        rows[groups[number]].append(number)
    shares = mix or {group: len(numbers) / len(ids) for group, numbers in rows.items()}
    quota = _largest_remainder(shares, {group: len(numbers) for group, numbers in rows.items()}, count)
    return sorted(number for group, size in quota.items() for number in rows[group][:size])


def split_documents(documents: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assigns documents to splits by their seeded hash: a document keeps its split whatever is added beside it.

    Args:
        documents: Names of the documents.
        shares: Share of each split, in order; they sum to 1.
        seed: Seed of the assignment.

    Returns:
        The split of each document.
    """
    names, borders = list(shares), list(accumulate(shares.values()))
    places = ((document, bisect_right(borders, seeded_fraction(document, seed))) for document in documents)
    return {document: names[min(place, len(names) - 1)] for document, place in places}


def joined_documents(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Joins documents that share near-duplicate chunks, so that they can go into one split.

    Args:
        pairs: Documents that belong together, two by two.

    Returns:
        For each document named its group: the least name among those joined with it.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for one, two in pairs:
        first, second = sorted((find(one), find(two)))
        leader[second] = first
    return {name: find(name) for name in leader}


def _largest_remainder(shares: Mapping[str, float], sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Shares out a count: each group its share rounded down, the rest by largest remainder, none over its size."""
    count = min(count, sum(sizes.values()))
    total = sum(shares.get(group, 0.0) for group in sizes) or 1.0
    exact = {group: count * shares.get(group, 0.0) / total for group in sizes}
    quota = {group: min(int(exact[group]), sizes[group]) for group in sizes}
    order = sorted(sizes, key=lambda group: (int(exact[group]) - exact[group], group))
    while (missing := count - sum(quota.values())) > 0:
        open_groups = [group for group in order if quota[group] < sizes[group]]
        for group in open_groups[:missing]:
            quota[group] += 1
    return quota
