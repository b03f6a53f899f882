"""Writes docs/benchmarks.md out of docs/benchmarks/*.json.

python tests/benchmarks/page.py
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring import table

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def page() -> str:
    """The page's text."""
    losses, chunks, search = (_read(name) for name in ("losses", "chunks", "search"))
    packages, loss, step = losses["packages"], losses["settings"], chunks["settings"]
    paragraphs = [
        "# Benchmarks",
        "Each is a script that measures both sides in one run, every case in a process of its own, and writes JSON "
        f"beside this page. Machines differ and are noisy: read the ratios. These are of {losses['cores']} CPU cores, "
        f"torch {packages['torch']}, sentence-transformers {packages['sentence-transformers']}; no GPU was at hand: "
        "nothing here says how it is on one.",
        "## The loss",
        f"Queries, positives and hard negatives, {loss['rows']:,} × {loss['width']:,} each, all {loss['documents']:,} "
        f"documents candidates of every query; {loss['dims']} Matryoshka dims; forward and backward, {loss['dtype']}. "
        "The losses are equal. Peak is what the process held above what it held before.",
        f"    {losses['command']}",
        table(losses["results"], "nyx_hf"),
        "## Training steps",
        f"A small Qwen2.5-VL, {step['rows']} queries a step with a positive and a hard negative each, from 8 to 128 "
        f"words, every other document with a picture; chunks of {step['chunk']}. Both trainers make the same step "
        "(`tests/test_st_losses.py`).",
        f"    {chunks['command']}",
        table(chunks["results"], "nyx_hf, gradient cache"),
        "Contents of like length are embedded together, with chunks and without; sentence-transformers takes rows as "
        "they come, and pads each piece to its longest.",
        "## Search",
        f"{search['settings']['rows']:,} made-up vectors of {search['settings']['dims']:,} dimensions whose first "
        f"ones say most, as Matryoshka vectors do; {search['settings']['queries']} queries at once and one by one, "
        "the first 10 found. Recall is against all vectors compared; binary vectors depend most on the data.",
        f"    {search['command']}",
        _ways(search["results"]),
    ]
    return "\n\n".join(map(_filled, paragraphs)) + "\n"


def _ways(results: Mapping[str, Mapping[str, float]]) -> str:
    """What each way to search takes, and finds."""
    lines = [
        "| search | seconds a batch | ms a query alone | recall@10 | batch, times faster | alone, times faster |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        lines.append(
            f"| {name} | {one['seconds']:.2f} | {one['single_ms']:.0f} | {one['recall']:.3f} | "
            f"{one['times_faster']:.2f} | {one['single_times_faster']:.2f} |"
        )
    return "\n".join(lines)


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _filled(paragraph: str) -> str:
    return paragraph if paragraph.startswith(("|", "#", " ")) else textwrap.fill(paragraph, 120)


if __name__ == "__main__":
    (DOCS / "benchmarks.md").write_text(page(), encoding="utf-8")
