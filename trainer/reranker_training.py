"""Trains a reranker: a vision-language model that answers YES or NO, with trl's SFTTrainer and LoRA.

L = −log P(answer | query, candidate),  answer = YES for a positive and NO for a negative   (U-MARVEL Eq. 3)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTTrainer

from nyx_hf._version import __version__
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.citations import CITATIONS
from nyx_hf.model_cards.licences import license_file_text
from nyx_hf.model_cards.model_card import model_licence
from nyx_hf.model_cards.reranker_card import RerankerFacts, reranker_card
from nyx_hf.modeling.backbones_nyx import check_weights
from nyx_hf.trainer.adapters import freeze_vision, lora_targets
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.reranker_arguments import RerankerRun
from nyx_hf.trainer.reranker_data import PairCollator, pair_rows
from nyx_hf.trainer.reranker_encoding import PairProcessor, reranker_settings
from nyx_hf.trainer.reranker_prompt import RerankerSettings, answer_ids
from nyx_hf.trainer.reranker_saving import CONFIG, save_reranker
from nyx_hf.trainer.run_arguments import DataArguments, ModelArguments
from nyx_hf.trainer.run_data import data_sources
from nyx_hf.trainer.run_model import model_place
from nyx_hf.trainer.saving import git_commit, hub_name, versions
from nyx_hf.trainer.training_run import check_world_size

_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers")
_SHOWN = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "bf16",
)
_SHOWN_LORA = ("lora_r", "lora_alpha", "lora_dropout")


@dataclass(frozen=True)
class TrainedReranker:
    """What training came to.

    Attributes:
        folder: The reranker.
        pairs: Training pairs by their answer.
        loss: Mean training loss.
        steps: Steps taken.
    """

    folder: Path
    pairs: Mapping[str, int]
    loss: float
    steps: int

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**vars(self), "folder": str(self.folder)}

    def as_text(self) -> str:
        """Gives it in a line."""
        pairs = ", ".join(f"{count:,} {answer}" for answer, count in self.pairs.items())
        return f"saved {self.folder}: {self.steps:,} steps on pairs ({pairs}), mean loss {self.loss:.4f}"


def train_reranker(run: RerankerRun, command: str | None = None, *, overwrite: bool = False) -> TrainedReranker:
    """Trains, merges the adapter, and writes a folder that is ready for the Hub.

    Args:
        run: The arguments. With `resume_from_checkpoint` it goes on: a folder, or `auto` for the last checkpoint.
        command: What was typed, for the card.
        overwrite: Whether a model that stands in the output folder may be replaced.

    Returns:
        What came of it.

    Raises:
        FileExistsError: A model stands there already.
        ValueError: Model, data and settings do not fit together.
        OSError: Model or data are not there.
    """
    args, out = run.training, Path(run.training.output_dir)
    if (out / CONFIG).exists() and not overwrite:
        raise FileExistsError(f"found a model in {out}, expected a new folder; pass --overwrite to replace it")
    check_world_size(args)
    _check_spread(args)
    set_seed(args.seed)
    with args.main_process_first(desc="opening the model and the data"):
        name = model_place(ModelArguments(model=run.model.model_name_or_path), args)
        hub = {} if Path(name).is_dir() else {"revision": run.model.model_revision}
        config = AutoConfig.from_pretrained(name, **hub)
        settings = _settings(name, config, run)
        processor = PairProcessor.for_pairs(name, settings, config.model_type, **hub)
        answer_ids(processor.tokenizer, settings)  # refuses answers that cannot be told apart
        chosen = run.reranker
        triplets = TripletDataset.load(chosen.dataset, chosen.split, chosen.dataset_revision)
        rows = pair_rows(triplets, chosen.positives, chosen.negatives)
        model = _load(name, run.model, hub)
    trainer = _trainer(model, processor, rows, run)
    trained = trainer.train(resume_from_checkpoint=_checkpoint(args))
    relevant = sum(rows.with_format(None)["relevant"])
    pairs = {settings.yes: relevant, settings.no: len(rows) - relevant}
    if args.should_save:
        whole = trainer.accelerator.unwrap_model(trainer.model)
        whole = whole.merge_and_unload() if isinstance(whole, PeftModel) else whole
        save_reranker(whole, processor, out, **hub)
        _write_card(_facts(whole, settings, run, pairs, command), out)
    trainer.accelerator.wait_for_everyone()
    return TrainedReranker(out, pairs, float(trained.training_loss), int(trained.global_step))


def _settings(name: str, config: Any, run: RerankerRun) -> RerankerSettings:
    return RerankerSettings.from_dict({**reranker_settings(name, config).to_dict(), **run.reranker.changed_wording})


def _load(name: str, chosen: Any, hub: Mapping[str, Any]) -> PreTrainedModel:
    how = {"dtype": chosen.dtype, "attn_implementation": chosen.attn_implementation}
    model, report = AutoModelForImageTextToText.from_pretrained(
        name, output_loading_info=True, **hub, **{key: value for key, value in how.items() if value is not None}
    )
    check_weights(name, report, adapter=False)
    return model


def _trainer(model: PreTrainedModel, processor: PairProcessor, rows: Any, run: RerankerRun) -> SFTTrainer:
    """Makes trl's trainer; the rows come whole and its own preparation, made for texts, is left out."""
    args = run.training
    args.remove_unused_columns = False
    args.dataset_kwargs = {"skip_prepare_dataset": True}
    adapter = None
    if run.model.use_peft:
        adapter = LoraConfig(
            r=run.model.lora_r,
            lora_alpha=run.model.lora_alpha,
            lora_dropout=run.model.lora_dropout,
            use_dora=run.model.use_dora,
            use_rslora=run.model.use_rslora,
            target_modules=run.model.lora_target_modules or lora_targets(model, "language"),
            task_type="CAUSAL_LM",
        )
    else:
        freeze_vision(model)
    return SFTTrainer(
        model,
        args,
        data_collator=PairCollator(processor),
        train_dataset=rows,
        processing_class=processor.tokenizer,
        peft_config=adapter,
    )


