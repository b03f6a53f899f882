"""MMEB: 36 image sets, or 78 with videos and visual documents (version 2), scored as VLM2Vec scores them.

Equal documents are one here, where upstream lists may repeat them: hit@1 is the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.mmeb_sets import GROUPS, V1_GROUPS, Group
from nyx_hf.data_builders.ranking import stored_items
from nyx_hf.data_builders.video_set_layouts import video_set
from nyx_hf.mmeb_metrics import DEPTH, mmeb_metrics
from nyx_hf.published import published
from nyx_hf.result_lines import our_lines, published_lines
from nyx_hf.results import Missing, Prediction, Run, SetScore, SuiteReport, Table
from nyx_hf.suite_data import MissingSetError, SetData, SetPlace, open_set
from nyx_hf.suite_held_out import held_out_table
from nyx_hf.suite_ranking import Dim, Ranked, rank_candidates, rank_corpus
from nyx_hf.suites import Evaluation, NoOptions, checked_names

BUILDERS = {"image": "mmeb-eval", "video": "mmeb-video", "document": "visual-documents"}
PARTS = {"image": "image", "video": "video", "document": "visdoc"}
"""The parts' names in the benchmark's own files."""
METRICS = {"image": "hit@1", "video": "hit@1", "visdoc": "ndcg_linear@5"}
"""The metric that counts in each part."""

_HEADINGS = {
    "classification": "Class.",
    "question answering": "VQA",
    "retrieval": "Retr.",
    "visual grounding": "Ground.",
    "video classification": "V-Class.",
    "video question answering": "V-QA",
    "video retrieval": "V-Retr.",
    "moment retrieval": "V-Moment",
    "document, out of domain": "Doc. OOD",
}

# `num_data` in VLM2Vec's own results (experiments/public/all_scores, v2.0.1 and v2.1); all other sets have 1,000
_QUERIES = {
    "Breakfast": 433, "MVBench": 4000, "Video-MME": 2700, "NExTQA": 8564, "EgoSchema": 500,
    "DiDeMo": 1004, "MSVD": 670, "VATEX": 4478, "YouCook2": 3179,
    "QVHighlight": 1083, "Charades-STA": 727, "MomentSeeker": 1602,
    "ViDoRe_arxivqa": 500, "ViDoRe_docvqa": 451, "ViDoRe_infovqa": 494, "ViDoRe_tabfquad": 280,
    "ViDoRe_tatdqa": 1646, "ViDoRe_shiftproject": 100, "ViDoRe_syntheticDocQA_artificial_intelligence": 100,
    "ViDoRe_syntheticDocQA_energy": 100, "ViDoRe_syntheticDocQA_government_reports": 100,
    "ViDoRe_syntheticDocQA_healthcare_industry": 100, "ViDoRe_esg_reports_human_labeled_v2": 52,
    "ViDoRe_biomedical_lectures_v2_multilingual": 640, "ViDoRe_economics_reports_v2_multilingual": 232,
    "ViDoRe_esg_reports_v2_multilingual": 228,
    "VisRAG_ArxivQA": 816, "VisRAG_ChartQA": 63, "VisRAG_MP-DocVQA": 591, "VisRAG_SlideVQA": 556,
    "VisRAG_InfoVQA": 718, "VisRAG_PlotQA": 863,
    "ViDoSeek-page": 1142, "ViDoSeek-doc": 1142, "MMLongBench-page": 838, "MMLongBench-doc": 838,
}  # fmt: skip


def expected_queries(name: str) -> int:
    """Gives the number of queries that the benchmark has in a set."""
    return _QUERIES.get(name, 1000)


@dataclass(frozen=True)
class MMEBSuite:
    """One version of the benchmark.

    Attributes:
        name: Its name on the command line.
        title: What it is called.
        summary: What it measures.
        dataset: Its repository on the Hub.
        metric: What its figures are.
        groups: Its groups of sets.
        options: It has none of its own.
    """

    name: str
    title: str
    summary: str
    dataset: str
    metric: str
    groups: tuple[Group, ...]
    options: type[Any] = NoOptions

    @property
    def averages(self) -> dict[str, tuple[str, ...]]:
        """The sets that each figure is over, every set counting alike: groups, parts, and all."""
        averages = {group.name: group.sets for group in self.groups}
        if self.name == "mmeb-v1":
            averages["IND"] = tuple(one for group in self.groups for one in group.trained)
            averages["OOD"] = tuple(one for group in self.groups for one in group.held_out)
            return {**averages, "overall": self.sets}
        by_part: dict[str, tuple[str, ...]] = {}
        for part in PARTS:
            groups = [group for group in self.groups if group.modality == part]
            by_part |= {group.name: group.sets for group in groups}
            by_part[part] = tuple(one for group in groups for one in group.sets)
        return {**by_part, "all": self.sets}

    @property
    def sets(self) -> tuple[str, ...]:
        """All its sets."""
        return tuple(one for group in self.groups for one in group.sets)

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Scores every set that is there.

        Raises:
            ValueError: If none is there, one is another dataset, or a name held out is not a set.
        """
        held_out = checked_names(evaluation.held_out, self.sets, self.name)
        scores: list[SetScore] = []
        missing: list[Missing] = []
        jobs = [(group, name) for group in self.groups for name in group.sets]
        for group, name in (progress := tqdm(jobs, desc=self.name, unit="set")):
            progress.set_postfix_str(name)
            place = _place(group, name)
            try:
                data = open_set(place, evaluation)
            except MissingSetError as error:
                missing.append(Missing(name, group.name, str(error), place.command(evaluation.data)))
            else:
                scores += _scores(group, name, data, evaluation, held_out)
        if not scores:
            raise ValueError(
                f"none of the {len(jobs)} sets of {self.name} is in {evaluation.data}: {missing[0].name} "
                f"{missing[0].reason}; run: {missing[0].command}, or pass --build"
            )
        run = evaluation.run_facts()
        scores.sort(key=lambda score: evaluation.widths.index(score.dim))
        return SuiteReport(
            suite=self.name,
            title=self.title,
            dataset=self.dataset,
            metric=self.metric,
            run=run,
            tables=self._tables(run, scores, held_out),
            scores=scores,
            missing=missing,
        )

    def _tables(self, run: Run, scores: Sequence[SetScore], held_out: Collection[str]) -> list[Table]:
        averages = self.averages
        figures = {key: f"{_HEADINGS.get(key, _titled(key))} ({len(names)})" for key, names in averages.items()}
        lines = [*our_lines(run, scores, averages), *published_lines(published(self.name), figures)]
        # a figure whose sets are all of one part has that part's metric
        parts = {name: PARTS[group.modality] for group in self.groups for name in group.sets}
        kinds = {key: {METRICS[parts[name]] for name in names} for key, names in averages.items()}
        metrics = {key: metric for key, (metric, *others) in kinds.items() if not others}
        title = f"{self.title}: {self.metric}, in brackets the sets averaged"
        table = Table(self.name, title, figures, lines, metrics)
        return [table, *held_out_table(run, scores, held_out, self.sets)]


