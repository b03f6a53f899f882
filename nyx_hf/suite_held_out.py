"""Sets that a model was not trained on, averaged apart from those that it was (U-MARVEL, Table 15)."""

from collections.abc import Collection, Mapping, Sequence

from nyx_hf.published import Published
from nyx_hf.result_lines import our_lines, published_lines
from nyx_hf.results import Line, Run, SetScore, Table

HELD_OUT, TRAINED = "held out", "trained on"


def held_out_table(
    run: Run,
    scores: Sequence[SetScore],
    held_out: Collection[str],
    sets: Collection[str],
    published: Sequence[Published] = (),
    headings: Mapping[str, str] | None = None,
    part: str | None = None,
) -> list[Table]:
    """Makes the table of sets held out of training.

    Args:
        run: How the scores were made.
        scores: Scores of all sets.
        held_out: The sets held out, in order.
        sets: All sets.
        published: What papers print of sets held out; their average is shown only where it is over these very sets.
        headings: Headings of sets; their names where they have none.
        part: The part of the benchmark that counts; all where it is None.

    Returns:
        One table, or none where nothing is held out.
    """
    if not held_out:
        return []
    averages: dict[str, Collection[str]] = {name: (name,) for name in held_out}
    averages |= {HELD_OUT: tuple(held_out), TRAINED: tuple(one for one in sets if one not in held_out)}
    figures = {name: (headings or {}).get(name, name) for name in held_out}
    figures |= {name: f"{name} ({len(averages[name])})" for name in (HELD_OUT, TRAINED)}
    lines: list[Line] = our_lines(run, scores, averages, part)
    for row in published:
        same = set(row.figures) - {HELD_OUT} == set(held_out)
        shown = [name for name in figures if name != HELD_OUT or same]
        lines += published_lines([row], shown)
    metrics = {score.name: score.metric for score in scores if score.name in held_out}
    return [Table("held-out", "Held out of training, averaged apart", figures, lines, metrics)]