def _check_spread(args: Any) -> None:
    """Refuses spreads under which no process holds the whole model, which is merged and saved at the end."""
    plugin = args.deepspeed_plugin
    if (plugin is not None and plugin.zero_stage == 3) or args.fsdp_plugin_args:
        raise RecipeError("found a launch that shards the weights (ZeRO-3, FSDP), expected DDP or ZeRO-2; change it")


def _checkpoint(args: Any) -> str | None:
    """Settles what to go on from."""
    wanted = args.resume_from_checkpoint
    if wanted is None or str(wanted).lower() not in ("auto", "true"):
        return wanted
    found: str | None = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    return found


def _facts(
    model: PreTrainedModel,
    settings: RerankerSettings,
    run: RerankerRun,
    pairs: Mapping[str, int],
    command: str | None,
) -> RerankerFacts:
    """Collects what the card says."""
    args, base = run.training, hub_name(model)
    chosen = run.reranker
    word = chosen.dataset if chosen.dataset_revision is None else f"{chosen.dataset}@{chosen.dataset_revision}"
    backbone = model.config.model_type.removesuffix("_vl").replace("_", ".") + "-vl"
    used = {
        "u-marvel": True,
        backbone: backbone in CITATIONS,
        "lora": run.model.use_peft,
        "peft": run.model.use_peft,
        "transformers": True,
        "sentence-transformers": True,
    }
    values = {name: getattr(args, name) for name in _SHOWN}
    values |= {name: getattr(run.model, name) for name in _SHOWN_LORA if run.model.use_peft}
    values.pop("num_train_epochs" if args.max_steps > 0 else "max_steps")  # the one that was not looked at
    values |= {"negatives": chosen.negatives, "positives": chosen.positives, "processes": args.world_size}
    shown = {key: getattr(value, "value", value) for key, value in values.items()}  # enumerations as their values
    origin = f"trained from `{base}`" if base else "trained"
    return RerankerFacts(
        name=args.hub_model_id or Path(args.output_dir).absolute().name,
        summary=f"A pointwise reranker, {origin} with nyx_hf {__version__} as U-MARVEL's (§3.3).",
        base_model=base,
        datasets=data_sources(DataArguments(datasets=[word]), args),
        settings=settings.to_dict(),
        hyperparameters=shown,
        command=command,
        seed=args.seed,
        git_commit=git_commit(),
        versions=versions(_PACKAGES),
        citations=[key for key, is_used in used.items() if is_used],
        pairs=pairs,
    )


def _write_card(facts: RerankerFacts, folder: Path) -> None:
    """Writes README.md, and LICENSE where the licence has a name of its own."""
    reranker_card(facts).save(folder / "README.md")
    text = license_file_text(model_licence(facts), facts.base_model or "its base model")
    if text is not None:
        (folder / "LICENSE").write_text(text, encoding="utf-8")