def _titled(key: str) -> str:
    return key if key != key.lower() else key.capitalize()


def _place(group: Group, name: str) -> SetPlace:
    return SetPlace(name, BUILDERS[group.modality], ("--subset", name), "source", name)


def ranks_own_candidates(group: Group, name: str) -> bool:
    """Tells whether each query of a set has candidates of its own, and not all documents of the set.

    Visual documents and videos to be found are ranked among all, classes among the whole label set where there is one
    (`eval_type` in the benchmark's files).
    """
    if group.modality == "video":
        one = video_set(name)
        return one.kind != "retrieval" and not one.labels
    return group.modality == "image"


def _scores(
    group: Group, name: str, data: SetData, evaluation: Evaluation, held_out: Collection[str]
) -> list[SetScore]:
    """Scores one set at every width."""
    part, expected = PARTS[group.modality], expected_queries(name)
    score = partial(
        SetScore,
        name=name,
        group=group.name,
        part=part,
        metric=METRICS[part],
        queries=len(data.queries),
        expected=expected,
        held_out=name in held_out,
        partial=data.partial(expected),
        revisions=data.revisions,
    )
    found: list[SetScore] = []
    for dim, ranked in _ranked(group, name, data, evaluation).items():
        predictions = [Prediction(*one) for one in zip(ranked.ids, data.grades, strict=True)]
        ties = (f"{ranked.ties:,} queries tie for the first place: the earliest candidate counts",)
        found.append(
            score(
                dim=dim,
                documents=ranked.documents,
                metrics=mmeb_metrics(predictions),
                predictions=predictions,
                notes=ties if ranked.ties else (),
            )
        )
    return found


def _ranked(group: Group, name: str, data: SetData, evaluation: Evaluation) -> Mapping[Dim, Ranked]:
    if ranks_own_candidates(group, name):
        candidates = [[*grades, *others] for grades, others in zip(data.grades, data.negatives, strict=True)]
        return rank_candidates(evaluation.searcher, data.queries, data.corpus, candidates, evaluation.widths, DEPTH)
    index = evaluation.searcher.index(lambda: stored_items(data.queries), lambda: stored_items(data.corpus))
    return rank_corpus(index, np.arange(len(data.queries)), list(data.corpus["id"]), evaluation.widths, DEPTH)


V1 = MMEBSuite(
    "mmeb-v1",
    "MMEB, version 1",
    "MMEB's 36 image sets: each query finds its answer among its own candidates (hit@1).",
    "TIGER-Lab/MMEB-eval",
    "hit@1",
    V1_GROUPS,
)
V2 = MMEBSuite(
    "mmeb-v2",
    "MMEB, version 2",
    "MMEB's 78 sets of images, videos (hit@1) and visual documents (nDCG@5).",
    "TIGER-Lab/MMEB-V2",
    "hit@1, of documents ndcg@5",
    GROUPS,
)
