"""Our metrics beside other libraries', on random data: the largest difference of any value.

    python tests/benchmarks/metric_parity.py [--queries 1000] [--seed 0]

Rankings of 20 to 60 documents with 1 to 15 right ones, some of them not found; answers drawn from a few words; pairs
of systems that agree on some questions. SQuAD's official script has no package: tests/test_answer_metrics.py holds it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytrec_eval
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, ndcg_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.significance import bootstrap_interval, mcnemar

TESTS = Path(__file__).resolve().parent.parent
OUT = TESTS.parent / "docs" / "benchmarks" / "metric_parity.json"
PACKAGES = ("pytrec-eval-terrier", "scikit-learn", "scipy", "statsmodels", "numpy")
CUTS, DEPTH = (1, 5, 10), 60
WORDS = ("the", "a", "red", "Red!", "barn", "two", "barns,", "old")
sys.path.append(str(TESTS))

Values = np.ndarray | Sequence[float]


def compared(metric: str, other: str, ours: Values, theirs: Values) -> dict[str, Any]:
    """One row of the table; the mean shows that values are neither all 0 nor all 1."""
    left, right = (np.asarray(values, dtype=np.float64) for values in (ours, theirs))
    difference = float(np.abs(left - right).max())
    return {
        "metric": metric,
        "compared with": other,
        "values": left.size,
        "mean": float(left.mean()),
        "difference": difference,
    }


def drawn_rankings(rng: np.random.Generator, queries: int) -> tuple[list[list[str]], list[set[str]]]:
    """Rankings, and what is right; `lost` documents are in no ranking."""
    rankings, right = [], []
    for _ in range(queries):
        documents = [f"d{number}" for number in range(int(rng.integers(20, DEPTH + 1)))]
        rankings.append([documents[place] for place in rng.permutation(len(documents))])
        wanted = rng.choice([*documents, "lost 1", "lost 2"], size=int(rng.integers(1, 16)), replace=False)
        right.append({str(one) for one in wanted})
    return rankings, right


def beside_trec_eval(rankings: Sequence[Sequence[str]], right: Sequence[set[str]]) -> list[dict[str, Any]]:
    """trec_eval, query by query; its reciprocal rank knows no cut, so that it is shown the first k alone."""
    ours = ranking_metrics(rankings, right, CUTS)
    judged = {str(query): dict.fromkeys(wanted, 1) for query, wanted in enumerate(right)}

    def theirs(name: str, value: str, depth: int) -> list[float]:
        runs = {
            str(query): {one: float(-place) for place, one in enumerate(ranking[:depth])}
            for query, ranking in enumerate(rankings)
        }
        found = pytrec_eval.RelevanceEvaluator(judged, {name}).evaluate(runs)
        return [found[str(query)][value] for query in range(len(rankings))]

    names = {"recall": "recall", "ndcg": "ndcg_cut", "map": "map_cut", "hit": "success"}
    values = {ours: [theirs(f"{trec}.{k}", f"{trec}_{k}", DEPTH) for k in CUTS] for ours, trec in names.items()}
    values["mrr"] = [theirs("recip_rank", "recip_rank", k) for k in CUTS]
    cuts = ", ".join(map(str, CUTS))
    return [
        compared(f"{name}@k, k = {cuts}", "pytrec_eval", np.array([ours[f"{name}@{k}"] for k in CUTS]), other)
        for name, other in values.items()
    ]


def beside_sklearn(rng: np.random.Generator, queries: int) -> list[dict[str, Any]]:
    """scikit-learn, which sees every document: no right one is lost."""
    scores, gains = rng.normal(size=(queries, 40)), rng.random((queries, 40)) < 0.15
    gains[:, 0] = True
    rankings = [[str(document) for document in row] for row in np.argsort(-scores, axis=1)]
    right = [{str(document) for document in np.flatnonzero(row)} for row in gains]
    ours = ranking_metrics(rankings, right, (10, 40))
    ndcg = [ndcg_score([gain], [score], k=10) for gain, score in zip(gains, scores, strict=True)]
    precision = [average_precision_score(gain, score) for gain, score in zip(gains, scores, strict=True)]
    return [
        compared("ndcg@10", "scikit-learn `ndcg_score`", ours["ndcg@10"], ndcg),
        compared("map over all documents", "scikit-learn `average_precision_score`", ours["map@40"], precision),
    ]


def beside_squad(rng: np.random.Generator, queries: int) -> list[dict[str, Any]]:
    """SQuAD's official script, version 2."""
    from test_answer_metrics import version_2

    def drawn() -> str:
        return " ".join(rng.choice(WORDS, size=int(rng.integers(1, 4))))

    said, answers = [drawn() for _ in range(queries)], [[drawn() for _ in range(3)] for _ in range(queries)]
    ours = answer_scores(said, answers)
    theirs = np.array([version_2(*both) for both in zip(said, answers, strict=True)]).T
    other = "SQuAD's script, version 2"
    return [compared("exact match", other, ours["em"], theirs[0]), compared("F1", other, ours["f1"], theirs[1])]


def beside_statsmodels(rng: np.random.Generator, pairs: int = 50) -> list[dict[str, Any]]:
    """McNemar's test, of pairs of systems that differ more or less."""
    ours, theirs = [], []
    for number in range(pairs):
        first, second = rng.random((2, 300)) < np.array([[0.5], [0.5 + number / (5 * pairs)]])
        test = mcnemar(first, second)
        both, only_first, only_second = (int(np.sum(one)) for one in (first & second, first > second, first < second))
        counts = [[both, only_first], [only_second, 300 - both - only_first - only_second]]
        corrected = statsmodels_mcnemar(counts, exact=False, correction=True)
        ours.append((test.statistic, test.p_corrected, test.p_exact))
        theirs.append((corrected.statistic, corrected.pvalue, statsmodels_mcnemar(counts, exact=True).pvalue))
    names = ("McNemar's χ²", "its p-value", "McNemar's exact p-value")
    columns = zip(np.array(ours).T, np.array(theirs).T, strict=True)
    return [compared(name, "statsmodels `mcnemar`", *both) for name, both in zip(names, columns, strict=True)]


def beside_scipy(rng: np.random.Generator, samples: int = 10) -> list[dict[str, Any]]:
    """The bootstrap interval of a mean, with the same draws."""
    ours, theirs = [], []
    for seed in range(samples):
        values = rng.random(200) ** 2
        ours.append(bootstrap_interval(values, resamples=2000, seed=seed))
        interval = bootstrap(
            (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(seed)
        ).confidence_interval
        theirs.append((interval.low, interval.high))
    return [compared("bootstrap interval, both ends", "scipy `bootstrap`", np.array(ours), np.array(theirs))]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| metric | compared with | largest difference |", "|---|---|---|"]
    lines += [f"| {row['metric']} | {row['compared with']} | {_said(row['difference'])} |" for row in rows]
    return "\n".join(lines)


def _said(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def main() -> None:
    """Compares, prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = [
        *beside_trec_eval(*drawn_rankings(rng, given.queries)),
        *beside_sklearn(rng, given.queries),
        *beside_squad(rng, given.queries),
        *beside_statsmodels(rng),
        *beside_scipy(rng),
    ]
    content = {
        "command": f"python tests/benchmarks/metric_parity.py --queries {given.queries} --seed {given.seed}",
        "packages": {name: version(name) for name in PACKAGES},
        "settings": {"queries": given.queries, "seed": given.seed},
        "results": rows,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
