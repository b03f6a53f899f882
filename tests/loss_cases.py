"""Each loss beside its oracle: a paper's formula written out (`loss_oracles`), or sentence-transformers' loss.

`python tests/loss_cases.py` prints the table of docs/losses.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import loss_oracles as literal
import torch
from loss_oracles import Case
from torch import Tensor, nn

from nyx_hf.trainer.loss_batch import Objective
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss
from nyx_hf.trainer.loss_distillation import DistillationLoss
from nyx_hf.trainer.loss_feedback import FeedbackLoss
from nyx_hf.trainer.loss_masks import FalseNegatives
from nyx_hf.trainer.loss_temperature import Temperature

DIMS, WEIGHTS = [12, 6, 3], [1.0, 1.0, 0.2]
TASKS = ("image retrieval", "document retrieval", "video retrieval")
THETA = [-1.2, -0.7, -2.0]
SCORES = ([1.0, 0.6, 1.0, 0.8, 1.0], [0.2, 1.0, 0.0, 0.1, 0.5])  # of the positives, of the hard negatives
MANY_SCORES = ([1.0, 0.6, 0.9, 1.0, 0.8, 1.0, 0.7, 0.2], SCORES[1])


@dataclass(frozen=True)
class Comparison:
    """One loss and its oracle.

    Args:
        name: what is compared.
        source: the formula, or sentence-transformers' class.
        ours: gives our loss of a case.
        oracle: gives the other.
        several: the case has several positives a row.
    """

    name: str
    source: str
    ours: Callable[[Case], Tensor]
    oracle: Callable[[Case], Tensor]
    several: bool = False

    def case(self, seed: int = 0) -> Case:
        return Case(several_positives=self.several, seed=seed)

    def values(self, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
        """Loss and gradients of ours, and of the oracle."""
        case = self.case(seed)
        both = []
        for side in (self.ours, self.oracle):
            loss = side(case)
            grads = torch.autograd.grad(loss, case.leaves, allow_unused=True)
            both.append([loss.detach(), *(torch.zeros(()) if grad is None else grad for grad in grads)])
        return both[0], both[1]

    def largest_differences(self, seeds: Sequence[int] = range(5)) -> tuple[float, float]:
        """The largest absolute difference of loss and of gradients, over several cases."""
        pairs = [self.values(seed) for seed in seeds]
        loss = max(abs(ours[0] - other[0]).item() for ours, other in pairs)
        grads = [abs(a - b).max().item() for ours, other in pairs for a, b in zip(ours[1:], other[1:], strict=True)]
        return loss, max(grads)


def ours(objective: Objective, **rest: Any) -> Callable[[Case], Tensor]:
    """Our loss of a case; what `rest` holds as functions is made of the case."""

    def loss(case: Case) -> Tensor:
        fields = {name: value(case) if callable(value) else value for name, value in rest.items()}
        return objective(case.batch(**fields)).loss

    return loss


def ids(case: Case) -> dict[str, Tensor]:
    return {
        "positive_ids": torch.arange(len(case.positive)),
        "negative_ids": torch.arange(len(case.negative)) + 100,
    }


def scored(objective: Objective, scores: tuple[list[float], list[float]]) -> Callable[[Case], Tensor]:
    def loss(case: Case) -> Tensor:
        fields = {
            f"{side}_scores": torch.tensor(values, dtype=torch.float64)
            for side, values in zip(("positive", "negative"), scores, strict=True)
        }
        return objective(case.batch(**ids(case), **fields)).loss

    return loss


def per_task() -> Temperature:
    temperature = Temperature(0.1, learnable=True, tasks=TASKS).double()
    for theta, value in zip(temperature.log.values(), THETA, strict=True):
        theta.data.fill_(value)
    return temperature


def theta() -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in THETA]


ALL = {
    "dims": DIMS,
    "weights": WEIGHTS,
}


def all_together(two_way: bool, shared: bool) -> Comparison:
    return Comparison(
        f"all at once, {'two' if two_way else 'one'}-way, {'shared' if shared else 'own'} hard negatives",
        "Nyx Eq. 1-2 with RzenEmbed Eq. 2-5",
        ours(
            ContrastiveLoss(
                per_task(),
                **ALL,
                shared_negatives=shared,
                false_negatives=FalseNegatives(0.7, 0.1),
                hardness=9.0,
                two_way=two_way,
            ),
            task=lambda case: case.task,
        ),
        lambda case: literal.everything(
            case, **ALL, theta=theta(), alpha=9.0, delta=0.7, margin=0.1, shared=shared, two_way=two_way
        ),
        several=True,
    )


PAPERS = [
    Comparison("contrastive", "Nyx Eq. 1", ours(ContrastiveLoss(0.1)), lambda case: literal.nyx_eq_1(case, 12, 0.1)),
    Comparison(
        "Matryoshka",
        "Nyx Eq. 2",
        ours(ContrastiveLoss(0.05, **ALL)),
        lambda case: literal.nyx_eq_2(case, DIMS, WEIGHTS, 0.05),
    ),
    Comparison(
        "two-way",
        "U-MARVEL Eq. 2",
        ours(ContrastiveLoss(0.1, two_way=True)),
        lambda case: literal.umarvel_eq_2_two_way(case, 0.1),
    ),
    Comparison(
        "false negatives, δ = 0.7",
        "RzenEmbed Eq. 2",
        ours(ContrastiveLoss(0.1, false_negatives=FalseNegatives(0.7))),
        lambda case: literal.rzenembed_eq_2(case, 0.1, 0.7),
    ),
    Comparison(
        "hardness, α = 9, gradient through the weight",
        "RzenEmbed Eq. 3-4",
        ours(ContrastiveLoss(0.1, hardness=9.0)),
        lambda case: literal.rzenembed_eq_4(case, 0.1, 9.0, gradient=True),
    ),
    Comparison(
        "hardness, α = 9, weight held fixed",
        "RzenEmbed Eq. 3-4",
        ours(ContrastiveLoss(0.1, hardness=9.0, hardness_gradient=False)),
        lambda case: literal.rzenembed_eq_4(case, 0.1, 9.0, gradient=False),
    ),
    Comparison(
        "a temperature for each task",
        "RzenEmbed Eq. 5",
        ours(ContrastiveLoss(per_task()), task=lambda case: case.task),
        lambda case: literal.rzenembed_eq_5(case, theta()),
    ),
    Comparison(
        "several positives",
        "Eq. 1, our reading",
        ours(ContrastiveLoss(0.1)),
        lambda case: literal.several_positives(case, 0.1),
        several=True,
    ),
    *(all_together(two_way, shared) for two_way in (False, True) for shared in (False, True)),
    Comparison(
        "feedback, right answers masked and weighed",
        "Nyx §3.3, stage 2",
        scored(FeedbackLoss(ContrastiveLoss(0.1), right=1.0, weigh_by_score=True), SCORES),
        lambda case: literal.feedback(case, 0.1, SCORES, 1.0),
    ),
    Comparison(
        "distillation",
        "U-MARVEL Eq. 1",
        scored(DistillationLoss(0.1, teacher_temperature=0.3), MANY_SCORES),
        lambda case: literal.umarvel_eq_1(case, 12, 0.1, 0.3, MANY_SCORES),
        several=True,
    ),
]


# ---------------------------------------------------------------- sentence-transformers


class Precomputed(nn.Module):
    """What sentence-transformers' losses ask of a model: features in, `sentence_embedding` out."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["embedding"]}

    def get_embedding_dimension(self) -> int:
        return 12

    def preprocess(self, inputs: Any) -> Any:
        return inputs


