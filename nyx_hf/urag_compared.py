"""URAG by one thing at a time, each row compared with one: documents, answerers, embedding widths, training sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nyx_hf.results import Section
from nyx_hf.urag_answers import Answers
from nyx_hf.urag_certainty import HEADINGS, Estimate, average_of, compared
from nyx_hf.urag_pictures import Point, draw_bars, draw_curves
from nyx_hf.urag_tables import Measured, found_share

TESTED = (
    "Percent, in brackets 95 % bootstrap intervals over questions. Rows are compared on the same questions: averages "
    "and F1 differ where the interval of the difference leaves out 0, right answers where McNemar's exact test says "
    "so (χ² has the continuity correction). No p-value is corrected for the number of comparisons."
)
_DIRECT = "direct answer"
_Answered = Mapping[str, Answers]


@dataclass(frozen=True)
class _Row:
    """A row: its first cells, its answers, and those that they are compared with; None where they are these."""

    first: tuple[str, ...]
    answers: _Answered
    against: _Answered | None


def by_documents(measured: Measured, name: str) -> Section | None:
    """Compares numbers of documents with direct answers (Nyx, Figure 5a); None where one number was asked for."""
    numbers = [number for number in measured.documents if number]
    if len(measured.documents) < 2:
        return None
    direct = measured.answers()
    rows = [_Row((_DIRECT, "0"), direct, None)]
    curves: dict[str, list[Point]] = {}
    for retriever in measured.retrievers:
        by_number = {number: measured.answers(retriever, number) for number in numbers}
        called = measured.called(retriever, name)
        rows += [_Row((called, str(number)), answers, direct) for number, answers in by_number.items()]
        there = next(iter(by_number.values()))
        points = {0: {one: direct[one] for one in there}, **by_number}
        curves[f"{called}{_over(there, measured)}"] = _points(points, measured)
    title = "Answers by number of documents (as Nyx, Figure 5a)"
    draw = partial(draw_curves, title, "documents shown", curves)
    return _section("documents", title, ("row", "documents"), rows, measured, _DIRECT, draw)


def by_answerer(measured: Measured, name: str) -> Section | None:
    """Compares every answerer with and without documents (Nyx, Figure 5b); None where there is one."""
    if len(measured.answerers) < 2:
        return None
    rows, bars = [], {}
    for who in measured.answerers:
        answers = measured.answers(measured.model, answerer=who)
        direct = {one: measured.answers(answerer=who)[one] for one in answers}
        rows += [_Row((who, _DIRECT), direct, None), _Row((who, name), answers, direct)]
        bars[who] = {_DIRECT: average_of(direct, measured.sets), name: average_of(answers, measured.sets)}
    title = "Answers by who answers (as Nyx, Figure 5b)"
    draw = partial(draw_bars, title, bars)
    return _section("answerers", title, ("answerer", "documents of"), rows, measured, _DIRECT, draw)


def by_width(measured: Measured, name: str) -> Section | None:
    """Compares embedding widths with the widest (Nyx, Table 3); None where one was asked for."""
    if len(measured.dims) < 2:
        return None
    by_dim = {dim: measured.answers(measured.model, dim=dim) for dim in measured.dims if dim is not None}
    widest = by_dim[max(by_dim)]
    rows = [
        _Row((str(dim), _found(answers)), answers, None if answers is widest else widest)
        for dim, answers in by_dim.items()
    ]
    title = "Answers by embedding width (as Nyx, Table 3)"
    draw = partial(draw_curves, title, "dimensions", {name: _points(by_dim, measured)})
    return _section("widths", title, ("dims", "right document shown"), rows, measured, "widest", draw)


def by_scale(measured: Measured, name: str) -> Section | None:
    """Compares models by the size of their training set (Nyx, Figure 4); None where no two were measured.

    Only sets that all of them could read count.
    """
    measured_at = {size: measured.answers(one) for size, one in sorted(measured.scale.items())}
    common = [one.set.name for one in measured.sets if all(one.set.name in each for each in measured_at.values())]
    if len(measured_at) < 2 or not common:
        return None
    by_size = {size: {one: answers[one] for one in common} for size, answers in measured_at.items()}
    smallest = by_size[min(by_size)]
    rows = [
        _Row((f"{size:,}", measured.called(one, name)), by_size[size], None if size == min(by_size) else smallest)
        for size, one in sorted(measured.scale.items())
    ]
    title = "Answers by size of the training set (as Nyx, Figure 4)"
    curve = {f"average{_over(smallest, measured)}": _points(by_size, measured)}
    draw = partial(draw_curves, title, "training examples", curve, log=True)
    return _section("scale", title, ("training examples", "model"), rows, measured, "smallest", draw)


def _section(
    key: str,
    title: str,
    headings: tuple[str, str],
    rows: Sequence[_Row],
    measured: Measured,
    against: str,
    draw: Callable[[Path], Path],
) -> Section:
    """Lays rows out that are compared with one."""
    cells, data = [], []
    for row in rows:
        mean = average_of(row.answers, measured.sets)
        one = None if row.against is None else compared(row.against, row.answers, measured.sets)
        tested = [""] * 7 if one is None else [*one.cells(), one.verdict(against, "this row")]
        cells.append([*row.first, f"{mean.shown()}{_over(row.answers, measured)}", *tested])
        named = dict(zip(headings, row.first, strict=True))
        data.append({**named, "average": mean.as_json(), "sets": list(row.answers), "against": one and one.as_json()})
    columns = (*headings, "average", f"− {against}", "only this right", f"only {against} right", *HEADINGS)
    return Section(key=key, title=title, columns=columns, rows=cells, data=data, draw=draw)


def _points(by_number: Mapping[int, _Answered], measured: Measured) -> list[Point]:
    means: dict[int, Estimate] = {one: average_of(answers, measured.sets) for one, answers in by_number.items()}
    return [Point(number, means[number]) for number in sorted(means)]


def _over(answers: _Answered, measured: Measured) -> str:
    """Says over how many sets an average is, where that is not over all that are there."""
    return "" if len(answers) == len(measured.sets) else f" ({len(answers)} of {len(measured.sets)} sets)"


def _found(answers: _Answered) -> str:
    """Writes the share of right documents shown, averaged over the sets with labels."""
    shares = [share for one in answers.values() if (share := found_share(one.found)) is not None]
    return f"{100 * sum(shares) / len(shares):.1f}" if shares else "–"
