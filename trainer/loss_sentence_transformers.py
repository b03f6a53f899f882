"""Our objectives inside SentenceTransformerTrainer."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nyx_hf.trainer.distributed import gather_batch, process_index
from nyx_hf.trainer.loss_batch import EmbeddedBatch, Objective


class SentenceTransformerLoss(nn.Module):
    """Makes one of our objectives a loss of sentence-transformers.

        loss = SentenceTransformerLoss(model, ContrastiveLoss(0.02, hardness=9.0))
        SentenceTransformerTrainer(model, train_dataset=dataset, loss=loss).train()

    Columns are the query, its positive and any number of hard negatives, as `to_sentence_transformers` gives them.
    Objectives that need scores read them from the dataset's `label` or `score` column, a list a row: the positive's,
    then each hard negative's. Learned temperatures train with the model.

    Args:
        model: the SentenceTransformer.
        objective: what is minimised.
        gather: take the documents of all processes as candidates, with gradients.
    """

    def __init__(self, model: nn.Module, objective: Objective, *, gather: bool = True) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.gather = gather

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Embeds the columns and computes the loss.

        Args:
            sentence_features: the tokenized columns.
            labels: (B, 1 + negatives) scores of the documents, where the objective needs them.

        Returns:
            The loss.

        Raises:
            ValueError: there is no column of positives, or the scores do not fit the columns.
        """
        query, *documents = (self.model(features)["sentence_embedding"] for features in sentence_features)
        if not documents:
            raise ValueError("the dataset has one column; a query and its positive are needed, then hard negatives")
        batch = self.objective.prepare(_batch(query, documents, self._scores(labels, len(documents))))
        if self.gather:
            batch = gather_batch(batch, queries=self.objective.needs_other_queries)
        loss: Tensor = self.objective(batch).loss * batch.scale
        return loss

    def _scores(self, labels: Tensor | None, documents: int) -> Tensor | None:
        if not self.objective.needs_scores:
            return None
        if labels is None or labels.dim() != 2 or labels.shape[1] != documents:
            found = None if labels is None else tuple(labels.shape)
            raise ValueError(
                f"{type(self.objective).__name__} needs scores of {documents} documents a row, found {found}; give "
                "the dataset a column `label` with a list of that length"
            )
        return labels

    def get_config_dict(self) -> dict[str, Any]:
        """Tells sentence-transformers' model card about the loss.

        Returns:
            Names and settings.
        """
        return {"objective": type(self.objective).__name__, "gather": self.gather}


def _batch(query: Tensor, documents: list[Tensor], scores: Tensor | None) -> EmbeddedBatch:
    """Columns as a batch: row i is query i with everything in row i."""
    rows, negatives = torch.arange(len(query), device=query.device), documents[1:]
    batch = EmbeddedBatch.of(
        query, documents[0], torch.cat(negatives) if negatives else None, rows.repeat(len(negatives))
    )
    if scores is None:
        return batch
    first_id = process_index() << 40  # columns bring no ids: each document is one of its own, on all processes
    ids = torch.arange(len(batch.documents), device=query.device) + first_id
    return batch.updated(
        positive_ids=ids[: len(query)],
        negative_ids=ids[len(query) :],
        positive_scores=scores[:, 0],
        negative_scores=scores[:, 1:].T.flatten(),
    )
