"""Triplet rows to the tensors of one training step."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.processing_nyx import NyxProcessor
from nyx_hf.trainer.loss_batch import PADDING_ID
from nyx_hf.trainer.loss_distillation import fused_scores

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RetrievalCollator:
    """Batches rows of a `TripletDataset`.

    Three rows with 1, 2 and 1 positives and 0, 2 and 1 hard negatives give

        {
            "query": BatchFeature of 3 queries, each after its instruction,
            "document": BatchFeature of 7 documents: the 4 positives in row order, then the 3 hard negatives,
            "positive_owner": tensor([0, 1, 1, 2]),        # the row of each positive
            "negative_owner": tensor([1, 1, 2]),           # the row of each hard negative
            "positive_ids": tensor([p0, p1, x, p2]),
            "negative_ids": tensor([n0, n1, n2]),
            "known_ids": tensor([[p0, -1], [p1, x], [p2, -1]]),  # all right documents of a row, filled with -1
            "rows": [("dataset", "q0"), ("dataset", "q1"), ("dataset", "q2")],
        }

    With `tasks` there is `task`, with `scores` also `positive_scores` and `negative_scores`, in the documents' order.
    Ids are 63-bit hashes of the dataset's name and the document's id there, so that batches of several datasets mix.

    Args:
        processor: the model's processor.
        query_prompt: instruction of the queries whose row brings none.
        document_prompt: instruction put before every document.
        negatives_per_query: hard negatives of a row that are used, at most; None uses all.
        tasks: names of the tasks that have temperatures of their own.
        scores: rows must bring a score for each document.
        alpha: weight of recall where scores are fused from recall and reranking; None takes the scores as they are.
    """

    processor: NyxProcessor
    query_prompt: str | None = None
    document_prompt: str | None = None
    negatives_per_query: int | None = None
    tasks: Sequence[str] = ()
    scores: bool = False
    alpha: float | None = None

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Makes a batch.

        Args:
            rows: `query`, `positives` and `negatives` (contents), `instruction`, `query_id`, `positive_ids` (those of
                `positives` first), `negative_ids` and `dataset`, and where they are asked for `task` and scores.

        Returns:
            The batch shown above; integers are int64, scores float32.

        Raises:
            ValueError: a content cannot be read, or a row has no score or task that is needed; the message names the
                dataset and the query.
        """
        used = slice(self.negatives_per_query)
        positive_owner = [owner for owner, row in enumerate(rows) for _ in row["positives"]]
        negative_owner = [owner for owner, row in enumerate(rows) for _ in row["negatives"][used]]
        documents = [item for row in rows for item in row["positives"]]
        documents += [item for row in rows for item in row["negatives"][used]]
        instructions = [self.query_prompt if row["instruction"] is None else row["instruction"] for row in rows]
        known = [[document_id(row["dataset"], name) for name in row["positive_ids"]] for row in rows]
        negatives = [document_id(row["dataset"], name) for row in rows for name in row["negative_ids"][used]]
        batch = {
            "query": self._process([row["query"] for row in rows], instructions, rows, range(len(rows))),
            "document": self._process(documents, self.document_prompt, rows, [*positive_owner, *negative_owner]),
            "positive_owner": torch.tensor(positive_owner),  # (P,)
            "negative_owner": torch.tensor(negative_owner, dtype=torch.long),  # (M,)
            "positive_ids": torch.tensor(
                [name for row, ids in zip(rows, known, strict=True) for name in ids[: len(row["positives"])]]
            ),  # (P,)
            "negative_ids": torch.tensor(negatives, dtype=torch.long),  # (M,)
            "known_ids": _padded(known),  # (B, K)
            "rows": [(row["dataset"], row["query_id"]) for row in rows],
        }
        if self.tasks:
            batch["task"] = torch.tensor([self._task(row) for row in rows])  # (B,)
        if self.scores:
            batch["positive_scores"] = self._scores(rows, "positive", slice(None))  # (P,)
            batch["negative_scores"] = self._scores(rows, "negative", used)  # (M,)
        return batch

    def _process(
        self, items: list[Any], prompt: str | list[str | None] | None, rows: Sequence[Row], owners: Sequence[int]
    ) -> Any:
        """Turns contents into tensors, naming the row of one that cannot be read."""
        try:
            return self.processor.process(items, prompt=prompt)
        except ContentError as error:
            raise ValueError(f"{_name(rows[owners[error.index or 0]])}: {error}") from error

    def _task(self, row: Row) -> int:
        if row["task"] not in self.tasks:
            raise ValueError(
                f"{_name(row)} has the task {row['task']!r}; those with a temperature are {', '.join(self.tasks)}"
            )
        return self.tasks.index(row["task"])

    def _scores(self, rows: Sequence[Row], side: str, used: slice) -> Tensor:
        """The score of each document of one side, fused where that is asked for: float32 (n,)."""
        scores: list[float] = []
        for row in rows:
            own = self._own_scores(row, f"{side}_scores")[used]
            if self.alpha is not None:
                recall = self._own_scores(row, f"{side}_recall_scores")[used]
                own = [fused_scores(a, b, self.alpha) for a, b in zip(recall, own, strict=True)]
            scores += own
        return torch.tensor(scores)

    def _own_scores(self, row: Row, name: str) -> list[float]:
        """A row's scores of one column, as many as its documents."""
        wanted = len(row[f"{name.split('_')[0]}s"])
        scores: list[float] = row.get(name) or []
        if len(scores) != wanted:
            raise ValueError(f"{_name(row)} has {len(scores)} {name} for {wanted} documents; score each of them")
        return scores


def document_id(dataset: str, name: str) -> int:
    """Hashes a document's id to an int64 that is never negative.

    Args:
        dataset: name of its dataset.
        name: its id there.

    Returns:
        The first 63 bits of a BLAKE2 digest.
    """
    digest = hashlib.blake2b(f"{dataset}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _name(row: Row) -> str:
    return f"dataset {row['dataset']!r}, query {row['query_id']!r}"


def _padded(ids: Sequence[Sequence[int]]) -> Tensor:
    """Lists of ids as one matrix, short rows filled with `PADDING_ID`: (B, K)."""
    longest = max(len(row) for row in ids)
    return torch.tensor([[*row, *[PADDING_ID] * (longest - len(row))] for row in ids])
