"""Rankings for evaluation: a query ranks its own candidates, or a whole corpus, at several embedding widths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from nyx_hf.data_builders.ranking import stored_items
from nyx_hf.data_builders.searching import DenseIndex, DenseSearcher, Searcher, SearchIndex

Dim = int | None
"""An embedding width; None for the full one."""


@dataclass(frozen=True)
class Ranked:
    """What a set's queries found.

    Attributes:
        ids: Ids of the best documents, for each query.
        documents: Documents that were ranked, over all queries.
        ties: Queries whose best score several candidates share.
    """

    ids: Sequence[Sequence[str]]
    documents: int
    ties: int = 0


def rank_candidates(
    searcher: Searcher,
    queries: Dataset,
    corpus: Dataset,
    candidates: Sequence[Sequence[str]],
    dims: Sequence[Dim],
    depth: int,
) -> dict[Dim, Ranked]:
    """Lets each query rank its own candidates; no other document is encoded.

    Of candidates with equal scores the earlier comes first, as MMEB's evaluation takes the first highest one (its
    second version sorts without such a promise).

    Args:
        searcher: What scores.
        queries: Rows of the `queries` schema.
        corpus: Rows of the `corpus` schema.
        candidates: Ids of each query's candidates.
        dims: Embedding widths.
        depth: Documents a query.

    Returns:
        The rankings at each width.

    Raises:
        ValueError: If a width is out of range, or a score is not finite.
    """
    rows = {name: row for row, name in enumerate(corpus["id"])}
    lengths = [len(ids) for ids in candidates]
    used, places = np.unique([rows[one] for ids in candidates for one in ids], return_inverse=True)
    own = np.split(places, np.cumsum(lengths)[:-1])
    shown = corpus.select(used)
    index = searcher.index(lambda: stored_items(queries), lambda: stored_items(shown))
    return {dim: _ranked(at_width(index, dim), own, list(shown["id"]), depth) for dim in dims}


def _ranked(index: SearchIndex, own: Sequence[np.ndarray], ids: Sequence[str], depth: int) -> Ranked:
    found, ties = [], 0
    for query, documents in enumerate(own):
        scores = index.scores(query, documents)
        if not np.isfinite(scores).all():
            raise ValueError(f"found a score that is not finite for query {query}, expected numbers; check the model")
        ties += int((scores == scores.max()).sum() > 1)
        best = np.argsort(-scores, kind="stable")[:depth]
        found.append([ids[row] for row in documents[best]])
    return Ranked(found, len(ids), ties)


def rank_corpus(
    index: SearchIndex, numbers: np.ndarray, ids: Sequence[str], dims: Sequence[Dim], depth: int
) -> dict[Dim, Ranked]:
    """Lets queries rank all documents of an index.

    Args:
        index: Queries and documents, out of a searcher.
        numbers: Numbers of the queries that ask.
        ids: Ids of all documents.
        dims: Embedding widths.
        depth: Documents a query.

    Returns:
        The rankings at each width.

    Raises:
        ValueError: If a width is out of range, or a value is not finite.
    """
    ranked = {}
    for dim in dims:
        _, found = at_width(index, dim).top_k(numbers, depth)
        ranked[dim] = Ranked([[ids[row] for row in rows] for rows in found.tolist()], len(ids))
    return ranked


def at_width(index: SearchIndex, dim: Dim) -> SearchIndex:
    """Cuts vectors to their first dimensions.

    Args:
        index: An index.
        dim: How many; None for all.

    Returns:
        The index at that width.

    Raises:
        ValueError: If it has not so many, or ranks without vectors.
    """
    if dim is None:
        return index
    if not isinstance(index, DenseIndex):
        raise ValueError("found dims for a retriever without vectors, expected none; leave --dims out")
    return index.cut(dim)


def width_of(searcher: Searcher) -> int | None:
    """Finds how wide a searcher's vectors are, by encoding a word; None where it has none."""
    if not isinstance(searcher, DenseSearcher):
        return None
    word: Sequence[Mapping[str, str]] = [{"type": "text", "text": "width"}]
    return int(searcher.encoder.encode([[dict(part) for part in word]], "document", None).shape[1])
