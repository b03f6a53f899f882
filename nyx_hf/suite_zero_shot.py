"""Unseen sets, as U-MARVEL evaluates on them (Tables 8 and 9): captions, dialogs, composed images, videos."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.ranking import stored_items
from nyx_hf.data_builders.zero_shot_tasks import LAMRA, MATCHING, TASKS, Task, task_named
from nyx_hf.mmeb_metrics import CUTS, DEPTH, mmeb_metrics
from nyx_hf.published import published
from nyx_hf.result_lines import our_lines, published_lines
from nyx_hf.results import Missing, Prediction, Run, SetScore, SuiteReport, Table
from nyx_hf.suite_data import MissingSetError, SetData, SetPlace, open_set
from nyx_hf.suite_held_out import held_out_table
from nyx_hf.suite_ranking import Dim, Ranked, rank_candidates, rank_corpus
from nyx_hf.suites import Evaluation, NoOptions, checked_names

NAMES = tuple(task.name for task in TASKS)
IMAGES: dict[str, tuple[str, ...]] = {
    "ShareGPT4V t → i": ("sharegpt4v-t2i",),
    "Urban-1K t → i": ("urban1k-t2i",),
    "Flickr30K t → i": ("flickr30k-t2i",),
    "ShareGPT4V i → t": ("sharegpt4v-i2t",),
    "Urban-1K i → t": ("urban1k-i2t",),
    "Flickr30K i → t": ("flickr30k-i2t",),
    "CIRCO": ("circo",),
    "GeneCIS": tuple(task.name for task in TASKS if task.layout == "genecis"),
    "Visual Dialog": ("visdial",),
    "Multi-round FashionIQ": ("fashioniq-rounds",),
    "CC-Neg": ("cc-neg",),
    "SugarCrepe": tuple(task.name for task in TASKS if task.layout == "sugarcrepe"),
}
"""The figures of Table 8, and the tasks that each is the mean of."""
VIDEOS = {"MSR-VTT": "msr-vtt", "MSVD": "msvd"}
"""The sets of Table 9, at recall 1, 5 and 10 each."""

_SAID = {"hit@1": "recall@1", "hit@5": "recall@5", "map@5": "map@5"}


@dataclass(frozen=True)
class ZeroShotSuite:
    """The unseen sets.

    R@k is 1 for a query where a right document is among the first k (`hit@k`), as LamRA and U-MARVEL count it: of an
    image that five captions describe, one is enough. With r_i = 1 where document i is right and R right documents,

        MAP@5 = Σ_{i≤5} r_i · (Σ_{j≤i} r_j / i) / min(R, 5)                                   (`map@5`; CIRCO)

    Image-text matching is right where the caption scores higher than the wrong one; equal scores are wrong. Upstream
    does not say what equal scores are among a gallery of GeneCIS: they are wrong here, too.

    The paper gives no average over sets, so there is none here. What else it leaves open says
    `nyx_hf.data_builders.zero_shot_tasks`.

    Attributes:
        name: Its name on the command line.
        title: What it is called.
        summary: What it measures.
        options: It has none of its own.
    """

    name: str = "zero-shot"
    title: str = "Unseen sets"
    summary: str = "U-MARVEL's eleven unseen sets: captions, dialogs, composed images, matching, videos (recall@1)."
    options: type[Any] = NoOptions

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Scores every task that is there.

        Raises:
            ValueError: If none is there, one is another dataset, or a name held out is not a task.
        """
        held_out = checked_names(evaluation.held_out, NAMES, self.name)
        scores: list[SetScore] = []
        missing: list[Missing] = []
        for task in (progress := tqdm(TASKS, desc=self.name, unit="task")):
            progress.set_postfix_str(task.name)
            place = SetPlace(task.name, "zero-shot", ("--task", task.name), "source", task.name)
            try:
                data = open_set(place, evaluation)
            except MissingSetError as error:
                missing.append(Missing(task.name, task.kind, str(error), place.command(evaluation.data)))
            else:
                scores += _scores(task, data, evaluation, held_out)
        if not scores:
            raise ValueError(
                f"none of the {len(TASKS)} tasks of {self.name} is in {evaluation.data}: {missing[0].name} "
                f"{missing[0].reason}; run: {missing[0].command}, or pass --build"
            )
        scores.sort(key=lambda score: evaluation.widths.index(score.dim))
        run = evaluation.run_facts()
        return SuiteReport(
            suite=self.name,
            title=self.title,
            dataset=LAMRA,
            metric="recall@1",
            run=run,
            tables=[_image_table(run, scores), _video_table(run, scores), *_held_out(run, scores, held_out)],
            scores=scores,
            missing=missing,
        )


