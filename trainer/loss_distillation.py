"""Distillation: the student learns a teacher's order of each query's own candidates."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nyx_hf.trainer.loss_batch import EmbeddedBatch, LossOutput, Objective, full_precision
from nyx_hf.trainer.loss_contrastive import check_dims, prefixes
from nyx_hf.trainer.loss_temperature import Temperature
from nyx_hf.trainer.padded_lists import as_lists

Scores = TypeVar("Scores", float, np.ndarray)


class DistillationLoss(Objective):
    """KL divergence of the student's distribution over a query's candidates from the teacher's.

    L = Σ_d w_d mean_i Σ_c T_i(c) log (T_i(c) / S_i,d(c)),  T = softmax(teacher / τ_T),  S = softmax(cos_d / τ)

    The candidates of a row are its own positives and hard negatives; in-batch negatives take no part. The teacher's
    scores come with the documents (`positive_scores`, `negative_scores`), fused from recall and reranking where they
    are two: `fused_scores`. U-MARVEL writes the sum over one prefix; we take it for each (our reading).

    References:
        U-MARVEL, §3.3, Eq. 1 and appendix C, Eq. 4.

    Args:
        temperature: τ of the student; a number is a fixed one.
        teacher_temperature: τ_T; None takes the student's at each step, without gradient, as the released code does.
        dims: lengths of the trained prefixes, each once; None trains the full embedding alone.
        weights: a weight each; None weighs all alike.

    Raises:
        ValueError: a setting is out of range.
    """

    needs_scores = True

    def __init__(
        self,
        temperature: Temperature | float = 0.02,
        *,
        teacher_temperature: float | None = None,
        dims: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if teacher_temperature is not None and not 0 < teacher_temperature < float("inf"):
            raise ValueError(f"teacher_temperature is {teacher_temperature}; it divides scores and must be positive")
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
        self.teacher_temperature = teacher_temperature
        self.dims, self.weights = prefixes(dims, weights)

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        """Computes the mean divergence of the own rows.

        Args:
            batch: the embeddings, with a score for each document.

        Returns:
            The loss; in the logs `distillation` and `distillation_dim_<d>` of each prefix.

        Raises:
            ValueError: scores are missing, or a prefix is longer than the embeddings.
        """
        dims = self.dims or [batch.query.shape[-1]]
        check_dims(dims, batch.query.shape[-1])
        with torch.autocast(batch.query.device.type, enabled=False):
            row, documents, scores = _candidates(batch)  # (C,), (C, D), (C,)
            queries = full_precision(batch.query)[batch.own_queries]  # (R, D)
            task = None if batch.task is None else batch.task[batch.own_queries]
            inverse = self.temperature.inverse(task, len(queries)).to(queries)  # (R,)
            teacher = self._teacher(as_lists(scores, row, len(queries), -torch.inf), inverse)  # (R, C')
            losses = []
            for dim in dims:
                cosine = F.cosine_similarity(queries[row, :dim], documents[:, :dim], dim=1)  # (C,)
                student = as_lists(cosine * inverse[row], row, len(queries), -torch.inf).log_softmax(dim=1)  # (R, C')
                losses.append(_divergence(teacher, student))  # (R,)
        each = torch.stack(losses)  # (dims, R)
        rows = each.new_tensor(self.weights or [1.0]) @ each  # (R,)
        loss = rows @ batch.row_weights
        means = (each @ batch.row_weights).detach()
        logs = {f"distillation_dim_{dim}": means[number] for number, dim in enumerate(dims)} if self.dims else {}
        return LossOutput(loss, {"distillation": loss.detach(), **logs}, row_losses=rows.detach())

    def _teacher(self, scores: Tensor, inverse: Tensor) -> Tensor:
        """The teacher's log-probabilities, (R, C')."""
        sharpness = inverse.detach()[:, None] if self.teacher_temperature is None else 1 / self.teacher_temperature
        return (scores * sharpness).log_softmax(dim=1)


def fused_scores(recall: Scores, rerank: Scores, alpha: float) -> Scores:
    """Joins what a retriever and a reranker think of a document, or of several: α · recall + (1 - α) · rerank.

    References:
        U-MARVEL, §3.3 and appendix C, Eq. 4.

    Args:
        recall: cosine similarity.
        rerank: probability of YES.
        alpha: weight of recall, from 0 to 1.

    Returns:
        The teacher's score.
    """
    return alpha * recall + (1 - alpha) * rerank


def _candidates(batch: EmbeddedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Own row (from 0), embedding and teacher's score of each candidate of the own rows, (C,), (C, D), (C,)."""
    if batch.positive_scores is None or batch.negative_scores is None:
        raise ValueError("distillation needs a teacher's score for each document; the triplets have no scores")
    positives, negatives = batch.own_positives, batch.own_negatives
    documents = torch.cat([batch.positive[positives], batch.negative[negatives]])
    owner = torch.cat([batch.positive_owner[positives], batch.negative_owner[negatives]])
    scores = torch.cat([batch.positive_scores[positives], batch.negative_scores[negatives]])
    documents = full_precision(documents)
    return owner - batch.own_rows.start, documents, scores.to(documents.dtype)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Σ T (log T - log S) of each row, both as log-probabilities: (R, C') -> (R,)."""
    there = teacher > -torch.inf
    difference = torch.where(there, teacher, 0) - torch.where(there, student, 0)
    return (teacher.exp() * difference).sum(dim=1)
