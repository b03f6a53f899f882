"""M-BEIR: sixteen tasks, each searched in its own candidates (local) and in those of all tasks (global)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm

from nyx_hf.data_builders.builder import option
from nyx_hf.data_builders.mbeir_tasks import TASKS, Task
from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.ranking import stored_items
from nyx_hf.published import published
from nyx_hf.result_lines import our_lines, published_lines
from nyx_hf.results import Missing, Prediction, Run, SetScore, SuiteReport, Table
from nyx_hf.suite_data import MissingSetError, SetData, SetPlace, open_set
from nyx_hf.suite_held_out import held_out_table
from nyx_hf.suite_ranking import Dim, Ranked, rank_corpus
from nyx_hf.suites import Evaluation, checked_names

DEPTH = 10
NAMES = tuple(task.name for task in TASKS)
_DATASETS = {
    "visualnews": "VisualNews",
    "mscoco": "MSCOCO",
    "fashion200k": "Fashion200K",
    "webqa": "WebQA",
    "edis": "EDIS",
    "nights": "NIGHTS",
    "oven": "OVEN",
    "infoseek": "InfoSeek",
    "fashioniq": "FashionIQ",
    "cirr": "CIRR",
}
_SHORT = {"text": "t", "image": "i", "image,text": "it"}
_POOLS = {"local": "Local: each task's own candidates", "global": "Global: the candidates of all tasks"}


@dataclass
class MBEIROptions:
    """What of M-BEIR to evaluate."""

    pool: Literal["local", "global", "both"] = option("both", "Candidates of the task, of all tasks, or both in turn.")


@dataclass(frozen=True)
class _Opened:
    task: Task
    data: SetData


@dataclass(frozen=True)
class MBEIRSuite:
    """The benchmark.

    R@k is 1 for a query where a right document is among the first k, as UniIR and U-MARVEL count it (`hit@k`), not the
    share of right documents that are; k is 10 for fashion, 5 elsewhere. In the global pool `wrong_modality@k` is the
    share of the first k documents whose kind (text, image, both) is not the one that the task asks for.

    Attributes:
        name: Its name on the command line.
        title: What it is called.
        summary: What it measures.
        options: Its own options.
    """

    name: str = "m-beir"
    title: str = "M-BEIR"
    summary: str = "M-BEIR's 16 tasks, in local and global candidates (recall at 5; at 10 for fashion)."
    options: type[Any] = MBEIROptions

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Scores every task that is there.

        Raises:
            ValueError: If none is there, one is another dataset, or a name held out is not a task.
        """
        held_out = checked_names(evaluation.held_out, NAMES, self.name)
        wanted = (evaluation.options or MBEIROptions()).pool
        pools = [pool for pool in _POOLS if wanted in (pool, "both")]
        opened: list[_Opened] = []
        missing: list[Missing] = []
        for task in tqdm(TASKS, desc=f"{self.name}, opening", unit="task"):
            try:
                opened.append(_Opened(task, open_set(_place(task), evaluation)))
            except MissingSetError as error:
                missing.append(Missing(task.name, _kind(task), str(error), _place(task).command(evaluation.data)))
        if not opened:
            raise ValueError(
                f"none of the {len(TASKS)} tasks of {self.name} is in {evaluation.data}: {missing[0].name} "
                f"{missing[0].reason}; run: {missing[0].command}, or pass --build"
            )
        scores: list[SetScore] = []
        if "local" in pools:
            scores += _local(opened, evaluation, held_out)
        if "global" in pools:
            scores += _global(opened, evaluation, held_out)
        scores.sort(key=lambda score: (pools.index(score.part), evaluation.widths.index(score.dim)))
        run = evaluation.run_facts()
        return SuiteReport(
            suite=self.name,
            title=self.title,
            dataset="TIGER-Lab/M-BEIR",
            metric="recall@5, of fashion recall@10",
            run=run,
            tables=_tables(run, scores, pools, held_out),
            scores=scores,
            missing=missing,
        )


def _place(task: Task) -> SetPlace:
    words = ("--task", task.name, "--split", "test", "--whole-pool")
    return SetPlace(task.name, "m-beir", words, "task", f"{task.query} → {task.document}")


def _kind(task: Task) -> str:
    """Writes what is asked and found: `it → t`."""
    return f"{_SHORT[task.query]} → {_SHORT[task.document]}"


def _local(opened: Iterable[_Opened], evaluation: Evaluation, held_out: Collection[str]) -> list[SetScore]:
    """Ranks each task's own candidates."""
    scores: list[SetScore] = []
    for one in tqdm(list(opened), desc="m-beir, local", unit="task"):
        ranked = _rank(evaluation, one.data.queries, one.data.corpus, np.arange(len(one.data.queries)))
        scores += _scores(one, "local", ranked, held_out)
    return scores


