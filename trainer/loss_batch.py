"""What an objective is given, and what it gives back. No model and no data set is known here."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

PADDING_ID = -1  # fills rows of `known_ids` that know fewer documents than the longest; real ids are >= 0


@dataclass(frozen=True)
class LossOutput:
    """A loss and what it is made of.

    Args:
        loss: the scalar to backpropagate: a mean over the own rows.
        logs: detached scalars by name, for logging.
        row_losses: (R,) the detached loss of each own row, in row order; None where a loss has none.
    """

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    row_losses: Tensor | None = None


@dataclass(frozen=True, eq=False)
class EmbeddedBatch:
    """The embeddings of a batch, and how its queries and documents belong together; made by `EmbeddedBatch.of`.

    A batch has rows, numbered from 0: each is one query with its positives and its hard negatives, any number of each.
    On several processes the rows are those of the global batch. The documents are then everybody's, while a process
    computes the loss of its own rows only (`nyx_hf.trainer.distributed.gather_batch`).

    Args:
        query: (B, D) embeddings of the queries of the rows `first_row`, `first_row` + 1, …
        positive: (P, D) right documents.
        negative: (M, D) hard negatives.
        positive_owner: (P,) row of each positive.
        negative_owner: (M,) row of each hard negative.
        first_row: row of the first query.
        own_rows: rows whose loss is computed here.
        known_ids: (B, K) ids of the documents known to be right for each query, filled up with `PADDING_ID`.
        positive_ids: (P,) document ids; without them no document is recognised.
        negative_ids: (M,) document ids.
        positive_scores: (P,) what a teacher or an answering VLM gave each positive.
        negative_scores: (M,) the same for each hard negative.
        task: (B,) number of each query's task, for temperatures of their own.
        weight: (B,) how much each row counts; None weighs all alike.
        scale: factor that turns the mean over the own rows into this process's share of the global mean.

    Raises:
        ValueError: shapes do not fit together, or a row has no positive; the message says which.
    """

    query: Tensor
    positive: Tensor
    negative: Tensor
    positive_owner: Tensor
    negative_owner: Tensor
    first_row: int
    own_rows: range
    known_ids: Tensor | None = None
    positive_ids: Tensor | None = None
    negative_ids: Tensor | None = None
    positive_scores: Tensor | None = None
    negative_scores: Tensor | None = None
    task: Tensor | None = None
    weight: Tensor | None = None
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        query: Tensor,
        positive: Tensor,
        negative: Tensor | None = None,
        negative_owner: Tensor | None = None,
        *,
        positive_owner: Tensor | None = None,
        **rest: Any,
    ) -> "EmbeddedBatch":
        """Makes the batch of one process.

        Args:
            query: (B, D) embeddings of the queries.
            positive: (P, D) right documents.
            negative: (M, D) hard negatives; None means none.
            negative_owner: (M,) row of each hard negative.
            positive_owner: (P,) row of each positive; None means that positive i belongs to row i.
            **rest: the other fields by name; `known_ids` may be (B,).

        Returns:
            The batch, all of whose rows are its own.

        Raises:
            ValueError: see the class.
        """
        if positive_owner is None:
            if len(query) != len(positive):
                raise ValueError(
                    f"{len(query)} queries came with {len(positive)} positives; "
                    "give positive_owner where they are not row by row"
                )
            positive_owner = torch.arange(len(positive), device=query.device)
        if negative is None:
            negative = positive.new_zeros(0, positive.shape[-1])
        if negative_owner is None:
            negative_owner = torch.zeros(0, dtype=torch.long, device=query.device)
        known_ids = rest.pop("known_ids", None)
        if known_ids is not None and known_ids.dim() == 1:
            known_ids = known_ids[:, None]
        return cls(
            query,
            positive,
            negative,
            positive_owner,
            negative_owner,
            first_row=0,
            own_rows=range(len(query)),
            known_ids=known_ids,
            **rest,
        )

    def __post_init__(self) -> None:
        """Refuses shapes that do not fit together."""
        _check_widths(self)
        _check_counts(self)
        _check_rows(self)

    def updated(self, **changes: Any) -> "EmbeddedBatch":
        """Gives a copy with some fields changed, checked again.

        Args:
            **changes: fields by name.

        Returns:
            The copy.
        """
        return replace(self, **changes)

    # ---- Where things are ----

    @cached_property
    def own_queries(self) -> Tensor:
        """Places of the own rows' queries in `query`, (R,)."""
        return torch.arange(self.own_rows.start, self.own_rows.stop, device=self.query.device) - self.first_row

    @cached_property
    def own_positives(self) -> Tensor:
        """Places of the own rows' positives in `positive`, in their order there."""
        return self._own(self.positive_owner)

    @cached_property
    def own_negatives(self) -> Tensor:
        """Places of the own rows' hard negatives in `negative`, in their order there."""
        return self._own(self.negative_owner)

    def _own(self, owner: Tensor) -> Tensor:
        return ((owner >= self.own_rows.start) & (owner < self.own_rows.stop)).nonzero().flatten()

    # ---- All documents, positives first ----

    @cached_property
    def documents(self) -> Tensor:
        """Embeddings of all documents, (P + M, D)."""
        return torch.cat([self.positive, self.negative])

    @cached_property
    def document_owner(self) -> Tensor:
        """The row that each document belongs to, (P + M,)."""
        return torch.cat([self.positive_owner, self.negative_owner])

    @cached_property
    def document_ids(self) -> Tensor | None:
        """Ids of all documents, (P + M,); hard negatives without ids match no document."""
        if self.positive_ids is None:
            return None
        others = self.negative_ids
        if others is None:
            others = self.positive_ids.new_full((len(self.negative),), PADDING_ID)
        return torch.cat([self.positive_ids, others])

    # ---- What counts how much ----

    @cached_property
    def row_weights(self) -> Tensor:
        """What each own row counts, (R,); the sum is 1, or 0 where all weights are 0."""
        if self.weight is None:
            return full_precision(self.query).new_full((len(self.own_rows),), 1 / max(1, len(self.own_rows)))
        own = self.weight[self.own_queries].to(full_precision(self.query).dtype)
        return own / own.sum().clamp(min=torch.finfo(own.dtype).tiny)


