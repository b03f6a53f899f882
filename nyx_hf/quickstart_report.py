"""What the quickstart found: retrieval and answers by dimension and kind of query, as tables, JSON and pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from nyx_hf.data_builders.answering import Answerer
from nyx_hf.data_builders.judging import ask, judge
from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.neighbours import top_k
from nyx_hf.data_builders.ranking import Ranking
from nyx_hf.data_builders.schema import present_parts
from nyx_hf.data_builders.significance import mcnemar
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.plots import Example, Hit, gallery, loss_curve, recall_by_dimension
from nyx_hf.saved_model_check import SavedModelCheck
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet

METRICS = {"answers": "answers right", "recall@1": "Recall@1", "recall@5": "Recall@5", "ndcg@10": "nDCG@10"}
_SHOWN_HITS = 3


@dataclass(frozen=True)
class Scores:
    """A stage's retrieval quality.

    Args:
        stage: Name of the stage.
        by_dim: For each width, as a string, the metrics averaged over the kinds of query, and under `by_kind` the
            metrics of each kind.
        found: For each query its best documents at full width: id and similarity.
        right: Whether each query's answer, read from the best document at full width, is right.
    """

    stage: str
    by_dim: dict[str, dict[str, Any]]
    found: dict[str, list[tuple[str, float]]]
    right: list[bool]

    def write(self, path: Path) -> None:
        """Writes the scores as JSON, beside and renamed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Reads what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def score(model: NyxModel, *, unseen: RetrievalSet, dims: Sequence[int], answerer: Answerer, stage: str) -> Scores:
    """Searches a corpus for every query, at every width, and has every query answered from the best document.

    Args:
        model: The retriever.
        unseen: Corpus, queries (with `task` and `answers` each) and which documents are right.
        dims: Embedding widths, the full one first.
        answerer: Who answers.
        stage: Name of the stage.

    Returns:
        The scores.
    """
    how: dict[str, Any] = {"batch_size": 64, "convert_to_tensor": True, "show_progress_bar": False}
    corpus, asked = list(unseen.corpus), list(unseen.queries)
    documents = model.encode_document([_item(row) for row in corpus], **how)  # (N, D)
    queries = model.encode_query([_item(row) for row in asked], **how)  # (Q, D)
    ids, query_ids = [row["id"] for row in corpus], [row["id"] for row in asked]
    kinds = np.asarray([row["task"] for row in asked])
    relevant = [unseen.relevant[query_id] for query_id in query_ids]
    by_dim: dict[str, dict[str, Any]] = {}
    answers: list[np.ndarray] = []
    for dim in dims:
        similarities, found = top_k(queries, documents, 10, dim=dim)
        rankings = [Ranking([ids[at] for at in row], best) for row, best in zip(found, similarities, strict=True)]
        metrics = ranking_metrics([ranking.ids for ranking in rankings], relevant, (1, 5, 10))
        replies = ask(answerer, unseen.queries, unseen.corpus, rankings, 1)
        answers.append(judge(replies, unseen.queries).scores["em"])
        metrics["answers"] = answers[-1]
        by_kind = {
            str(kind): {name: float(metrics[name][kinds == kind].mean()) for name in METRICS}
            for kind in dict.fromkeys(kinds)
        }
        mean = {name: float(np.mean([scores[name] for scores in by_kind.values()])) for name in METRICS}
        by_dim[str(dim)] = {**mean, "by_kind": by_kind}
    similarities, found = top_k(queries, documents, _SHOWN_HITS)
    hits = {
        query_id: [(ids[at], float(value)) for at, value in zip(row, values, strict=True)]
        for query_id, row, values in zip(query_ids, found, similarities, strict=True)
    }
    return Scores(stage, by_dim, hits, [bool(right) for right in answers[0]])


def write_report(
    out: Path,
    seed: int,
    steps: int,
    stages: Sequence[Scores],
    history: Sequence[Sequence[tuple[int, float]]],
    unseen: RetrievalSet,
    check: SavedModelCheck,
) -> None:
    """Writes pictures, report.md and, last of all, report.json, which marks the run as finished.

    Args:
        out: The run's folder.
        seed: Its seed.
        steps: Its training steps in the first stage.
        stages: Scores of each stage; the first is untrained, the last is what `trained` means.
        history: Steps and training losses of each stage of training.
        unseen: What was searched.
        check: How far the saved model's doors are apart.
    """
    first, last = stages[0], stages[-1]
    whole = [(step + before, loss) for before, one in _offsets(history) for step, loss in one]
    report: dict[str, Any] = {
        "untrained": first.by_dim,
        "trained": last.by_dim,
        "stages": {stage.stage: stage.by_dim for stage in stages},
        "seed": seed,
        "steps": steps,
        "documents": len(unseen.corpus),
        "queries": len(unseen.queries),
        "saved_model": check.as_dict(),
        "comparisons": [
            {"stages": [one.stage, other.stage], **asdict(test), "verdict": test.verdict((one.stage, other.stage))}
            for one, other in pairwise(stages)
            for test in [mcnemar(one.right, other.right)]
        ],
        "loss": [[step, loss] for step, loss in whole],
    }
    loss_curve(whole, out / "loss.png")
    recall_by_dimension(report, out / "recall_by_dimension.png")
    gallery(_examples(last, unseen), out / "gallery.png", title="What the trained model finds", hits=_SHOWN_HITS)
    beside = out / "report.tmp"
    beside.write_text(_markdown(report), encoding="utf-8")
    beside.rename(out / "report.md")
    _write_json(out / "report.json", report)


