"""mteb's retrieval tasks by name, run by mteb itself: its scores, and its results folder for a submission."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nyx_hf.data_builders.builder import option
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.searching import DenseSearcher
from nyx_hf.result_lines import our_lines
from nyx_hf.results import SetScore, SuiteReport, Table
from nyx_hf.retrievers import NyxEncoder
from nyx_hf.suite_ranking import Dim
from nyx_hf.suites import Evaluation, OwnData, checked_names, nearest

if TYPE_CHECKING:  # mteb takes seconds to import, and is an extra
    from mteb import AbsTask
    from mteb.models import ModelMeta

FOLDER = "results"
"""mteb's results folder, inside of --out: `results/OWNER__MODEL/REVISION/TASK.json` and `model_meta.json`."""


@dataclass
class MTEBOptions(OwnData):
    """What of mteb to evaluate."""

    tasks: str | None = option(None, "Names of retrieval tasks, with commas between.")
    benchmark: str | None = option(None, "A benchmark's tasks, such as 'ViDoRe(v2)'.")
    hub_name: str | None = option(None, "Where a folder is or will be on the Hub, OWNER/NAME; results are under it.")

    @property
    def own_data(self) -> bool:
        """True: mteb fetches a task's data itself."""
        return True


@dataclass(frozen=True)
class MTEBSuite:
    """mteb's retrieval tasks.

    Attributes:
        name: Its name on the command line.
        title: What it is called.
        summary: What it measures.
        options: Its own options.
    """

    name: str = "mteb"
    title: str = "MTEB"
    summary: str = "Retrieval tasks of mteb, ViDoRe among them, run by mteb itself (the extra mteb)."
    options: type[Any] = MTEBOptions

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Lets mteb score the tasks.

        Raises:
            ModuleNotFoundError: If mteb is not installed.
            ValueError: If a name is not a retrieval task's, none is given, or the retriever is none of our models.
        """
        options: MTEBOptions = evaluation.options or MTEBOptions()
        return run_mteb(evaluation, find_tasks(options), options.hub_name)


def run_mteb(evaluation: Evaluation, tasks: Collection["AbsTask"], hub_name: str | None = None) -> SuiteReport:
    """Lets mteb score tasks, each at every width.

    With a folder for results, and no limit, mteb's own results are written there as it lays them out, and those that
    stand there are not made again: a run that was stopped goes on. A sample's are never written, so that none can be
    submitted.

    Args:
        evaluation: What to run with; its data, `build` and `local` make no difference.
        tasks: mteb's tasks, of its registry or of your own.
        hub_name: Where the model is or will be on the Hub, if it is a folder.

    Returns:
        The report.

    Raises:
        ModuleNotFoundError: If mteb is not installed.
        ValueError: If the retriever is none of our models.
    """
    from nyx_hf.mteb_model import UNPUBLISHED, model_meta

    encoder, _ = _encoder(evaluation)
    meta = model_meta(encoder.model.name_or_path, encoder.revision, hub_name=hub_name)
    held_out = checked_names(evaluation.held_out, [task.metadata.name for task in tasks], "mteb")
    scores = [score for task in tasks for score in _task_scores(evaluation, task, meta, held_out)]
    scores.sort(key=lambda score: evaluation.widths.index(score.dim))
    notes = []
    if evaluation.out is not None and evaluation.limit is None:
        place = f"{FOLDER}/{meta.model_name_as_path()}/{meta.revision}"
        notes.append(f"mteb's own results are in {place}: what a pull request to embeddings-benchmark/results adds.")
        if str(meta.name).startswith(f"{UNPUBLISHED}/"):
            notes.append(
                "They are under no name of the Hub: evaluate the pushed model, or pass --hub-name OWNER/NAME."
            )
    return SuiteReport(
        suite="mteb",
        title="MTEB",
        dataset="mteb",
        metric="the main score of each task",
        run=evaluation.run_facts(),
        tables=[_table(evaluation, scores)],
        scores=scores,
        notes=notes,
    )


def find_tasks(options: MTEBOptions) -> list["AbsTask"]:
    """Gives the tasks that were named.

    Args:
        options: What was typed.

    Returns:
        Tasks, each once.

    Raises:
        ModuleNotFoundError: If mteb is not installed.
        ValueError: If none was named, a name is unknown, or a task is not a retrieval task.
    """
    mteb = _mteb()
    known = {task.metadata.name: task for task in mteb.get_tasks(exclude_superseded=False)}
    names = [name.strip() for name in (options.tasks or "").split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ValueError(f"mteb has no task {name!r}{nearest(name, known)}")
    found = [known[name] for name in names]
    if options.benchmark is not None:
        benchmarks = {benchmark.name: benchmark for benchmark in mteb.get_benchmarks()}
        if options.benchmark not in benchmarks:
            raise ValueError(f"mteb has no benchmark {options.benchmark!r}{nearest(options.benchmark, benchmarks)}")
        found += benchmarks[options.benchmark].tasks
    if not found:
        raise ValueError("found no tasks, expected --tasks NAME,… or --benchmark NAME")
    for task in found:
        if not isinstance(task, mteb.abstasks.AbsTaskRetrieval):
            raise ValueError(f"{task.metadata.name} is a task of {task.metadata.type}, expected a retrieval task")
    return list({task.metadata.name: task for task in found}.values())


def _mteb() -> Any:
    """Imports mteb; where it is missing, our module of it says what to install."""
    import_module("nyx_hf.mteb_model")
    return import_module("mteb")


def _encoder(evaluation: Evaluation) -> tuple[NyxEncoder, int]:
    """Finds our model in the searcher, and its batch size."""
    searcher = evaluation.searcher
    if isinstance(searcher, DenseSearcher) and isinstance(searcher.encoder, NyxEncoder):
        return searcher.encoder, searcher.batch_size
    raise ValueError(f"{searcher.name} is none of our models; mteb has its own command for others: mteb run")


def _task_scores(
    evaluation: Evaluation, task: "AbsTask", meta: "ModelMeta", held_out: Collection[str]
) -> Iterator[SetScore]:
    """Loads a task's data once, and scores it at every width."""
    from nyx_hf.mteb_model import NyxMTEBModel

    mteb, (encoder, batch_size) = _mteb(), _encoder(evaluation)
    task.load_data()
    task.convert_v1_dataset_format_to_v2(num_proc=None)
    expected = _cut(task, evaluation.limit, evaluation.seed)
    whole = evaluation.out is not None and evaluation.limit is None
    for dim in evaluation.widths:
        [result] = mteb.evaluate(
            NyxMTEBModel(encoder.model, embed_dim=dim, meta=meta),
            task,
            encode_kwargs={"batch_size": batch_size},
            cache=mteb.ResultCache(evaluation.out) if whole else None,
            co2_tracker=False,
        ).task_results
        for split, found in result.scores.items():
            for one in found:
                yield _score(task, split, one, expected, dim, task.metadata.name in held_out)
    task.unload_data()


