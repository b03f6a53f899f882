"""Candidates of all processes, with true gradients.

The convention, which makes a run on W processes equal a run on one process with the same global batch:

- each process scores its own queries against the candidates of all processes;
- the backward pass of `gather_with_grad` sums what every process wants of a row, so that the process owning the row
  backpropagates the whole of it;
- DistributedDataParallel (and ZeRO) then averages parameter gradients over the W processes, so each process scales
  the mean over its own B_r queries by W · B_r / Σ B_r (`RankRows.scale`), which is 1 where all have equally many.

The mean over processes of the scaled losses is then the mean over all queries, in value and in gradient.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def world_size() -> int:
    """Counts the processes that train together; 1 where no process group stands."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_index() -> int:
    """Tells which of the processes this one is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


@dataclass(frozen=True)
class RankRows:
    """How the rows of a global batch lie on the processes.

    Args:
        counts: rows on each process, in the order of the processes.
        rank: this process.
    """

    counts: tuple[int, ...]
    rank: int

    @classmethod
    def of(cls, rows: int, device: torch.device) -> "RankRows":
        """Asks every process for its number of rows.

        Args:
            rows: rows on this process.
            device: where the process group's backend wants its tensors.

        Returns:
            The counts of all processes.
        """
        if world_size() == 1:
            return cls((rows,), 0)
        counts = torch.zeros(world_size(), dtype=torch.long, device=device)
        dist.all_gather(list(counts.unbind()), torch.tensor(rows, device=device))
        return cls(tuple(counts.tolist()), process_index())

    @property
    def start(self) -> int:
        """The global row that this process's first row is."""
        return sum(self.counts[: self.rank])

    @property
    def scale(self) -> float:
        """Factor W · B_r / Σ B_r that turns the mean over this process's rows into its share of the global mean."""
        return len(self.counts) * self.counts[self.rank] / sum(self.counts)


def gather_rows(tensor: Tensor) -> Tensor:
    """Concatenates the rows of all processes, without gradients.

    Args:
        tensor: (n, …), n may differ between processes, the rest may not.

    Returns:
        (Σ n, …) in the order of the processes; the tensor itself on one process.
    """
    if world_size() == 1:
        return tensor
    return _gather(tensor.detach(), RankRows.of(len(tensor), tensor.device))


def gather_with_grad(tensor: Tensor) -> Tensor:
    """Concatenates the rows of all processes; gradients flow back to the process that owns a row.

    Args:
        tensor: (n, …), n may differ between processes (0 too), the rest may not.

    Returns:
        (Σ n, …) in the order of the processes; the tensor itself on one process.
    """
    if world_size() == 1:
        return tensor
    gathered: Tensor = _GatherWithGrad.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


class _GatherWithGrad(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients of all processes."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        rows = RankRows.of(len(tensor), tensor.device)
        ctx.rows = rows  # type: ignore[attr-defined]
        return _gather(tensor, rows)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        rows: RankRows = ctx.rows  # type: ignore[attr-defined]
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[rows.start : rows.start + rows.counts[rows.rank]]


def _gather(tensor: Tensor, rows: RankRows) -> Tensor:
    """All-gathers rows; the shorter processes send padding, which is trimmed: collectives want equal shapes."""
    longest = max(rows.counts)
    padded = tensor.new_zeros(longest, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in rows.counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, rows.counts, strict=True)])


@dataclass(frozen=True)
class Candidates:
    """The documents that this process's queries are scored against; fields as in `ContrastiveLoss.forward`.

    Args:
        positive: (P, D) positives.
        negative: (M, D) hard negatives.
        negative_owner: (M,) row of `positive` that each hard negative belongs to.
        positive_ids: (P,) document ids.
        negative_ids: (M,) document ids.
        positive_index: (B,) row of `positive` that answers each of this process's queries.
        scale: factor of this process's mean loss.
    """

    positive: Tensor
    negative: Tensor
    negative_owner: Tensor
    positive_ids: Tensor
    negative_ids: Tensor
    positive_index: Tensor
    scale: float = 1.0


def local_candidates(document: Tensor, document_ids: Tensor, negative_owner: Tensor) -> Candidates:
    """Splits a batch's documents into the candidates of this process alone.

    Args:
        document: (B + M, D) embeddings, the positives of the B rows first, then all hard negatives.
        document_ids: (B + M,) ids in the same order.
        negative_owner: (M,) the row, from 0 to B - 1, of each hard negative.

    Returns:
        The candidates.
    """
    rows = len(document) - len(negative_owner)
    return Candidates(
        positive=document[:rows],
        negative=document[rows:],
        negative_owner=negative_owner,
        positive_ids=document_ids[:rows],
        negative_ids=document_ids[rows:],
        positive_index=torch.arange(rows, device=document.device),
    )


def gather_candidates(local: Candidates) -> Candidates:
    """Adds the candidates of all other processes, with gradients.

    Args:
        local: the candidates of this process.

    Returns:
        The candidates of all processes; rows are renumbered to the global batch.
    """
    rows = RankRows.of(len(local.positive), local.positive.device)
    return Candidates(
        positive=gather_with_grad(local.positive),
        negative=gather_with_grad(local.negative),
        negative_owner=gather_rows(local.negative_owner + rows.start),
        positive_ids=gather_rows(local.positive_ids),
        negative_ids=gather_rows(local.negative_ids),
        positive_index=local.positive_index + rows.start,
        scale=rows.scale,
    )
