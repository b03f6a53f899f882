"""Contrastive objectives: embeddings in, a scalar out. No model and no data set is known here.

`ContrastiveLoss` is InfoNCE over in-batch and hard negatives, `MatryoshkaLoss` the weighted sum of it over nested
prefixes of the embeddings. Both compute in float32, whatever autocast says; float64 stays float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING_ID = -1  # fills rows of `known_ids` that know fewer documents than the longest; real ids are >= 0


@dataclass(frozen=True)
class LossOutput:
    """A loss and what it is made of.

    Args:
        loss: the scalar to backpropagate.
        logs: detached scalars by name, for logging.
    """

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LossConfig:
    """Settings of the objective; validated by `build_loss`.

    Args:
        temperature: divides cosine similarities (never its reciprocal).
        shared_negatives: also score a query against the hard negatives of other queries.
        dims: lengths of the trained prefixes; None trains the full embedding alone.
        weights: one weight a prefix, divided by their sum; None weighs all alike.
    """

    temperature: float = 0.02
    shared_negatives: bool = False
    dims: Sequence[int] | None = None
    weights: Sequence[float] | None = None


def build_loss(config: LossConfig) -> "ContrastiveLoss | MatryoshkaLoss":
    """Makes the objective that a configuration describes.

    Args:
        config: the settings.

    Returns:
        `MatryoshkaLoss` where `dims` are given, else `ContrastiveLoss`; both are called alike.

    Raises:
        ValueError: a setting is out of range.
    """
    contrastive = ContrastiveLoss(config.temperature, shared_negatives=config.shared_negatives)
    if config.dims is None:
        if config.weights is not None:
            raise ValueError(f"weights {list(config.weights)} were given without dims: give one dim a weight")
        return contrastive
    return MatryoshkaLoss(contrastive, config.dims, config.weights)


class ContrastiveLoss(nn.Module):
    """InfoNCE: each query must pick its own positive out of all its candidates.

    L = -mean_i log [ φ(q_i, p_i) / (φ(q_i, p_i) + Σ_n φ(q_i, n)) ],  φ(q, d) = exp(cos(q, d) / temperature)

    This is our reading of Nyx Eq. 1: n runs over the positives of the other rows (in-batch negatives) and over the
    row's own hard negatives; other rows' hard negatives join with `shared_negatives` only. A candidate that is known
    by id to be one of the query's right documents is no negative.

    References:
        van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding".
        Nyx, §3.3, Eq. 1.

    Args:
        temperature: divides cosine similarities; sentence-transformers' `scale` is its reciprocal.
        shared_negatives: count other rows' hard negatives as negatives too.

    Raises:
        ValueError: the temperature is not a positive number.
    """

    def __init__(self, temperature: float = 0.02, *, shared_negatives: bool = False) -> None:
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature is {temperature}; it divides cosine similarities and must be positive")
        self.temperature = temperature
        self.shared_negatives = shared_negatives

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negative: Tensor | None = None,
        negative_owner: Tensor | None = None,
        *,
        positive_index: Tensor | None = None,
        known_ids: Tensor | None = None,
        positive_ids: Tensor | None = None,
        negative_ids: Tensor | None = None,
    ) -> LossOutput:
        """Computes the mean loss of the query rows.

        Args:
            query: (B, D) embeddings of the queries.
            positive: (P, D) positives of this batch and, gathered, of other processes; P = B on one process.
            negative: (M, D) hard negatives, any number a row.
            negative_owner: (M,) the row of `positive` whose query each hard negative was mined for.
            positive_index: (B,) the row of `positive` that answers each query; None means row i answers query i.
            known_ids: (B,) or (B, K) ids of the documents known to be right for each query, filled up with
                `PADDING_ID`; None means the id of the query's own positive.
            positive_ids: (P,) ids of the positives; without them nothing is masked.
            negative_ids: (M,) ids of the hard negatives.

        Returns:
            The mean over query rows; no logs.

        Raises:
            ValueError: shapes do not fit together.
        """
        negative = positive.new_zeros(0, positive.shape[-1]) if negative is None else negative
        negative_owner = _owners(negative, negative_owner)
        positive_index = _index(query, positive, positive_index)
        _check_widths(query, positive, negative)

        with torch.autocast(query.device.type, enabled=False):
            candidates = torch.cat([_full_precision(positive), _full_precision(negative)])  # (P + M, D)
            logits = _cosine(_full_precision(query), candidates) / self.temperature  # (B, P + M)

        own = torch.arange(len(candidates), device=query.device) == positive_index[:, None]  # (B, P + M)
        allowed = own | self._negatives(len(positive), negative_owner, positive_index)
        if positive_ids is not None:
            known = positive_ids[positive_index] if known_ids is None else known_ids
            ids = _candidate_ids(positive_ids, negative_ids, len(negative))
            allowed &= own | ~_same_document(known, ids)
        return LossOutput(F.cross_entropy(logits.masked_fill(~allowed, -torch.inf), positive_index))

    def _negatives(self, positives: int, negative_owner: Tensor, positive_index: Tensor) -> Tensor:
        """Says which candidates may be negatives of which query: (B, P + M) bool."""
        in_batch = torch.ones(len(positive_index), positives, dtype=torch.bool, device=positive_index.device)
        hard = negative_owner[None, :] == positive_index[:, None]  # (B, M)
        return torch.cat([in_batch, torch.ones_like(hard) if self.shared_negatives else hard], dim=1)


class MatryoshkaLoss(nn.Module):
    """Weighted sum of a contrastive loss over nested prefixes of the embeddings.

    L = Σ_d w_d L_d / Σ_d w_d,  where L_d sees the first d values of each embedding, normalised anew.

    The weights are divided by their sum: Nyx §5.4 gives 1, 1, 0.2, 0.2 "before normalization".

    References:
        Kusupati et al. 2022, "Matryoshka Representation Learning". Nyx, §3.3, Eq. 2.

    Args:
        loss: the contrastive loss of one prefix.
        dims: lengths of the prefixes, each once.
        weights: one weight a prefix, at least one of them positive; None weighs all alike.

    Raises:
        ValueError: dims or weights are out of range or do not fit together.
    """

    def __init__(self, loss: ContrastiveLoss, dims: Sequence[int], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(dims) if weights is None else list(weights)
        _check_prefixes(dims, weights)
        self.loss = loss
        self.dims = list(dims)
        self.weights = [weight / sum(weights) for weight in weights]

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negative: Tensor | None = None,
        negative_owner: Tensor | None = None,
        **rows: Tensor | None,
    ) -> LossOutput:
        """Computes the weighted sum; arguments are those of `ContrastiveLoss.forward`.

        Args:
            query: (B, D) embeddings of the queries.
            positive: (P, D) embeddings of the positives.
            negative: (M, D) embeddings of the hard negatives.
            negative_owner: (M,) the row of `positive` each hard negative belongs to.
            **rows: `positive_index`, `known_ids`, `positive_ids`, `negative_ids`.

        Returns:
            The weighted sum, and in the logs the loss of each prefix as `loss_dim_<d>`.

        Raises:
            ValueError: a prefix is longer than the embeddings.
        """
        if max(self.dims) > query.shape[-1]:
            raise ValueError(
                f"matryoshka dim {max(self.dims)} exceeds the embeddings' {query.shape[-1]} values; "
                f"give dims of at most {query.shape[-1]}"
            )
        logs = {}
        total = query.new_zeros((), dtype=_full_precision(query).dtype)
        for dim, weight in zip(self.dims, self.weights, strict=True):
            prefix = None if negative is None else negative[:, :dim]
            loss = self.loss(query[:, :dim], positive[:, :dim], prefix, negative_owner, **rows).loss
            total = total + weight * loss
            logs[f"loss_dim_{dim}"] = loss.detach()
        return LossOutput(total, logs)


def _full_precision(embeddings: Tensor) -> Tensor:
    """Widens half-precision embeddings to float32."""
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def _cosine(query: Tensor, candidates: Tensor) -> Tensor:
    """Cosine similarities: (B, D), (C, D) -> (B, C)."""
    return F.normalize(query, dim=-1) @ F.normalize(candidates, dim=-1).T


def _same_document(known: Tensor, candidate_ids: Tensor) -> Tensor:
    """Says which candidates are documents known to be right: (B,) or (B, K), (C,) -> (B, C) bool."""
    known = known[:, None] if known.dim() == 1 else known  # (B, K)
    same = known[:, None, :] == candidate_ids[None, :, None]  # (B, C, K)
    return (same & (known != PADDING_ID)[:, None, :]).any(dim=-1)


def _candidate_ids(positive_ids: Tensor, negative_ids: Tensor | None, negatives: int) -> Tensor:
    """Ids of all candidates, (P + M,); hard negatives without ids match no document."""
    if negative_ids is None:
        negative_ids = positive_ids.new_full((negatives,), PADDING_ID)
    return torch.cat([positive_ids, negative_ids])


def _owners(negative: Tensor, negative_owner: Tensor | None) -> Tensor:
    """Checks the owners of the hard negatives, (M,)."""
    if negative_owner is None:
        negative_owner = torch.empty(0, dtype=torch.long, device=negative.device)
    if len(negative_owner) != len(negative):
        raise ValueError(
            f"{len(negative)} hard negatives came with {len(negative_owner)} owners; "
            "negative_owner names the row of `positive` that each hard negative belongs to"
        )
    return negative_owner


def _index(query: Tensor, positive: Tensor, positive_index: Tensor | None) -> Tensor:
    """Checks which positive answers each query, (B,)."""
    if positive_index is None:
        if len(query) != len(positive):
            raise ValueError(
                f"{len(query)} queries came with {len(positive)} positives; "
                "give positive_index where they are not row by row"
            )
        return torch.arange(len(query), device=query.device)
    if len(positive_index) != len(query):
        raise ValueError(f"{len(query)} queries came with {len(positive_index)} entries of positive_index")
    return positive_index


def _check_widths(*embeddings: Tensor) -> None:
    """Refuses embeddings that are no matrices of one width."""
    shapes = [tuple(matrix.shape) for matrix in embeddings]
    if any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
        raise ValueError(f"embeddings have shapes {shapes}; query, positive and negative are (rows, D) of one D")


def _check_prefixes(dims: Sequence[int], weights: Sequence[float]) -> None:
    """Refuses dims and weights that make no weighted sum."""
    if not dims or any(dim < 1 for dim in dims) or len(set(dims)) != len(dims):
        raise ValueError(f"matryoshka dims are {list(dims)}; give each prefix length once, all at least 1")
    if len(weights) != len(dims):
        raise ValueError(f"{len(weights)} matryoshka weights came with {len(dims)} dims; give one weight a dim")
    if any(not 0 <= weight < float("inf") for weight in weights) or sum(weights) == 0:
        raise ValueError(f"matryoshka weights are {list(weights)}; they must be finite, not negative, not all zero")
