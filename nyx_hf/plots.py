"""Pictures of a training run: the loss, retrieval by embedding dimension, and a gallery of queries with their hits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nyx_hf.typesetting import DPI, Block, Typesetter, draw, font

INK, MUTED, GRID = "#1f2937", "#6b7280", "#e5e7eb"
ACCENT, RIGHT, WRONG, SOUGHT = "#4338ca", "#15803d", "#b91c1c", "#b45309"
_PAPER, _ASKED = "#f8fafc", "#eef2ff"
_MARGIN, _GUTTER, _PADDING, _HEADER, _TITLE = 24.0, 12.0, 12.0, 24.0, 58.0


@dataclass(frozen=True)
class Hit:
    """A document that was found.

    Attributes:
        content: The document, in any form that the model takes.
        score: Its similarity to the query.
        correct: Whether it is a right one; None where nobody knows.
        label: What stands above it; its rank and score where it is empty.
    """

    content: Any
    score: float
    correct: bool | None
    label: str = ""


@dataclass(frozen=True)
class Example:
    """A query and what was found for it.

    Attributes:
        query: The query, in any form that the model takes.
        hits: Found documents, the best first.
        gold: A right document, shown where no shown hit is one.
        label: A word or two above the query, such as its task.
    """

    query: Any
    hits: Sequence[Hit]
    gold: Any = None
    label: str = ""


def loss_curve(points: Sequence[tuple[int, float]], path: str | Path) -> Path:
    """Draws the training loss over the steps, each point and a running mean.

    Args:
        points: Step and loss, in order.
        path: The PNG file to write.

    Returns:
        The file.

    Raises:
        ValueError: If there is no point.
    """
    if not points:
        raise ValueError("found no points of the loss, expected at least one (step, loss); log more often")
    steps, losses = (np.asarray(column, dtype=np.float64) for column in zip(*points, strict=True))
    figure, axes = _chart("Training loss", "step", "loss")
    window = max(1, len(losses) // 25)
    sums = np.convolve(losses, np.ones(window), mode="same")
    smooth = sums / np.convolve(np.ones_like(losses), np.ones(window), mode="same")  # narrower at both ends
    axes.plot(steps, losses, color=ACCENT, alpha=0.25, linewidth=1)
    axes.plot(steps, smooth, color=ACCENT, linewidth=2.2)
    axes.plot(steps[-1], smooth[-1], "o", color=ACCENT, markersize=5)
    axes.annotate(
        f"{smooth[-1]:.3g}", (steps[-1], smooth[-1]), (0, 9), textcoords="offset points", ha="right",
        color=ACCENT, fontproperties=font(10, bold=True),
    )  # fmt: skip
    axes.set_ylim(bottom=min(0.0, float(losses.min())) - 0.04 * float(np.ptp(losses)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return save_figure(figure, path)


def recall_by_dimension(
    report: Mapping[str, Mapping[str, Mapping[str, float]]], path: str | Path, metric: str = "recall@1"
) -> Path:
    """Draws a metric over the embedding's dimension, before and after training.

    Args:
        report: Metrics by dimension under `untrained` and `trained`, as in
            `{"trained": {"64": {"recall@1": 0.9}}}`; either may be missing, and other keys are not looked at.
        path: The PNG file to write.
        metric: Which metric.

    Returns:
        The file.

    Raises:
        ValueError: If neither is there, or lacks the metric.
    """
    series = {name: report[name] for name in ("untrained", "trained") if report.get(name)}
    if not series:
        raise ValueError(f"found {sorted(report)} in the report, expected 'untrained' or 'trained' with dimensions")
    if missing := [name for name, dims in series.items() for scores in dims.values() if metric not in scores]:
        raise ValueError(f"found no {metric!r} in {missing[0]!r}, expected it at every dimension")
    dims = sorted({int(dim) for scores in series.values() for dim in scores})
    figure, axes = _chart(f"{_spoken(metric)} by embedding dimension", "dimension", _spoken(metric))
    for name, by_dim in series.items():
        color, up = (ACCENT, 9) if name == "trained" else (MUTED, -15)
        points = sorted((dims.index(int(dim)), scores[metric]) for dim, scores in by_dim.items())
        axes.plot(*zip(*points, strict=True), "o-", color=color, linewidth=2.2, markersize=6, label=name)
        for x, y in points:
            offset = up if name == "trained" or y > 0.08 else 9
            axes.annotate(
                f"{100 * y:.1f}", (x, y), (0, offset), textcoords="offset points", ha="center",
                color=color, fontproperties=font(9, bold=name == "trained"),
            )  # fmt: skip
    axes.set_xticks(range(len(dims)), [str(dim) for dim in dims])
    axes.set_xlim(-0.35, len(dims) - 0.65)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.legend(
        frameon=False,
        prop=font(10),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        labelcolor="linecolor",
        handlelength=1.2,
    )
    return save_figure(figure, path)


def score_histogram(positives: Sequence[float], negatives: Sequence[float], scorer: str, path: str | Path) -> Path:
    """Draws how a retriever scores the right documents and the hard negatives.

    Args:
        positives: Scores of right documents.
        negatives: Scores of hard negatives.
        scorer: What scored them.
        path: The PNG file to write.

    Returns:
        The file.
    """
    figure, axes = _chart(f"Scores by {scorer}", "score", "share of each")
    both = np.asarray([*positives, *negatives], dtype=np.float64)
    bins = np.linspace(both.min(), both.max() if both.max() > both.min() else both.min() + 1, 41).tolist()
    for scores, color, label in ((negatives, WRONG, "negatives"), (positives, RIGHT, "positives")):
        if scores:
            weights = np.full(len(scores), 1 / len(scores))
            axes.hist(scores, bins=bins, weights=weights, color=color, alpha=0.55, label=f"{len(scores):,} {label}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(frameon=False)
    return save_figure(figure, path)


def gallery(
    examples: Sequence[Example],
    path: str | Path,
    *,
    title: str = "What the queries find",
    hits: int = 3,
    width: float = 1280,
    cell_height: float = 190,
    tally: bool = True,
) -> Path:
    """Draws queries beside their best hits, text and images in reading order.

    A right hit has a green frame and a check mark, a wrong one a red frame and a cross; where nobody knows, it is
    a grey frame. Where no shown hit is right, a right document stands at the end of the row in a dashed frame.

    Args:
        examples: What to show, one row each.
        path: The PNG file to write.
        title: The heading.
        hits: Hits a row, at most.
        width: Width of the picture in 1/100 inch.
        cell_height: The largest height of a content; longer ones are cut.
        tally: Whether to say for how many a right document was found.

    Returns:
        The file.

    Raises:
        ValueError: If there is no example, or a content cannot be read.
    """
    if not examples:
        raise ValueError("found no examples for the gallery, expected at least one; search for a query first")
    rows = [_cards(example, hits) for example in examples]
    columns = max(card.column for row in rows for card in row) + 1
    cell = (width - 2 * _MARGIN - (columns - 1) * _GUTTER) / columns
    setter = Typesetter(image_height=min(120.0, cell_height))
    blocks = [[setter.set(card.content, cell - 2 * _PADDING, cell_height) for card in row] for row in rows]
    heights = [_HEADER + 2 * _PADDING + max(block.height for block in row) for row in blocks]

    figure, axes = _page(width, _TITLE + sum(heights) + (len(rows) - 1) * _GUTTER + _MARGIN)
    axes.text(_MARGIN, 34, title, fontproperties=font(15, bold=True), color=INK, parse_math=False)
    right = sum(any(card.mark == "✓" for card in row) for row in rows)
    if tally:
        found = f"{right} of {len(rows)} with a right document among the first {hits}"
        axes.text(width - _MARGIN, 34, found, fontproperties=font(10), color=MUTED, ha="right")
    top = _TITLE
    for row, row_blocks, height in zip(rows, blocks, heights, strict=True):
        for card, block in zip(row, row_blocks, strict=True):
            _draw_card(axes, card, block, _MARGIN + card.column * (cell + _GUTTER), top, cell, height)
        top += height + _GUTTER
    return save_figure(figure, path)


def readme_gallery(examples: Sequence[Example], path: str | Path) -> Path:
    """Draws a gallery that stays readable in a README: its first four examples, two hits each.

    Args:
        examples: What to show.
        path: The PNG file to write.

    Returns:
        The file.

    Raises:
        ValueError: If there is no example, or a content cannot be read.
    """
    return gallery(examples[:4], path, hits=2, width=900, cell_height=140)


@dataclass(frozen=True)
class _Card:
    """One content in the gallery: its column, header and frame."""

    column: int
    content: Any
    header: str
    color: str
    mark: str = ""
    fill: str = "#ffffff"
    style: str = "-"


def _cards(example: Example, hits: int) -> list[_Card]:
    """Lays an example out: the query, its hits, and, where all are wrong, what was sought."""
    shown = example.hits[:hits]
    cards = [_Card(0, example.query, example.label or "query", ACCENT, fill=_ASKED)]
    for rank, hit in enumerate(shown, 1):
        color, mark = {True: (RIGHT, "✓"), False: (WRONG, "✗"), None: (MUTED, "")}[hit.correct]
        cards.append(_Card(rank, hit.content, hit.label or f"hit {rank} · {hit.score:.2f}", color, mark))
    if example.gold is not None and not any(hit.correct for hit in shown):
        cards.append(_Card(hits + 1, example.gold, "missed: the right one", SOUGHT, style="--"))
    return cards


def _draw_card(axes: Axes, card: _Card, block: Block, x: float, y: float, width: float, height: float) -> None:
    rounded = "round,pad=0,rounding_size=8"
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle=rounded,
            facecolor=card.fill,
            edgecolor=card.color,
            linewidth=0 if card.fill == _ASKED else 1.8,
            linestyle=card.style,
            zorder=1,
        )
    )
    base = y + _PADDING + 10
    axes.text(x + _PADDING, base, card.header, color=card.color, fontproperties=font(9, bold=True), parse_math=False)
    axes.text(
        x + width - _PADDING, base + 2, card.mark, color=card.color, fontproperties=font(14, bold=True), ha="right"
    )
    draw(axes, block, x + _PADDING, y + _PADDING + _HEADER, INK)


def _page(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty page measured in 1/100 inch from its upper left corner."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=_PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, axes


def _chart(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Empty axes in the common style."""
    figure = Figure(
        figsize=(7, 4.2), dpi=100, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    )
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, pad=14, fontproperties=font(13, bold=True))
    axes.set_xlabel(x_label, color=MUTED, fontproperties=font(10))
    axes.set_ylabel(y_label, color=MUTED, fontproperties=font(10))
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    return figure, axes


def _spoken(metric: str) -> str:
    """Writes a metric's name as in prose: Recall@1, nDCG@10."""
    name, _, cut = metric.partition("@")
    spoken = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}.get(name, name.capitalize())
    return f"{spoken}@{cut}" if cut else spoken


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes a PNG beside its place and renames it, so that no half of a picture is left.

    Args:
        figure: What was drawn.
        path: The PNG file to write.

    Returns:
        The file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        FigureCanvasAgg(figure).print_figure(draft, format="png", dpi=DPI, facecolor=figure.get_facecolor())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
