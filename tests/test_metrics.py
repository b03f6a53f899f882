"""Ranking metrics and exact neighbours against other implementations."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.neighbours import top_k


def random_case(seed, queries=40, documents=30):
    rng = random.Random(seed)
    ids = [f"d{number}" for number in range(documents)]
    rankings = [rng.sample(ids, rng.randint(1, documents)) for _ in range(queries)]
    relevant = [rng.sample(ids, rng.randint(1, 6)) for _ in range(queries)]
    return rankings, relevant


def slow_metrics(ranking, right, k):
    """The definitions, written out."""
    hits = [1 if document in right else 0 for document in ranking[:k]]
    dcg = sum(hit / math.log2(rank + 1) for rank, hit in enumerate(hits, 1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(right)) + 1))
    first = next((rank for rank, hit in enumerate(hits, 1) if hit), None)
    precisions = [sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1) if hit]
    return {
        "recall": sum(hits) / len(right),
        "hit": float(any(hits)),
        "mrr": 1 / first if first else 0.0,
        "ndcg": dcg / ideal,
        "map": sum(precisions) / len(right),
    }


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_their_definitions(seed):
    rankings, relevant = random_case(seed)
    metrics = ranking_metrics(rankings, relevant, ks=(1, 3, 10, 50))
    assert len(metrics) == 20
    for k in (1, 3, 10, 50):
        slow = [slow_metrics(ranking, right, k) for ranking, right in zip(rankings, relevant, strict=True)]
        for name in ("recall", "hit", "mrr", "ndcg", "map"):
            expected = np.array([values[name] for values in slow])
            assert expected.std() > 0  # not all 0 or 1
            np.testing.assert_allclose(metrics[f"{name}@{k}"], expected, rtol=0, atol=1e-12)


def test_metrics_equal_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rankings, relevant = random_case(7, queries=60)
    runs = {
        f"q{query}": {document: 1.0 - rank / 100 for rank, document in enumerate(ranking)}
        for query, ranking in enumerate(rankings)
    }
    judged = {f"q{query}": dict.fromkeys(right, 1) for query, right in enumerate(relevant)}
    names = {"recall": "recall", "ndcg": "ndcg_cut", "map": "map_cut", "hit": "success"}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"{name}.1,5,10" for name in names.values()})
    theirs = evaluator.evaluate(runs)
    ours = ranking_metrics(rankings, relevant)
    for name, trec in names.items():
        for k in (1, 5, 10):
            expected = np.array([theirs[f"q{query}"][f"{trec}_{k}"] for query in range(len(rankings))])
            assert 0 < expected.mean() < 1
            np.testing.assert_allclose(ours[f"{name}@{k}"], expected, atol=1e-6)


def test_ndcg_equals_sklearn():
    rng = np.random.default_rng(0)
    scores, gains = rng.normal(size=(50, 20)), rng.integers(0, 2, size=(50, 20))
    gains[:, 0] = 1
    rankings = [[str(document) for document in row] for row in np.argsort(-scores, axis=1)]
    relevant = [[str(document) for document in np.flatnonzero(row)] for row in gains]
    ours = aggregate(ranking_metrics(rankings, relevant, ks=(10,)))["ndcg@10"]
    assert ours == pytest.approx(ndcg_score(gains, scores, k=10), abs=1e-12)
    assert 0.2 < ours < 0.95


def test_known_values():
    metrics = ranking_metrics([["a", "b", "c"], ["x"]], [{"b", "z"}, {"y"}], ks=(1, 2))
    assert metrics["recall@1"].tolist() == [0, 0] and metrics["recall@2"].tolist() == [0.5, 0]
    assert metrics["mrr@2"].tolist() == [0.5, 0] and metrics["hit@2"].tolist() == [1, 0]
    assert metrics["ndcg@2"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert aggregate(metrics)["hit@2"] == 0.5


@pytest.mark.parametrize(
    ("rankings", "relevant", "ks", "message"),
    [
        ([["a"]], [], (1,), "1 rankings for 0"),
        ([["a"]], [[]], (1,), "no relevant document for query 0"),
        ([["a", "a"]], [["a"]], (2,), "twice in the ranking of query 0"),
        ([["a"]], [["a"]], (0,), "cut-offs"),
        ([["a"]], [["a"]], (), "cut-offs"),
    ],
)
def test_bad_rankings_are_refused(rankings, relevant, ks, message):
    with pytest.raises(ValueError, match=message):
        ranking_metrics(rankings, relevant, ks)


def test_aggregate_refuses_no_queries():
    with pytest.raises(ValueError, match="no values"):
        aggregate(ranking_metrics([], [], (1,)))


def full_sort(queries, corpus, k):
    scores = np.asarray(queries, np.float32) @ np.asarray(corpus, np.float32).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    queries=st.integers(1, 9),
    documents=st.integers(1, 40),
    k=st.integers(1, 45),
    block=st.integers(1, 50),
    values=st.integers(1, 3),
)
def test_neighbours_equal_a_full_sort_with_many_ties(seed, queries, documents, k, block, values):
    rng = np.random.default_rng(seed)
    # small whole numbers: products are exact, so equal scores are equal to the bit, and there are many
    left = rng.integers(-values, values + 1, size=(queries, 4)).astype(np.float32)
    right = rng.integers(-values, values + 1, size=(documents, 4)).astype(np.float32)
    scores, indices = top_k(left, right, k, block=block)
    expected_scores, expected = full_sort(left, right, k)
    assert scores.shape == indices.shape == (queries, min(k, documents))
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_neighbours_by_prefix_are_those_of_the_renormalised_prefix():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(20, 32)).astype(np.float32), rng.normal(size=(300, 32)).astype(np.float32)
    scores, indices = top_k(torch.tensor(left), right, 10, dim=8, block=64)
    cut = [vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True) for vectors in (left, right)]
    expected_scores, expected = full_sort(*cut, 10)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert scores.dtype == np.float32 and indices.dtype == np.int64
    assert (indices != top_k(left, right, 10)[1]).any()  # the prefix matters


def test_ties_go_to_the_lower_index_across_blocks():
    _, indices = top_k(np.ones((1, 2)), np.ones((10, 2)), 4, block=3)
    assert indices.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("queries", "corpus", "options", "message"),
    [
        (np.ones((1, 3)), np.ones((2, 4)), {"k": 1}, "3 and documents of 4"),
        (np.ones(3), np.ones((2, 3)), {"k": 1}, "shape"),
        (np.ones((1, 3)), np.ones((2, 3)), {"k": 0}, "k=0"),
        (np.ones((1, 3)), np.ones((2, 3)), {"k": 1, "dim": 4}, "dim=4"),
        (np.full((1, 3), np.nan), np.ones((2, 3)), {"k": 1}, "not finite"),
    ],
)
def test_bad_vectors_are_refused(queries, corpus, options, message):
    with pytest.raises(ValueError, match=message):
        top_k(queries, corpus, **options)


def test_no_queries_give_empty_results():
    scores, indices = top_k(np.ones((0, 3)), np.ones((5, 3)), 2)
    assert scores.shape == indices.shape == (0, 2)