def _cut(task: "AbsTask", limit: int | None, seed: int) -> dict[tuple[str, str], int]:
    """Keeps at most so many judged queries, and counts those that there are, by subset and split."""
    counts = {}
    for subset, splits in task.dataset.items():
        for split, data in splits.items():
            judged = data["relevant_docs"]
            counts[subset, split] = len(judged)
            if limit is not None:
                kept = sorted(judged, key=lambda name: seeded_fraction(name, seed))[:limit]
                data["relevant_docs"] = {name: judged[name] for name in kept}
    return counts


def _score(
    task: "AbsTask",
    split: str,
    found: Mapping[str, Any],
    expected: Mapping[tuple[str, str], int],
    dim: Dim,
    held_out: bool,
) -> SetScore:
    """Makes a score of what mteb found in a split of a subset."""
    subset, about = found["hf_subset"], task.metadata
    data = task.dataset[subset][split]
    asked, there = len(data["relevant_docs"]), expected[subset, split]
    part = ", ".join(name for name in (subset, split) if name != "default")
    return SetScore(
        name=about.name if len(expected) == 1 else f"{about.name} ({part})",
        group=about.name,
        part=part,
        metric=about.main_score,
        metrics={name: float(value) for name, value in found.items() if isinstance(value, float)},
        queries=asked,
        documents=len(data["corpus"]),
        expected=there,
        dim=dim,
        held_out=held_out,
        partial=() if asked == there else (f"{asked:,} of {there:,} queries",),
        revisions={Path(about.dataset["path"]).name: about.dataset["revision"]},
    )


def _table(evaluation: Evaluation, scores: Collection[SetScore]) -> Table:
    """Lays out the main score of every task, and their average where there are several."""
    averages: dict[str, list[str]] = {}
    for score in scores:
        averages.setdefault(score.group, []).append(score.name)
    averages = {task: list(dict.fromkeys(names)) for task, names in averages.items()}
    headings = {task: task for task in averages}
    if len(averages) > 1:
        averages["average"] = [name for names in averages.values() for name in names]
        headings["average"] = "average"
    lines = our_lines(evaluation.run_facts(), list(scores), averages)
    metrics = {score.group: score.metric for score in scores}
    return Table("mteb", "The main score of each task, as mteb counts it", headings, lines, metrics)


SUITE = MTEBSuite()
"""The suite."""
