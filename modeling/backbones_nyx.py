"""Which vision-language models can be a retriever's backbone, and whether a checkpoint fits one."""

import importlib
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

# What a family must offer; `get_decoder` and `get_text_config` find the language model and its width.
_SURFACE = ("get_image_features", "get_decoder", "get_rope_index")

# Qwen2-VL's own conversions take the vision tower of transformers 5's ForConditionalGeneration layout for language.
KEY_MAPPING = {r"^model\.visual\.": "visual."}


def backbone_class(config: PretrainedConfig) -> Any:
    """Finds the stock class of a config's headless model.

    Args:
        config: The backbone's config.

    Returns:
        The class.

    Raises:
        ValueError: transformers has none, or it lacks a part of the common surface; the message names it.
    """
    name = MODEL_MAPPING_NAMES.get(config.model_type)
    backbone = getattr(importlib.import_module("transformers"), name) if isinstance(name, str) else None
    missing = [method for method in _SURFACE if not callable(getattr(backbone, method, None))]
    if backbone is None or missing:
        what = f"{name} lacks {', '.join(missing)}" if backbone else "transformers has no headless model of it"
        raise ValueError(
            f"model_type {config.model_type!r} cannot be a retriever's backbone: {what}. "
            "Qwen2-VL, Qwen2.5-VL and Qwen3-VL can"
        )
    return backbone


def check_weights(name: str, report: dict[str, Any], *, adapter: bool) -> None:
    """Refuses a model with weights missing (they would be random) or left over; a language head may be left over.

    Args:
        name: The folder or repo, for the message.
        report: transformers' loading report.
        adapter: Whether an adapter was loaded over the model: the report is then the adapter's, whose base is whole.

    Raises:
        ValueError: The weights do not fit; the message names the first of them.
    """
    missing = sorted(report["missing_keys"])
    left_over = sorted(key for key in report["unexpected_keys"] if not key.startswith("lm_head."))
    mismatched = sorted(str(key) for key in report["mismatched_keys"])
    if adapter:
        missing = [key for key in missing if ".lora_" in key]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
        for what, keys in (("missing", missing), ("left over", left_over), ("of another shape", mismatched))
        if keys
    ]
    if problems:
        raise ValueError(
            f"the weights of {name} do not fit the model: {'; '.join(problems)}. "
            "The checkpoint is incomplete, or of another architecture than its config.json says"
        )
