"""NyxTrainer: transformers' Trainer for retrievers."""

import math
import time
from collections.abc import Mapping
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import EarlyStoppingCallback, PreTrainedModel
from transformers.trainer_utils import speed_metrics
from transformers.utils import logging

from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.model_card import model_card
from nyx_hf.trainer.adapters import outside_language, without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.batching import build_sampler
from nyx_hf.trainer.distributed import gather_batch
from nyx_hf.trainer.embedding_step import EmbeddingStep, advice_on_memory, is_spread
from nyx_hf.trainer.epochs import FollowEpochs
from nyx_hf.trainer.finite import check_finite, check_gradient
from nyx_hf.trainer.hub_ready_trainer import EvalSet, EvalSets, HubReadyTrainer
from nyx_hf.trainer.loss_batch import EmbeddedBatch, LossOutput
from nyx_hf.trainer.objective import build_objective, temperatures
from nyx_hf.trainer.objective_training import ObjectiveTraining
from nyx_hf.trainer.preparation import check_objective, check_push, check_run, collator_of, prepared
from nyx_hf.trainer.resampling import ResampledSampler
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet, evaluate_retrieval
from nyx_hf.trainer.same_shape import BlankRow
from nyx_hf.trainer.training_logs import DatasetLosses, TrainingLogs
from nyx_hf.trainer.training_rows import JoinedRows, TrainingRows

logger = logging.get_logger(__name__)

_MOSTLY_MASKED = 0.5


