"""Retrieval metrics over rankings, one value a query."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np


def ranking_metrics(
    rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, np.ndarray]:
    """Scores rankings against the documents that are relevant, gains being 0 or 1.

    With r_i = 1 where the document at rank i (from 1) is relevant and R relevant documents in all:

        recall@k = Σ_{i≤k} r_i / R                hit@k = 1 if Σ_{i≤k} r_i > 0 else 0
        mrr@k    = 1 / rank of the first relevant document if it is among the first k, else 0
        map@k    = Σ_{i≤k} r_i · (Σ_{j≤i} r_j / i) / R
        ndcg@k   = Σ_{i≤k} r_i / log2(i + 1)  /  Σ_{i≤min(k,R)} 1 / log2(i + 1)

    They are trec_eval's `recall`, `success`, `recip_rank`, `map_cut` and `ndcg_cut`.

    Args:
        rankings: For each query, document ids from best to worst; those past the largest k are not looked at, and a
            ranking may be shorter.
        relevant: For each query, the ids of its relevant documents.
        ks: The cut-offs.

    Returns:
        `recall@k`, `ndcg@k`, `mrr@k`, `hit@k` and `map@k` for each k: float64 (queries,), each value in [0, 1].

    Raises:
        ValueError: If the lengths differ, a cut-off is below 1, a query has no relevant document, or a ranking names
            a document twice.
    """
    if len(rankings) != len(relevant):
        raise ValueError(f"found {len(rankings)} rankings for {len(relevant)} relevant sets, expected one each")
    if not ks or min(ks) < 1:
        raise ValueError(f"found the cut-offs {tuple(ks)}, expected one or more, each at least 1")
    hits, totals = _hits(rankings, relevant, max(ks))  # (Q, K), (Q,)
    ranks = np.arange(1, hits.shape[1] + 1)  # (K,)
    discounts = 1 / np.log2(ranks + 1)  # (K,)
    found = np.cumsum(hits, axis=1)  # (Q, K): relevant documents among the first i
    gains = np.cumsum(hits * discounts, axis=1)  # (Q, K)
    ideal = np.cumsum(discounts)  # (K,)
    precisions = np.cumsum(hits * found / ranks, axis=1)  # (Q, K)
    reciprocal = np.max(hits / ranks, axis=1, initial=0.0)  # (Q,): 0 where nothing relevant is among the first K
    metrics: dict[str, np.ndarray] = {}
    for k in ks:
        metrics[f"recall@{k}"] = found[:, k - 1] / totals
        metrics[f"ndcg@{k}"] = gains[:, k - 1] / ideal[np.minimum(totals, k) - 1]
        metrics[f"mrr@{k}"] = np.where(found[:, k - 1] > 0, reciprocal, 0.0)
        metrics[f"hit@{k}"] = (found[:, k - 1] > 0).astype(np.float64)
        metrics[f"map@{k}"] = precisions[:, k - 1] / totals
    return metrics


def aggregate(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Averages each metric over the queries.

    Args:
        metrics: Values a query, out of `ranking_metrics`.

    Returns:
        The mean of each metric.

    Raises:
        ValueError: If there is no query.
    """
    for name, values in metrics.items():
        if len(values) == 0:
            raise ValueError(f"found no values of {name}, expected those of at least one query")
    return {name: float(np.mean(values)) for name, values in metrics.items()}


def _hits(
    rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]], depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """Marks relevant documents: bool (Q, depth), and counts them in all: int64 (Q,)."""
    hits = np.zeros((len(rankings), depth), dtype=bool)
    totals = np.zeros(len(rankings), dtype=np.int64)
    for query, (ranking, right) in enumerate(zip(rankings, relevant, strict=True)):
        top, wanted = list(ranking[:depth]), set(right)
        if not wanted:
            raise ValueError(f"found no relevant document for query {query}, expected at least one; leave it out")
        if len(set(top)) != len(top):
            raise ValueError(f"found a document twice in the ranking of query {query}, expected each id once")
        hits[query, : len(top)] = [document in wanted for document in top]
        totals[query] = len(wanted)
    return hits, totals
