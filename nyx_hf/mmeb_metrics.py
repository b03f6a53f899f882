"""MMEB's own metrics, under its own names: what VLM2Vec's evaluation writes for a set."""

from collections.abc import Sequence

import numpy as np

from nyx_hf.results import Prediction

CUTS = (1, 5, 10)
DEPTH = max(CUTS)


def mmeb_metrics(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Averages the benchmark's metrics over queries.

    With g_i the grade of the document at rank i (0 where it is not right), r_i = 1 where g_i > 0, R right documents
    whose grades, sorted, are g*_1 ≥ g*_2 ≥ …, and f = Σ_{i≤k} r_i:

        hit@k       = 1 if f > 0 else 0          precision@k = f / k           recall@k = f / R
        f1@k        = 2 · precision · recall / (precision + recall), 0 where both are
        mrr@k       = 1 / rank of the first right document among the first k, else 0
        map@k       = Σ_{i≤k} r_i · (Σ_{j≤i} r_j / i) / min(R, k)
        ndcg_X@k    = Σ_{i≤k} gain(g_i) / log2(i + 1)  /  Σ_{i≤k} gain(g*_i) / log2(i + 1)

    where gain(g) is g for X = linear and 2^g − 1 for X = exponential. hit@1 counts for images and videos,
    ndcg_linear@5 for visual documents.

    One thing differs on purpose: the benchmark's code puts right documents into a set before it pairs them with their
    grades, so that where grades differ they may change places from run to run; here each keeps its own.

    Args:
        predictions: What was found for each query, at least one.

    Returns:
        The mean of each metric at 1, 5 and 10.

    Raises:
        ValueError: If there is no query, or one has no right document.
    """
    if not predictions:
        raise ValueError("found no queries, expected at least one to average over")
    found, ideal, totals = _grades(predictions)  # (Q, K), (Q, K), (Q,)
    ranks = np.arange(1, DEPTH + 1)  # (K,)
    discounts = 1 / np.log2(ranks + 1)  # (K,)
    right = found > 0
    hits = np.cumsum(right, axis=1)  # (Q, K): right documents among the first i
    precisions = np.cumsum(right * hits / ranks, axis=1)
    reciprocal = np.max(right / ranks, axis=1)
    gains = {"linear": (found, ideal), "exponential": (2.0**found - 1, 2.0**ideal - 1)}
    metrics: dict[str, np.ndarray] = {}
    for k in CUTS:
        hit = hits[:, k - 1]
        metrics[f"hit@{k}"] = hit > 0
        for name, (gain, best) in gains.items():
            metrics[f"ndcg_{name}@{k}"] = gain[:, :k] @ discounts[:k] / (best[:, :k] @ discounts[:k])
        metrics[f"precision@{k}"] = hit / k
        metrics[f"recall@{k}"] = hit / totals
        metrics[f"f1@{k}"] = 2 * hit / (k + totals)  # the same, without a division by zero
        metrics[f"map@{k}"] = precisions[:, k - 1] / np.minimum(totals, k)
        metrics[f"mrr@{k}"] = np.where(hit > 0, reciprocal, 0.0)
    return {name: float(np.mean(values)) for name, values in metrics.items()}


def _grades(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lays grades out: as they were found, as they would best be found, and how many there are."""
    found, ideal = np.zeros((2, len(predictions), DEPTH))
    totals = np.zeros(len(predictions), dtype=np.int64)
    for query, one in enumerate(predictions):
        if not one.grades:
            raise ValueError(f"found no right document for query {query}, expected at least one; leave it out")
        top, best = one.ranking[:DEPTH], sorted(one.grades.values(), reverse=True)[:DEPTH]
        found[query, : len(top)] = [one.grades.get(document, 0.0) for document in top]
        ideal[query, : len(best)] = best
        totals[query] = len(one.grades)
    return found, ideal, totals
