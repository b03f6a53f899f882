"""Pictures of an adaptation: bars of three retrievers by kind of question, and questions with what they find."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from nyx_hf.adapt_rankings import Questions
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.schema import Row, present_parts
from nyx_hf.plots import ACCENT, GRID, INK, MUTED, Example, Hit, gallery, save_figure
from nyx_hf.typesetting import font

_BARS = {"bm25": ("BM25", "#d1d5db"), "base": ("base", "#9ca3af"), "tuned": ("tuned", ACCENT)}
_WIDTH = 0.26  # of a bar, where a group takes 1
_EXAMPLES = 6


def bars(report: Mapping[str, Any], path: Path) -> Path:
    """Draws for how many questions each retriever finds the right passage first, with 95 % intervals.

    Args:
        report: Figures, out of `own_figures`.
        path: The PNG file to write.

    Returns:
        The file.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(8, 4.4), dpi=100, facecolor="white", layout=layout)
    axes = figure.add_subplot()
    groups = report["questions"]
    places = np.arange(len(groups))
    for number, (system, (label, color)) in enumerate(_BARS.items()):
        of = [report["systems"][system][group]["passage@1"] for group in groups]
        means = np.array([one["mean"] for one in of])
        ends = np.array([one["interval"] for one in of]).T  # (2, groups)
        lefts = places + (number - 1) * (_WIDTH + 0.02)
        # the interval's line stands left of the middle, and the figure right of it
        axes.bar(lefts, means, _WIDTH, color=color, label=label, linewidth=0)
        axes.vlines(lefts - 0.06, ends[0], ends[1], color=INK, linewidth=1.2)
        for x, mean in zip(lefts, means, strict=True):
            axes.annotate(
                f"{100 * mean:.1f}", (x + 0.05, mean), (0, 3), textcoords="offset points", ha="center",
                color=color if system == "tuned" else MUTED, fontproperties=font(9, bold=system == "tuned"),
            )  # fmt: skip
    axes.set_title("Right passage first", loc="left", color=INK, pad=14, fontproperties=font(13, bold=True))
    axes.set_xticks(places, [f"{group}\n{count:,} questions" for group, count in groups.items()])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(0, 1.08)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.legend(frameon=False, prop=font(10), loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handlelength=1.2)
    return save_figure(figure, path)


def gallery_of(questions: Questions, rankings: Mapping[str, Mapping[str, Sequence[str]]], path: Path) -> Path:
    """Draws questions beside the first passage of the base and of tuned: gained ones, lost ones, others.

    Args:
        questions: The questions.
        rankings: What `base` and `tuned` found for each.
        path: The PNG file to write.

    Returns:
        The file.
    """
    names = _shown(questions, rankings)
    wanted = {name: [rankings[system][name][0] for system in ("base", "tuned")] for name in names}
    golds = {name: sorted(questions.relevant[name])[0] for name in names}
    contents = _contents(questions, {one for ids in wanted.values() for one in ids} | set(golds.values()))
    asked = {row["id"]: row["content"] for row in stored_rows(questions.queries) if row["id"] in wanted}
    examples = [
        Example(
            _content(asked[name]),
            [
                Hit(contents[one], 0.0, one in questions.relevant[name], label)
                for one, label in zip(ids, ("the base's first", "tuned's first"), strict=True)
            ],
            contents[golds[name]],
        )
        for name, ids in wanted.items()
    ]
    return gallery(examples, path, title="What is found first", hits=2, tally=False)


def _shown(questions: Questions, rankings: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Takes in turn from what tuned gained, what it lost, and what did not change, so that no kind hides another."""
    kinds: dict[tuple[bool, bool], list[str]] = {
        (False, True): [],
        (True, False): [],
        (True, True): [],
        (False,) * 2: [],
    }
    for name in questions.queries["id"]:
        base, tuned = (rankings[system][name][0] in questions.relevant[name] for system in ("base", "tuned"))
        kinds[base, tuned].append(name)
    longest = max(map(len, kinds.values()))
    in_turn = [names[turn] for turn in range(longest) for names in kinds.values() if turn < len(names)]
    return in_turn[:_EXAMPLES]


def _contents(questions: Questions, ids: set[str]) -> dict[str, Any]:
    """Reads the documents that are shown."""
    rows = [row for row, name in enumerate(questions.corpus["id"]) if name in ids]
    return {row["id"]: _content(row["content"]) for row in stored_rows(questions.corpus.select(rows))}


def _content(parts: Sequence[Row]) -> dict[str, Any]:
    return {"content": present_parts(parts)}
