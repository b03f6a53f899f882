"""A published adapter's updates go into the weights of its base."""

from peft import LoraConfig, PeftConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file

from nyx_hf.checkpoint_files import ADAPTER, Checkpoint, CheckpointError
from nyx_hf.checkpoint_layouts import Layout
from nyx_hf.modeling.modeling_nyx import NyxModel

_PEFT = "base_model.model."
_SHOWN = 5


def merge_adapter(model: NyxModel, adapter: Checkpoint, layout: Layout) -> NyxModel:
    """Merges a LoRA or DoRA adapter into a model.

    The adapted layers are those that the adapter has weights for: its own list of targets may name layers that the
    backbone never had, or has under other names by now.

    Args:
        model: The base; it becomes the result.
        adapter: The adapter, with its weights.
        layout: The project's.

    Returns:
        The model with the adapter's updates in its weights.

    Raises:
        CheckpointError: It is another kind of adapter, or weights are missing or left over; the message names them.
    """
    config = PeftConfig.from_pretrained(str(adapter.folder))
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{adapter.name} is a {config.peft_type} adapter, expected LoRA or DoRA")
    weights = {key.removeprefix(_PEFT): weight for key, weight in load_file(adapter.folder / ADAPTER).items()}
    dropped = layout.left_out(list(weights))
    weights = {layout.headless(key): weight for key, weight in weights.items() if key not in dropped}
    adapted_layers = {key.split(".lora_")[0] for key in weights}
    strangers = sorted(adapted_layers - {name for name, _ in model.named_modules()})
    if strangers:
        raise CheckpointError(
            f"the adapter {adapter.name} has weights for {', '.join(strangers[:_SHOWN])}, which its base has not: it "
            f"is of another base, or of another layout than {layout.name}"
        )
    config.target_modules = adapted_layers
    config.base_model_name_or_path = model.name_or_path
    config.task_type = config.layers_to_transform = config.layers_pattern = config.modules_to_save = None
    adapted = get_peft_model(model, config)
    report = set_peft_model_state_dict(adapted, {_PEFT + key: weight for key, weight in weights.items()})
    missing = sorted(key.removeprefix(_PEFT) for key in report.missing_keys if ".lora_" in key)
    left_over = sorted(key.removeprefix(_PEFT) for key in report.unexpected_keys)
    if missing or left_over:
        raise CheckpointError(
            f"the adapter {adapter.name} is not whole: missing {', '.join(missing[:_SHOWN]) or 'nothing'}, left over "
            f"{', '.join(left_over[:_SHOWN]) or 'nothing'}"
        )
    merged: NyxModel = adapted.merge_and_unload()
    return merged
