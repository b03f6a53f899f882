"""Lines of results: averages of ours, and what papers print."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from nyx_hf.published import Published
from nyx_hf.results import Line, Mean, Run, SetScore


def mean(scores: Mapping[str, SetScore], names: Collection[str]) -> Mean:
    """Averages the counted metric over sets, each counting alike.

    Args:
        scores: Scores that there are, by set.
        names: The sets that the average ought to be over.

    Returns:
        The average in percent.
    """
    there = [scores[name] for name in names if name in scores]
    value = 100 * fmean(score.value for score in there) if there else None
    return Mean(value, len(there), len(names), sum(bool(score.partial) for score in there))


def published_lines(rows: Sequence[Published], figures: Collection[str]) -> list[Line]:
    """Makes lines of what papers print, of those models that have one of the figures."""
    lines = []
    for row in rows:
        values = {figure: Mean(row.figures[figure]) for figure in figures if figure in row.figures}
        if values:
            lines.append(Line(row.model, values, row.source, own=row.own))
    return lines


def our_lines(
    run: Run, scores: Sequence[SetScore], averages: Mapping[str, Collection[str]], part: str | None = None
) -> list[Line]:
    """Makes our lines, one for each width.

    Args:
        run: How the scores were made.
        scores: Scores of sets.
        averages: The sets that each figure is over.
        part: The part of the benchmark that counts; all where it is None.

    Returns:
        Lines, in the order in which widths occur; a sample says so in its name.
    """
    counted = [score for score in scores if part in (None, score.part)]
    name = f"{run.model} (SAMPLE)" if run.limit is not None else run.model
    lines = []
    for dim in dict.fromkeys(score.dim for score in counted):
        at_width = {score.name: score for score in counted if score.dim == dim}
        lines.append(Line(name, {figure: mean(at_width, names) for figure, names in averages.items()}, dim=dim))
    return lines
