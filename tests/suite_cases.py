"""Tiny datasets in the layout that `nyx-hf build` makes, and a searcher whose scores are told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nyx_hf.data_builders.mbeir_tasks import task_named
from nyx_hf.data_builders.mmeb_sets import group_of
from nyx_hf.data_builders.records import GRADES
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts

Score = Callable[[str, str], float]


@dataclass
class ToldIndex:
    table: np.ndarray

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        scores = self.table[queries]
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, rows, 1), rows

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        return self.table[query][documents]


@dataclass
class Told:
    """Scores by the texts of query and document; it counts the documents that it is shown."""

    score: Score
    name: str = "told@r1"
    shown: int = 0

    def index(self, queries: Callable[[], Iterable[Any]], corpus: Callable[[], Iterable[Any]]) -> ToldIndex:
        asked, documents = ([words(item.content) for item in items()] for items in (queries, corpus))
        self.shown += len(documents)
        return ToldIndex(np.array([[self.score(one, other) for other in documents] for one in asked], np.float32))


def words(content: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(part["text"] or part["type"] for part in content)


def text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": said}]


def write_set(
    folder: Path,
    documents: Sequence[str],
    queries: Mapping[str, tuple[Mapping[str, float], Sequence[str]]],
    *,
    source: str,
    task: str,
    graded: bool = False,
    command: str | None = None,
) -> Path:
    """Writes a dataset: of each query the grades of its right documents, and its wrong candidates."""
    rows = [{"id": f"q-{said}", "content": text(said), "source": source, "task": task} for said in queries]
    links = [
        {
            "query_id": f"q-{said}",
            "positive_ids": [f"d-{one}" for one in right],
            "negative_ids": [f"d-{one}" for one in wrong],
            **({"positive_scores": list(right.values()), "scorer": GRADES} if graded else {}),
        }
        for said, (right, wrong) in queries.items()
    ]
    facts = DatasetFacts(
        name=source,
        pretty_name=source,
        summary="Tiny.",
        configs={},
        default_config="preview",
        license="mit",
        revisions={"owner/upstream": "c0ffee"},
        command=command,
    )
    corpus = [{"id": f"d-{said}", "content": text(said)} for said in documents]
    return write_dataset(folder, {"test": corpus}, {"test": rows}, {"test": links}, facts)


def write_mmeb(data: Path, name: str, right: int = 2, of: int = 4, **how: Any) -> Path:
    """Writes an image set: `of` queries; a searcher that likes documents named `yes` answers `right` of them."""
    documents = [f"{name} {number} {kind}" for number in range(of) for kind in ("yes", "no")]
    queries = {}
    for number in range(of):
        sides = (f"{name} {number} yes", f"{name} {number} no")
        good, bad = sides if number < right else sides[::-1]
        queries[f"{name} {number}"] = ({good: 1.0}, [bad])
    task = group_of(name).task
    return write_set(data / "mmeb-eval" / name, documents, queries, source=name, task=task, **how)


def likes_yes(query: str, document: str) -> float:
    return float(document.endswith("yes")) + 0.1 * document.startswith(query)


def write_task(
    data: Path, name: str, queries: Mapping[str, Sequence[str]], documents: Sequence[str], **how: Any
) -> Path:
    """Writes an M-BEIR task: of each query its right documents."""
    task = task_named(name)
    rows = {said: (dict.fromkeys(right, 1.0), []) for said, right in queries.items()}
    return write_set(
        data / "m-beir" / name, documents, rows, source="0", task=f"{task.query} → {task.document}", **how
    )
