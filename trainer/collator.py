"""Triplet rows to the tensors of one training step."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.processing_nyx import NyxProcessor
from nyx_hf.trainer.losses import PADDING_ID

Row = Mapping[str, Any]


class RetrievalCollator:
    """Batches rows of a `TripletDataset`.

    Three rows with 0, 2 and 1 hard negatives give

        {
            "query": BatchFeature of 3 queries, each after its instruction,
            "document": BatchFeature of 6 documents: the 3 positives in row order, then the 3 hard negatives,
            "negative_owner": tensor([1, 1, 2]),           # the row of each hard negative
            "document_ids": tensor([p0, p1, p2, n0, n1, n2]),
            "known_ids": tensor([[p0, x], [p1, -1], [p2, -1]]),  # all right documents of a row, filled with -1
        }

    Ids are 63-bit hashes of the dataset's name and the document's id there, so that batches of several datasets mix.

    Args:
        processor: the model's processor.
        query_prompt: instruction of the queries whose row brings none.
        document_prompt: instruction put before every document.
        negatives_per_query: hard negatives of a row that are used, at most; None uses all.
    """

    def __init__(
        self,
        processor: NyxProcessor,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        *,
        negatives_per_query: int | None = None,
    ) -> None:
        self.processor = processor
        self.query_prompt = query_prompt
        self.document_prompt = document_prompt
        self.negatives_per_query = negatives_per_query

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Makes a batch.

        Args:
            rows: `query`, `positive` and `negatives` (contents), `instruction`, `query_id`, `positive_ids` (the first
                is `positive`'s), `negative_ids` and `dataset`.

        Returns:
            The batch shown above; integers are int64.

        Raises:
            ValueError: a content cannot be read; the message names the dataset and the query.
        """
        used = slice(self.negatives_per_query)
        owners = [owner for owner, row in enumerate(rows) for _ in row["negatives"][used]]
        instructions = [self.query_prompt if row["instruction"] is None else row["instruction"] for row in rows]
        documents = [row["positive"] for row in rows] + [item for row in rows for item in row["negatives"][used]]
        positives = [[document_id(row["dataset"], name) for name in row["positive_ids"]] for row in rows]
        negatives = [document_id(row["dataset"], name) for row in rows for name in row["negative_ids"][used]]
        return {
            "query": self._process([row["query"] for row in rows], instructions, rows, range(len(rows))),
            "document": self._process(documents, self.document_prompt, rows, [*range(len(rows)), *owners]),
            "negative_owner": torch.tensor(owners, dtype=torch.long),  # (M,)
            "document_ids": torch.tensor([*(ids[0] for ids in positives), *negatives]),  # (B + M,)
            "known_ids": _padded(positives),  # (B, K)
        }

    def _process(
        self, items: list[Any], prompt: str | list[str | None] | None, rows: Sequence[Row], owners: Sequence[int]
    ) -> Any:
        """Turns contents into tensors, naming the row of one that cannot be read."""
        try:
            return self.processor.process(items, prompt=prompt)
        except ContentError as error:
            row = rows[owners[error.index or 0]]
            raise ValueError(f"dataset {row['dataset']!r}, query {row['query_id']!r}: {error}") from error


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


def _padded(ids: Sequence[Sequence[int]]) -> Tensor:
    """Lists of ids as one matrix, short rows filled with `PADDING_ID`: (B, K)."""
    longest = max(len(row) for row in ids)
    return torch.tensor([[*row, *[PADDING_ID] * (longest - len(row))] for row in ids])