class Objective(nn.Module):
    """What is minimised: embeddings in, a scalar out.

    Subclasses give `forward`; an own one is named in a recipe by its import path, `loss: my_package:MyLoss`.
    """

    needs_scores = False  # whether each document must come with a score
    needs_other_queries = False  # whether the queries of all processes must be there, not the documents alone

    def prepare(self, batch: EmbeddedBatch) -> EmbeddedBatch:
        """Changes a process's batch before the documents of the others join; doing it twice changes nothing more.

        Args:
            batch: the batch of one process.

        Returns:
            The batch.
        """
        return batch

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        """Computes the mean loss of the own rows.

        Args:
            batch: the batch, gathered or not.

        Returns:
            The loss.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(batch) -> LossOutput")


def full_precision(embeddings: Tensor) -> Tensor:
    """Widens half-precision embeddings to float32.

    Args:
        embeddings: of any float type.

    Returns:
        float32, or the tensor itself where it is wide enough already.
    """
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def _check_widths(batch: EmbeddedBatch) -> None:
    shapes = [tuple(matrix.shape) for matrix in (batch.query, batch.positive, batch.negative)]
    if any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
        raise ValueError(f"embeddings have shapes {shapes}; query, positive and negative are (rows, D) of one D")


def _check_counts(batch: EmbeddedBatch) -> None:
    sides = {"queries": len(batch.query), "positives": len(batch.positive), "hard negatives": len(batch.negative)}
    fields = {
        "queries": (batch.known_ids, batch.task, batch.weight),
        "positives": (batch.positive_owner, batch.positive_ids, batch.positive_scores),
        "hard negatives": (batch.negative_owner, batch.negative_ids, batch.negative_scores),
    }
    names = {
        "queries": ("known_ids", "task", "weight"),
        "positives": ("positive_owner", "positive_ids", "positive_scores"),
        "hard negatives": ("negative_owner", "negative_ids", "negative_scores"),
    }
    for side, values in fields.items():
        for name, value in zip(names[side], values, strict=True):
            if value is not None and len(value) != sides[side]:
                raise ValueError(f"{sides[side]} {side} came with {len(value)} entries of {name}; give one each")


def _check_rows(batch: EmbeddedBatch) -> None:
    last = batch.first_row + len(batch.query)
    if batch.own_rows.start < batch.first_row or batch.own_rows.stop > last:
        raise ValueError(
            f"own_rows is {batch.own_rows}, but there are queries of rows {batch.first_row} to {last - 1}"
        )
    answered = torch.zeros(len(batch.own_rows), dtype=torch.bool, device=batch.query.device)
    answered[batch.positive_owner[batch.own_positives] - batch.own_rows.start] = True
    if not bool(answered.all()):
        row = batch.own_rows[int(answered.logical_not().nonzero()[0, 0])]
        raise ValueError(f"row {row} has no positive; every query needs a right document")
