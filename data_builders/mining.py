"""Hard negatives for mixed content: the best documents that are not right, filtered in a fixed order.

Settings mean what they mean in sentence-transformers' `mine_hard_negatives`: the filters come first, and the window of
ranks counts what they left. Nyx §3.2: the top 10, of these the five highest that are not the gold document. U-MARVEL
§3.2.2: negatives "that exceed a predefined threshold (considered as false negatives)" go, then the top-k are taken.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.searching import SearchIndex

_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class MiningRules:
    """Which documents become hard negatives.

    Attributes:
        negatives: How many a query.
        range_min: Skip so many of the highest that the filters left.
        range_max: Take none beyond this rank; None looks far enough for the filters.
        max_score: A negative scores at most this: above, it is taken for a false one.
        min_score: It scores at least this.
        absolute_margin: It scores at least so much less than the lowest positive.
        relative_margin: It scores at least this share of the lowest positive's score less than that.
        sampling: `top` takes the highest, `random` draws among those left.
        too_few: What becomes of a query with fewer: `keep` it with what there is, or `drop` it.
        seed: Seed of what is drawn.
    """

    negatives: int = 5
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling: Literal["top", "random"] = "top"
    too_few: Literal["keep", "drop"] = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.range_min < 0:
            raise ValueError(
                f"found negatives={self.negatives} and range_min={self.range_min}, expected 1 or more and 0 or more"
            )
        if self.range_max is not None and self.range_max - self.range_min < self.negatives:
            raise ValueError(
                f"found range_min={self.range_min} and range_max={self.range_max}, which leave fewer ranks than the "
                f"{self.negatives} negatives; widen the window or ask for fewer"
            )

    def depth(self, most_positives: int) -> int:
        """Gives how many documents are looked at for each query, positives among them."""
        return self.last_rank(most_positives) + most_positives

    def last_rank(self, most_positives: int) -> int:
        """Gives `range_max`, or what sentence-transformers derives where it is None."""
        if self.range_max is not None:
            return self.range_max
        filtered = (self.absolute_margin, self.relative_margin, self.max_score) != (None, None, None)
        return self.range_min + self.negatives * (10 if filtered else 1) + most_positives


@dataclass
class Mined:
    """What was mined, one entry a query.

    Attributes:
        negatives: Numbers of the negatives, int64, from the highest score to the lowest.
        negative_scores: Their scores, float32.
        positive_scores: The positives' scores, float32, in the order they were given.
        dropped: Documents passed over, by reason, and queries with too few.
        looked_at: Documents that were looked at.
    """

    negatives: list[np.ndarray] = field(default_factory=list)
    negative_scores: list[np.ndarray] = field(default_factory=list)
    positive_scores: list[np.ndarray] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0


def mine(
    index: SearchIndex,
    positives: Sequence[np.ndarray],
    rules: MiningRules,
    *,
    pools: Sequence[tuple[np.ndarray, np.ndarray | None]] | None = None,
    twins: Sequence[np.ndarray] | None = None,
    names: Sequence[str] | None = None,
) -> Mined:
    """Mines hard negatives.

    Args:
        index: The corpus and the queries.
        positives: Numbers of each query's right documents, int64.
        rules: What becomes a negative.
        pools: Numbers of queries, and of the documents that they search, ascending (None: all). Every query is in one.
        twins: For each query numbers of documents that say the same as a positive of its.
        names: Each query's name: what is drawn depends on it, so that a query keeps its draw as others come and go.

    Returns:
        The negatives and their scores.
    """
    count = len(positives)
    mined = Mined([np.empty(0, np.int64)] * count, [np.empty(0, np.float32)] * count)
    mined.positive_scores = [index.scores(query, rows) for query, rows in enumerate(positives)]
    most = max(map(len, positives), default=0)
    empty = np.empty(0, np.int64)
    for asked, within in pools or [(np.arange(count), None)]:
        for start in tqdm(range(0, len(asked), _QUERIES_AT_ONCE), desc="mine", unit="block"):
            some = asked[start : start + _QUERIES_AT_ONCE]
            for query, scores, rows in zip(some, *index.top_k(some, rules.depth(most), within), strict=True):
                query = int(query)
                mined.looked_at += len(rows)
                right = (positives[query], empty if twins is None else twins[query], mined.positive_scores[query])
                left = _filtered(scores, rows, *right, rules, mined.dropped)
                name = str(query) if names is None else names[query]
                chosen = _chosen(left[: rules.last_rank(most)], rules, name)
                if len(chosen) < rules.negatives:
                    mined.dropped["query: too few negatives"] += 1
                mined.negatives[query], mined.negative_scores[query] = rows[chosen], scores[chosen]
    return mined


def _filtered(
    scores: np.ndarray,
    rows: np.ndarray,
    positives: np.ndarray,
    twins: np.ndarray,
    positive_scores: np.ndarray,
    rules: MiningRules,
    dropped: Counter[str],
) -> np.ndarray:
    """Gives the places, among the documents found, of those that may be negatives; what goes is counted once."""
    lowest = float(positive_scores.min()) if len(positive_scores) else math.inf
    faults: list[tuple[str, np.ndarray]] = [
        ("document: a positive", np.isin(rows, positives)),
        ("document: the same as a positive", np.isin(rows, twins)),
    ]
    if rules.absolute_margin is not None:
        faults.append(("document: within the absolute margin", scores + rules.absolute_margin > lowest))
    if rules.relative_margin is not None:
        threshold = lowest - abs(lowest) * rules.relative_margin
        faults.append(("document: within the relative margin", scores > threshold))
    if rules.max_score is not None:
        faults.append(("document: above the highest score", scores > rules.max_score))
    if rules.min_score is not None:
        faults.append(("document: below the lowest score", scores < rules.min_score))
    left = np.ones(len(rows), bool)
    for reason, fault in faults:
        if gone := int((left & fault).sum()):
            dropped[reason] += gone
        left &= ~fault
    return np.flatnonzero(left)


def _chosen(left: np.ndarray, rules: MiningRules, name: str) -> np.ndarray:
    """Takes the highest, or draws, among the places that the window leaves."""
    window = left[rules.range_min :]
    if rules.sampling == "top" or len(window) <= rules.negatives:
        return window[: rules.negatives]
    drawn = random.Random(f"{rules.seed}/{name}").sample(range(len(window)), rules.negatives)
    return window[sorted(drawn)]
