"""URAG's answers as tables: the paper's Table 1 and Table 3, ours beside what it prints."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nyx_hf.published import published
from nyx_hf.result_lines import published_lines
from nyx_hf.results import Line, Mean, Prediction, SetScore, Table
from nyx_hf.suite_ranking import Dim
from nyx_hf.urag_answers import Answers, Asking, Way
from nyx_hf.urag_certainty import Column, average_of, columns_of, values_of
from nyx_hf.urag_sets import METRICS, SETS, OpenedSet, URAGSet

AVERAGE = "average"
_SPOKEN = {"em": "EM", "f1": "F1", "accuracy": "Acc"}


@dataclass(frozen=True)
class Measured:
    """What was asked, and what its parts are called.

    Attributes:
        asking: Sets and answers.
        wanted: The sets that were asked for, those that are missing too.
        model: The model that is evaluated, with its revision.
        others: Retrievers to compare it with.
        answerers: Who answered; the first everywhere, the others from the model's documents and from none.
        dims: The model's widths, the widest first.
        documents: Numbers of documents that were shown; 0 is direct answering.
        scale: Models by the size of their training set.
        labels: What retrievers are called in tables.
    """

    asking: Asking
    wanted: Sequence[URAGSet]
    model: str
    others: Sequence[str]
    answerers: Sequence[str]
    dims: Sequence[Dim]
    documents: Sequence[int]
    scale: Mapping[int, str]
    labels: Mapping[str, str]

    @property
    def sets(self) -> Sequence[OpenedSet]:
        """The sets that are there."""
        return self.asking.sets

    @property
    def shown(self) -> int:
        """Documents that the tables are over: the fewest above 0, one as in the paper unless told otherwise."""
        return min(number for number in self.documents if number)

    @property
    def retrievers(self) -> list[str]:
        """The model, then those that answered any set."""
        return [self.model, *(one for one in self.others if self.answers(one))]

    def called(self, retriever: str, name: str) -> str:
        """Calls the model by the name that it has in tables, others by their label."""
        return name if retriever == self.model else self.labels[retriever]

    def rows(self, name: str) -> dict[str, Mapping[str, Answers]]:
        """Gives the rows of Table 1: the model, direct answers, other retrievers."""
        direct = {f"direct answer ({who})": self.answers(answerer=who) for who in self.answerers}
        others = {self.labels[one]: self.answers(one) for one in self.retrievers[1:]}
        return {name: self.answers(self.model), **direct, **others}

    def width_of(self, retriever: str) -> Dim:
        """Gives the width at which a retriever stands in tables: the model's widest."""
        return self.dims[0] if retriever == self.model else None

    def answers(
        self, retriever: str | None = None, documents: int | None = None, answerer: str | None = None, dim: Dim = None
    ) -> Mapping[str, Answers]:
        """Gives one way's answers, by set.

        Args:
            retriever: Whose documents were shown; None for direct answers.
            documents: How many; `shown` where it is None.
            answerer: Who answered; the first where it is None.
            dim: Embedding width; that of tables where it is None.

        Returns:
            The answers; nothing where it was not asked.
        """
        who = answerer or self.answerers[0]
        if retriever is None:
            return self.asking.answers.get(Way(who), {})
        width = self.width_of(retriever) if dim is None else dim
        return self.asking.answers.get(Way(who, retriever, width, documents or self.shown), {})


def table_figures(wanted: Sequence[URAGSet], sets: Sequence[OpenedSet]) -> dict[str, str]:
    """Gives the headings of Table 1 by figure: `hotpotqa em`, …, `average`.

    Args:
        wanted: All sets that were asked for.
        sets: Those that are there, which know what is counted of a user's own.

    Returns:
        The headings.
    """
    metrics = {**METRICS, **{one.set.name: one.metrics for one in sets}}
    figures = {
        f"{one.name} {metric}": f"{one.title} {_SPOKEN[metric]}"
        for one in wanted
        for metric in metrics.get(one.name, ())
    }
    return {**figures, AVERAGE: f"Avg. ({len(figures)})"}


def main_table(measured: Measured, name: str) -> Table:
    """Makes Table 1: the model, direct answers, other retrievers, and what the paper prints.

    Args:
        measured: What was asked.
        name: What the model is called.

    Returns:
        The table.
    """
    figures = table_figures(measured.wanted, measured.sets)

    columns = len(figures) - 1
    lines = [
        Line(called, _means(answers, measured.sets, columns), compared=called != name)
        for called, answers in measured.rows(name).items()
    ]
    own = [one.name for one in measured.wanted] == list(SETS)
    printed = published_lines(published("urag"), [one for one in figures if own or one != AVERAGE])
    documents = f"{measured.shown} document" + ("s" if measured.shown > 1 else "")
    return Table(
        "urag",
        f"URAG: answers of {measured.answerers[0]} from {documents}, averaged over columns",
        figures,
        [*lines, *printed],
    )


