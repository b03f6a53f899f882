"""The picture of a training run on its card: losses, scores and learned temperatures over the steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

CURVES_FILE = "training_curves.png"
_INK, _MUTED, _GRID = "#1f2937", "#6b7280", "#e5e7eb"
_COLOURS = ("#4338ca", "#15803d", "#b45309", "#b91c1c", "#0e7490", "#a21caf", "#4d7c0f", "#1d4ed8")
_SCORE, _SCORES = "recall@1", "Recall@1"
Panel = tuple[str, dict[str, list[tuple[int, float]]]]  # title, points (step, value) of each line


def training_curves(history: Sequence[Mapping[str, Any]], path: str | Path) -> Path | None:
    """Draws what a run logged.

    Args:
        history: log lines, each with `step`, as `transformers.TrainerState.log_history` keeps them.
        path: PNG file to write.

    Returns:
        The file; None where there are not two log lines with a loss to draw a line between.
    """
    panels = curve_panels(history)
    if not panels:
        return None
    figure = Figure(figsize=(4.6 * len(panels), 3.4), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, title, lines)
    target = Path(path)
    beside = target.with_name(f"{target.stem}.part.png")
    figure.savefig(beside, metadata={"Software": None})
    beside.replace(target)
    return target


def curve_panels(history: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Collects what is drawn of a run.

    Args:
        history: log lines.

    Returns:
        Title and lines of each panel: losses, scores where there are two of a kind, temperatures where they were
        learned; nothing where there are not two losses.
    """
    losses = _series(history, lambda name: name == "loss" or name.startswith("loss_dim_"))
    if len(losses.get("loss", ())) < 2:
        return []
    scores = _series(history, lambda name: name.startswith("eval_") and name.endswith(_SCORE))
    scores = {_short(name): points for name, points in scores.items() if len(points) > 1}  # a point is no curve
    temperatures = _series(history, lambda name: name.startswith("temperature"))
    learned = any(len({value for _, value in points}) > 1 for points in temperatures.values())
    named = {_short(name): points for name, points in temperatures.items()}
    return [
        ("Loss", losses),
        *([(_SCORES, scores)] if scores else []),
        *([("Temperature", named)] if learned else []),
    ]


def _series(history: Sequence[Mapping[str, Any]], wanted: Any) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each logged name; of a step that was logged twice, the first."""
    series: dict[str, dict[int, float]] = {}
    for line in history:
        for name, value in line.items():
            if wanted(name) and isinstance(value, int | float):
                series.setdefault(name, {}).setdefault(int(line["step"]), float(value))
    return {name: list(points.items()) for name, points in series.items()}


def _short(name: str) -> str:
    """A logged name as a label: `eval_dim_64_recall@1` is `dim 64`."""
    words = name.removeprefix("eval_").removesuffix(_SCORE).removeprefix("temperature").strip("_").replace("_", " ")
    return words or "full width" if name.startswith("eval_") else words or "temperature"


def _draw(axes: Axes, title: str, lines: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK)
    for number, (name, points) in enumerate(lines.items()):
        main = number == 0
        steps, values = zip(*points, strict=True)
        colour = _COLOURS[number % len(_COLOURS)]
        label = name.removeprefix("loss_").replace("_", " ")
        marker = "o" if len(points) < 12 else None
        axes.plot(
            steps, values, color=colour, linewidth=2.0 if main else 1.1, marker=marker, markersize=3, label=label
        )
    if title == _SCORES:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("step", color=_MUTED, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=_MUTED, labelsize=8, length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    if len(lines) > 1:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=_INK)
