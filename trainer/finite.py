"""Ends a run whose numbers are no numbers any more, and says where it happened."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nyx_hf.trainer.distributed import gather_rows, process_index


class NotFiniteError(RuntimeError):
    """A loss or gradient that is infinite or no number."""


def check_finite(
    loss: Tensor,
    query: Tensor,
    document: Tensor,
    owners: Tensor,
    rows: Sequence[tuple[str, str]],
    step: int,
    folder: str | Path,
) -> None:
    """Ends the run on all processes if the loss of one is not finite, before it does harm.

    Args:
        loss: this process's loss.
        query: (B, D) embeddings of the queries.
        document: (N, D) embeddings of the documents.
        owners: (N,) row of each document.
        rows: dataset and query id of each row.
        step: steps done so far.
        folder: where the rows are written down.

    Raises:
        NotFiniteError: some process's loss is not finite.
    """
    fine = loss.detach().isfinite().reshape(1)
    if bool(gather_rows(fine).all()):
        return
    bad = ~query.detach().isfinite().all(dim=1).cpu()  # (B,)
    bad[owners.cpu()[~document.detach().isfinite().all(dim=1).cpu()]] = True
    suspects = [row for row, is_bad in zip(rows, bad.tolist(), strict=True) if is_bad]
    path = Path(folder) / f"not_finite_rank{process_index()}.json"
    named = [{"dataset": dataset, "query_id": query_id} for dataset, query_id in suspects or rows]
    found = {
        "step": step + 1,
        "loss": str(loss.item()),
        "rows": named,
        "rows_are": "those whose embeddings are not finite"
        if suspects
        else "the whole batch: its embeddings are finite",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    dataset, query_id = (suspects or list(rows))[0]
    raise NotFiniteError(
        f"the loss is {loss.item()} in step {step + 1}; {len(named)} rows ({'with' if suspects else 'none with'} "
        f"embeddings that are not finite), the first one query {query_id!r} of {dataset!r}, stand in {path}. The last "
        "checkpoint is kept; lower the learning rate, or leave those rows out"
    )


def check_gradient(norm: float | Tensor, step: int) -> None:
    """Ends the run before a gradient that is not finite gets into the weights.

    Args:
        norm: the gradient's norm, the same on all processes.
        step: steps done so far.

    Raises:
        NotFiniteError: it is not finite.
    """
    value = float(norm) if isinstance(norm, torch.Tensor) else norm
    if not math.isfinite(value):
        raise NotFiniteError(
            f"the gradient's norm is {value} in step {step + 1}, though the loss is finite. The last checkpoint is "
            "kept; lower the learning rate, set max_grad_norm, or raise the temperature"
        )
