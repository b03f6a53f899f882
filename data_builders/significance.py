"""How far results on the same questions can be told apart: bootstrap intervals and McNemar's test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_Values = Sequence[float] | np.ndarray
_BLOCK = 2**22  # draws held at a time: 32 MiB of places, and as much of values


@dataclass(frozen=True)
class Difference:
    """How much higher the second of two systems scores, over the same questions.

    Attributes:
        mean: Mean of second - first.
        low: Lower end of its interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two systems on the same questions.

    Attributes:
        questions: Number of questions.
        only_first: Those that only the first system got right.
        only_second: Those that only the second got right.
        statistic: χ² with the continuity correction.
        p_corrected: p-value of that statistic, of one degree of freedom.
        p_exact: Two-sided p-value of the binomial test.
    """

    questions: int
    only_first: int
    only_second: int
    statistic: float
    p_corrected: float
    p_exact: float

    def verdict(self, names: tuple[str, str] = ("first", "second"), level: float = 0.05) -> str:
        """Says in a few words what the exact test found.

        Args:
            names: What the two systems are called.
            level: Below this p-value they differ.

        Returns:
            Such as `second better, p=0.003`, or `no difference told apart, p=0.4 (n=120)`, n being the questions.
        """
        if self.p_exact >= level:
            return f"no difference told apart, {shown_p(self.p_exact)} (n={self.questions})"
        better = names[0] if self.only_first > self.only_second else names[1]
        return f"{better} better, {shown_p(self.p_exact)}"


def shown_p(value: float, before: str = "p=") -> str:
    """Writes a p-value.

    Args:
        value: The p-value.
        before: What stands before it: `p≤` where several are told together, nothing in a column of its own.

    Returns:
        Such as `p=0.027`; `p<0.0001` for all that are less.
    """
    return f"{before}{value:.2g}" if value >= 1e-4 else f"{before.rstrip('=≤≥')}<0.0001"


def bootstrap_interval(
    values: _Values, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Gives the percentile bootstrap interval of a mean (Efron and Tibshirani 1993, ch. 13).

    As many values as there are get drawn with replacement, `resamples` times; the interval lies between the quantiles
    (1 - confidence) / 2 and (1 + confidence) / 2 of the means.

    Args:
        values: One value a question: (questions,).
        confidence: Share of the means that lie in the interval.
        resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: If there is no value, one is not finite, or a setting is out of its range.
    """
    data = _values(values)
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"found {confidence=}, {resamples=}, expected a share between 0 and 1, and at least 1")
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(data))
    means = np.concatenate(
        [
            data[generator.integers(0, len(data), (min(rows, resamples - start), len(data)))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )  # (resamples,)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_difference(
    first: _Values,
    second: _Values,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compares two systems on the same questions: whole questions are drawn, with both systems' values.

    Args:
        first: The first system's value a question: (questions,).
        second: The second's, in the same order.
        confidence: As in `bootstrap_interval`.
        resamples: As there.
        seed: As there.

    Returns:
        The mean of second - first, with its percentile interval.

    Raises:
        ValueError: If the lengths differ, or as in `bootstrap_interval`.
    """
    before, after = _paired(first, second)
    differences = after - before
    return Difference(float(differences.mean()), *bootstrap_interval(differences, confidence, resamples, seed))


def mcnemar(first_right: _Values, second_right: _Values) -> McNemar:
    """Tests whether two systems get the same share of the same questions right (McNemar 1947).

    With b questions that only the first gets right and c that only the second does:

        statistic   = (|b - c| - 1)² / (b + c)            Edwards' continuity correction
        p_corrected = P(χ²₁ ≥ statistic) = erfc(√(statistic / 2))
        p_exact     = min(1, 2 · Σ_{i ≤ min(b, c)} C(b + c, i) / 2^(b + c))

    Where b + c = 0 the statistic is 0 and both p-values are 1. Nyx §4.2 reports statistics of 19.0631 and 15.7538 on
    NyxQA: those of, for instance, b, c = 32, 79 and 16, 49.

    Args:
        first_right: Whether the first system is right, True and False or 1 and 0: (questions,).
        second_right: Whether the second is, in the same order.

    Returns:
        The test's figures.

    Raises:
        ValueError: If the lengths differ, there is no question, or a value is neither 0 nor 1.
    """
    first, second = _paired(first_right, second_right)
    odd = [value for value in (*first, *second) if value not in (0, 1)]
    if odd:
        raise ValueError(f"found the value {odd[0]:g}, expected 1 (right) or 0 (wrong); compare means of such values")
    b, c = int(np.sum(first > second)), int(np.sum(first < second))
    statistic = (abs(b - c) - 1) ** 2 / (b + c) if b + c else 0.0
    return McNemar(len(first), b, c, statistic, math.erfc(math.sqrt(statistic / 2)), _p_exact(min(b, c), b + c))


def _p_exact(fewer: int, trials: int) -> float:
    """Two-sided binomial p-value of a fair coin, in whole numbers till the last division."""
    ways = below = 1
    for i in range(1, fewer + 1):
        ways = ways * (trials - i + 1) // i
        below += ways
    return min(1.0, 2 * below / 2**trials)


def _paired(first: _Values, second: _Values) -> tuple[np.ndarray, np.ndarray]:
    if len(first) != len(second):
        raise ValueError(
            f"found {len(first)} and {len(second)} values, expected those of the same questions, in order"
        )
    return _values(first), _values(second)


def _values(values: _Values) -> np.ndarray:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not data.size:
        raise ValueError(f"found values of shape {data.shape}, expected one a question, of at least one question")
    if not np.isfinite(data).all():
        raise ValueError("found a value that is not finite, expected numbers")
    return data
