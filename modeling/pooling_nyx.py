"""From a sequence of hidden states to one vector."""

import torch


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pools hidden states, for right and left padding alike.

    The mean is summed in float32 whatever the hidden states' type, as bfloat16 sums of long sequences lose digits.

    Args:
        hidden: Last hidden states, (B, L, D).
        attention_mask: 1 for tokens that count, 0 for padding and left-out tokens, (B, L).
        pooling: `last` or `mean`.

    Returns:
        One vector a row, float32, (B, D), not normalised.

    Raises:
        ValueError: A row has no token that counts, or `pooling` is unknown.
    """
    mask = attention_mask.to(torch.bool)  # (B, L)
    if not bool(mask.any(dim=1).all()):
        raise ValueError("a row has no token to pool: its content is nothing but instruction, or its mask is all zero")
    if pooling == "last":
        positions = torch.arange(mask.shape[1], device=mask.device)  # (L,)
        last = torch.where(mask, positions, -1).max(dim=1).values  # (B,)
        return hidden[torch.arange(len(hidden), device=hidden.device), last].float()  # (B, D)
    if pooling == "mean":
        weights = mask.unsqueeze(-1).float()  # (B, L, 1)
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)  # (B, D)
    raise ValueError(f"pooling is {pooling!r}; it is last | mean")


def truncate(embeddings: torch.Tensor, dim: int | None) -> torch.Tensor:
    """The first `dim` numbers of each vector (Matryoshka); to be normalised afterwards.

    Args:
        embeddings: Vectors, (..., D).
        dim: Width to keep, or None for all.

    Returns:
        Vectors, (..., dim).

    Raises:
        ValueError: `dim` is below 1 or above the vectors' width.
    """
    if dim is None:
        return embeddings
    width = embeddings.shape[-1]
    if not 1 <= dim <= width:
        raise ValueError(f"truncate_dim is {dim}, but this model's vectors have {width} dimensions")
    return embeddings[..., :dim]
