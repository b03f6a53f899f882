"""Cosine similarities of all nested prefixes in one pass.

The dot product of a longer prefix is that of the shorter one plus the rest, so the prefixes together cost one matrix
product each way instead of one a prefix; only the norms differ.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def nested_cosine(left: Tensor, right: Tensor, dims: Sequence[int]) -> tuple[Tensor, ...]:
    """Computes the cosine similarities of each prefix: cos(a[:d], b[:d]) for each d.

    Args:
        left: (A, D) vectors.
        right: (N, D) vectors.
        dims: prefix lengths, rising, at most D.

    Returns:
        For each prefix the similarities, (A, N), with gradients. A prefix of zeros has similarity 0 to everything.
    """
    similarities: tuple[Tensor, ...] = _NestedCosine.apply(left, right, tuple(dims))  # type: ignore[no-untyped-call]
    return similarities


class _NestedCosine(torch.autograd.Function):
    """With S_d = a[:d] · b[:d] and inverse norms u_d, v_d: c_d = S_d u_d v_d.

    Backward, with G_d the gradient of c_d and H_d = Σ_{e ≥ d} G_e u_e v_e: the columns between two prefixes get one
    matrix product with H_d, and every prefix d takes off what lies along the vector itself, (Σ_n G_d c_d) u_d² a[:d].
    """

    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, ...]:
        left_inverse, right_inverse = _inverse_norms(left, dims), _inverse_norms(right, dims)
        products = left.new_zeros(len(left), len(right))  # (A, N)
        similarities = []
        for start, dim, u, v in zip((0, *dims), dims, left_inverse, right_inverse, strict=False):
            products = torch.addmm(products, left[:, start:dim], right[:, start:dim].T)
            similarities.append((products * u[:, None]).mul_(v))  # (A, N)
        ctx.save_for_backward(left, right, *similarities)
        ctx.dims = dims  # type: ignore[attr-defined]
        return tuple(similarities)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right, *similarities = ctx.saved_tensors  # type: ignore[attr-defined]
        dims: tuple[int, ...] = ctx.dims  # type: ignore[attr-defined]
        left_inverse, right_inverse = _inverse_norms(left, dims), _inverse_norms(right, dims)
        left_grad, right_grad = torch.zeros_like(left), torch.zeros_like(right)
        along: list[tuple[int, Tensor, Tensor]] = []
        wanted = torch.zeros_like(grads[0])  # H_d, (A, N)
        starts = (0, *dims[:-1])
        levels = list(zip(starts, dims, left_inverse, right_inverse, grads, similarities, strict=True))
        for start, dim, u, v, grad, similarity in reversed(levels):
            toward = grad * similarity  # (A, N)
            along.append((dim, toward.sum(dim=1) * u.square(), toward.sum(dim=0) * v.square()))
            wanted += torch.mul(grad, u[:, None], out=toward).mul_(v)
            left_grad[:, start:dim] = wanted @ right[:, start:dim]
            right_grad[:, start:dim] = wanted.T @ left[:, start:dim]
        for dim, of_left, of_right in along:  # after all columns were written
            left_grad[:, :dim].addcmul_(of_left[:, None], left[:, :dim], value=-1)
            right_grad[:, :dim].addcmul_(of_right[:, None], right[:, :dim], value=-1)
        return left_grad, right_grad, None


def _inverse_norms(vectors: Tensor, dims: tuple[int, ...]) -> list[Tensor]:
    """1 / |v[:d]| of each prefix, (rows,) each; 0 for a prefix of zeros."""
    squares = vectors.new_zeros(len(vectors))  # (rows,)
    inverse = []
    for start, dim in zip((0, *dims), dims, strict=False):
        squares = squares + vectors[:, start:dim].square().sum(dim=1)
        inverse.append(torch.where(squares > 0, squares.rsqrt(), 0))
    return inverse
