"""A sum over anchors, computed a few anchors at a time, so that memory grows with the batch and not with its square.

Each anchor's share of a contrastive loss needs that anchor and all candidates, but no other anchor. A tile of anchors
is therefore computed forwards and backwards at once, and only the gradients are kept: no similarity outlives its tile,
and nothing is computed twice.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

# (places of the anchors (a,), anchors (a, D), candidates (N, D), per-anchor values (a,)) -> (sum, facts (f, a))
TileSum = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def sum_in_tiles(
    tile_sum: TileSum, anchors: Tensor, candidates: Tensor, values: Tensor, rows: int
) -> tuple[Tensor, Tensor]:
    """Adds up what a function gives for tiles of anchors.

    Args:
        tile_sum: gives the sum over some anchors, and facts about each that carry no gradient.
        anchors: (A, D) embeddings.
        candidates: (N, D) embeddings.
        values: (A,) one differentiable number an anchor, such as its inverse temperature.
        rows: anchors in a tile.

    Returns:
        The sum, a scalar with gradients for anchors, candidates and values, and the facts of all anchors, (f, A).
    """
    everything = torch.arange(len(anchors), device=anchors.device)
    if rows >= len(anchors):
        return tile_sum(everything, anchors, candidates, values)
    total, facts = _SumInTiles.apply(tile_sum, everything.split(rows), anchors, candidates, values)  # type: ignore[no-untyped-call]
    return total, facts


class _SumInTiles(torch.autograd.Function):
    """Computes all gradients on the way forward; the way back only scales them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        tile_sum: TileSum,
        tiles: tuple[Tensor, ...],
        anchors: Tensor,
        candidates: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[2:]  # type: ignore[attr-defined]
        grads = [
            torch.zeros_like(whole) if needed else None
            for whole, needed in zip((anchors, candidates, values), wanted, strict=True)
        ]
        total = anchors.new_zeros(())
        facts = []
        for tile in tiles:
            part: list[Tensor] = [anchors[tile], candidates, values[tile]]
            part = [tensor.detach().requires_grad_(needed) for tensor, needed in zip(part, wanted, strict=True)]
            with torch.set_grad_enabled(any(wanted)):
                amount, fact = tile_sum(tile, *part)
            total += amount.detach()
            facts.append(fact)
            _add_gradients(grads, amount, part, tile)
        ctx.grads = grads  # type: ignore[attr-defined]
        gathered = torch.cat(facts, dim=1)
        ctx.mark_non_differentiable(gathered)
        return total, gathered

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
        grads: list[Tensor | None] = ctx.grads  # type: ignore[attr-defined]
        return (None, None, *(None if whole is None else whole * grad for whole in grads))


def _add_gradients(grads: list[Tensor | None], amount: Tensor, part: list[Tensor], tile: Tensor) -> None:
    """Adds one tile's gradients to those of the whole: candidates are in every tile, the rest in one."""
    needed = [tensor for tensor in part if tensor.requires_grad]
    if not needed:
        return
    found = iter(torch.autograd.grad(amount, needed))
    for place, (tensor, whole) in enumerate(zip(part, grads, strict=True)):
        if whole is None or not tensor.requires_grad:
            continue
        if place == 1:
            whole += next(found)
        else:
            whole[tile] = next(found)
