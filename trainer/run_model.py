"""The model of a run: a retriever, an adapter to go on with, or a vision-language model to make one of."""

from typing import Any

from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import cached_file

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel, fitted_settings
from nyx_hf.trainer.adapter_loading import adapter_config, adapter_settings, load_adapter
from nyx_hf.trainer.adapters import without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.objective_training import OBJECTIVE_FILE
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.run_arguments import ModelArguments
from nyx_hf.trainer.run_data import inputs_folder
from nyx_hf.trainer.tiny import make_tiny_vlm

TINY = "tiny:"  # a model named so is made on the spot


def load_model(chosen: ModelArguments, args: NyxTrainingArguments) -> NyxModel | PeftModel:
    """Loads the retriever, or makes one of a plain vision-language model.

    Args:
        chosen: which model.
        args: training arguments.

    Returns:
        The retriever; with an adapter whose training goes on, where the model is one.

    Raises:
        ValueError: model and settings do not fit together.
        OSError: it is not there.
    """
    name = model_place(chosen, args)
    how: dict[str, Any] = {
        "dtype": chosen.dtype,
        "attn_implementation": chosen.attn_implementation,
        "revision": chosen.model_revision,
    }
    how = {key: value for key, value in how.items() if value is not None}
    if adapter_config(name, chosen.model_revision) is None:
        return _retriever(name, chosen, how)
    model = load_adapter(name, is_trainable=True, **how)  # `revision` is the adapter's
    if chosen.changed_settings:
        retriever = without_adapter(model)
        retriever.settings = retriever.settings.updated(**chosen.changed_settings)
    return model


def check_model(chosen: ModelArguments, args: NyxTrainingArguments) -> NyxSettings:
    """Refuses a model that is not there or cannot be trained so, before its weights are loaded.

    Args:
        chosen: which model.
        args: training arguments.

    Returns:
        The settings that the retriever will have.

    Raises:
        ValueError: it cannot be trained so.
        OSError: it is not there.
    """
    name = model_place(chosen, args)
    adapter = adapter_config(name, chosen.model_revision)
    base, revision = (adapter.base_model_name_or_path, adapter.revision) if adapter else (name, chosen.model_revision)
    config = AutoConfig.from_pretrained(base, revision=revision)
    check_width(config, chosen, args)
    own = None if adapter is None else adapter_settings(name, chosen.model_revision)
    return settings_of(config, chosen, own)


def settings_of(config: PretrainedConfig, chosen: ModelArguments, own: NyxSettings | None = None) -> NyxSettings:
    """Gives the settings that a run's retriever will have.

    Args:
        config: of the model, or of an adapter's base.
        chosen: which model.
        own: an adapter's.

    Returns:
        The adapter's own, the retriever's, or the preset's for a plain vision-language model; with what the run
        changes.

    Raises:
        ValueError: there is no such preset or setting, or values contradict each other.
    """
    saved: dict[str, Any] | None = getattr(config, "nyx", None)
    if own is None and saved is not None:
        own = NyxSettings.from_dict(saved)
    if own is None:
        return fitted_settings(chosen.preset, config.get_text_config().hidden_size, chosen.changed_settings)
    return own.updated(**chosen.changed_settings)


def check_width(config: PretrainedConfig, chosen: ModelArguments, args: NyxTrainingArguments) -> None:
    """Refuses prefixes that are longer than a model's vectors.

    Args:
        config: the model's.
        chosen: which model.
        args: training arguments.

    Raises:
        RecipeError: they are.
    """
    width = config.get_text_config().hidden_size
    if args.matryoshka_dims and max(args.matryoshka_dims) > width:
        raise RecipeError(
            f"matryoshka_dims asks for {max(args.matryoshka_dims)} dimensions, but the vectors of {chosen.model} have "
            f"{width}; give smaller ones"
        )


def learned_before(chosen: ModelArguments, args: NyxTrainingArguments) -> dict[str, Tensor]:
    """Reads what the objective learned in the stage that this model comes from.

    Args:
        chosen: which model.
        args: training arguments.

    Returns:
        Its parameters by name; empty where it learned nothing.
    """
    name = model_place(chosen, args)
    path = cached_file(
        name, OBJECTIVE_FILE, revision=chosen.model_revision, _raise_exceptions_for_missing_entries=False
    )
    return load_file(path) if path else {}


def model_place(chosen: ModelArguments, args: NyxTrainingArguments) -> str:
    """Settles a model's folder or Hub id; makes a tiny one where that is asked.

    Args:
        chosen: which model.
        args: training arguments.

    Returns:
        The folder or Hub id.

    Raises:
        ValueError: there is no tiny model of that family.
    """
    if not chosen.model.startswith(TINY):
        return chosen.model
    folder = inputs_folder(args) / "tiny-vlm"
    if not folder.exists():
        make_tiny_vlm(folder, chosen.model.removeprefix(TINY), seed=args.seed)
    return str(folder)


def _retriever(name: str, chosen: ModelArguments, how: dict[str, Any]) -> NyxModel:
    config = AutoConfig.from_pretrained(name, revision=how.get("revision"))
    if getattr(config, "nyx", None) is None:
        return NyxModel.from_backbone(name, preset=chosen.preset, **how, **chosen.changed_settings)
    model: NyxModel = NyxModel.from_pretrained(name, **how)
    if chosen.changed_settings:
        model.settings = model.settings.updated(**chosen.changed_settings)
    return model
