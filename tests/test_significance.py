"""Bootstrap intervals and McNemar's test against scipy's and statsmodels'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, chi2
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from nyx_hf.data_builders import significance
from nyx_hf.data_builders.significance import Difference, bootstrap_interval, mcnemar, paired_difference, shown_p

SAMPLES = {
    "scores": np.random.default_rng(1).random(37),
    "right": (np.random.default_rng(2).random(120) < 0.7).astype(float),
    "skewed": np.random.default_rng(3).exponential(size=60),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_equals_scipy_s(name, confidence):
    """The same draws in the same order, so the ends are the same to the last digits."""
    theirs = bootstrap(
        (SAMPLES[name],),
        np.mean,
        n_resamples=3000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    ours = bootstrap_interval(SAMPLES[name], confidence, resamples=3000, seed=5)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours[0] < SAMPLES[name].mean() < ours[1]


@pytest.mark.parametrize("block", [1, 37, 1000, 37 * 64])
def test_blocks_change_nothing(block, monkeypatch):
    whole = bootstrap_interval(SAMPLES["scores"], resamples=250)
    monkeypatch.setattr(significance, "_BLOCK", block)
    assert bootstrap_interval(SAMPLES["scores"], resamples=250) == pytest.approx(whole, abs=1e-12)


def test_memory_is_bounded(monkeypatch):
    """No draw is larger than a block, whatever the number of resamples."""
    shapes = []

    class Spy:
        def __init__(self, seed):
            self.generator = np.random.Generator(np.random.PCG64(seed))

        def integers(self, low, high, shape):
            shapes.append(shape)
            return self.generator.integers(low, high, shape)

    monkeypatch.setattr(significance, "_BLOCK", 1000)
    monkeypatch.setattr(np.random, "default_rng", Spy)
    bootstrap_interval(np.arange(30.0), resamples=500)
    assert max(rows * columns for rows, columns in shapes) <= 1000
    assert sum(rows for rows, _ in shapes) == 500


def test_intervals_cover_what_they_promise():
    """Of 300 samples with mean 0.6, about 90 % have it in their 90 % interval."""
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.random(80) < 0.6, 0.9, 400, seed) for seed in range(300)]
    assert 0.84 < np.mean([low <= 0.6 <= high for low, high in intervals]) < 0.95


def test_seeds_draw_anew_and_again():
    values = SAMPLES["skewed"]
    assert (
        bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    )
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


def test_difference_is_that_of_pairs():
    """Questions of very different difficulty, on each of which the second is a little better."""
    rng = np.random.default_rng(4)
    first = rng.random(200)
    second = first + 0.01 + 0.01 * rng.random(200)
    found = paired_difference(first, second)
    assert found == Difference(pytest.approx(np.mean(second - first)), *bootstrap_interval(second - first))
    assert 0.01 < found.low < found.mean < found.high < 0.02
    theirs = bootstrap(
        (first, second),
        lambda one, two, axis: np.mean(two, axis=axis) - np.mean(one, axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=2e-4)
    other_way = paired_difference(second, first)
    assert (other_way.mean, other_way.low, other_way.high) == pytest.approx((-found.mean, -found.high, -found.low))


@settings(deadline=None)
@given(both=st.integers(0, 5), neither=st.integers(1, 5), b=st.integers(0, 300), c=st.integers(0, 300))
def test_mcnemar_equals_statsmodels(both, neither, b, c):
    first = np.repeat([1, 0, 1, 0], [both, neither, b, c])
    second = np.repeat([1, 0, 0, 1], [both, neither, b, c])
    order = np.random.default_rng(b).permutation(len(first))
    found = mcnemar(first[order], second[order])
    assert (found.questions, found.only_first, found.only_second) == (len(first), b, c)
    if b + c == 0:
        assert (found.statistic, found.p_corrected, found.p_exact) == (0, 1, 1)
        return
    table = [[both, b], [c, neither]]
    corrected = statsmodels_mcnemar(table, exact=False, correction=True)
    assert found.statistic == pytest.approx(corrected.statistic, rel=1e-12)
    assert found.p_corrected == pytest.approx(corrected.pvalue, rel=1e-9)
    assert found.p_exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-9)


@pytest.mark.parametrize(("b", "c", "reported"), [(32, 79, 19.0631), (16, 49, 15.7538)])
def test_the_paper_s_statistics_are_corrected_ones(b, c, reported):
    found = mcnemar([1] * b + [0] * c, [0] * b + [1] * c)
    assert found.statistic == pytest.approx(reported, abs=5e-5)
    assert found.p_corrected == pytest.approx(chi2.sf(reported, 1), rel=1e-4) and found.p_corrected < 1e-4
    assert (c - b) ** 2 / (b + c) != pytest.approx(reported, abs=0.1)


def test_verdicts_say_which_is_better():
    wins, losses = [True] * 12 + [False] * 2, [False] * 12 + [True] * 2
    assert mcnemar(wins, losses).verdict() == "first better, p=0.013"
    assert mcnemar(losses, wins).verdict() == "second better, p=0.013"
    assert mcnemar(losses, wins).verdict(("bm25", "nyx")) == "nyx better, p=0.013"
    assert mcnemar(wins, losses).verdict(level=0.01) == "no difference told apart, p=0.013 (n=14)"
    close = mcnemar([1] * 4 + [0] * 13, [0] * 4 + [1] * 13)  # where the two tests do not agree
    assert close.p_corrected > 0.05 and close.verdict() == "second better, p=0.049"
    assert mcnemar(wins, wins).verdict() == "no difference told apart, p=1 (n=14)"
    clear = mcnemar([False] * 1200, [True] * 1200)
    assert clear.verdict() == "second better, p<0.0001"
    assert shown_p(0.0274, "p≤") == "p≤0.027" and shown_p(1e-9, "p≤") == "p<0.0001"
    assert shown_p(0.0274, "") == "0.027" and shown_p(1e-9, "") == "<0.0001"


def test_many_questions_are_no_trouble():
    """Far in the tail, where factorials overflow any float."""
    found = mcnemar(np.repeat([1.0, 0.0], [9000, 10000]), np.repeat([0.0, 1.0], [9000, 10000]))
    theirs = statsmodels_mcnemar([[0, 9000], [10000, 0]], exact=True)
    assert 0 < found.p_exact == pytest.approx(theirs.pvalue, rel=1e-6) and found.p_exact < 1e-11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([]), r"shape \(0,\)"),
        (lambda: bootstrap_interval([[1.0]]), r"shape \(1, 1\)"),
        (lambda: bootstrap_interval([1.0, float("nan")]), "not finite"),
        (lambda: bootstrap_interval([1.0], confidence=95), "confidence=95"),
        (lambda: bootstrap_interval([1.0], resamples=0), "resamples=0"),
        (lambda: paired_difference([1.0], [1.0, 0.0]), "1 and 2 values"),
        (lambda: paired_difference([], []), r"shape \(0,\)"),
        (lambda: mcnemar([1], [1, 0]), "1 and 2 values"),
        (lambda: mcnemar([], []), r"shape \(0,\)"),
        (lambda: mcnemar([1, 0.5], [1, 0]), "the value 0.5, expected 1"),
        (lambda: mcnemar([1, 0], [1, 2]), "the value 2, expected 1"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
