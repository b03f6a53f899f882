"""From retrieval to answers: right document shown or not, answer right or wrong (Nyx, Figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline

from nyx_hf.plots import ACCENT, INK, MUTED, RIGHT, WRONG, save_figure
from nyx_hf.typesetting import font
from nyx_hf.urag_answers import Answers

_NOT_FOUND = "#9ca3af"
_BAR, _GAP = 0.05, 0.06  # width of a bar, and room between the two of a side, in shares of the panel
_LEFT, _RIGHT = 0.24, 0.76


@dataclass(frozen=True)
class Flow:
    """Questions by what was found and what was answered.

    Attributes:
        found_right: A right document was shown, and the answer is right.
        found_wrong: It was shown, and the answer is wrong.
        missed_right: None was shown, and the answer is right all the same.
        missed_wrong: None was shown, and the answer is wrong.
    """

    found_right: int
    found_wrong: int
    missed_right: int
    missed_wrong: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All four."""
        return self.found_right, self.found_wrong, self.missed_right, self.missed_wrong

    @property
    def questions(self) -> int:
        """Their sum."""
        return sum(self.counts)

    def cells(self) -> list[str]:
        """Writes counts with their share of all questions, then the share of right answers if found, and if not."""
        shares = [f"{count:,} ({100 * count / self.questions:.1f} %)" for count in self.counts]
        sides = (self.counts[:2], self.counts[2:])
        return [*shares, *(f"{100 * side[0] / sum(side):.1f} %" if sum(side) else "–" for side in sides)]

    def as_json(self) -> dict[str, int]:
        """Gives it as JSON values."""
        return {"questions": self.questions, **vars(self)}


def flow_of(answers: Answers) -> Flow:
    """Counts one set's answers by what was found.

    Args:
        answers: Answers, and whether a right document was shown; questions without a labelled one are left out.

    Returns:
        The four counts.
    """
    labelled = ~np.isnan(answers.found)
    found, right = answers.found[labelled] == 1, answers.right[labelled] == 1
    parts = (found & right, found & ~right, ~found & right, ~found & ~right)
    return Flow(*(int(part.sum()) for part in parts))


def draw_flows(flows: Sequence[tuple[str, str, Flow]], path: str | Path) -> Path:
    """Draws flows, sets downwards and retrievers across.

    Args:
        flows: Set, retriever and flow of each panel.
        path: The PNG file to write.

    Returns:
        The file.
    """
    sets, rows = (list(dict.fromkeys(flow[place] for flow in flows)) for place in (0, 1))
    figure = Figure(figsize=(4.4 * len(rows), 3.3 * len(sets) + 0.2), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(len(sets), len(rows), squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(1.1 + _GAP, -0.04), autoscale_on=False)
    for title, label, flow in flows:
        axes = panels[sets.index(title), rows.index(label)]
        heading = f"{title}: {label}"
        axes.set_title(heading, loc="left", color=INK, fontproperties=font(10.5, bold=True), parse_math=False)
        _draw(axes, flow)
    return save_figure(figure, path)


def _draw(axes: Axes, flow: Flow) -> None:
    """Draws one panel: bars at both sides, ribbons between them as thick as their share of questions."""
    a, b, c, d = (count / flow.questions for count in flow.counts)
    middle = _LEFT + _BAR, _RIGHT - _BAR
    starts = (0.0, a, a + b + _GAP, a + b + _GAP + c)
    ends = (0.0, a + c + _GAP, a, a + c + _GAP + b)  # right answers above, those from found documents first
    for start, end, share, color in zip(starts, ends, (a, b, c, d), (RIGHT, WRONG, RIGHT, WRONG), strict=True):
        if share:
            _ribbon(axes, middle, (start, end), share, color)
    bars = (
        (_LEFT, 0.0, a + b, ACCENT, "right document\nshown", "right"),
        (_LEFT, a + b + _GAP, c + d, _NOT_FOUND, "not shown", "right"),
        (_RIGHT - _BAR, 0.0, a + c, RIGHT, "answer right", "left"),
        (_RIGHT - _BAR, a + c + _GAP, b + d, WRONG, "answer wrong", "left"),
    )
    for left, top, share, color, said, side in bars:
        if share:
            axes.add_patch(Rectangle((left, top), _BAR, share, facecolor=color, linewidth=0))
            place = left - 0.02 if side == "right" else left + _BAR + 0.02
            axes.text(
                place,
                top + share / 2,
                f"{said}\n{share:.1%}",
                ha=side,
                va="center",
                color=INK,
                fontproperties=font(8.5),
            )


def _ribbon(axes: Axes, across: tuple[float, float], tops: tuple[float, float], share: float, color: str) -> None:
    """Draws one ribbon with its share of all questions in it, where there is room."""
    (left, right), (start, end) = across, tops
    half = (left + right) / 2
    points = [
        (left, start), (half, start), (half, end), (right, end),
        (right, end + share), (half, end + share), (half, start + share), (left, start + share), (left, start),
    ]  # fmt: skip
    curve = [Outline.CURVE4] * 3
    codes = [Outline.MOVETO, *curve, Outline.LINETO, *curve, Outline.CLOSEPOLY]
    axes.add_patch(PathPatch(Outline(points, codes), facecolor=color, alpha=0.28, linewidth=0))
    if share > 0.035:
        # beside its start, where ribbons do not cross yet
        axes.text(
            left + 0.02, start + share / 2, f"{share:.1%}", va="center", color=MUTED, fontproperties=font(8, bold=True)
        )
