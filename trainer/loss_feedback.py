"""Feedback: the contrastive objective on documents that an answering VLM judged."""

import torch
from torch import Tensor

from nyx_hf.trainer.loss_batch import PADDING_ID, EmbeddedBatch, LossOutput, Objective
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss
from nyx_hf.trainer.padded_lists import as_lists


class FeedbackLoss(Objective):
    """Learns from what the answering VLM made of each document.

    The positives are documents that led it to a right answer, the hard negatives those that it was also shown. The
    paper takes "the remaining documents" as negatives; some of these may have led to right answers too. With `right`
    such a document counts as known to be right for the query, wherever in the batch it stands, and is no negative.

    References:
        Nyx, §3.3, stage 2. The mask and the weight are ours.

    Args:
        contrastive: the objective they are trained with, "the same contrastive learning framework".
        right: a hard negative whose answer's score is this or more is no negative; None masks none.
        weigh_by_score: let each row count as much as its best positive's score.
    """

    def __init__(
        self, contrastive: ContrastiveLoss, *, right: float | None = 1.0, weigh_by_score: bool = False
    ) -> None:
        super().__init__()
        self.contrastive = contrastive
        self.right = right
        self.weigh_by_score = weigh_by_score
        self.needs_scores = right is not None or weigh_by_score
        self.needs_other_queries = contrastive.needs_other_queries

    def prepare(self, batch: EmbeddedBatch) -> EmbeddedBatch:
        """Makes hard negatives that answered rightly known documents, and sets the weights of the rows.

        Args:
            batch: a batch with scores and ids.

        Returns:
            The batch with `known_ids` and, where asked for, `weight`.

        Raises:
            ValueError: scores or ids are missing.
        """
        if self.right is not None:
            batch = batch.updated(known_ids=_with_right_negatives(batch, self.right))
        if self.weigh_by_score:
            batch = batch.updated(weight=_best_scores(batch))
        return batch

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        """Computes the contrastive loss of the judged documents.

        Args:
            batch: the embeddings, with the answers' scores and ids of the documents.

        Returns:
            As `ContrastiveLoss`; in the logs also `negatives_that_answered`, the share of the own hard negatives that
            were masked for their right answer.

        Raises:
            ValueError: scores or ids are missing, or a prefix is longer than the embeddings.
        """
        output = self.contrastive(self.prepare(batch))
        if self.right is None:
            return LossOutput(output.loss, output.logs, output.row_losses)
        scores = _scores(batch)[1][batch.own_negatives]
        share = (scores >= self.right).to(output.loss.dtype).sum() / max(1, len(scores))
        return LossOutput(output.loss, {**output.logs, "negatives_that_answered": share}, output.row_losses)


def _scores(batch: EmbeddedBatch) -> tuple[Tensor, Tensor]:
    if batch.positive_scores is None or batch.negative_scores is None:
        raise ValueError(
            "feedback needs the score of the answer that each document led to; the triplets have no scores"
        )
    return batch.positive_scores, batch.negative_scores


def _with_right_negatives(batch: EmbeddedBatch, right: float) -> Tensor:
    """Ids known to be right for each query, those of hard negatives that answered rightly added: (B, K + K')."""
    if batch.positive_ids is None or batch.negative_ids is None:
        raise ValueError("feedback tells right documents by their ids; the batch has none")
    owner = torch.cat([batch.positive_owner, batch.negative_owner]) - batch.first_row
    ids = torch.cat([batch.positive_ids, batch.negative_ids])
    scores = _scores(batch)[1]
    answered = torch.cat([torch.ones_like(batch.positive_ids, dtype=torch.bool), scores >= right])
    answered &= (owner >= 0) & (owner < len(batch.query))  # queries of other processes may not be here
    found = as_lists(ids[answered], owner[answered], len(batch.query), PADDING_ID)
    return found if batch.known_ids is None else torch.cat([batch.known_ids, found], dim=1)


def _best_scores(batch: EmbeddedBatch) -> Tensor:
    """The best score among each query's positives, (B,)."""
    scores = _scores(batch)[0]
    owner = batch.positive_owner - batch.first_row
    here = (owner >= 0) & (owner < len(batch.query))
    best = scores.new_zeros(len(batch.query))
    return best.scatter_reduce(0, owner[here], scores[here], "amax", include_self=False)
