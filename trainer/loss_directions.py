"""Who is asked to pick whom: queries their documents, or documents their queries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nyx_hf.trainer.loss_batch import EmbeddedBatch, full_precision
from nyx_hf.trainer.loss_masks import FalsePairs
from nyx_hf.trainer.loss_temperature import Temperature


@dataclass(frozen=True, eq=False)
class Direction:
    """Anchors, each of which must pick its own candidates out of all.

    Args:
        anchors: (A, D) embeddings.
        candidates: (N, D) embeddings.
        inverse_temperature: (A,) what each anchor's similarities are multiplied by.
        weights: (A,) what each anchor counts; the sum is 1.
        pair_anchor: (p,) the anchor of each right pair, rising; every anchor has one or more.
        pair_candidate: (p,) the candidate of each right pair.
        negatives: for some anchors (a,) tells which candidates are their negatives, and which would be but for the
            false-negative mask by similarity: (a, N) bool each.
    """

    anchors: Tensor
    candidates: Tensor
    inverse_temperature: Tensor
    weights: Tensor
    pair_anchor: Tensor
    pair_candidate: Tensor
    negatives: Callable[[Tensor], tuple[Tensor, Tensor]]


def query_to_document(
    batch: EmbeddedBatch, temperature: Temperature, false: FalsePairs, *, shared_negatives: bool
) -> Direction:
    """Lets each own query pick its positives.

    Args:
        batch: the batch.
        temperature: of the rows.
        false: the batch's false negatives.
        shared_negatives: hard negatives of other rows are negatives too.

    Returns:
        The direction; candidates are all documents, positives first.
    """
    queries = batch.own_queries  # (R,)
    places = torch.arange(len(batch.documents), device=queries.device)  # (P + M,)
    in_batch = places < len(batch.positive)  # (P + M,)

    def negatives(anchors: Tensor) -> tuple[Tensor, Tensor]:
        asked = queries[anchors]
        own = batch.document_owner == (asked + batch.first_row)[:, None]  # (a, P + M)
        allowed = ~(own & in_batch) if shared_negatives else own ^ in_batch  # others' positives, own hard negatives
        allowed &= ~false.known(asked, places)
        dropped = false.similar(asked, places) & allowed
        return allowed & ~dropped, dropped

    positives = batch.own_positives
    anchor = batch.positive_owner[positives] - batch.own_rows.start  # (p,)
    order = anchor.argsort(stable=True)
    return Direction(
        anchors=full_precision(batch.query)[queries],
        candidates=full_precision(batch.documents),
        inverse_temperature=_inverse(batch, temperature, queries),
        weights=batch.row_weights,
        pair_anchor=anchor[order],
        pair_candidate=positives[order],
        negatives=negatives,
    )


def document_to_query(batch: EmbeddedBatch, temperature: Temperature, false: FalsePairs) -> Direction:
    """Lets each own positive pick its query; a row's positives share its weight.

    Args:
        batch: the batch, with the queries of all processes.
        temperature: of the rows.
        false: the batch's false negatives.

    Returns:
        The direction; candidates are all queries.
    """
    positives = batch.own_positives  # (p,)
    owner = batch.positive_owner[positives]  # (p,)
    places = torch.arange(len(batch.query), device=owner.device)  # (B,)

    def negatives(anchors: Tensor) -> tuple[Tensor, Tensor]:
        asked = positives[anchors]
        allowed = batch.positive_owner[asked][:, None] != places + batch.first_row  # (a, B)
        allowed &= ~false.known(places, asked).T
        dropped = false.similar(places, asked).T & allowed
        return allowed & ~dropped, dropped

    row = owner - batch.own_rows.start
    counts = row.bincount(minlength=len(batch.own_rows)).to(batch.row_weights)  # (R,)
    return Direction(
        anchors=full_precision(batch.positive)[positives],
        candidates=full_precision(batch.query),
        inverse_temperature=_inverse(batch, temperature, owner - batch.first_row),
        weights=(batch.row_weights / counts)[row],
        pair_anchor=torch.arange(len(positives), device=owner.device),
        pair_candidate=owner - batch.first_row,
        negatives=negatives,
    )


def _inverse(batch: EmbeddedBatch, temperature: Temperature, queries: Tensor) -> Tensor:
    """1 / τ of some queries' rows, (q,)."""
    task = None if batch.task is None else batch.task[queries]
    return temperature.inverse(task, len(queries)).to(full_precision(batch.query))
