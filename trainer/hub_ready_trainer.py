"""A Trainer that leaves Hub-ready folders: checkpoints that can be resumed, models with their cards."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from peft import PeftModel
from torch import Tensor, nn
from transformers import Trainer, TrainerControl
from transformers.trainer_utils import HubStrategy, rotate_checkpoints
from transformers.utils import PushInProgress

from nyx_hf.model_cards.curves import CURVES_FILE, training_curves
from nyx_hf.model_cards.model_card import Metric, ModelFacts
from nyx_hf.trainer.checkpoints import check_resume, mark_whole, run_settings
from nyx_hf.trainer.epochs import FollowEpochs
from nyx_hf.trainer.objective import temperatures
from nyx_hf.trainer.objective_training import ObjectiveTraining, load_objective
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.saving import card_metrics, copy_model_files, run_facts, save_retriever, write_card
from nyx_hf.trainer.uploads import upload_checkpoint

Suite: TypeAlias = Callable[[Any], Mapping[str, float]]  # a retriever -> scores, the same on every process
EvalSet: TypeAlias = RetrievalSet | Suite
EvalSets: TypeAlias = EvalSet | Mapping[str, EvalSet]

RECIPE_FILE = "recipe.yaml"


class HubReadyTrainer(Trainer):
    """What `NyxTrainer` writes down; what it minimises stands there."""

    control: TrainerControl
    push_in_progress: PushInProgress | None = None

    card: dict[str, Any]  # fields of the card that only the caller knows
    recipe: str | None  # all settings of the run as YAML
    run: dict[str, Any]  # what decides how the weights come out, besides the arguments
    objective_training: ObjectiveTraining
    follow_epochs: FollowEpochs

    # ---- Checkpoints ----

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Trains.

        Args:
            resume_from_checkpoint: a checkpoint's folder, of this run and whole.
            **kwargs: as `Trainer` takes them.

        Returns:
            As `Trainer`.

        Raises:
            ResumeError: the checkpoint is not whole, or of a run with other settings.
        """
        if isinstance(resume_from_checkpoint, str | Path):
            check_resume(resume_from_checkpoint, run_settings(self.args, self.run))
        return super().train(resume_from_checkpoint, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes a checkpoint, marks it as whole, and only then deletes old ones."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.follow_epochs.save(folder, self.args)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_whole(folder, run_settings(self.args, self.run))
            best = self.state.best_model_checkpoint
            rotate_checkpoints(str(self.args.output_dir), limit, best, use_mtime=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            self.objective_training.save_optimizer(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.objective_training.resume(checkpoint)
            self.follow_epochs.resume(checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self.objective_training.start_from(load_objective(self.state.best_model_checkpoint))

    # ---- Saving ----

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the model's Hub-ready folder; with `push_to_hub` pushes it too.

        Args:
            output_dir: where to; None is the run's output folder.
            _internal_call: it is a checkpoint's.
        """
        if not self.is_deepspeed_enabled or not self._merges(output_dir):
            super().save_model(output_dir, _internal_call)
            return
        # Trainer would leave out the frozen weights, which a merged model needs
        self._save(output_dir, state_dict=self.accelerator.get_state_dict(self.deepspeed))
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _merges(self, output_dir: str | None) -> bool:
        """Whether a folder gets a whole model with the adapter merged in: the run's own does, checkpoints do not."""
        return (
            self.args.merge_lora
            and Path(output_dir or self.args.output_dir).resolve() == Path(self.args.output_dir).resolve()
        )

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Writes a Hub-ready folder: the model (or its adapter) with its card."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        merge = self._merges(output_dir)
        save_retriever(self.accelerator.unwrap_model(self.model), folder, state_dict=state_dict, merge=merge)
        self.objective_training.save(folder)
        self._write_card(folder, merge)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes the card into the output folder; what it says comes from the run and from `card`.

        Args:
            *args: unused; `Trainer`'s own cards take them.
            **kwargs: unused.
        """
        if self.is_world_process_zero():
            self._write_card(Path(self.args.output_dir), self.args.merge_lora)

    def _write_card(self, folder: Path, merge: bool) -> None:
        """Writes the card, and what it points to: the curves and the recipe."""
        facts = self._facts(merge=merge)
        if training_curves(self.state.log_history, folder / CURVES_FILE) is not None:
            facts = replace(facts, figures={"What was logged while it was trained": CURVES_FILE, **facts.figures})
        if self.recipe is not None:
            (folder / RECIPE_FILE).write_text(self.recipe, encoding="utf-8")
            facts = replace(facts, recipe=RECIPE_FILE)
        write_card(facts, folder)

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
        learned = temperatures(self.objective_training.objective)
        return run_facts(model, self.args, self._measured(), self.card, adapter=adapter, temperatures=learned)

    def _measured(self) -> list[Metric]:
        """The last scores of each retrieval set, or those of the best checkpoint where it was loaded at the end."""
        if self.eval_dataset is None:
            return []
        several = isinstance(self.eval_dataset, Mapping)
        named = self.eval_dataset if several else {"": self.eval_dataset}
        sets = {
            f"eval_{name}".rstrip("_"): (one.name if isinstance(one, RetrievalSet) else name or "own suite")
            for name, one in named.items()
        }
        best = self.args.load_best_model_at_end and not self.is_in_train and self.state.best_global_step
        metrics: list[Metric] = []
        for prefix, dataset in sets.items():
            logged = [entry for entry in self.state.log_history if f"{prefix}_runtime" in entry]
            logged = [entry for entry in logged if entry["step"] == best] if best else logged
            metrics += card_metrics(logged[-1], dataset, prefix) if logged else []
        return metrics
