"""Exact nearest neighbours by inner product, block by block, so that no full score matrix is held."""

import numpy as np
import torch
from torch.nn.functional import normalize

Matrix = np.ndarray | torch.Tensor


def top_k(
    queries: Matrix, corpus: Matrix, k: int, dim: int | None = None, block: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Finds each query's k documents of highest inner product.

    The result is that of sorting all scores; among equal ones the lower index comes first, whatever the block size.
    (Equal rows of the corpus may get scores that differ in the last bit where the matrix product of one block rounds
    otherwise than that of another.)

    Args:
        queries: Vectors, float (Q, D). Tensors are computed with on their own device, in fp32.
        corpus: Vectors, float (N, D).
        k: How many to find.
        dim: If given, only the first `dim` dimensions count, renormalised (Matryoshka): scores are then cosines.
        block: Rows of queries and of documents that are multiplied at once: (block, block) scores are held.

    Returns:
        Scores, float32 (Q, min(k, N)), from high to low, and indices into the corpus, int64 of that shape.

    Raises:
        ValueError: If shapes do not fit, `k`, `dim` or `block` is out of range, or a value is not finite.
    """
    left, right = _vectors(queries, "queries", dim), _vectors(corpus, "corpus", dim)
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"found queries of {left.shape[1]} and documents of {right.shape[1]} dimensions, expected equal"
        )
    if k < 1 or block < 1:
        raise ValueError(f"found k={k} and block={block}, expected both at least 1")
    right = right.to(left.device)
    parts = [left[start : start + block] for start in range(0, len(left), block)]
    found = [_search(part, right, min(k, len(right)), block) for part in parts]
    if not found:
        return np.empty((0, min(k, len(right))), np.float32), np.empty((0, min(k, len(right))), np.int64)
    scores, indices = (torch.cat(columns).cpu().numpy() for columns in zip(*found, strict=True))
    return scores, indices


def _vectors(matrix: Matrix, name: str, dim: int | None) -> torch.Tensor:
    """Checks vectors and cuts them: float32 (rows, dim)."""
    vectors = torch.as_tensor(matrix).detach().float()
    if vectors.ndim != 2:
        raise ValueError(f"found {name} of shape {tuple(vectors.shape)}, expected (rows, dimensions)")
    if not vectors.isfinite().all():
        raise ValueError(f"found values in the {name} that are not finite, expected numbers; check the model's output")
    if dim is None:
        return vectors
    if not 1 <= dim <= vectors.shape[1]:
        raise ValueError(f"found dim={dim}, expected 1 to {vectors.shape[1]}, the {name}' dimensions")
    return normalize(vectors[:, :dim], dim=-1)


def _search(queries: torch.Tensor, corpus: torch.Tensor, k: int, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Goes through the corpus once, keeping the best k so far: scores (Q, k) and indices (Q, k)."""
    scores = queries.new_empty(len(queries), 0)  # (Q, 0)
    indices = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)  # (Q, 0)
    for start in range(0, len(corpus), block):
        fresh = queries @ corpus[start : start + block].T  # (Q, n)
        places = torch.arange(start, start + fresh.shape[1], device=queries.device).expand(len(queries), -1)  # (Q, n)
        # what was kept has lower indices than what is new, so position decides ties as index does
        scores, indices = torch.cat([scores, fresh], 1), torch.cat([indices, places], 1)  # (Q, kept + n)
        kept = _first_largest(scores, min(k, scores.shape[1]))  # (Q, k)
        scores, indices = scores.gather(1, kept), indices.gather(1, kept)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return scores.gather(1, order), indices.gather(1, order)


def _first_largest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Gives the positions of the k largest scores in a row, the first ones where they tie: int64 (Q, k), ascending.

    `topk` alone leaves open which of equal scores it takes.
    """
    least = scores.topk(k, dim=1).values[:, -1:]  # (Q, 1): the k-th largest
    above, ties = scores > least, scores == least  # (Q, n)
    room = k - above.sum(1, keepdim=True)  # (Q, 1)
    taken = above | (ties & (ties.cumsum(1) <= room))  # (Q, n): k of each row
    return taken.nonzero()[:, 1].view(len(scores), k)
