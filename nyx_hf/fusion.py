"""Recall and rerank scores as one: α · recall + (1 − α) · rerank, and the α that does best (U-MARVEL §3.3, Eq. 4)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.searching import DenseSearcher, Searcher
from nyx_hf.trainer.loss_distillation import fused_scores

GRID = tuple(number / 20 for number in range(21))  # 0, 0.05, …, 1


@dataclass(frozen=True)
class Candidates:
    """What a retriever found for a query, in its order, and what a reranker thinks of it.

    Attributes:
        query_id: The query.
        ids: Documents, as the retriever ranks them.
        recall: The retriever's scores, float32 (n,).
        rerank: The reranker's scores, float32 (n,).
        relevant: The right documents, found or not.
    """

    query_id: str
    ids: Sequence[str]
    recall: np.ndarray
    rerank: np.ndarray
    relevant: Collection[str]

    def fused(self, alpha: float) -> np.ndarray:
        """Joins both scores: float64 (n,)."""
        return fuse(self.recall, self.rerank, alpha)

    def ranking(self, alpha: float) -> list[str]:
        """Orders the documents by both scores; of equals the one that the retriever has first stays first."""
        return [self.ids[at] for at in np.argsort(-self.fused(alpha), kind="stable")]


@dataclass(frozen=True)
class Tuned:
    """The weight of recall that did best.

    Attributes:
        alpha: The weight.
        metric: What was compared.
        split: The split that it was found on.
        curve: The metric's mean at each weight of the grid.
    """

    alpha: float
    metric: str
    split: str
    curve: dict[float, float]


def fuse(recall: np.ndarray, rerank: np.ndarray, alpha: float) -> np.ndarray:
    """Joins a retriever's and a reranker's scores of the same documents.

    Args:
        recall: The retriever's scores (n,).
        rerank: The reranker's (n,).
        alpha: Weight of recall, from 0 to 1.

    Returns:
        α · recall + (1 − α) · rerank, float64 (n,).

    Raises:
        ValueError: If `alpha` is out of range, or the lengths differ.
    """
    check_alpha(alpha)
    if len(recall) != len(rerank):
        raise ValueError(f"found {len(recall)} scores of recall and {len(rerank)} of reranking, expected equally many")
    return fused_scores(recall.astype(np.float64), rerank.astype(np.float64), alpha)


def check_alpha(alpha: float) -> None:
    """Refuses a weight that is none.

    Raises:
        ValueError: If it is not from 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"found alpha {alpha:g}, expected the weight of recall, from 0 to 1")


def check_metric(metric: str) -> int:
    """Refuses a metric that rankings are not measured by.

    Args:
        metric: Its name with its cut-off.

    Returns:
        The cut-off.

    Raises:
        ValueError: If it is none.
    """
    name, _, cut = metric.partition("@")
    if not cut.isdecimal() or not int(cut) or name not in ("recall", "ndcg", "mrr", "hit", "map"):
        raise ValueError(f"found the metric {metric!r}, expected recall@K, ndcg@K, mrr@K, hit@K or map@K")
    return int(cut)


def recall_scale(searcher: Searcher) -> str:
    """Tells how a retriever's scores become comparable with probabilities.

    U-MARVEL interpolates the scores as they are, cosines and probabilities of YES; so do we. Scores without a bound,
    BM25's, are stretched to 0 … 1 over each query's candidates.

    Args:
        searcher: The retriever.

    Returns:
        `cosine` or `min-max`.
    """
    return "cosine" if isinstance(searcher, DenseSearcher) else "min-max"


def scaled(recall: np.ndarray, scale: str) -> np.ndarray:
    """Brings a query's recall scores to a scale.

    Args:
        recall: The scores of its candidates (n,).
        scale: `cosine` leaves them as they are; `min-max` gives the lowest 0 and the highest 1.

    Returns:
        float32 (n,).
    """
    values: np.ndarray = recall.astype(np.float32)
    if scale == "cosine" or not len(values):
        return values
    width = float(values.max() - values.min())
    return (values - values.min()) / width if width > 0 else np.zeros_like(values)


def tune(candidates: Sequence[Candidates], metric: str, split: str, grid: Sequence[float] = GRID) -> Tuned:
    """Finds the weight of recall with the highest mean of a metric.

    Args:
        candidates: Queries that are not reported on.
        metric: `recall@K`, `ndcg@K`, `mrr@K`, `hit@K` or `map@K`.
        split: What they are, for the record.
        grid: Weights to try.

    Returns:
        The best; of equals the smallest, which trusts the reranker most.

    Raises:
        ValueError: If the metric is unknown, or there are no queries.
    """
    cut = check_metric(metric)
    if not candidates:
        raise ValueError(f"found no query in the split {split}, expected some to find alpha on")
    relevant = [one.relevant for one in candidates]
    curve = {
        alpha: float(ranking_metrics([one.ranking(alpha) for one in candidates], relevant, [cut])[metric].mean())
        for alpha in grid
    }
    return Tuned(max(curve, key=lambda alpha: (curve[alpha], -alpha)), metric, split, curve)
