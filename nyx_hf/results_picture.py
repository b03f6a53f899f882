"""The picture of results: for each table, bars of ours beside the papers' own models."""

from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nyx_hf.plots import ACCENT, GRID, INK, MUTED, WRONG, save_figure
from nyx_hf.results import Line, SuiteReport, Table
from nyx_hf.results_text import cell, line_name
from nyx_hf.typesetting import font

_OURS = (ACCENT, "#818cf8", "#c7d2fe")  # the widest embedding darkest
_PUBLISHED = ("#9ca3af", "#d1d5db", "#6b7280", "#e5e7eb")
_LEGEND_COLUMNS = 3
_BARS = 0.84  # share of a figure's room that its bars take


def results_picture(report: SuiteReport, path: str | Path) -> Path | None:
    """Draws ours beside the papers' own models, a panel for each table that has published lines.

    Bars over only some of their sets, or of a sample, are hatched.

    Args:
        report: What a suite found.
        path: The PNG file to write.

    Returns:
        The file; None where no table has published lines.
    """
    tables = [table for table in report.tables if any(line.source for line in table.lines)]
    if not tables:
        return None
    width = max(10.5, max((0.13 * len(_drawn(table)) + 0.3) * len(table.figures) for table in tables) + 1.5)
    figure = Figure(
        figsize=(width, 4.8 * len(tables) + 0.6),
        dpi=100,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15),
    )
    warning = "\n".join(line for reason in report.partial for line in wrap(reason, int(10 * width)))
    if warning:
        figure.suptitle(warning, color=WRONG, fontproperties=font(10, bold=True), x=0.02, ha="left")
    for axes, table in zip(figure.subplots(len(tables), squeeze=False)[:, 0], tables, strict=True):
        _draw(axes, table, hatched=report.sample)
    return save_figure(figure, path)


def _drawn(table: Table) -> list[tuple[Line, str]]:
    """Picks the lines that are drawn, each with its colour: our widest, then the papers' own models."""
    ours = [line for line in table.lines if line.source is None]
    theirs = [line for line in table.lines if line.source is not None and line.own]
    return [*zip(ours, _OURS, strict=False), *zip(theirs, _PUBLISHED, strict=False)]


def _draw(axes: Axes, table: Table, *, hatched: bool) -> None:
    """Draws one table."""
    lines = _drawn(table)
    room = _BARS / len(lines)
    places = np.arange(len(table.figures))
    for number, (line, color) in enumerate(lines):
        means = [line.values.get(figure) for figure in table.figures]
        heights = [0.0 if mean is None or mean.value is None else mean.value for mean in means]
        lefts = places - _BARS / 2 + (number + 0.5) * room
        label = line_name(line) if line.source is None else f"{line.name} ({line.source})"
        bars = axes.bar(lefts, heights, 0.92 * room, color=color, label=label, linewidth=0)
        for bar, mean in zip(bars, means, strict=True):
            if mean is None or mean.value is None:
                continue
            if line.source is None and (hatched or not mean.whole):
                bar.set(hatch="///", edgecolor="white")
            axes.annotate(
                cell(mean),
                (bar.get_x() + bar.get_width() / 2, mean.value),
                (0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=90,
                color=ACCENT if line.source is None else MUTED,
                fontproperties=font(7.5, bold=line.source is None),
            )
    _dress(axes, table, legend_rows=-(-len(lines) // _LEGEND_COLUMNS))


def _dress(axes: Axes, table: Table, legend_rows: int) -> None:
    """Gives a panel its title, labels and legend."""
    axes.set_title(table.title, loc="left", color=INK, pad=16 + 15 * legend_rows, fontproperties=font(12, bold=True))
    axes.set_xticks(range(len(table.figures)), list(table.figures.values()))
    crowded = len(table.figures) > 8
    for label in axes.get_xticklabels():
        label.set(rotation=35 if crowded else 0, ha="right" if crowded else "center", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(table.figures) - 0.4)
    axes.set_ylim(0, 118)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("%", color=MUTED, fontproperties=font(10))
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.legend(
        frameon=False, prop=font(8.5), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=_LEGEND_COLUMNS,
        handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
