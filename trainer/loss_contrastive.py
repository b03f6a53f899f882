"""The contrastive objective: InfoNCE with everything the three papers add to it, each by its own switch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nyx_hf.trainer.loss_batch import EmbeddedBatch, LossOutput, Objective
from nyx_hf.trainer.loss_directions import Direction, document_to_query, query_to_document
from nyx_hf.trainer.loss_masks import FalseNegatives
from nyx_hf.trainer.loss_temperature import Temperature
from nyx_hf.trainer.loss_tiles import sum_in_tiles
from nyx_hf.trainer.nested_cosine import nested_cosine

TILE_BYTES = 2**28
_COPIES = 6  # matrices of a tile's size that are alive at once, for each prefix


class ContrastiveLoss(Objective):
    """InfoNCE: each query must pick its positive out of all its candidates.

    L = Σ_d w_d mean_i mean_p  -log [ φ_d(q_i, p) / (φ_d(q_i, p) + Σ_n exp(α cos_d(q_i, n)) φ_d(q_i, n)) ],
    φ_d(q, k) = exp(cos(q[:d], k[:d]) / τ_i)

    - n runs over the positives of other rows (in-batch negatives) and the row's own hard negatives; hard negatives of
      other rows join with `shared_negatives` only. This is our reading of Nyx Eq. 1.
    - Several positives: the mean of their losses, each with the others left out.
    - Matryoshka (Nyx Eq. 2): d runs over `dims`, with `weights` divided by their sum, as §5.4 gives them "before
      normalization". All prefixes come out of one pass (`nested_cosine`).
    - False negatives (RzenEmbed Eq. 2) leave the sum over n: `FalseNegatives`.
    - Hardness weights exp(α cos) (RzenEmbed Eq. 3-4) with `hardness` = α; hardness is that of each prefix. The paper
      does not say whether the gradient flows through the weight: `hardness_gradient` settles it.
    - `two_way` adds the same for the document's side, which must pick its query out of all queries, and halves the sum
      (U-MARVEL §3.1.3, "bidirectional InfoNCE"). Hard negatives have no query and are not asked.
    - Temperatures are fixed, learned, or learned one a task (RzenEmbed Eq. 5): `Temperature`.

    Computed in float32, whatever autocast says; float64 stays float64. Memory grows with the batch, not its square.

    References:
        Nyx, §3.3, Eq. 1-2. U-MARVEL, Eq. 2. RzenEmbed, §3.3, Eq. 1-4. van den Oord et al. 2018, "Representation
        Learning with Contrastive Predictive Coding". Kusupati et al. 2022, "Matryoshka Representation Learning".

    Args:
        temperature: divides cosine similarities; a number is a fixed one.
        dims: lengths of the trained prefixes, each once; None trains the full embedding alone.
        weights: a weight each, at least one of them positive; None weighs all alike.
        shared_negatives: count other rows' hard negatives as negatives too.
        false_negatives: which documents are left out.
        hardness: α; 0 weighs all negatives alike.
        hardness_gradient: let the gradient flow through the hardness weight.
        two_way: also let documents pick their queries.
        tile_bytes: memory that the similarities of one tile may take.

    Raises:
        ValueError: a setting is out of range, or settings do not fit together.
    """

    def __init__(
        self,
        temperature: Temperature | float = 0.02,
        *,
        dims: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        shared_negatives: bool = False,
        false_negatives: FalseNegatives | None = None,
        hardness: float = 0.0,
        hardness_gradient: bool = True,
        two_way: bool = False,
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        super().__init__()
        if not 0 <= hardness < float("inf"):
            raise ValueError(f"hardness is {hardness}; it is 0 or a positive number")
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
        self.dims, self.weights = prefixes(dims, weights)
        self.shared_negatives = shared_negatives
        self.false_negatives = false_negatives or FalseNegatives()
        self.hardness = hardness
        self.hardness_gradient = hardness_gradient
        self.two_way = self.needs_other_queries = two_way
        self.tile_bytes = tile_bytes

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        """Computes the mean loss of the own rows.

        Args:
            batch: the embeddings and how they belong together.

        Returns:
            The loss; in the logs `loss_dim_<d>` of each prefix, `hardest_negative_share` (how much of all its
            negatives' weight a query's hardest one holds) and `false_negatives_masked` (share of the negatives that
            the similarity mask takes away).

        Raises:
            ValueError: a prefix is longer than the embeddings, or tasks are missing.
        """
        dims = self.dims or [batch.query.shape[-1]]
        check_dims(dims, batch.query.shape[-1])
        with torch.autocast(batch.query.device.type, enabled=False):
            false = self.false_negatives.of(batch)
            asked = query_to_document(batch, self.temperature, false, shared_negatives=self.shared_negatives)
            loss, facts = self._mean_loss(asked, dims)
            directions = [(asked, facts)]
            if self.two_way:
                back = document_to_query(batch, self.temperature, false)
                loss_back, facts_back = self._mean_loss(back, dims)
                loss = (loss + loss_back) / 2
                directions.append((back, facts_back))
        return LossOutput(loss, self._logs(dims, directions), row_losses=self._weighted(facts[: len(dims)]))

    def _mean_loss(self, direction: Direction, dims: list[int]) -> tuple[Tensor, Tensor]:
        """Adds up the weighted losses of all anchors.

        Returns:
            The mean, and of each anchor its loss for each prefix, the share of its hardest negative, how many
            negatives the mask took and how many it left: (dims + 3, A).
        """

        def tile_sum(places: Tensor, anchors: Tensor, candidates: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
            losses, facts = self._anchor_losses(direction, dims, places, anchors, candidates, inverse)
            return (self._weighted(losses) * direction.weights[places]).sum(), facts

        row_bytes = len(direction.candidates) * len(dims) * _COPIES * direction.anchors.element_size()
        return sum_in_tiles(
            tile_sum,
            direction.anchors,
            direction.candidates,
            direction.inverse_temperature,
            rows=max(1, self.tile_bytes // max(1, row_bytes)),
        )

    def _anchor_losses(
        self,
        direction: Direction,
        dims: list[int],
        places: Tensor,
        anchors: Tensor,
        candidates: Tensor,
        inverse: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Computes the loss of each prefix for some anchors, (dims, a), and the facts of `_mean_loss`."""
        allowed, dropped = direction.negatives(places)  # (a, N) each
        number = torch.searchsorted(places, direction.pair_anchor).clamp(max=len(places) - 1)
        here = places[number] == direction.pair_anchor  # (p,)
        anchor, candidate = number[here], direction.pair_candidate[here]
        share = 1 / anchor.bincount(minlength=len(places))[anchor].to(anchors)  # (p,) one by the number of positives

        losses, hardest = [], anchors.new_zeros(len(places))
        for similarity in nested_cosine(anchors, candidates, dims):  # (a, N)
            positive = similarity[anchor, candidate] * inverse[anchor]  # (p,)
            negative = self._negative_logits(similarity, inverse).masked_fill(~allowed, -torch.inf)  # (a, N)
            total = negative.logsumexp(dim=1)  # (a,)
            loss = torch.logaddexp(torch.zeros_like(positive), total[anchor] - positive)  # (p,)
            losses.append(anchors.new_zeros(len(places)).index_add(0, anchor, loss * share))
            hardest = (negative.detach().amax(dim=1) - total.detach()).exp().nan_to_num()  # the longest prefix's
        stacked = torch.stack(losses)  # (dims, a)
        facts = torch.stack([hardest, dropped.sum(dim=1), allowed.sum(dim=1)])  # (3, a)
        return stacked, torch.cat([stacked.detach(), facts.to(stacked.dtype)])

    def _negative_logits(self, similarity: Tensor, inverse: Tensor) -> Tensor:
        """Cos / τ + α cos: the logarithm of w · φ, (a, N)."""
        if self.hardness_gradient or not self.hardness:
            return similarity * (inverse + self.hardness)[:, None]
        return similarity * inverse[:, None] + self.hardness * similarity.detach()

    def _weighted(self, losses: Tensor) -> Tensor:
        """Sums the prefixes by weight: (dims, a) -> (a,)."""
        weights = losses.new_tensor(self.weights or [1.0])  # (dims,)
        return weights @ losses

    def _logs(self, dims: list[int], directions: list[tuple[Direction, Tensor]]) -> dict[str, Tensor]:
        means = [facts @ direction.weights for direction, facts in directions]  # (dims + 3,) each
        logs = {}
        if self.dims:
            each = torch.stack(means).mean(dim=0)
            logs = {f"loss_dim_{dim}": each[number] for number, dim in reversed(list(enumerate(dims)))}
        hardest, dropped, left = means[0][len(dims) :].unbind()
        logs["hardest_negative_share"] = hardest
        if self.false_negatives.threshold is not None or self.false_negatives.margin is not None:
            logs["false_negatives_masked"] = dropped / (dropped + left).clamp(min=1)
        return {name: value.detach() for name, value in logs.items()}


