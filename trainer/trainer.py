"""NyxTrainer: transformers' Trainer for retrievers."""

import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import HubStrategy, speed_metrics
from transformers.utils import PushInProgress

from nyx_hf.model_cards.model_card import Metric, ModelFacts, model_card
from nyx_hf.trainer.adapters import outside_language, without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.collator import RetrievalCollator
from nyx_hf.trainer.distributed import gather_candidates, gather_rows, local_candidates
from nyx_hf.trainer.losses import LossConfig, LossOutput, build_loss
from nyx_hf.trainer.preparation import check_push, check_run, prepared
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet, evaluate_retrieval
from nyx_hf.trainer.samplers import UniquePositivesSampler
from nyx_hf.trainer.saving import card_metrics, copy_model_files, run_facts, save_retriever, write_card
from nyx_hf.trainer.training_rows import TrainingRows
from nyx_hf.trainer.uploads import upload_checkpoint

EvalSets = RetrievalSet | Mapping[str, RetrievalSet]


class NyxTrainer(Trainer):
    """Trains a retriever with a contrastive loss, and leaves a Hub-ready folder.

    A step encodes the batch's queries and its documents in two forward passes of the same model, gathers the
    documents of all processes with gradients, and computes Matryoshka InfoNCE (Nyx Eq. 1-2). Gradient accumulation
    averages over steps; it adds no in-batch negatives.

    Args:
        model: the retriever, or a `PeftModel` on one.
        args: training arguments.
        train_dataset: rows to train on.
        eval_dataset: a retrieval set, or several by name, scored during training as `eval_recall@1` and so on (with
            names `eval_<name>_recall@1`, of a prefix `eval_dim_256_recall@1`).
        card: fields of `ModelFacts` that the trainer cannot know: `datasets`, `command`, `license`, `summary`, …
        **kwargs: `callbacks`, `optimizers` and what else `Trainer` takes.

    Raises:
        ValueError: arguments do not fit the model or the machines.
        LicenceError: the card asks for a licence that is laxer than the base model's or the data's.
    """

    loss_is_scaled_for_ga = False  # compute_loss gives a mean, which Trainer divides by the accumulation steps
    control: TrainerControl
    push_in_progress: PushInProgress | None = None

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        args: NyxTrainingArguments,
        train_dataset: TrainingRows | None = None,
        eval_dataset: EvalSets | None = None,
        *,
        card: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_run(args)
        model = prepared(model, args)
        check_push(model, args)
        self.card = dict(card or {})
        settings = without_adapter(model).settings
        self.objective = build_loss(
            LossConfig(
                temperature=args.temperature,
                shared_negatives=args.shared_negatives,
                dims=settings.matryoshka_dims or None,
                weights=settings.matryoshka_weights or None,
            )
        )
        self._losses: dict[str, list[Tensor]] = defaultdict(list)  # since the last log, by name
        self._follow_epochs = _FollowEpochs()
        kwargs.setdefault(
            "data_collator",
            RetrievalCollator(
                without_adapter(model).processor,
                query_prompt=settings.prompts.get("query"),
                document_prompt=settings.prompts.get("document"),
                negatives_per_query=args.negatives_per_query,
            ),
        )
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self.add_callback(self._follow_epochs)
        model_card(self._facts())  # a licence that cannot be given is refused now, not after training

    # ---- Data ----

    def _get_train_sampler(self, train_dataset: TrainingRows | None = None) -> Sampler[int] | None:
        """Orders the rows by `UniquePositivesSampler` over the global batch, unless shared positives are allowed."""
        rows = self.train_dataset if train_dataset is None else train_dataset
        if not self.args.unique_positives or rows is None:
            return super()._get_train_sampler(rows)
        sampler = UniquePositivesSampler(
            [rows.positive_ids(index) for index in range(len(rows))],
            self._train_batch_size * self.args.world_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            drop_last=self.args.dataloader_drop_last,
        )
        self._follow_epochs.sampler = sampler
        return sampler

    # ---- Loss ----

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
            The scaled mean over this process's queries (see `nyx_hf.trainer.distributed`); with `return_outputs` also
            `{"query": (B, D), "document": (B + M, D)}`.
        """
        query = model(**inputs["query"]).embeddings  # (B, D)
        document = model(**inputs["document"]).embeddings  # (B + M, D)
        # Zero, from every parameter that a batch of text does not reach: DistributedDataParallel waits for the
        # gradient of each. Added before the gather, whose backward pass must come first on all processes alike.
        document = document + _zero_of(outside_language(without_adapter(self.model)), document)
        output, scale = self._objective_of(query, document, inputs)
        for name, value in output.logs.items():
            self._losses[name].append(value * scale)
        loss = output.loss * scale
        return (loss, {"query": query, "document": document}) if return_outputs else loss

    def _objective_of(self, query: Tensor, document: Tensor, inputs: Mapping[str, Any]) -> tuple[LossOutput, float]:
        """Scores the queries of this process against its candidates, or those of all processes."""
        candidates = local_candidates(document, inputs["document_ids"], inputs["negative_owner"])
        if self.args.gather_negatives:
            candidates = gather_candidates(candidates)
        output = self.objective(
            query,
            candidates.positive,
            candidates.negative,
            candidates.negative_owner,
            positive_index=candidates.positive_index,
            known_ids=inputs["known_ids"],
            positive_ids=candidates.positive_ids,
            negative_ids=candidates.negative_ids,
        )
        return output, candidates.scale

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the loss of each embedding prefix to what is logged.

        Args:
            logs: values by name.
            start_time: start of training.
        """
        if "loss" in logs and self._losses:
            means = torch.stack([torch.stack(values).mean() for values in self._losses.values()])  # (names,)
            everywhere = gather_rows(means[None]).mean(dim=0)  # (names,)
            logs |= dict(zip(self._losses, everywhere.tolist(), strict=True))
            self._losses.clear()
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
            eval_dataset: a retrieval set, several by name, or the name of one of the trainer's; None scores all.
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
        start = time.time()
        retriever = without_adapter(self.accelerator.unwrap_model(self.model))
        scores = evaluate_retrieval(
            retriever,
            chosen,
            dims=retriever.settings.matryoshka_dims,
            ks=self.args.eval_ks,
            batch_size=self.args.per_device_eval_batch_size,
        )
        metrics: dict[str, float] = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        metrics |= speed_metrics(metric_key_prefix, start, num_samples=len(chosen.queries))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # ---- Saving ----

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Writes a Hub-ready folder: the model (or its adapter) with its card."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        merge = self.args.merge_lora and folder.resolve() == Path(self.args.output_dir).resolve()
        save_retriever(self.accelerator.unwrap_model(self.model), folder, state_dict=state_dict, merge=merge)
        write_card(self._facts(merge=merge), folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes the card into the output folder; what it says comes from the run and from `card`.

        Args:
            *args: unused; `Trainer`'s own cards take them.
            **kwargs: unused.
        """
        if self.is_world_process_zero():
            write_card(self._facts(merge=self.args.merge_lora), self.args.output_dir)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes a checkpoint's whole folder: card, remote code and sentence-transformers files with the weights."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done():
            if not self.args.hub_always_push:
                return
            self.push_in_progress.wait_until_done()  # it reads the files that are about to be replaced
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        copy_model_files(checkpoint_folder, self.args.output_dir)
        jobs = upload_checkpoint(checkpoint_folder, str(self.hub_model_id), self.state.global_step, self.args)
        self.push_in_progress = PushInProgress(jobs)

    def _facts(self, *, merge: bool = False) -> ModelFacts:
        """Collects what the card says."""
        model = self.accelerator.unwrap_model(self.model)
        adapter = isinstance(model, PeftModel) and not merge
        return run_facts(model, self.args, self._measured(), self.card, adapter=adapter)

    def _measured(self) -> list[Metric]:
        """The last scores of each retrieval set, or those of the best checkpoint where it was loaded at the end."""
        if self.eval_dataset is None:
            return []
        several = isinstance(self.eval_dataset, Mapping)
        sets = (
            {f"eval_{name}": one for name, one in self.eval_dataset.items()}
            if several
            else {"eval": self.eval_dataset}
        )
        best = self.args.load_best_model_at_end and not self.is_in_train and self.state.best_global_step
        metrics: list[Metric] = []
        for prefix, dataset in sets.items():
            logged = [entry for entry in self.state.log_history if f"{prefix}_runtime" in entry]
            logged = [entry for entry in logged if entry["step"] == best] if best else logged
            metrics += card_metrics(logged[-1], dataset, prefix) if logged else []
        return metrics


class _FollowEpochs(TrainerCallback):
    """Tells the sampler the epoch; a resumed run of several processes would start with the first one's order."""

    sampler: UniquePositivesSampler | None = None

    def on_epoch_begin(
        self, args: NyxTrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.sampler is not None:
            self.sampler.set_epoch(int(state.epoch or 0))


def _zero_of(parameters: list[nn.Parameter], like: Tensor) -> Tensor:
    """A zero whose gradient reaches all the parameters, as zero."""
    firsts = [parameter.flatten()[:1].to(like.dtype) for parameter in parameters]  # (1,) each: sums could overflow
    return torch.cat(firsts).sum() * 0 if firsts else like.new_zeros(())