class NyxTrainer(HubReadyTrainer):
    """Trains a retriever with any of the objectives, and leaves a Hub-ready folder.

    A step embeds the batch's queries and documents, gathers the documents of all processes with gradients, and
    minimises the objective. Gradient accumulation averages over steps; it adds no in-batch negatives. For more
    negatives on the same memory, embed in chunks (`chunk_rows` and its kin).

    Args:
        model: the retriever, or a `PeftModel` on one.
        args: training arguments.
        train_dataset: rows to train on: a `TripletDataset`, or several joined (`JoinedRows`).
        eval_dataset: a retrieval set, or several by name, scored during training as `eval_recall@1` and so on (with
            names `eval_<name>_recall@1`, of a prefix `eval_dim_256_recall@1`). A function that scores a retriever
            serves too.
        card: fields of `ModelFacts` that the trainer cannot know: `datasets`, `command`, `license`, `summary`, …
        run: what else decides how the weights come out (model, datasets), so that a checkpoint is only resumed in the
            same run.
        recipe: all settings of the run as YAML, kept beside the model.
        **kwargs: `callbacks`, `optimizers` and what else `Trainer` takes.

    Raises:
        ValueError: arguments do not fit the model or the machines.
        LicenceError: the card asks for a licence that is laxer than the base model's or the data's.
    """

    loss_is_scaled_for_ga = False  # compute_loss gives a mean, which Trainer divides by the accumulation steps

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        args: NyxTrainingArguments,
        train_dataset: TrainingRows | TripletDataset | None = None,
        eval_dataset: EvalSets | None = None,
        *,
        card: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
        recipe: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_run(args)
        if isinstance(train_dataset, TripletDataset):
            train_dataset = JoinedRows([train_dataset])
        model = prepared(model, args)
        check_push(model, args)
        self.card, self.run, self.recipe = dict(card or {}), dict(run or {}), recipe
        settings = without_adapter(model).settings
        self.objective = build_objective(args, settings.matryoshka_dims or None, settings.matryoshka_weights or None)
        check_objective(self.objective, args, settings)
        self.objective_training = ObjectiveTraining(
            self.objective, args.temperature_learning_rate or args.learning_rate, self._schedule
        )
        sources = [] if train_dataset is None else list(train_dataset.sources())
        self.follow_epochs = FollowEpochs(sources)
        self.logs = TrainingLogs()
        self.dataset_losses = DatasetLosses([source.name for source in sources])
        kwargs.setdefault("data_collator", collator_of(model, args, self.objective))
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self.objective.to(args.device)
        processor = without_adapter(model).processor
        self.step = EmbeddingStep(
            self.accelerator,
            self.compute_loss_context_manager,
            args.chunk_limits(processor.image_processor.patch_size),
            args.cache_gradients,
            BlankRow.of(processor),
            trains_vision=bool(outside_language(without_adapter(model))),
        )
        for callback in (self.follow_epochs, self.objective_training):
            self.add_callback(callback)
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
        model_card(self._facts())  # a licence that cannot be given is refused now, not after training

    # ---- Data ----

    def _get_train_sampler(self, train_dataset: TrainingRows | None = None) -> Sampler[int] | None:
        """Orders the rows in global batches."""
        rows = self.train_dataset if train_dataset is None else train_dataset
        if rows is None:
            return None
        self.follow_epochs.sampler = build_sampler(
            rows,
            self.args,
            self._train_batch_size * self.args.world_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            drop_last=self.args.dataloader_drop_last,
            accumulation_steps=self.args.gradient_accumulation_steps,
        )
        sampler = self.follow_epochs.sampler
        if isinstance(sampler, ResampledSampler) and self.args.max_steps <= 0:
            # an epoch is a round there: what was asked for is counted in steps
            batches = self.args.num_train_epochs * sampler.total_batches
            self.args.max_steps = max(1, math.ceil(batches / self.args.gradient_accumulation_steps))
        return sampler

    # ---- Loss ----

    def training_step(
        self, model: nn.Module, inputs: Mapping[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Does one forward and backward pass.

        Args:
            model: the model as it was wrapped for training.
            inputs: a batch of `RetrievalCollator`.
            num_items_in_batch: unused; the loss is a mean over queries.

        Returns:
            The loss, divided by the steps that are accumulated.
        """
        self.logs.count([inputs["query"], inputs["document"]])
        if not self.step.is_cached:
            with advice_on_memory():
                loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss
        model.train()
        inputs = self._prepare_inputs(inputs)
        outputs: list[tuple[LossOutput, float]] = []

        def loss_of(query: Tensor, document: Tensor) -> Tensor:
            outputs[:] = [self._output(query, document, inputs)]  # of the last try, where memory ran out
            return outputs[0][0].loss * outputs[0][1] / self.current_gradient_accumulation_steps

        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        loss = self.step.cached_backward(model, inputs, loss_of, [*trained, *self.objective.parameters()])
        self._note(*outputs[0], inputs)
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Computes this process's share of the loss of the global batch.

        Args:
            model: the model as it was wrapped for training.
            inputs: a batch of `RetrievalCollator`.
            return_outputs: also return the embeddings.
            num_items_in_batch: unused; the loss is a mean over queries.

        Returns:
            The scaled mean over this process's rows (see `nyx_hf.trainer.distributed`); with `return_outputs` also
            `{"query": (B, D), "document": (N, D)}`.

        Raises:
            NotFiniteError: the loss of some process is not finite.
        """
        query, document = self.step.embed(model, inputs)
        output, scale = self._output(query, document, inputs)
        self._note(output, scale, inputs)
        loss = output.loss * scale
        return (loss, {"query": query, "document": document}) if return_outputs else loss

    def _output(self, query: Tensor, document: Tensor, inputs: Mapping[str, Any]) -> tuple[LossOutput, float]:
        """Gives the objective of a batch's embeddings, and what this process counts."""
        positives = len(inputs["positive_owner"])
        fields = ("positive_ids", "negative_ids", "known_ids", "task", "positive_scores", "negative_scores")
        local = EmbeddedBatch.of(
            query,
            document[:positives],
            document[positives:],
            inputs["negative_owner"],
            positive_owner=inputs["positive_owner"],
            **{name: inputs[name] for name in fields if name in inputs},
        )
        batch = self.objective.prepare(local)
        if self.args.gather_negatives:
            batch = gather_batch(batch, queries=self.objective.needs_other_queries)
        output: LossOutput = self.objective(batch)
        folder = self.args.output_dir
        check_finite(
            output.loss, query, document, local.document_owner, inputs["rows"], self.state.global_step, folder
        )
        return output, batch.scale

    def _note(self, output: LossOutput, scale: float, inputs: Mapping[str, Any]) -> None:
        """Keeps what is logged of a batch."""
        self.logs.add(output.logs, scale)
        if output.row_losses is not None and self.dataset_losses.names:
            datasets = [dataset for dataset, _ in inputs["rows"]]
            self.dataset_losses.add(datasets, output.row_losses)
            self.follow_epochs.add(datasets, output.row_losses)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Gives the gradient's norm, and ends the run where it is not finite: before the weights change."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not self.args.fp16:  # fp16 skips such steps itself, and scales gradients otherwise
            check_gradient(norm, self.state.global_step)
        return norm

    def _schedule(self) -> float:
        """The present learning rate as a share of the highest."""
        return float(self._get_learning_rate()) / self.args.learning_rate if self.args.learning_rate else 0.0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds to a line of training what was gathered since the last: losses, temperatures, shares, throughput.

        Args:
            logs: values by name.
            start_time: start of training.
        """
        if "loss" in logs and self.is_in_train:
            logs |= self.logs.drain(self.args.device) | temperatures(self.objective)
            if logs.get("false_negatives_masked", 0.0) > _MOSTLY_MASKED:
                logger.warning_once(
                    f"{logs['false_negatives_masked']:.0%} of the negatives are taken for false ones and teach "
                    "nothing: raise false_negative_threshold, or train without it first (the vectors of an untrained "
                    "model are all alike)"
                )
            if len(self.dataset_losses.names) > 1:
                means = self.dataset_losses.means(self.args.device)
                logs |= {f"loss_{name}": mean for name, mean in means.items()}
            self.dataset_losses.clear()
        super().log(logs, start_time)

    # ---- Evaluation ----

    def evaluate(
        self,
        eval_dataset: EvalSets | str | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Scores retrieval.

        Args:
            eval_dataset: a retrieval set, a function that scores, several by name, or the name of one of the
                trainer's; None scores all.
            ignore_keys: unused.
            metric_key_prefix: what the metrics' names begin with.

        Returns:
            `eval_recall@1`, `eval_ndcg@10`, … at full width, and `eval_dim_<d>_recall@1`, … of each prefix.

        Raises:
            ValueError: there is nothing to score on.
        """
        chosen = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(chosen, str):
            chosen = self.eval_dataset[chosen]
        if chosen is None:
            raise ValueError("evaluation needs a RetrievalSet: pass eval_dataset")
        if isinstance(chosen, Mapping):
            scored = [self.evaluate(one, ignore_keys, f"{metric_key_prefix}_{name}") for name, one in chosen.items()]
            return {name: value for metrics in scored for name, value in metrics.items()}
        start, mark = time.time(), time.perf_counter()
        scores, queries = self._scores(chosen)
        metrics: dict[str, float] = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        metrics |= speed_metrics(metric_key_prefix, start, num_samples=queries)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.logs.pause(mark)
        return metrics

    def _scores(self, chosen: EvalSet) -> tuple[Mapping[str, float], int | None]:
        """The scores of one set, and how many queries it has."""
        retriever = without_adapter(self.accelerator.unwrap_model(self.model))
        if not isinstance(chosen, RetrievalSet):
            return chosen(retriever), None
        scores = evaluate_retrieval(
            retriever,
            chosen,
            dims=retriever.settings.matryoshka_dims,
            ks=self.args.eval_ks,
            batch_size=self.args.per_device_eval_batch_size,
            share=not is_spread(self.accelerator),  # all processes must make the same forward passes then
        )
        return scores, len(chosen.queries)