def width_table(measured: Measured, name: str) -> list[Table]:
    """Makes Table 3: answers, and right documents found, by embedding width; none where one width was asked for.

    Args:
        measured: What was asked.
        name: What the model is called.

    Returns:
        One table or none.
    """
    if len(measured.dims) < 2:
        return []
    by_width = {str(dim): measured.answers(measured.model, dim=dim) for dim in measured.dims}
    names = {one.set.name for one in measured.sets if any(one.set.name in answers for answers in by_width.values())}
    sets = [one for one in measured.sets if one.set.name in names]
    overall = {dim: Mean(100 * average_of(answers, sets).mean) for dim, answers in by_width.items()}
    lines = [Line(f"{name}, average", overall, compared=True)]
    for column in sorted(columns_of(sets), key=lambda one: one[0] != "nyxqa"):  # NyxQA first: the paper has no other
        values = {dim: Mean(100 * float(values_of(answers, column).mean())) for dim, answers in by_width.items()}
        lines.append(Line(f"{name}, {column_title(sets, column)}", values, compared=True))
    for one in sets:
        hits = {dim: found_share(answers[one.set.name].found) for dim, answers in by_width.items()}
        if None not in hits.values():
            found = {dim: Mean(100 * hit) for dim, hit in hits.items() if hit is not None}
            lines.append(Line(f"{name}, {one.set.title} right document shown", found, compared=True))
    printed = published("urag", "dims") if SETS["nyxqa"] in measured.wanted else []
    widths = {int(dim) for dim in (*by_width, *(dim for row in printed for dim in row.figures))}
    figures = {str(dim): f"{dim} dims" for dim in sorted(widths, reverse=True)}
    theirs = [
        Line(f"{line.name}, NyxQA Acc", line.values, line.source, own=line.own)
        for line in published_lines(printed, figures)
    ]
    return [Table("dims", "Embedding widths (Matryoshka)", figures, [*lines, *theirs])]


def set_scores(measured: Measured, held_out: Collection[str]) -> list[SetScore]:
    """Gives the model's scores of each set at each width, from the first answerer.

    Args:
        measured: What was asked.
        held_out: Sets that the model was not trained on.

    Returns:
        Scores, the widest embedding first.
    """
    return [
        _score(measured, one, dim, one.set.name in held_out)
        for dim in measured.dims
        for one in measured.sets
        if one.set.name in measured.answers(measured.model, dim=dim)
    ]


def column_title(sets: Sequence[OpenedSet], column: Column) -> str:
    """Gives a column's heading, as the paper's: `HotpotQA EM`."""
    title = next(one.set.title for one in sets if one.set.name == column[0])
    return f"{title} {_SPOKEN[column[1]]}"


def found_share(found: np.ndarray) -> float | None:
    """Gives the share of questions for which a right document was shown; None where none is labelled."""
    labelled = found[~np.isnan(found)]
    return float(labelled.mean()) if len(labelled) else None


def _means(answers: Mapping[str, Answers], sets: Sequence[OpenedSet], columns: int) -> dict[str, Mean]:
    """Gives the figures of a line: columns, and their average with how many it is over."""
    there = [one for one in sets if one.set.name in answers]
    if not there:
        return {}
    means = {
        f"{one.set.name} {metric}": Mean(
            100 * float(values_of(answers, (one.set.name, metric)).mean()), short=int(bool(one.partial))
        )
        for one in there
        for metric in one.metrics
    }
    short = sum(mean.short for mean in means.values())
    return {**means, AVERAGE: Mean(100 * average_of(answers, there).mean, len(means), columns, short)}


def _score(measured: Measured, one: OpenedSet, dim: Dim, held_out: bool) -> SetScore:
    answers = measured.answers(measured.model, dim=dim)[one.set.name]
    metrics = {name: float(values.mean()) for name, values in answers.judged.scores.items()}
    if (found := found_share(answers.found)) is not None:
        metrics[f"hit@{measured.shown}"] = found
    rankings = measured.asking.rankings[measured.model, dim][one.set.name]
    silent = sum(answers.judged.failures.values())
    return SetScore(
        name=one.set.name,
        group=one.set.group,
        part="urag",
        metric=one.metrics[0],
        metrics=metrics,
        queries=len(one.data.queries),
        documents=len(one.data.corpus),
        expected=one.set.expected,
        dim=dim,
        held_out=held_out,
        partial=one.partial,
        notes=(f"{silent:,} questions without an answer",) if silent else (),
        revisions=one.data.revisions,
        predictions=[Prediction(found.ids, right) for found, right in zip(rankings, one.data.grades, strict=True)],
    )