def show_table(out: Path, console: Console) -> None:
    """Prints a finished run's table and where its files are.

    Args:
        out: The run's folder.
        console: Where to print.
    """
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    title = f"Answers and retrieval over {report['documents']} unseen documents, by embedding dimension (%)"
    table = Table(title=title, title_style="bold", header_style="bold cyan")
    for number, column in enumerate(_header(report)):
        table.add_column(column, justify="right" if number > 1 else "left")
    for row in _rows(report):
        style = None if row[0] == "untrained" else "bold" if row[1] in METRICS.values() else "green"
        table.add_row(*row, style=style)
    console.print(table)
    for line in _comparisons(report):
        console.print(f"  {line}", highlight=False)
    for name, what in _FILES.items():
        console.print(f"  {out / name!s:<42} {what}", highlight=False)


_FILES = {
    "report.md": "the report, with pictures",
    "gallery.png": "queries and what was found for them",
    "model": "the model, ready to push: nyx-hf push DIR your-name/NAME",
    "dataset": 'the dataset: load_dataset(DIR, "corpus")',
}


def _header(report: dict[str, Any]) -> list[str]:
    return ["model", "metric", *(f"{dim}-dim" for dim in report["trained"])]


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """Rows of the table: each metric at each stage, then Recall@1 of each kind of query at the last."""
    rows = []
    for stage, by_dim in report["stages"].items():
        for name, shown in METRICS.items():
            rows.append([stage, shown, *(_percent(scores[name]) for scores in by_dim.values())])
    for kind in next(iter(by_dim.values()))["by_kind"]:
        values = (_percent(scores["by_kind"][kind]["recall@1"]) for scores in by_dim.values())
        rows.append([stage, f"  Recall@1, {kind}", *values])
    return rows


def _comparisons(report: dict[str, Any]) -> list[str]:
    """Says of each stage whether its answers differ from those before."""
    width = next(iter(report["trained"]))
    return [
        f"answers at {width} dimensions, {one['stages'][0]} and {one['stages'][1]}: {one['verdict']} (McNemar, exact)"
        for one in report["comparisons"]
    ]


def _offsets(history: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, Sequence[tuple[int, float]]]]:
    """Puts each stage's steps behind those of the stages before."""
    ends = [0, *accumulate(max((step for step, _ in one), default=0) for one in history)]
    return list(zip(ends, history, strict=False))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _markdown(report: dict[str, Any]) -> str:
    table = tabulate(_rows(report), headers=_header(report), tablefmt="github", disable_numparse=True)
    compared = "\n".join(f"- {line}" for line in _comparisons(report))
    check = SavedModelCheck(**report["saved_model"])
    return f"""# Quickstart

A Qwen2.5-VL with random weights learned, in {report["steps"]} steps (seed {report["seed"]}), to find records by the
code written in them by hand: stage 1. Then a reader of digits answered questions that it had not been trained on from
the documents that it found, and what led the reader to the right answer, or astray, trained it further, beside the
first stage's data: stage 2 (Nyx §3.3). It was asked {report["queries"]:,} questions about {report["documents"]}
documents whose handwriting neither it nor the reader had ever seen; the reader answered them from the first document
found.

{table}

Percent; the mean is over the kinds of query. Shorter embeddings are prefixes of the longer ones (Matryoshka), cut and
normalised.

{compared}

![Recall@1 by dimension](recall_by_dimension.png)

## What it finds

![Queries and their hits](gallery.png)

## How it learned

![Loss](loss.png)

## The saved model

`model/` loads with `AutoModel.from_pretrained("model", trust_remote_code=True)` and `SentenceTransformer("model",
trust_remote_code=True)`. Checked in a fresh process: {check.as_text()}.

`pretrained/` is the model of stage 1, `feedback/` the triplets of stage 2.

`dataset/` loads with `load_dataset("dataset", "corpus")`, `"queries"` and `"triplets"`. Publish either with
`nyx-hf push DIR your-name/NAME`.
"""


def _examples(scores: Scores, unseen: RetrievalSet) -> list[Example]:
    """Two queries of each kind: one that was answered and, where there is one, one that was not."""
    documents = {row["id"]: row for row in unseen.corpus}
    asked = list(unseen.queries)
    kinds, query_ids = [row["task"] for row in asked], [row["id"] for row in asked]
    right = [scores.found[query_id][0][0] in unseen.relevant[query_id] for query_id in query_ids]
    examples = []
    for number, kind in enumerate(dict.fromkeys(kinds)):
        rows = [at for at, other in enumerate(kinds) if other == kind]
        rows = rows[4 * number :] + rows[: 4 * number]  # records that the other kinds do not show
        good, bad = [at for at in rows if right[at]], [at for at in rows if not right[at]]
        for at in [*good[:1], *bad[:1], *good[1:2]][:2]:
            hits = [
                Hit(_item(documents[found]), value, found in unseen.relevant[query_ids[at]])
                for found, value in scores.found[query_ids[at]]
            ]
            gold = _item(documents[next(iter(unseen.relevant[query_ids[at]]))])
            examples.append(Example(_item(asked[at]), hits, gold, str(kind)))
    return examples


def _item(row: Any) -> dict[str, Any]:
    return {"content": present_parts(row["content"])}


def _write_json(path: Path, values: Any) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.rename(path)
