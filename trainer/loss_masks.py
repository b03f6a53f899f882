"""False negatives: documents that are called negatives of a query but may well answer it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nyx_hf.trainer.loss_batch import PADDING_ID, EmbeddedBatch, full_precision
from nyx_hf.trainer.padded_lists import as_lists


@dataclass(frozen=True)
class FalseNegatives:
    """Which documents are no negatives of which queries.

    Three reasons, each by its own switch. Similarities are cosines of the full embeddings, taken without gradients and
    once: all prefixes and both directions leave out the same pairs.

    - The document is known by its id to be right for the query (always, where ids are given).
    - It is nearly one of the query's positives: max over them of sim(k⁻, k⁺) > `threshold` (RzenEmbed Eq. 2, δ).
    - The query finds it better than its positives by a margin: sim(q, k⁻) > max sim(q, k⁺) + `margin`, as UniME and
      ms-swift do.

    References:
        RzenEmbed, §3.3.1, Eq. 2.

    Args:
        threshold: δ of the document side; None switches it off.
        margin: of the query side; None switches it off.

    Raises:
        ValueError: a value is no cosine.
    """

    threshold: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        """Refuses values that no cosine reaches."""
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(
                f"false_negative_threshold is {self.threshold}; it bounds a cosine similarity and is from -1 to 1"
            )
        if self.margin is not None and not 0 <= self.margin <= 2:
            raise ValueError(f"false_negative_margin is {self.margin}; it is added to a cosine and is from 0 to 2")

    def of(self, batch: EmbeddedBatch) -> "FalsePairs":
        """Prepares the pairs of a batch.

        Args:
            batch: the batch.

        Returns:
            What tells the false negatives of any of its queries.
        """
        return FalsePairs(batch, self)


class FalsePairs:
    """The false negatives of one batch, told for a few queries or documents at a time.

    Args:
        batch: the batch.
        rule: what makes a false negative.
    """

    def __init__(self, batch: EmbeddedBatch, rule: FalseNegatives) -> None:
        self.batch, self.rule = batch, rule
        self.by_similarity = rule.threshold is not None or rule.margin is not None
        if self.by_similarity:
            self._query = _unit(batch.query)  # (B, D)
            self._document = _unit(batch.documents)  # (P + M, D)
        if batch.positive_ids is not None:
            self._known = (
                _positive_ids(batch, batch.positive_ids) if batch.known_ids is None else batch.known_ids
            )  # (B, K)

    @torch.no_grad()
    def known(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Tells the documents that are known by id to be right.

        Args:
            queries: (q,) places in the batch's queries.
            documents: (n,) places in the batch's documents.

        Returns:
            (q, n) bool.
        """
        found = torch.zeros(len(queries), len(documents), dtype=torch.bool, device=queries.device)
        ids = self.batch.document_ids
        if ids is None:
            return found
        for column in self._known[queries].unbind(dim=1):  # one at a time: (q, n, K) would be large
            found |= (column[:, None] == ids[documents]) & (column != PADDING_ID)[:, None]
        return found

    @torch.no_grad()
    def similar(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Tells the documents that are too similar to a query's positives, or to the query itself.

        Args:
            queries: (q,) places in the batch's queries.
            documents: (n,) places in the batch's documents.

        Returns:
            (q, n) bool.
        """
        found = torch.zeros(len(queries), len(documents), dtype=torch.bool, device=queries.device)
        if not self.by_similarity:
            return found
        positives, owner = _positives_of(self.batch, queries)  # (p,) each
        candidates = self._document[documents]  # (n, D)
        if self.rule.threshold is not None:
            close = self._document[positives] @ candidates.T  # (p, n)
            found |= _highest(close, owner, len(queries)) > self.rule.threshold
        if self.rule.margin is not None:
            own = (self._query[queries[owner]] * self._document[positives]).sum(dim=1, keepdim=True)  # (p, 1)
            bound = _highest(own, owner, len(queries)) + self.rule.margin  # (q, 1)
            found |= self._query[queries] @ candidates.T > bound
        return found


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(full_precision(embeddings.detach()), dim=-1)


def _positives_of(batch: EmbeddedBatch, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The positives of some queries: their places, and which of the queries each belongs to; (p,) each."""
    number = torch.full((len(batch.query),), -1, device=queries.device)
    number[queries] = torch.arange(len(queries), device=queries.device)
    owned = batch.positive_owner - batch.first_row  # (P,) place of each positive's query; others' may not be here
    here = (owned >= 0) & (owned < len(batch.query))
    owner = torch.where(here, number[owned.clamp(0, len(batch.query) - 1)], -1)
    positives = (owner >= 0).nonzero().flatten()
    return positives, owner[positives]


def _highest(values: Tensor, owner: Tensor, rows: int) -> Tensor:
    """The highest value of each row's positives: (p, n) -> (rows, n)."""
    if torch.equal(owner, torch.arange(rows, device=owner.device)):
        return values
    highest = values.new_full((rows, values.shape[1]), -torch.inf)
    return highest.scatter_reduce(0, owner[:, None].expand_as(values), values, "amax")


def _positive_ids(batch: EmbeddedBatch, ids: Tensor) -> Tensor:
    """Ids of each query's own positives, (B, K), filled up with `PADDING_ID`."""
    positives, owner = _positives_of(batch, torch.arange(len(batch.query), device=batch.query.device))
    return as_lists(ids[positives], owner, len(batch.query), PADDING_ID)
