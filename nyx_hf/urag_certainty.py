"""Means of URAG's columns with their intervals, and whether two ways of answering differ on the same questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from nyx_hf.data_builders.significance import McNemar, bootstrap_interval, mcnemar, paired_difference, shown_p
from nyx_hf.urag_answers import Answers
from nyx_hf.urag_sets import OpenedSet

Column = tuple[str, str]
"""A set and a metric: a column of the paper's Table 1."""

_RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % bootstrap interval, as fractions of one."""

    mean: float
    low: float
    high: float

    def shown(self, sign: str = "") -> str:
        """Writes it in percent: `36.5 [33.1, 39.8]`."""
        return f"{100 * self.mean:{sign}.1f} [{100 * self.low:{sign}.1f}, {100 * self.high:{sign}.1f}]"

    def as_json(self) -> dict[str, float]:
        """Gives it as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """How a way of answering differs from another, on the questions that both were asked.

    Attributes:
        difference: Of the column's mean, or of the average, second - first, with its interval.
        test: McNemar's test of right answers; None of F1, which is neither right nor wrong.
        pooled: Whether the test is over the questions of several columns, whose average the difference is of.
    """

    difference: Estimate
    test: McNemar | None
    pooled: bool = False

    def cells(self) -> list[str]:
        """Writes difference, questions that only the second or the first got right, χ² and both p-values."""
        if self.test is None:
            return [self.difference.shown("+"), *[""] * 5]
        counts = [f"{self.test.only_second:,}", f"{self.test.only_first:,}"]
        p_values = [shown_p(one, "") for one in (self.test.p_corrected, self.test.p_exact)]
        return [self.difference.shown("+"), *counts, f"{self.test.statistic:.2f}", *p_values]

    def verdict(self, first: str, second: str) -> str:
        """Says whether they differ: by McNemar's exact test, and where that is not of the mean itself by the interval.

        Args:
            first: What the first is called.
            second: What the second is called.

        Returns:
            A few words.
        """
        better = second if self.difference.mean > 0 else first
        real = not self.difference.low <= 0 <= self.difference.high
        by_interval = f"{better} better (interval)" if real else "no difference told apart (interval)"
        if self.test is None:
            return by_interval
        tested = self.test.verdict((first, second))
        return f"average: {by_interval}; right answers: {tested}" if self.pooled else tested

    def as_json(self) -> dict[str, object]:
        """Gives it as JSON values."""
        return {"difference": self.difference.as_json(), "mcnemar": None if self.test is None else vars(self.test)}


HEADINGS = ("χ²", "p (χ²)", "p (exact)", "verdict")
"""Headings of a comparison's last cells."""


def columns_of(sets: Sequence[OpenedSet]) -> list[Column]:
    """Gives the columns that are averaged."""
    return [(one.set.name, metric) for one in sets for metric in one.metrics]


def values_of(answers: Mapping[str, Answers], column: Column) -> np.ndarray:
    """Gives a column's value of each question: float64 (questions,)."""
    name, metric = column
    return answers[name].judged.scores[metric]


def estimate(values: np.ndarray) -> Estimate:
    """Estimates a column's mean."""
    return Estimate(float(values.mean()), *_interval(values.tobytes()))


@cache
def _interval(values: bytes) -> tuple[float, float]:
    """Draws an interval once, though several tables show it."""
    return bootstrap_interval(np.frombuffer(values, dtype=np.float64))


def average(values: Sequence[Sequence[np.ndarray]], seed: int = 0) -> Estimate:
    """Averages columns, each counting alike, with the percentile bootstrap interval of the average.

    Questions are drawn with replacement within each set; columns of one set (exact match and F1) go together.

    Args:
        values: The columns of each set, (questions,) each.
        seed: Seed of the draws.

    Returns:
        The average.

    Raises:
        ValueError: If there is no column.
    """
    columns = [column for of_set in values for column in of_set]
    if not columns:
        raise ValueError("found no column to average, expected at least one set that was answered")
    generator = np.random.default_rng(seed)
    sums = [np.sum(of_set, axis=0) for of_set in values]  # (questions,) of each set
    drawn = [
        sum(float(one[generator.integers(0, len(one), len(one))].mean()) for one in sums) / len(columns)
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean([column.mean() for column in columns])), float(low), float(high))


def average_of(answers: Mapping[str, Answers], sets: Sequence[OpenedSet]) -> Estimate:
    """Averages the columns of the sets that were answered."""
    there = [one for one in sets if one.set.name in answers]
    return average([[values_of(answers, (one.set.name, metric)) for metric in one.metrics] for one in there])


def compared(first: Mapping[str, Answers], second: Mapping[str, Answers], sets: Sequence[OpenedSet]) -> Comparison:
    """Compares two ways of answering on the questions that both were asked.

    Args:
        first: Answers of the first, by set.
        second: Answers of the second.
        sets: The sets to look at.

    Returns:
        The difference of their averages, and McNemar's test over all questions.

    Raises:
        ValueError: If they have no set in common.
    """
    both = [one for one in sets if one.set.name in first and one.set.name in second]
    differences = [
        [
            values_of(second, (one.set.name, metric)) - values_of(first, (one.set.name, metric))
            for metric in one.metrics
        ]
        for one in both
    ]
    rights = [np.concatenate([answers[one.set.name].right for one in both]) for answers in (first, second)]
    return Comparison(average(differences), mcnemar(*rights), pooled=True)


def compared_column(first: Mapping[str, Answers], second: Mapping[str, Answers], column: Column) -> Comparison:
    """Compares two ways of answering in one column.

    Args:
        first: Answers of the first, by set.
        second: Answers of the second.
        column: The column.

    Returns:
        The difference of its means, and McNemar's test where it is not F1.
    """
    before, after = values_of(first, column), values_of(second, column)
    difference = paired_difference(before, after)
    test = None if column[1] == "f1" else mcnemar(before, after)
    return Comparison(Estimate(difference.mean, difference.low, difference.high), test)
