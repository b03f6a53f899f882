"""Pictures of URAG's answers: curves over documents, widths and training-set sizes, and bars by who answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nyx_hf.plots import ACCENT, GRID, INK, MUTED, save_figure
from nyx_hf.typesetting import font
from nyx_hf.urag_certainty import Estimate

_COLORS = (ACCENT, "#b45309", "#0f766e", "#be185d", "#6b7280", "#0369a1", "#4d7c0f")
_MARKERS = "osD^vPX"


@dataclass(frozen=True)
class Point:
    """A point of a curve: where it lies, and its value with its interval."""

    x: int
    value: Estimate


def draw_curves(
    title: str, x_label: str, curves: Mapping[str, Sequence[Point]], path: str | Path, *, log: bool = False
) -> Path:
    """Draws averages over a number, their intervals as bands; the model's figures are written beside its curve.

    Args:
        title: The heading.
        x_label: What the number is.
        curves: Points by name, the model's first.
        path: The PNG file to write.
        log: Whether the number's axis is logarithmic; its values stand at equal distances otherwise.

    Returns:
        The file.
    """
    figure, axes = _page(title)
    ticks = sorted({point.x for points in curves.values() for point in points})
    place = {x: float(x) if log else float(number) for number, x in enumerate(ticks)}
    for number, (name, points) in enumerate(curves.items()):
        color = _COLORS[number % len(_COLORS)]
        xs = [place[point.x] for point in points]
        means, lows, highs = (
            [100 * value for value in column]
            for column in zip(*((one.value.mean, one.value.low, one.value.high) for one in points), strict=True)
        )
        marker = f"{_MARKERS[number % len(_MARKERS)]}-"
        axes.plot(xs, means, marker, color=color, linewidth=2.2 if number == 0 else 1.6, markersize=5, label=name)
        axes.fill_between(xs, lows, highs, color=color, alpha=0.13 if number == 0 else 0.07, linewidth=0)
        for x, mean in zip(xs, means, strict=True) if number == 0 else ():
            _write(axes, f"{mean:.1f}", (x, mean), color)
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks([place[x] for x in ticks], [f"{x:,}" for x in ticks])
    axes.margins(x=0.08)
    axes.set_xlabel(x_label, color=MUTED, fontproperties=font(10))
    _legend(figure, len(curves))
    return save_figure(figure, path)


def draw_bars(title: str, bars: Mapping[str, Mapping[str, Estimate]], path: str | Path) -> Path:
    """Draws averages in groups, with their intervals.

    Args:
        title: The heading.
        bars: Averages by group, then by name; every group has the same names.
        path: The PNG file to write.

    Returns:
        The file.
    """
    figure, axes = _page(title, width=max(7.4, 2.1 * len(bars)))
    names = list(next(iter(bars.values())))
    colors = ("#c7d2fe", *_COLORS)
    room = 0.7 / len(names)
    for number, name in enumerate(names):
        for group, values in enumerate(bars.values()):
            one, left = values[name], group - 0.35 + (number + 0.5) * room
            mean, low, high = (100 * value for value in (one.mean, one.low, one.high))
            axes.bar(left, mean, 0.92 * room, color=colors[number], label=name if group == 0 else None, linewidth=0)
            axes.errorbar(left, mean, [[mean - low], [high - mean]], color=INK, linewidth=1, capsize=3)
            _write(axes, f"{mean:.1f}", (left, high), INK)
    axes.set_xticks(range(len(bars)), [_broken(name) for name in bars])
    axes.set_xlim(-0.6, len(bars) - 0.4)
    axes.set_ylim(bottom=0)
    _legend(figure, len(names))
    return save_figure(figure, path)


def _page(title: str, width: float = 7.4) -> tuple[Figure, Axes]:
    """Empty axes of percents in the common style."""
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(width, 4.6), dpi=100, facecolor="white", layout=layout)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, pad=14, fontproperties=font(13, bold=True), parse_math=False)
    axes.set_ylabel("average, %", color=MUTED, fontproperties=font(10))
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    return figure, axes


def _legend(figure: Figure, entries: int) -> None:
    """Puts the legend below, where it hides nothing."""
    figure.legend(
        frameon=False, prop=font(9), loc="outside lower center", ncols=min(entries, 3), handlelength=1.6,
        columnspacing=1.6,
    )  # fmt: skip


def _write(axes: Axes, said: str, at: tuple[float, float], color: str) -> None:
    axes.annotate(
        said, at, (0, 6), textcoords="offset points", ha="center", color=color, fontproperties=font(9, bold=True)
    )


def _broken(name: str) -> str:
    """Writes a long name in lines."""
    return "\n".join(wrap(name, 22, break_on_hyphens=False, break_long_words=False))