def prefixes(dims: Sequence[int] | None, weights: Sequence[float] | None) -> tuple[list[int], list[float]]:
    """Settles the trained prefixes.

    Args:
        dims: lengths, each once; None means the full embedding alone.
        weights: a weight each; None weighs all alike.

    Returns:
        The lengths, rising, and their weights, whose sum is 1; both empty for the full embedding alone.

    Raises:
        ValueError: dims or weights are out of range or do not fit together.
    """
    if dims is None:
        if weights is not None:
            raise ValueError(f"matryoshka weights {list(weights)} came without dims; give one dim a weight")
        return [], []
    if not dims or any(dim < 1 for dim in dims) or len(set(dims)) != len(dims):
        raise ValueError(f"matryoshka dims are {list(dims)}; give each prefix length once, all at least 1")
    weights = [1.0] * len(dims) if weights is None else list(weights)
    if len(weights) != len(dims):
        raise ValueError(f"{len(weights)} matryoshka weights came with {len(dims)} dims; give one weight a dim")
    if any(not 0 <= weight < float("inf") for weight in weights) or sum(weights) == 0:
        raise ValueError(f"matryoshka weights are {list(weights)}; they must be finite, not negative, not all zero")
    pairs = sorted(zip(dims, weights, strict=True))
    return [dim for dim, _ in pairs], [weight / sum(weights) for _, weight in pairs]


def check_dims(dims: Sequence[int], width: int) -> None:
    """Refuses prefixes longer than the embeddings.

    Args:
        dims: lengths.
        width: of the embeddings.

    Raises:
        ValueError: one is longer.
    """
    if max(dims) > width:
        raise ValueError(
            f"matryoshka dim {max(dims)} exceeds the embeddings' {width} values; give dims of at most {width}"
        )
