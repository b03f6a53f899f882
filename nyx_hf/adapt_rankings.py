"""What retrievers find for held-out questions: rankings over a whole corpus, kept on disk, and what they are worth."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset

from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.ranking import rank, stored_rows
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.query_log import TASK
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet

DEPTH = 10
METRICS = {
    "passage@1": "right passage first",
    "page@1": "right page first",
    "passage@5": "right passage among five",
    "ndcg@10": "nDCG@10",
}
"""What is measured of each question, and how it is called."""
TEXT, IMAGES, LOGGED = "text only", "with images", "query log"


@dataclass(frozen=True)
class Questions:
    """Held-out questions and the corpus that is searched for them.

    Attributes:
        queries: Rows of the `queries` schema.
        corpus: Rows of the `corpus` schema.
        relevant: The right documents of each query.
    """

    queries: Dataset
    corpus: Dataset
    relevant: Mapping[str, Collection[str]]

    @classmethod
    def load(cls, dataset: str | Path, split: str) -> "Questions":
        """Reads a split's questions, with the whole corpus.

        Args:
            dataset: A dataset folder or a Hub dataset.
            split: The split.

        Returns:
            The questions.

        Raises:
            ValueError: If there is no such dataset or split.
        """
        try:
            found = RetrievalSet.load(dataset, split)
        except OSError as error:
            raise ValueError(f"found no dataset at {dataset}, expected a folder or a Hub name; check it") from error
        assert isinstance(found.queries, Dataset) and isinstance(found.corpus, Dataset)
        return cls(found.queries, found.corpus, found.relevant)

    @cached_property
    def kinds(self) -> np.ndarray:
        """The kind of each question: text only, with images, or out of a query log."""
        return np.array(
            [
                LOGGED if row["task"] == TASK
                else IMAGES if any(part["type"] != "text" for part in row["content"]) else TEXT
                for row in stored_rows(self.queries)
            ]
        )  # fmt: skip

    def values(self, found: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """Says what rankings are worth.

        Args:
            found: Documents found for each query, the best first.

        Returns:
            `METRICS` of each question: float64 (questions,).
        """
        names = self.queries["id"]
        rankings, right = [found[name] for name in names], [self.relevant[name] for name in names]
        passages = ranking_metrics(rankings, right, (1, 5, DEPTH))
        first = [{page_of(one) for one in ranking[:1]} for ranking in rankings]
        pages = [float(not found.isdisjoint(map(page_of, ids))) for found, ids in zip(first, right, strict=True)]
        return {
            "passage@1": passages["hit@1"],
            "page@1": np.array(pages),
            "passage@5": passages["hit@5"],
            "ndcg@10": passages[f"ndcg@{DEPTH}"],
        }


def page_of(document: str) -> str:
    """Gives the page that a chunk's id names: all before its last `#`."""
    return document.rsplit("#", 1)[0]


def ranked(path: Path, questions: Questions, searcher: Callable[[], Searcher]) -> bool:
    """Lets a retriever search the whole corpus for each question, unless it has done so before.

    Args:
        path: The file of rankings: a line `{"query_id", "documents", "scores"}` each.
        questions: The questions.
        searcher: Opens the retriever.

    Returns:
        Whether it searched.
    """
    if path.exists():
        return False
    found = rank(searcher(), questions.queries, questions.corpus, DEPTH)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("w", encoding="utf-8") as file:
        for name, ranking in zip(questions.queries["id"], found, strict=True):
            line = {"query_id": name, "documents": list(ranking.ids), "scores": ranking.scores.tolist()}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    beside.rename(path)
    return True


def read_rankings(path: Path) -> dict[str, list[str]]:
    """Reads what `ranked` wrote: the documents found for each query."""
    lines = map(json.loads, path.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    return {line["query_id"]: line["documents"] for line in lines}
