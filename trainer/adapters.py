"""LoRA adapters and frozen parts; layers are found by what they are, not by the names of one model."""

import copy
import re

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from nyx_hf.trainer.arguments import NyxTrainingArguments


def add_lora(model: PreTrainedModel, args: NyxTrainingArguments) -> PeftModel:
    """Puts a new LoRA adapter on a model; everything else is frozen.

    Args:
        model: the retriever.
        args: rank, alpha, dropout and target.

    Returns:
        The model with its adapter. `base_model_name_or_path` is the name the model was loaded by.
    """
    config = LoraConfig(
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=lora_targets(model, args.lora_target),
        task_type=TaskType.FEATURE_EXTRACTION,
    )
    return get_peft_model(model, config)


def lora_targets(model: PreTrainedModel, target: str) -> str:
    r"""Finds the linear layers that get an adapter.

    Args:
        model: the retriever.
        target: `language`, the layers of the language model, or `all`, those of the vision tower too.

    Returns:
        A regular expression that matches the layers' full names and no others; numbers of repeated blocks stand as
        `\d+` in it.
    """
    language = {id(module) for module in model.get_decoder().modules()}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (target == "all" or id(module) in language)
    ]
    patterns = {re.sub(r"\\\.\d+(?=\\\.)", r"\\.\\d+", re.escape(name)) for name in names}
    return "|".join(sorted(patterns))


def outside_language(model: PreTrainedModel) -> list[nn.Parameter]:
    """Lists the trainable parameters that are not the language model's: those of the vision tower and its projection.

    Args:
        model: the retriever.

    Returns:
        The parameters that a batch without images or videos does not reach.
    """
    language = {id(parameter) for parameter in model.get_decoder().parameters()}
    return [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in language]


def freeze_vision(model: PreTrainedModel) -> None:
    """Freezes whatever is not the language model: the vision tower and its projection.

    Args:
        model: the retriever.
    """
    for parameter in outside_language(model):
        parameter.requires_grad_(False)


def without_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Gives the retriever itself; an adapter on it stays active.

    Args:
        model: a retriever, with an adapter or without.

    Returns:
        The retriever, whose `encode` and `settings` serve both.
    """
    return model.get_base_model() if isinstance(model, PeftModel) else model


def merged(model: PeftModel) -> PreTrainedModel:
    """Makes a whole model of a model and its adapter.

    Args:
        model: stays as it is.

    Returns:
        A copy whose weights hold the adapter's updates.
    """
    return copy.deepcopy(model).merge_and_unload()
