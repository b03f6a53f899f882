"""Writes docs/benchmarks.md out of docs/benchmarks/*.json.

python tests/benchmarks/page.py
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import table

from nyx_hf.data_builders.significance import shown_p

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def page() -> str:
    """The page's text."""
    losses, chunks, search, serving = (_read(name) for name in ("losses", "chunks", "search", "serving"))
    seeds, own, chain = _read("quickstart")["runs"], _read("own_pages"), _read("rerank_chain")
    asked = own["questions"]
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
        "## Serving",
        f"{serving['settings']['contents']:,} contents, every fourth with a picture, by `encode` and over HTTP by "
        "`nyx-hf serve`, on one machine; one round, so that a few percent mean nothing.",
        f"    {serving['command']}",
        _served(serving["results"]),
        "## The quickstart over seeds",
        f"Right answers in percent, to {seeds[0]['queries']:,} questions about unseen handwriting, by stage; the "
        "second stage trains on feedback. McNemar's exact test between the two stages.",
        "    nyx-hf quickstart --out runs/seed-1 --seed 1",
        _seeds(seeds),
        f"The second stage's gain is told apart from chance in {_gains(seeds)} of these {len(seeds)} runs. Seed 0, at "
        "an earlier commit: 86.9 and 87.8, p=0.27. The labels of these data say most of what the reader does.",
        "## Retrieve, rerank, distil",
        _about_chain(chain),
        "    python tests/benchmarks/rerank_chain.py --out docs/benchmarks/rerank_chain.json",
        _systems(chain),
        _differences(chain),
        "## Real pages",
        "A small Qwen2.5-VL from random weights, trained on questions made from 685 pages of GIMP's manual for "
        f"{own['seconds'] / 60:.0f} minutes, against BM25 and TF-IDF on {sum(asked.values())} questions about pages "
        f"held out ({asked['text']} of words alone, {asked['images']} that show a picture); the whole corpus is "
        "searched. Answers are those of the extractive reader, from the first document.",
        "    python tests/benchmarks/own_pages.py gimp-qa --minutes 10 --steps 220",
        _retrievers(own),
        _verdict(own),
        "The time ended the training at step 118 of 220. A question's picture is one of its document's, which is why "
        "random weights find some; nothing of this says how a real retriever does. BM25 reads no pictures, and from "
        "scratch no words are learned in minutes: each does what the other cannot.",
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


def _served(results: Mapping[str, Mapping[str, float]]) -> str:
    """Contents a second of each way, against encode."""
    lines = ["| case | contents a second | throughput, against encode |", "|---|---|---|"]
    lines += [
        f"| {name} | {one['contents_per_second']:.1f} | {one['encode_seconds_ratio']:.2f} |"
        for name, one in results.items()
    ]
    return "\n".join(lines)


def _gains(runs: Sequence[Mapping[str, Any]]) -> int:
    return sum(run["comparisons"][-1]["verdict"].startswith("stage 2 better") for run in runs)


def _seeds(runs: Sequence[Mapping[str, Any]]) -> str:
    """Right answers by stage, a row for each seed."""
    lines = ["| seed | untrained | stage 1 | stage 2 | stage 1 and stage 2 |", "|---|---|---|---|---|"]
    for run in runs:
        shares = [f"{100 * run['stages'][name]['answers']:.1f}" for name in ("untrained", "stage 1", "stage 2")]
        lines.append(f"| {run['seed']} | {' | '.join(shares)} | {run['comparisons'][-1]['verdict']} |")
    return "\n".join(lines)


def _about_chain(chain: Mapping[str, Any]) -> str:
    size, seeds = chain["size"], chain["seeds"]
    alphas = ", ".join(f"{one['alpha']:g}" for one in seeds.values())
    queries = next(iter(seeds.values()))["queries"]
    return (
        f"U-MARVEL's Table 6 in miniature, from random weights, on the handwritten records: {queries} questions about "
        f"unseen handwriting, the first {size['top_k']} documents judged again. The baseline is trained on in-batch, "
        f"then on mined negatives; the two last rows go on from it for {size['taught']} steps on "
        f"{100 * size['fraction']:.0f} % of the questions, with the teacher (recall and reranker fused) and without. "
        f"α, the weight of recall, was chosen on other questions: {alphas}. Percent, the mean of {len(seeds)} seeds, "
        "then each."
    )


def _systems(chain: Mapping[str, Any]) -> str:
    """Each system's figures: the mean over seeds, and each seed's."""
    names = list(next(iter(chain["means"].values())))
    lines = [f"| system | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for system, of in chain["means"].items():
        cells = [
            f"{100 * sum(one) / len(one):.1f} ({', '.join(f'{100 * v:.1f}' for v in one)})" for one in of.values()
        ]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(chain: Mapping[str, Any]) -> str:
    told = [
        f"{pair} {100 * of['mrr@10']:+.1f} ({100 * of['low']:+.1f} to {100 * of['high']:+.1f})"
        for pair, of in chain["differences"].items()
    ]
    losses = ", ".join(f"{one['reranker_loss']:.3f}" for one in chain["seeds"].values())
    return (
        f"Differences of MRR@10 over all seeds' questions, with their 95 % intervals: {'; '.join(told)}. None is told "
        "apart from chance: the paper's gains are not seen at this size. The likely reason is the reranker. Its loss "
        "is the mean over an answer's tokens, 0.277 for a coin; over its last step of training it was "
        f"{losses}. In the second seed alone it learned to tell hard negatives apart, and there distillation is ahead "
        "of its control; in the third, where it judges like a coin, it is behind. Three seeds do not prove it. Look "
        "at a reranker's own figures (`nyx-hf rerank`) before distilling from it."
    )


def _retrievers(report: Mapping[str, Any]) -> str:
    """What each retriever finds and what is answered from it, in percent."""
    lines = [
        "| retriever | recall@1 | 95 % | recall@10 | answers | recall@1, words | recall@1, pictures |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("untrained", "tf-idf", "bm25", "trained", "bm25 for words, trained for images"):
        one = report[name]
        low, high = one["interval of recall@1"]
        cells = [one["recall@1"], one["recall@10"], one["answers"]]
        cells += [one["by kind"][kind]["recall@1"] for kind in ("text", "images")]
        first, *rest = (f"{100 * cell:.1f}" for cell in cells)
        lines.append(f"| {name} | {first} | {100 * low:.1f} – {100 * high:.1f} | {' | '.join(rest)} |")
    return "\n".join(lines)


def _verdict(report: Mapping[str, Any]) -> str:
    """Says which differences are ones."""
    told = []
    for pair, p in report["mcnemar of recall@1"].items():
        first, second = pair.split(" | ")
        better = second if report[second]["recall@1"] > report[first]["recall@1"] else first
        apart = f"{better} is better" if p < 0.05 else "no difference told apart"
        told.append(f"{first} and {second}: {apart} ({shown_p(p)})")
    return f"Recall@1, McNemar's exact test: {'; '.join(told)}."


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _filled(paragraph: str) -> str:
    return paragraph if paragraph.startswith(("|", "#", " ")) else textwrap.fill(paragraph, 120)


if __name__ == "__main__":
    (DOCS / "benchmarks.md").write_text(page(), encoding="utf-8")
