"""Lists of different lengths as one matrix."""

import torch
from torch import Tensor


def as_lists(values: Tensor, owner: Tensor, rows: int, fill: float) -> Tensor:
    """Puts the values of each owner side by side, in their order.

    Args:
        values: (n,) of any type; gradients flow through.
        owner: (n,) row of each value, from 0 to `rows` - 1, in any order.
        rows: how many rows there are.
        fill: what fills up the shorter lists.

    Returns:
        (rows, K), K the length of the longest list.
    """
    order = owner.argsort(stable=True)
    owner, values = owner[order], values[order]
    counts = owner.bincount(minlength=rows)  # (rows,)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]  # (n,)
    lists = values.new_full((rows, int(counts.max()) if rows else 0), fill)
    return lists.index_put((owner, place), values)
