"""What a LoRA or DoRA adapter makes of a model's weights, by arithmetic on saved tensors alone."""

import math
import re
from collections.abc import Mapping

from peft import LoraConfig
from torch import Tensor

_PREFIX = "base_model.model."
_PART = re.compile(r"(.+)\.(base_layer|lora_A|lora_B|lora_magnitude_vector)(?:\.\w+)?\.(weight|bias)")


def merged_weights(state_dict: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Merges an adapter into the weights it stands beside.

    Args:
        state_dict: of a `PeftModel`: base weights and adapter.
        config: the adapter's.

    Returns:
        The weights of the whole model, under the model's own names.
    """
    whole: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state_dict.items():
        name = name.removeprefix(_PREFIX)
        match = _PART.fullmatch(name)
        if match is None:
            whole[name] = value
            continue
        layer, part, kind = match.groups()
        if kind == "bias":
            whole[f"{layer}.bias"] = value
        else:
            parts.setdefault(layer, {})[part] = value
    for layer, own in parts.items():
        whole[f"{layer}.weight"] = adapted(own.pop("base_layer"), own, scaling(config))
    return whole


def scaling(config: LoraConfig) -> float:
    """Gives the factor of an adapter's updates.

    Args:
        config: the adapter's.

    Returns:
        lora_alpha / r, or lora_alpha / √r for a rank-stabilised one.
    """
    return config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)


def adapted(weight: Tensor, parts: Mapping[str, Tensor], factor: float) -> Tensor:
    """Applies an adapter to one layer.

    LoRA: W' = W + s B A. DoRA: W' = m (W + s B A) / |W + s B A|, row by row, m the learned lengths.

    Args:
        weight: (out, in) of the layer.
        parts: `lora_A` (r, in), `lora_B` (out, r) and, of a DoRA, `lora_magnitude_vector` (out,).
        factor: s.

    Returns:
        (out, in) the layer's weight with the adapter in it, of its own type.
    """
    updated = weight.float() + factor * (parts["lora_B"].float() @ parts["lora_A"].float())
    lengths = parts.get("lora_magnitude_vector")
    if lengths is not None:
        updated = updated * (lengths.float() / updated.norm(dim=1))[:, None]
    return updated.to(weight.dtype)