def _scores(task: Task, data: SetData, evaluation: Evaluation, held_out: Collection[str]) -> list[SetScore]:
    """Scores one task at every width."""
    score = partial(
        SetScore,
        name=task.name,
        group=task.kind,
        part="video" if task.layout == "video" else "image",
        metric=task.metric,
        queries=len(data.queries),
        expected=task.queries,
        held_out=task.name in held_out,
        partial=data.partial(task.queries),
        revisions=data.revisions,
    )
    scores = []
    for dim, ranked in _ranked(task, data, evaluation).items():
        predictions = [Prediction(*both) for both in zip(ranked.ids, data.grades, strict=True)]
        metrics = mmeb_metrics(predictions)
        scores.append(score(dim=dim, documents=ranked.documents, metrics=metrics, predictions=predictions))
    return scores


def _ranked(task: Task, data: SetData, evaluation: Evaluation) -> Mapping[Dim, Ranked]:
    if task.own:  # of equal scores the first counts, so that the right candidate stands last
        candidates = [[*wrong, *right] for right, wrong in zip(data.grades, data.negatives, strict=True)]
        return rank_candidates(evaluation.searcher, data.queries, data.corpus, candidates, evaluation.widths, DEPTH)
    index = evaluation.searcher.index(lambda: stored_items(data.queries), lambda: stored_items(data.corpus))
    return rank_corpus(index, np.arange(len(data.queries)), list(data.corpus["id"]), evaluation.widths, DEPTH)


def _image_table(run: Run, scores: Sequence[SetScore]) -> Table:
    figures = {key: f"{key} ({len(names)})" if len(names) > 1 else key for key, names in IMAGES.items()}
    metrics = {key: _said(names[0]) for key, names in IMAGES.items()}
    lines = [*our_lines(run, scores, IMAGES, "image"), *published_lines(published("zero-shot"), figures)]
    title = "Images: R@1; CIRCO MAP@5, Multi-round FashionIQ R@5, CC-Neg and SugarCrepe accuracy"
    return Table("zero-shot", title, figures, lines, metrics)


def _video_table(run: Run, scores: Sequence[SetScore]) -> Table:
    """Shows each video set at three depths."""
    keys = {f"{title} R@{k}": (name, k) for title, name in VIDEOS.items() for k in CUTS}
    by_depth = [
        replace(score, name=key, metric=f"hit@{k}")
        for key, (name, k) in keys.items()
        for score in scores
        if score.name == name
    ]
    averages = {key: (key,) for key in keys}
    figures = {key: key for key in keys}
    lines = [*our_lines(run, by_depth, averages), *published_lines(published("zero-shot", "videos"), figures)]
    metrics = {key: f"recall@{k}" for key, (_, k) in keys.items()}
    return Table("videos", "Videos found by their captions", figures, lines, metrics)


def _held_out(run: Run, scores: Sequence[SetScore], held_out: Collection[str]) -> list[Table]:
    tables = held_out_table(run, scores, held_out, NAMES)
    return [replace(table, metrics={name: _said(name) for name in held_out}) for table in tables]


def _said(name: str) -> str:
    """Names what counts in a task as papers do."""
    task = task_named(name)
    return "accuracy" if task.kind == MATCHING else _SAID[task.metric]


SUITE = ZeroShotSuite()
