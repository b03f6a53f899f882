"""The objective that arguments describe."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from nyx_hf.trainer.import_paths import imported, is_import_path
from nyx_hf.trainer.json_settings import json_object
from nyx_hf.trainer.loss_batch import EmbeddedBatch, LossOutput, Objective
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss
from nyx_hf.trainer.loss_distillation import DistillationLoss
from nyx_hf.trainer.loss_feedback import FeedbackLoss
from nyx_hf.trainer.loss_masks import FalseNegatives
from nyx_hf.trainer.loss_temperature import Temperature

LOSSES = ("contrastive", "feedback", "distillation", "contrastive+distillation", "feedback+distillation")


@dataclass
class ObjectiveArguments:
    """What is minimised; validated by `build_objective`.

    Args:
        loss: `contrastive` | `feedback` | `distillation`, the first two also with `+distillation`; or the import path
            of an own `Objective`, `my_package.my_module:MyLoss`.
        loss_settings: arguments of an own objective, as JSON.
        temperature: divides cosine similarities (never its reciprocal); where a learned one starts.
        learn_temperature: train it.
        temperature_tasks: names of the tasks that have a learned temperature each.
        temperature_learning_rate: of the learned temperatures' logarithms; None takes `learning_rate`.
        matryoshka_dims: trained prefix lengths of the embeddings; None takes the model's `nyx` settings.
        matryoshka_weights: a weight each, divided by their sum; None takes those of the model's `nyx` settings where
            `matryoshka_dims` is None too, else weighs all alike.
        shared_negatives: score a query against the hard negatives of other queries too.
        two_way: documents must pick their queries too.
        hardness: α of the hardness weights; 0 weighs all negatives alike.
        hardness_gradient: let the gradient flow through the hardness weights.
        false_negative_threshold: δ; negatives more similar than this to a positive are left out.
        false_negative_margin: negatives that the query finds better than its positives by this are left out.
        feedback_right: hard negatives whose answer scored this or more are no negatives; None masks none.
        feedback_weights: let a row count as much as its answer scored.
        teacher_temperature: divides the teacher's scores; None takes the student's temperature.
        distillation_alpha: weight of recall in the teacher's scores, α recall + (1 - α) rerank; None takes the scores
            as they are.
        distillation_weight: what distillation counts where it is added to another loss.
    """

    loss: str = field(
        default="contrastive",
        metadata={"help": "contrastive | feedback | distillation, one + another, or an import path."},
    )
    loss_settings: str | None = field(default=None, metadata={"help": "Arguments of an own loss, as JSON."})
    temperature: float = field(default=0.02, metadata={"help": "Divides cosine similarities."})
    learn_temperature: bool = field(default=False, metadata={"help": "Train the temperature."})
    temperature_tasks: list[str] = field(
        default_factory=list, metadata={"help": "Tasks that have a learned temperature each."}
    )
    temperature_learning_rate: float | None = field(
        default=None, metadata={"help": "Of the temperatures' logarithms; left out, learning_rate."}
    )
    matryoshka_dims: list[int] | None = field(
        default=None, metadata={"help": "Trained prefix lengths; left out, those of the model's settings."}
    )
    matryoshka_weights: list[float] | None = field(
        default=None, metadata={"help": "A weight each, divided by their sum."}
    )
    shared_negatives: bool = field(
        default=False, metadata={"help": "Score queries against other queries' hard negatives too."}
    )
    two_way: bool = field(default=False, metadata={"help": "Documents must pick their queries too."})
    hardness: float = field(default=0.0, metadata={"help": "Strength of the hardness weights; 0 is none."})
    hardness_gradient: bool = field(
        default=True, metadata={"help": "Let the gradient flow through the hardness weights."}
    )
    false_negative_threshold: float | None = field(
        default=None, metadata={"help": "Leave out negatives more similar than this to a positive."}
    )
    false_negative_margin: float | None = field(
        default=None, metadata={"help": "Leave out negatives that a query prefers to its positives by this."}
    )
    feedback_right: float | None = field(
        default=1.0, metadata={"help": "Hard negatives whose answer scored this or more are no negatives."}
    )
    feedback_weights: bool = field(default=False, metadata={"help": "Rows count as much as their answer scored."})
    teacher_temperature: float | None = field(
        default=None, metadata={"help": "Divides the teacher's scores; left out, the student's temperature."}
    )
    distillation_alpha: float | None = field(
        default=None, metadata={"help": "Weight of recall in the teacher's scores; left out, scores as they are."}
    )
    distillation_weight: float = field(
        default=1.0, metadata={"help": "What distillation counts where it is added to another loss."}
    )


def build_objective(
    arguments: ObjectiveArguments, dims: Sequence[int] | None = None, weights: Sequence[float] | None = None
) -> Objective:
    """Makes the objective that arguments describe.

    Args:
        arguments: the settings; their `matryoshka_dims` and `matryoshka_weights` are the model's affair.
        dims: lengths of the trained prefixes; None trains the full embedding alone.
        weights: one weight a prefix; None weighs all alike.

    Returns:
        The objective.

    Raises:
        ValueError: a setting is out of range, or there is no such loss.
    """
    settings = json_object("loss_settings", arguments.loss_settings)
    if is_import_path(arguments.loss):
        return imported(arguments.loss, Objective)(**settings)
    if arguments.loss not in LOSSES:
        raise ValueError(
            f"loss is {arguments.loss!r}; it is {' | '.join(LOSSES)}, or an import path such as my_package:MyLoss"
        )
    if settings:
        raise ValueError(f"loss_settings are those of an own loss; {arguments.loss!r} has settings with own names")
    temperature = Temperature(
        arguments.temperature, learnable=arguments.learn_temperature, tasks=arguments.temperature_tasks
    )
    first, *others = (_single(name, arguments, temperature, dims, weights) for name in arguments.loss.split("+"))
    return AddedLoss(first, others[0], arguments.distillation_weight) if others else first


def _single(
    name: str,
    arguments: ObjectiveArguments,
    temperature: Temperature,
    dims: Sequence[int] | None,
    weights: Sequence[float] | None,
) -> Objective:
    if name == "distillation":
        return DistillationLoss(
            temperature, teacher_temperature=arguments.teacher_temperature, dims=dims, weights=weights
        )
    contrastive = ContrastiveLoss(
        temperature,
        dims=dims,
        weights=weights,
        shared_negatives=arguments.shared_negatives,
        false_negatives=FalseNegatives(arguments.false_negative_threshold, arguments.false_negative_margin),
        hardness=arguments.hardness,
        hardness_gradient=arguments.hardness_gradient,
        two_way=arguments.two_way,
    )
    if name == "contrastive":
        return contrastive
    return FeedbackLoss(contrastive, right=arguments.feedback_right, weigh_by_score=arguments.feedback_weights)


class AddedLoss(Objective):
    """One objective plus another, times a weight: such as contrastive + λ distillation.

    Args:
        first: the objective that counts once.
        second: the objective that is added.
        weight: λ.

    Raises:
        ValueError: the weight is negative.
    """

    def __init__(self, first: Objective, second: Objective, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(f"distillation_weight is {weight}; it is 0 or a positive number")
        self.first, self.second, self.weight = first, second, weight
        self.needs_scores = first.needs_scores or second.needs_scores
        self.needs_other_queries = first.needs_other_queries or second.needs_other_queries

    def prepare(self, batch: EmbeddedBatch) -> EmbeddedBatch:
        """Lets both prepare the batch.

        Args:
            batch: the batch of one process.

        Returns:
            The batch.
        """
        return self.second.prepare(self.first.prepare(batch))

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        """Computes first + weight · second.

        Args:
            batch: the batch.

        Returns:
            The sum, with the logs of both.
        """
        first, second = self.first(batch), self.second(batch)
        rows = [output.row_losses for output in (first, second)]
        added = None if rows[0] is None or rows[1] is None else rows[0] + self.weight * rows[1]
        return LossOutput(first.loss + self.weight * second.loss, {**first.logs, **second.logs}, added)


def temperatures(objective: nn.Module) -> dict[str, float]:
    """Gives the temperatures of an objective by name.

    Args:
        objective: any module; its `Temperature` parts are looked at.

    Returns:
        `temperature`, or `temperature_<task>` for each task; empty where it has none.
    """
    found: dict[str, float] = {}
    for part in objective.modules():
        if isinstance(part, Temperature):
            found |= part.values()
    return found
