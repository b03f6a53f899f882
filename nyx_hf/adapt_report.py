"""What an adaptation gained: figures with intervals, tests, one verdict, a page and pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from nyx_hf.adapt_pictures import bars, gallery_of
from nyx_hf.adapt_rankings import METRICS, Questions
from nyx_hf.data_builders.significance import McNemar, bootstrap_interval, mcnemar, paired_difference, shown_p

LEVEL = 0.05
SYSTEMS = {"tuned": "tuned", "base": "the base", "bm25": "BM25"}
"""The retrievers that are compared, and how a sentence names them."""
HEADLINE = "passage@1"
UNCHECKED = "Whether anything was lost on other data was not checked: name a general dataset with --general."

Rankings = Mapping[str, Mapping[str, Sequence[str]]]
"""For each retriever the documents that it found for each query."""


def own_figures(questions: Questions, rankings: Rankings, seed: int) -> dict[str, Any]:
    """Compares the retrievers on held-out questions about the own pages.

    Args:
        questions: The questions.
        rankings: What each of `SYSTEMS` found.
        seed: Seed of the bootstrap.

    Returns:
        Figures by retriever, in all and by kind of question, the tests of tuned against the others, and the verdict.
    """
    values = {name: questions.values(rankings[name]) for name in SYSTEMS}
    everything = np.ones(len(questions.queries), bool)
    groups = {"all": everything} | {kind: questions.kinds == kind for kind in sorted(set(questions.kinds.tolist()))}
    systems = {name: {group: _means(of, rows, seed) for group, rows in groups.items()} for name, of in values.items()}
    tests = {name: mcnemar(values[name][HEADLINE], values["tuned"][HEADLINE]) for name in ("base", "bm25")}
    differences = {
        name: asdict(paired_difference(values[name]["ndcg@10"], values["tuned"]["ndcg@10"], seed=seed))
        for name in tests
    }
    return {
        "verdict": verdict({name: of["all"][HEADLINE]["mean"] for name, of in systems.items()}, tests),
        "questions": {group: int(rows.sum()) for group, rows in groups.items()},
        "documents": len(questions.corpus),
        "systems": systems,
        "mcnemar of the right passage first": {name: asdict(test) for name, test in tests.items()},
        "differences of ndcg@10": differences,
    }


def general_figures(dataset: str, questions: Questions, rankings: Rankings, seed: int) -> dict[str, Any]:
    """Compares tuned with base on data that it was not fitted to.

    Args:
        dataset: What to call it, with its split.
        questions: Its questions.
        rankings: What `base` and `tuned` found.
        seed: Seed of the bootstrap.

    Returns:
        Figures by retriever, the difference, and the verdict.
    """
    values = {name: questions.values(rankings[name]) for name in ("base", "tuned")}
    everything = np.ones(len(questions.queries), bool)
    lost = paired_difference(values["base"]["ndcg@10"], values["tuned"]["ndcg@10"], seed=seed)
    before, after = (float(values[name]["ndcg@10"].mean()) for name in ("base", "tuned"))
    found = "something was lost" if lost.high < 0 else "better" if lost.low > 0 else "no difference told apart"
    return {
        "verdict": f"on {dataset}, {len(questions.queries):,} questions, nDCG@10 was {before:.4f} and is {after:.4f}: "
        f"{found} (difference {lost.mean:+.4f}, 95 % interval {lost.low:+.4f} to {lost.high:+.4f})",
        "dataset": dataset,
        "questions": len(questions.queries),
        "documents": len(questions.corpus),
        "systems": {name: {"all": _means(of, everything, seed)} for name, of in values.items()},
        "difference of ndcg@10": asdict(lost),
    }


def verdict(first: Mapping[str, float], tests: Mapping[str, McNemar]) -> str:
    """Says in one line what came of it.

    Args:
        first: For each of `SYSTEMS` the share of questions whose right passage came first.
        tests: McNemar's test of `base` and `bm25` against tuned.

    Returns:
        The line, with a p-value wherever a difference is claimed.
    """
    count = tests["base"].questions
    shares = (
        f"tuned finds the right passage first for {100 * first['tuned']:.1f} % of {count:,} questions, "
        f"the base for {100 * first['base']:.1f} %, BM25 for {100 * first['bm25']:.1f} %"
    )
    found = {name: _direction(test) for name, test in tests.items()}
    p_values = [test.p_exact for test in tests.values()]
    if set(found.values()) == {"no difference told apart"}:
        return f"{shares}: no difference told apart from either ({shown_p(min(p_values), 'p≥')})"
    if len(set(found.values())) == 1:
        return f"{shares}: {found['base']} than both ({shown_p(max(p_values), 'p≤')})"
    parts = [
        f"{said} {'from' if said.startswith('no') else 'than'} {SYSTEMS[name]} ({shown_p(tests[name].p_exact)})"
        for name, said in found.items()
    ]
    return f"{shares}: {', '.join(parts)}"


def write_report(out: Path, report: Mapping[str, Any], questions: Questions, rankings: Rankings) -> None:
    """Writes pictures, report.md and, last of all, report.json, which marks the run as finished.

    Args:
        out: The run's folder.
        report: Out of `own_figures`, with what else is to be said under `general`, `settings` and `push`.
        questions: The held-out questions.
        rankings: What was found for them.
    """
    bars(report, out / "recall.png")
    gallery_of(questions, rankings, out / "gallery.png")
    _write(out / "report.md", _page(report))
    _write(out / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _means(values: Mapping[str, np.ndarray], rows: np.ndarray, seed: int) -> dict[str, Any]:
    return {
        metric: {"mean": float(of[rows].mean()), "interval": list(bootstrap_interval(of[rows], seed=seed))}
        for metric, of in values.items()
    }


def _direction(test: McNemar) -> str:
    if test.p_exact >= LEVEL:
        return "no difference told apart"
    return "better" if test.only_second > test.only_first else "worse"


def _page(report: Mapping[str, Any]) -> str:
    counts, general = report["questions"], report["general"]
    table = tabulate(
        [
            [name, group, f"{counts[group]:,}", *(_percent(report["systems"][one][group][metric]) for one in SYSTEMS)]
            for group in counts
            for metric, name in METRICS.items()
        ],
        ("percent (95 % interval)", "questions", "how many", *SYSTEMS.values()),
        tablefmt="github",
        disable_numparse=True,
    )
    tests = tabulate(
        [
            [
                SYSTEMS[name],
                test["only_second"],
                test["only_first"],
                shown_p(test["p_exact"], ""),
                f"{test['statistic']:.2f}",
            ]
            for name, test in report["mcnemar of the right passage first"].items()
        ],
        ("tuned against", "only tuned right", "only the other right", "exact p", "χ²"),
        tablefmt="github",
        disable_numparse=True,
    )
    checked = UNCHECKED if general is None else f"{general['verdict'][0].upper()}{general['verdict'][1:]}."
    settings = "\n".join(f"- {name}: `{value}`" for name, value in report["settings"].items())
    return f"""# What adapting brought

**{report["verdict"][0].upper()}{report["verdict"][1:]}.**

{checked}

![Share of questions whose right passage came first](recall.png)

Questions are those of the test split: no page that they ask about was trained on. Each searches the whole corpus,
{report["documents"]:,} documents. The right passage is the one that the question was made from, or that the query
log names; the right page is its page. BM25 reads words alone: images say nothing to it.

{table}

Intervals are of the bootstrap over questions. Whether tuned and another retriever differ is what McNemar's exact test
says of the right passage first, at {LEVEL:g}. Neither knows that questions about one page are alike: both are somewhat
too sure.

{tests}

## What is found

![Questions, and the first passage of the base and of tuned](gallery.png)

## How it was made

{settings}

`model/` is ready for the Hub, `data/` and `hard/` are its data. Nothing was pushed. To push the model, into a private
repository:

    {report["push"]}
"""


def _percent(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{100 * figure['mean']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)
