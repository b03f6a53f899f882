"""What a training run leaves: a Hub-ready folder with its card."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from nyx_hf._version import __version__
from nyx_hf.model_cards.citations import CITATIONS
from nyx_hf.model_cards.licences import license_file_text
from nyx_hf.model_cards.model_card import Metric, ModelFacts, model_card, model_licence
from nyx_hf.trainer.adapter_loading import write_settings
from nyx_hf.trainer.adapter_weights import merged_weights
from nyx_hf.trainer.adapters import merged, without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments

_PACKAGES = ("torch", "transformers", "sentence-transformers", "peft", "accelerate", "datasets")
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
    "fp16",
    "loss",
    "temperature",
    "matryoshka_weights",
    "shared_negatives",
    "negatives_per_query",
    "gather_negatives",
    "unique_positives",
    "freeze_vision",
)
_SHOWN_LORA = ("lora_r", "lora_alpha", "lora_dropout", "lora_target")
# shown where they are not what they are if left out
_SHOWN_IF_CHANGED = (
    "learn_temperature",
    "temperature_learning_rate",
    "two_way",
    "hardness",
    "hardness_gradient",
    "false_negative_threshold",
    "false_negative_margin",
    "feedback_right",
    "feedback_weights",
    "teacher_temperature",
    "distillation_alpha",
    "distillation_weight",
    "positives_per_query",
    "batching",
    "sub_batch_size",
    "resample_steps",
    "sampler",
    "use_dora",
)

# What a checkpoint holds besides the model, to resume from.
_RESUME_FILES = (
    "optimizer*",
    "objective_optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "sampler.json",
    "trainer_state.json",
    "run.json",
)


def save_retriever(
    model: PreTrainedModel | PeftModel,
    folder: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    merge: bool = False,
) -> None:
    """Writes a retriever's Hub-ready folder, or its adapter.

    Args:
        model: the retriever, with an adapter or without.
        folder: where to.
        state_dict: its weights, where they were gathered from several processes.
        merge: write a whole model with the adapter merged in.
    """
    if not isinstance(model, PeftModel):
        model.save_pretrained(folder, state_dict=state_dict)
    elif merge and state_dict is not None:  # the model itself holds only this process's part of its weights
        weights = merged_weights(state_dict, model.peft_config["default"])
        model.get_base_model().save_pretrained(folder, state_dict=weights)
    elif merge:
        merged(model).save_pretrained(folder)
    else:
        # embedding layers are no target; looking whether they should be saved would ask the Hub
        model.save_pretrained(str(folder), state_dict=state_dict, save_embedding_layers=False)
        write_settings(model.get_base_model().settings, folder)


def copy_model_files(checkpoint: str | Path, folder: str | Path) -> None:
    """Copies a checkpoint's model to another folder, leaving out what serves to resume.

    Args:
        checkpoint: the checkpoint's folder.
        folder: where to.
    """
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_RESUME_FILES))


def hub_name(model: PreTrainedModel | PeftModel) -> str | None:
    """Tells the Hub id that a model was loaded by.

    Args:
        model: the retriever.

    Returns:
        `owner/name`, or None for a local folder.
    """
    name = str(without_adapter(model).name_or_path)
    return name if name.count("/") == 1 and not name.startswith((".", "~", "/")) and not Path(name).exists() else None


def run_facts(
    model: PreTrainedModel | PeftModel,
    args: NyxTrainingArguments,
    metrics: list[Metric],
    extra: Mapping[str, Any],
    *,
    adapter: bool,
    temperatures: Mapping[str, float] | None = None,
) -> ModelFacts:
    """Collects what a card says of a training run.

    Args:
        model: the retriever.
        args: what it is trained with.
        metrics: what was measured.
        extra: fields of `ModelFacts` that the caller knows better, such as `datasets`, `command`, `license`.
        adapter: the folder holds the adapter alone.
        temperatures: those that were learned, by name.

    Returns:
        The facts.
    """
    retriever = without_adapter(model)
    settings = retriever.settings
    base = hub_name(model) or (Path(str(retriever.name_or_path)).name if adapter else None)
    facts = ModelFacts(
        name=args.hub_model_id or Path(str(args.output_dir)).absolute().name,
        summary=_summary(base, adapter),
        base_model=base,
        settings=settings.to_dict(),
        needs_trust=settings.needs_remote_code,
        dims=list(settings.matryoshka_dims),
        metrics=metrics,
        hyperparameters=_hyperparameters(args, temperatures or {}),
        seed=args.seed,
        versions=versions(),
        git_commit=git_commit(),
        citations=_citations(retriever, args),
        adapter=adapter,
    )
    return replace(facts, **extra)


def write_card(facts: ModelFacts, folder: str | Path) -> None:
    """Writes README.md, and LICENSE where the licence has a name of its own.

    Args:
        facts: what the card says.
        folder: the model's folder.

    Raises:
        LicenceError: the wanted licence is laxer than the base model's or the data's.
    """
    target = Path(folder)
    model_card(facts).save(target / "README.md")
    text = license_file_text(model_licence(facts), facts.base_model or "its base model")
    if text is not None:
        (target / "LICENSE").write_text(text, encoding="utf-8")


def card_metrics(scores: Mapping[str, float], dataset: str, prefix: str) -> list[Metric]:
    """Turns logged scores into a card's metrics.

    Args:
        scores: as logged, each name beginning with `prefix` and an underscore.
        dataset: name of what was measured on.
        prefix: `eval`, or `eval_<name>` where there are several sets.

    Returns:
        Recall at each cut-off and nDCG at the last, at full width and at each prefix; all scores of an own suite.
    """
    own = {
        name.removeprefix(f"{prefix}_"): value
        for name, value in scores.items()
        if name.startswith(f"{prefix}_") and not name.endswith(("_runtime", "_per_second"))
    }
    cuts = [int(name.rsplit("@", 1)[1]) for name in own if "recall@" in name]
    shown = [name for name in own if not cuts or "recall@" in name or name.endswith(f"ndcg@{max(cuts)}")]
    metrics = []
    for name in shown:
        dim, metric = name.removeprefix("dim_").split("_", 1) if name.startswith("dim_") else (None, name)
        metrics.append(Metric(metric, float(own[name]), dataset, dim=int(dim) if dim else None))
    return metrics


def _summary(base: str | None, adapter: bool) -> str:
    origin = f"trained from `{base}`" if base else "trained"
    what = "An adapter" if adapter else "A universal mixed-modal retriever"
    return f"{what}, {origin} with nyx_hf {__version__}: any ordered mix of text, images and video becomes one vector."


def _citations(retriever: PreTrainedModel, args: NyxTrainingArguments) -> list[str]:
    """The papers and libraries of what was used."""
    preset = retriever.settings.preset
    backbone = retriever.config.model_type.removesuffix("_vl").replace("_", ".") + "-vl"
    used = {
        "nyx": preset.startswith("nyx") or "feedback" in args.loss,
        "u-marvel": preset.startswith("u-marvel") or "distillation" in args.loss,
        "rzenembed": preset.startswith("rzenembed") or args.hardness > 0 or bool(args.temperature_tasks),
        "infonce": True,
        "matryoshka": bool(retriever.settings.matryoshka_dims),
        "gradient-cache": args.cache_gradients and args.chunk_limits(1).is_set,
        backbone: backbone in CITATIONS,
        "lora": args.use_lora,
        "dora": args.use_lora and args.use_dora,
        "peft": args.use_lora,
        "transformers": True,
    }
    return [key for key, is_used in used.items() if is_used]


def _hyperparameters(args: NyxTrainingArguments, temperatures: Mapping[str, float]) -> dict[str, Any]:
    """The arguments worth repeating, with enumerations as their values, and what temperatures became."""
    defaults = {entry.name: entry.default for entry in fields(args)}
    changed = {name for name in _SHOWN_IF_CHANGED if getattr(args, name) != defaults[name]}
    names = {*_SHOWN, *changed, *(_SHOWN_LORA if args.use_lora else ())}
    names.discard("num_train_epochs" if args.max_steps > 0 else "max_steps")  # the one that was not looked at
    values = {name: value for name, value in args.to_dict().items() if name in names and value is not None}
    learned = {f"learned {name}": f"{value:.4f}" for name, value in temperatures.items()}
    return {**values, **(learned if args.learn_temperature else {}), "processes": args.world_size}


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Gives the versions of this package and of those that are installed."""
    found = {"nyx-hf": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of this code where it runs from a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    asked = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    done = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