def theirs(make: Callable[[Any, nn.Module], nn.Module], labels: Tensor | None = None) -> Callable[[Case], Tensor]:
    """A loss of sentence-transformers on a case's rows, as columns: five queries, positives and hard negatives."""

    def loss(case: Case) -> Tensor:
        from sentence_transformers.sentence_transformer import losses

        columns = [{"embedding": leaf} for leaf in case.leaves]
        return make(losses, Precomputed())(columns, torch.empty(0) if labels is None else labels)

    return loss


def as_columns(objective: Objective, **rest: Any) -> Callable[[Case], Tensor]:
    """Our loss of the same columns: hard negative i belongs to row i."""

    def loss(case: Case) -> Tensor:
        case.negative_owner = list(range(5))
        return ours(objective, **rest)(case)

    return loss


def _weights() -> list[float]:
    return [weight / sum(WEIGHTS) for weight in WEIGHTS]


LABELS = torch.tensor(SCORES, dtype=torch.float64).T

SENTENCE_TRANSFORMERS = [
    Comparison(
        "contrastive, shared hard negatives",
        "MultipleNegativesRankingLoss",
        as_columns(ContrastiveLoss(0.05, shared_negatives=True)),
        theirs(lambda losses, model: losses.MultipleNegativesRankingLoss(model, scale=20.0)),
    ),
    Comparison(
        "the same in tiles of one row",
        "MultipleNegativesRankingLoss",
        as_columns(ContrastiveLoss(0.05, shared_negatives=True, tile_bytes=1)),
        theirs(lambda losses, model: losses.MultipleNegativesRankingLoss(model, scale=20.0)),
    ),
    Comparison(
        "Matryoshka",
        "MatryoshkaLoss(MultipleNegativesRankingLoss)",
        as_columns(ContrastiveLoss(0.05, shared_negatives=True, **ALL)),
        theirs(
            lambda losses, model: losses.MatryoshkaLoss(
                model, losses.MultipleNegativesRankingLoss(model, scale=20.0), DIMS, _weights()
            )
        ),
    ),
    Comparison(
        "hardness, α = 9, weight held fixed",
        'MultipleNegativesRankingLoss(hardness_mode="all_negatives")',
        as_columns(ContrastiveLoss(0.05, shared_negatives=True, hardness=9.0, hardness_gradient=False)),
        theirs(
            lambda losses, model: losses.MultipleNegativesRankingLoss(
                model, scale=20.0, hardness_mode="all_negatives", hardness_strength=9.0
            )
        ),
    ),
    Comparison(
        "two-way",
        'MultipleNegativesRankingLoss(directions=…, partition_mode="per_direction")',
        as_columns(ContrastiveLoss(0.05, shared_negatives=True, two_way=True)),
        theirs(
            lambda losses, model: losses.MultipleNegativesRankingLoss(
                model, scale=20.0, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
            )
        ),
    ),
    Comparison(
        "distillation, times τ² as theirs",
        "DistillKLDivLoss",
        lambda case: as_columns_scored(DistillationLoss(0.5, teacher_temperature=0.3))(case) * 0.5**2,
        theirs(
            lambda losses, model: losses.DistillKLDivLoss(
                model,
                similarity_fct=torch.nn.functional.cosine_similarity,
                student_temperature=0.5,
                teacher_temperature=0.3,
            ),
            LABELS,
        ),
    ),
]


def as_columns_scored(objective: Objective) -> Callable[[Case], Tensor]:
    def loss(case: Case) -> Tensor:
        case.negative_owner = list(range(5))
        return scored(objective, SCORES)(case)

    return loss


def table() -> str:
    """The Markdown table of docs/losses.md."""
    lines = ["| loss | oracle | loss differs by | gradient differs by |", "|---|---|---|---|"]
    for comparison in [*PAPERS, *SENTENCE_TRANSFORMERS]:
        loss, grad = comparison.largest_differences()
        lines.append(f"| {comparison.name} | {comparison.source} | {loss:.0e} | {grad:.0e} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
