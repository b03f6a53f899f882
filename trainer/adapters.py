"""LoRA adapters and frozen parts; layers are found by what they are, not by the names of one model."""

import copy
import re
from dataclasses import dataclass, field

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

LORA_TARGETS = ("language", "all")


@dataclass
class AdapterArguments:
    """What of the model is trained.

    Args:
        use_lora: train a LoRA adapter instead of the model's own weights.
        use_dora: let the adapter be a DoRA: it learns a length for each of a layer's outputs too.
        lora_r: rank of the adapter.
        lora_alpha: its updates are scaled by lora_alpha / lora_r.
        lora_dropout: dropout before the adapter.
        lora_target: the linear layers that get one: of the `language` model, or `all` (with the vision tower).
        merge_lora: save the model with the adapter merged in at the end, a whole model; checkpoints stay adapters.
        freeze_vision: leave the vision tower and its projection as they are.
    """

    use_lora: bool = field(default=False, metadata={"help": "Train a LoRA adapter."})
    use_dora: bool = field(default=False, metadata={"help": "Let the adapter be a DoRA."})
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapter."})
    lora_alpha: int = field(default=16, metadata={"help": "Its updates are scaled by lora_alpha / lora_r."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter."})
    lora_target: str = field(
        default="language", metadata={"help": "Linear layers that get one: `language`, or `all` (vision too)."}
    )
    merge_lora: bool = field(
        default=False, metadata={"help": "Save a whole model at the end, with the adapter merged in."}
    )
    freeze_vision: bool = field(default=False, metadata={"help": "Leave the vision tower as it is."})

    def check_adapter(self) -> None:
        """Refuses values that are out of range or contradict each other.

        Raises:
            ValueError: a value cannot be used.
        """
        if self.lora_target not in LORA_TARGETS:
            raise ValueError(f"lora_target is {self.lora_target!r}; it is one of {' | '.join(LORA_TARGETS)}")
        if self.lora_r < 1 or self.lora_alpha <= 0 or not 0 <= self.lora_dropout < 1:
            raise ValueError(
                f"lora_r is {self.lora_r}, lora_alpha {self.lora_alpha}, lora_dropout {self.lora_dropout}; "
                "rank and alpha are above 0, dropout is at least 0 and below 1"
            )
        for name in ("merge_lora", "use_dora"):
            if getattr(self, name) and not self.use_lora:
                raise ValueError(f"{name} is about an adapter: it needs use_lora=true")
        if self.use_lora and self.freeze_vision and self.lora_target == "all":
            raise ValueError("freeze_vision and lora_target=all contradict each other; take lora_target=language")


def add_lora(model: PreTrainedModel, args: AdapterArguments) -> PeftModel:
    """Puts a new LoRA adapter on a model; everything else is frozen.

    Args:
        model: the retriever.
        args: rank, alpha, dropout, target and kind.

    Returns:
        The model with its adapter. `base_model_name_or_path` is the name the model was loaded by.
    """
    config = LoraConfig(
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        use_dora=args.use_dora,
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
