"""The full-size model of a run, without its weights: what it would be trained as, counted on the meta device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapter_loading import adapter_config, adapter_settings
from nyx_hf.trainer.known_shapes import known_config
from nyx_hf.trainer.preparation import adapted
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.run_arguments import RunArguments
from nyx_hf.trainer.run_model import TINY, settings_of
from nyx_hf.trainer.tiny import make_tiny_vlm

Origin = Callable[[], RunArguments]
Origins = Mapping[str, Origin]  # output folder of a run -> its arguments


@dataclass(frozen=True)
class Blueprint:
    """What a run's model is made of.

    Args:
        base: Hub id or folder of the weights that training begins with, through all stages before.
        config: of the backbone.
        settings: how content becomes a vector.
        adapter: the adapter that training goes on with; None where there is none.
    """

    base: str
    config: PretrainedConfig
    settings: NyxSettings
    adapter: PeftConfig | None = None


def blueprint(run: RunArguments, origins: Origins) -> Blueprint:
    """Finds out what a run's model is made of; no weights are loaded.

    Args:
        run: the arguments.
        origins: runs that leave a model which may not be there yet, by output folder.

    Returns:
        The blueprint.

    Raises:
        RecipeError: the model is not there, and it is not known what it will be.
    """
    name = run.model.model
    if not Path(name).exists() and name in origins:
        others = {folder: origin for folder, origin in origins.items() if folder != name}
        found = blueprint(origins[name](), others)
        return Blueprint(found.base, found.config, found.settings.updated(**run.model.changed_settings))
    revision = run.model.model_revision
    # shapes that are known need no look at the Hub
    known = name.startswith(TINY) or known_config(name) is not None
    adapter = None if known else adapter_config(name, revision)
    if adapter is None:
        config = _config(name, revision)
        return Blueprint(name, config, settings_of(config, run.model))
    config = _config(adapter.base_model_name_or_path, adapter.revision)
    settings = settings_of(config, run.model, adapter_settings(name, revision))
    return Blueprint(adapter.base_model_name_or_path, config, settings, adapter)


def meta_model(made_of: Blueprint, run: RunArguments) -> PreTrainedModel | PeftModel:
    """Builds the model as it would be trained, at its full size, on the meta device.

    Args:
        made_of: its blueprint.
        run: the arguments.

    Returns:
        The model, frozen and adapted as the run says; its parameters have no storage.
    """
    made_of.config.nyx = made_of.settings.to_dict()
    dtype = getattr(torch, run.model.dtype) if run.model.dtype else made_of.config.dtype or torch.float32
    with torch.device("meta"):
        model: Any = NyxModel._from_config(made_of.config, dtype=dtype)
        if made_of.adapter is not None:
            made_of.adapter.inference_mode = False  # its training goes on
            model = get_peft_model(model, made_of.adapter)
        return adapted(model, run.training)


@dataclass(frozen=True)
class Count:
    """Parameters of a model.

    Args:
        all: how many.
        language: how many of them are the language model's own, adapters not counted.
        adapter: how many an adapter adds.
        trained: how many of all are trained.
        bytes: of all.
        trained_bytes: of those that are trained.
        largest_block: bytes of the largest part that is needed whole: a language layer or the token embeddings.
    """

    all: int
    language: int
    adapter: int
    trained: int
    bytes: int
    trained_bytes: int
    largest_block: int

    @classmethod
    def of(cls, model: PreTrainedModel | PeftModel) -> "Count":
        """Counts.

        Args:
            model: with weights or on the meta device.

        Returns:
            The counts.
        """
        retriever = model.get_base_model() if isinstance(model, PeftModel) else model
        decoder = retriever.get_decoder()
        parameters = dict(model.named_parameters())
        adapter = {name for name in parameters if ".lora_" in name}
        language = {id(parameter) for parameter in decoder.parameters()}
        blocks: list[nn.Module] = [*decoder.layers, decoder.get_input_embeddings()]
        trained = [parameter for parameter in parameters.values() if parameter.requires_grad]
        return cls(
            all=sum(parameter.numel() for parameter in parameters.values()),
            language=sum(
                parameter.numel()
                for name, parameter in parameters.items()
                if id(parameter) in language and name not in adapter
            ),
            adapter=sum(parameters[name].numel() for name in adapter),
            trained=sum(parameter.numel() for parameter in trained),
            bytes=_bytes(parameters.values()),
            trained_bytes=_bytes(trained),
            largest_block=max(_bytes(block.parameters()) for block in blocks),
        )


def _bytes(parameters: Any) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _config(name: str, revision: str | None) -> PretrainedConfig:
    known = known_config(name)
    if known is not None:
        return known
    try:
        if not name.startswith(TINY):
            return AutoConfig.from_pretrained(name, revision=revision)
        with TemporaryDirectory() as folder:
            return AutoConfig.from_pretrained(make_tiny_vlm(folder, name.removeprefix(TINY)))
    except OSError as error:
        raise RecipeError(
            f"model {name} is not there, and no recipe beside this one leaves it: its size is not known"
        ) from error
