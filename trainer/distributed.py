"""The documents of all processes, with true gradients.

The convention, which makes a run on W processes equal a run on one process with the same global batch:

- each process computes the loss of its own rows, whose candidates are the documents of all processes;
- the backward pass of `gather_with_grad` sums what every process wants of a row, so that the process owning the row
  backpropagates the whole of it;
- DistributedDataParallel (and ZeRO) then averages parameter gradients over the W processes, so each process scales
  the mean over its own B_r rows by W · B_r / Σ B_r (`EmbeddedBatch.scale`), which is 1 where all have equally many.

The mean over processes of the scaled losses is then the mean over all queries, in value and in gradient.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from nyx_hf.trainer.loss_batch import PADDING_ID, EmbeddedBatch


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


def gather_batch(local: EmbeddedBatch, *, queries: bool = False) -> EmbeddedBatch:
    """Adds the documents of all other processes, with gradients.

    Args:
        local: the batch of this process alone, with rows from 0.
        queries: add the queries of the others too, for objectives that let documents pick their queries.

    Returns:
        The batch with rows of the global batch, of which those of this process are `own_rows`; the batch itself on
        one process.
    """
    if world_size() == 1:
        return local
    rows = RankRows.of(len(local.query), local.query.device)
    gathered = local.updated(
        positive=gather_with_grad(local.positive),
        negative=gather_with_grad(local.negative),
        positive_owner=gather_rows(local.positive_owner + rows.start),
        negative_owner=gather_rows(local.negative_owner + rows.start),
        positive_ids=_gather_optional(local.positive_ids),
        negative_ids=_gather_optional(local.negative_ids),
        positive_scores=_gather_optional(local.positive_scores),
        negative_scores=_gather_optional(local.negative_scores),
        first_row=rows.start,
        own_rows=range(rows.start, rows.start + len(local.query)),
        scale=rows.scale if local.weight is None else _weighted_scale(local.weight),
    )
    if not queries:
        return gathered
    return gathered.updated(
        query=gather_with_grad(local.query),
        known_ids=None if local.known_ids is None else _gather_known(local.known_ids),
        task=_gather_optional(local.task),
        weight=_gather_optional(local.weight),
        first_row=0,
    )


def _gather_optional(values: Tensor | None) -> Tensor | None:
    return None if values is None else gather_rows(values)


def _gather_known(known_ids: Tensor) -> Tensor:
    """Gathers rows that know different numbers of documents on each process."""
    longest = int(gather_rows(torch.tensor([known_ids.shape[1]], device=known_ids.device)).max())
    return gather_rows(F.pad(known_ids, (0, longest - known_ids.shape[1]), value=PADDING_ID))


def _weighted_scale(weight: Tensor) -> float:
    """Factor W · Σ w_own / Σ w that turns a weighted mean over the own rows into this process's share."""
    sums = gather_rows(weight.sum()[None])  # (W,)
    return float(len(sums) * sums[process_index()] / sums.sum().clamp(min=torch.finfo(sums.dtype).tiny))