def _global(opened: Sequence[_Opened], evaluation: Evaluation, held_out: Collection[str]) -> list[SetScore]:
    """Ranks the candidates of all tasks: M-BEIR's global pool is the union of its local ones.

    Equal contents are one document, which has the kind of the first task that has it.
    """
    pools = [one.data.corpus for one in opened]
    names = [name for pool in pools for name in pool["id"]]
    kinds = [one.task.document for one in opened for _ in range(len(one.data.corpus))]
    first = dict(reversed([(name, row) for row, name in enumerate(names)]))  # of a repeated id the first row
    rows = sorted(first.values())
    kind_of = {names[row]: kinds[row] for row in rows}
    corpus = concatenate_datasets(pools).select(rows)
    queries = concatenate_datasets([one.data.queries for one in opened])
    index = evaluation.searcher.index(lambda: stored_items(queries), lambda: stored_items(corpus))
    ids, scores, start = list(corpus["id"]), [], 0
    lacking = len(TASKS) - len(opened)
    short = (f"the pool lacks the candidates of {lacking} tasks",) if lacking else ()
    for one in tqdm(opened, desc="m-beir, global", unit="task"):
        numbers = np.arange(start, start + len(one.data.queries))
        start += len(numbers)
        ranked = rank_corpus(index, numbers, ids, evaluation.widths, DEPTH)
        scores += _scores(one, "global", ranked, held_out, short, kind_of)
    return scores


def _rank(evaluation: Evaluation, queries: Dataset, corpus: Dataset, numbers: np.ndarray) -> dict[Dim, Ranked]:
    index = evaluation.searcher.index(lambda: stored_items(queries), lambda: stored_items(corpus))
    return rank_corpus(index, numbers, list(corpus["id"]), evaluation.widths, DEPTH)


def _scores(
    one: _Opened,
    pool: str,
    ranked: dict[Dim, Ranked],
    held_out: Collection[str],
    short: tuple[str, ...] = (),
    kind_of: dict[str, str] | None = None,
) -> list[SetScore]:
    """Scores a task's rankings at every width."""
    task, data = one.task, one.data
    score = partial(
        SetScore,
        name=task.name,
        group=_kind(task),
        part=pool,
        metric=f"hit@{task.recall_at}",
        queries=len(data.queries),
        held_out=task.name in held_out,
        partial=(*data.partial(), *short),
        revisions=data.revisions,
    )
    scores: list[SetScore] = []
    for dim, found in ranked.items():
        metrics = aggregate(ranking_metrics(found.ids, data.grades, (1, 5, 10)))
        if kind_of is not None:
            wrong = [[kind_of[name] != task.document for name in ids] for ids in found.ids]
            metrics |= {
                f"wrong_modality@{k}": float(np.mean([one for row in wrong for one in row[:k]]))
                for k in (1, task.recall_at)
            }
        predictions = [Prediction(*both) for both in zip(found.ids, data.grades, strict=True)]
        scores.append(score(dim=dim, documents=found.documents, metrics=metrics, predictions=predictions))
    return scores


def _tables(run: Run, scores: Sequence[SetScore], pools: Sequence[str], held_out: Collection[str]) -> list[Table]:
    headings = {task.name: f"{_DATASETS[task.dataset]} {_kind(task)}" for task in TASKS}
    figures = {**headings, "average": f"Average ({len(TASKS)})"}
    averages: dict[str, Collection[str]] = {**{name: (name,) for name in NAMES}, "average": NAMES}
    metrics = {task.name: f"recall@{task.recall_at}" for task in TASKS}
    tables = []
    for pool in pools:
        lines = [*our_lines(run, scores, averages, pool), *published_lines(published("m-beir", pool), figures)]
        tables.append(Table(pool, f"{_POOLS[pool]} (R@5; fashion: R@10)", figures, lines, metrics))
    # the paper's own table of tasks held out is over local candidates
    apart = published("m-beir", "held-out") if pools[0] == "local" else []
    apart_table = held_out_table(run, scores, held_out, NAMES, apart, headings, pools[0])
    return [*tables, *_modality_errors(run, scores, figures), *apart_table]


def _modality_errors(run: Run, scores: Sequence[SetScore], headings: Mapping[str, str]) -> list[Table]:
    """Shows how often the global pool gave another kind first than was asked for."""
    there = [replace(score, metric="wrong_modality@1") for score in scores if score.part == "global"]
    averages: dict[str, Collection[str]] = {**{name: (name,) for name in NAMES}, "average": NAMES}
    title = (
        "Modality errors: queries whose first document, of all tasks' candidates, is of another kind than asked for"
    )
    metrics = dict.fromkeys(averages, "wrong_modality@1")
    return [Table("modality errors", title, headings, our_lines(run, there, averages), metrics)] if there else []


SUITE = MBEIRSuite()
