"""What `nyx-hf answer` does: one question, or all of a dataset's."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from tabulate import tabulate

from nyx_hf.data_builders.answering import Answerer
from nyx_hf.data_builders.judging import Judged, ask, judge
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.ranking import Ranking, rank
from nyx_hf.data_builders.schema import matching_split
from nyx_hf.data_builders.searching import LexicalSearcher, Searcher
from nyx_hf.data_builders.significance import bootstrap_interval
from nyx_hf.retrievers import load_searcher
from nyx_hf.urag import ANSWERS, URAG, Answered

_METRICS = {"accuracy": "accuracy", "em": "exact match", "f1": "F1"}
_SHOWN = 70  # characters of a document in a table


def asked_content(question: str | None, images: Sequence[Path]) -> Any:
    """Gives what was typed as one content, images first; None where nothing was."""
    if question is None and not images:
        return None
    return (*images, *([] if question is None else [question]))


def opened(model: str, answerer: str, k: int, device: str | None, requests: int) -> tuple[Searcher | None, Answerer]:
    """Opens retriever and answerer; no retriever where no document is shown."""
    searcher = load_searcher(model, device=device) if k else None
    return searcher, open_answerer(answerer, cache_dir=ANSWERS, requests=requests)


def answer_one(
    dataset: str,
    asked: Any,
    options: Sequence[str] | None,
    searcher: Searcher | None,
    answerer: Answerer,
    k: int,
    *,
    split: str,
    revision: str | None = None,
) -> Answered:
    """Answers one question from a dataset's corpus.

    Args:
        dataset: A dataset folder or a Hub dataset.
        asked: The question's content.
        options: Its choices.
        searcher: What finds documents; None for a direct answer.
        answerer: Who answers.
        k: Documents that are shown.
        split: The corpus's split, where it has several.
        revision: The dataset's branch, tag or commit.

    Returns:
        The answer with its documents.
    """
    urag = URAG(dataset, searcher or LexicalSearcher(), answerer, split=split, revision=revision)
    answered = urag.answer(asked, options=options, k=k)
    assert isinstance(answered, Answered)  # one question, one answer
    return answered


def answered_text(answered: Answered) -> str:
    """Shows an answer with the documents that it was read from.

    Args:
        answered: The answer.

    Returns:
        Lines to print.
    """
    head = answered.text if answered.text is not None else f"no answer ({answered.failure})"
    rows = [
        (place, f"{document['score']:.4f}", document["id"], _beginning(document["content"]))
        for place, document in enumerate(answered.documents, start=1)
    ]
    table = tabulate(rows, ("", "score", "document", "how it begins"), disable_numparse=True) if rows else ""
    left_out = ", ".join(f"{count} {kind}" for kind, count in answered.cut.items())
    return "\n\n".join(filter(None, [head, table, f"did not fit: {left_out}" if left_out else ""]))


def answered_json(answered: Answered) -> dict[str, Any]:
    """Gives an answer as JSON values; of documents their ids and scores."""
    documents = [{"id": document["id"], "score": document["score"]} for document in answered.documents]
    return {"answer": answered.text, "failure": answered.failure, "documents": documents, "cut": dict(answered.cut)}


@dataclass(frozen=True)
class AnsweredDataset:
    """A dataset's questions, answered and judged.

    Attributes:
        judged: Answers and scores.
        facts: Who answered what, from how many documents.
    """

    judged: Judged
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Gives means with 95 % intervals, counts and facts."""
        scores = {
            name: {"mean": float(values.mean()), "interval": list(bootstrap_interval(values))}
            for name, values in self.judged.scores.items()
        }
        counts = {"failures": dict(self.judged.failures), "cut": dict(self.judged.cut)}
        return {**self.facts, "questions": len(self.judged.replies), "scores": scores, **counts}

    def as_text(self) -> str:
        """Gives them as tables."""
        found = self.as_json()
        rows = [
            (_METRICS[name], f"{score['mean']:.4f}", "{:.4f} to {:.4f}".format(*score["interval"]))
            for name, score in found["scores"].items()
        ]
        tables = [
            tabulate(rows, ("", "mean", "95 % interval"), colalign=("left", "right", "left"), disable_numparse=True)
        ]
        for title, counts in (("no answer", found["failures"]), ("did not fit", found["cut"])):
            if counts:
                tables.append(tabulate(sorted(counts.items()), (title, "how many"), colalign=("left", "right")))
        return "\n\n".join(tables)


def answer_dataset(
    dataset: str,
    split: str,
    searcher: Searcher | None,
    answerer: Answerer,
    k: int,
    *,
    revision: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> AnsweredDataset:
    """Answers a split's questions and judges the answers.

    Args:
        dataset: A dataset folder or a Hub dataset.
        split: The split of its queries.
        searcher: What finds documents; None for direct answers.
        answerer: Who answers.
        k: Documents that are shown.
        revision: The dataset's branch, tag or commit.
        limit: Questions to ask, at most; all if None.
        out: A folder for `answers.jsonl` (a line a question) and `report.json`; nothing is written where it is None.

    Returns:
        Answers and scores.

    Raises:
        FileExistsError: If `out` is there.
        ValueError: If there is no such split, or a question has no right answer.
    """
    if out is not None and out.exists():
        raise FileExistsError(f"found something at {out}, expected nothing: choose a new folder")
    tables = load_tables(dataset, ("corpus", "queries"), revision)
    if split not in tables["queries"]:
        raise ValueError(f"{dataset}: there are no queries of {split!r}; it has {', '.join(tables['queries'])}")
    queries = tables["queries"][split]
    queries = queries if limit is None else queries.select(range(min(limit, len(queries))))
    corpus = tables["corpus"][matching_split("corpus", tables["corpus"], split)]
    rankings = None if searcher is None or k == 0 else rank(searcher, queries, corpus, k)
    judged = judge(ask(answerer, queries, None if rankings is None else corpus, rankings, k), queries)
    facts = {
        "dataset": Path(dataset).name if Path(dataset).is_dir() else dataset,
        "split": split,
        "retriever": None if rankings is None or searcher is None else searcher.name,
        "documents": k if rankings is not None else 0,
        "answerer": answerer.name,
        "answerer_revision": answerer.revision,
        "sample": limit is not None,
    }
    done = AnsweredDataset(judged, facts)
    if out is not None:
        _write(done, queries, rankings, out)
    return done


def _write(done: AnsweredDataset, queries: Dataset, rankings: Sequence[Ranking] | None, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        (draft / "report.json").write_text(json.dumps(done.as_json(), indent=2) + "\n", encoding="utf-8")
        with (draft / "answers.jsonl").open("w", encoding="utf-8") as file:
            for number, (name, right) in enumerate(zip(queries["id"], queries["answers"], strict=True)):
                reply = done.judged.replies[number]
                line = {
                    "query_id": name,
                    "answer": reply.text,
                    "failure": reply.failure,
                    "right": right,
                    **{metric: float(values[number]) for metric, values in done.judged.scores.items()},
                    "documents": [] if rankings is None else list(rankings[number].ids),
                    "cut": dict(reply.cut),
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        draft.rename(out)


def _beginning(content: Sequence[Mapping[str, Any]]) -> str:
    words = " ".join(part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in content)
    words = " ".join(words.split())
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 1]}…"
