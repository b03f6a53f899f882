"""How much of a GPU a run takes: weights, gradients and optimizer to the byte, activations estimated."""

import json
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.launch import Launch
from nyx_hf.trainer.plan_model import Count

TEXT_TOKENS = 200  # what a content is reckoned to have besides one image at the limit
_HALF, _FULL = 2, 4  # bytes of a bfloat16 and of a float32
_ADAM = 2  # states a parameter


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU, without what CUDA itself and the allocator take.

    Args:
        weights: all parameters, or this GPU's share and the part that is gathered for a layer.
        gradients: of what is trained, with the buffers that they are sent in.
        optimizer: Adam's two moments, and float32 copies of the weights where there are any.
        activations: what the way back needs, estimated.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def sum(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory(
    count: Count, config: PretrainedConfig, settings: NyxSettings, args: NyxTrainingArguments, launch: Launch
) -> Memory:
    """Reckons the memory that a run takes on each GPU.

    Args:
        count: the model's parameters.
        config: the backbone's.
        settings: the retriever's.
        args: training arguments.
        launch: how the run is spread.

    Returns:
        The memory; an accelerate config of the user's own is reckoned as a copy of the model on each GPU.
    """
    kept = activations(config, settings, args, trains_vision=trains_vision(args))
    if launch.config in ("zero2", "zero3"):
        return Memory(*_deepspeed(count, args, launch), activations=kept)
    share = launch.processes if launch.config == "fsdp2" else 1
    gathered = count.largest_block if share > 1 else 0
    buckets = count.trained_bytes if share == 1 and launch.processes > 1 else 0  # DDP's copies of the gradients
    return Memory(
        weights=count.bytes // share + gathered,
        gradients=count.trained_bytes // share + buckets,
        optimizer=_ADAM * count.trained_bytes // share,
        activations=kept,
    )


def trains_vision(args: NyxTrainingArguments) -> bool:
    """Tells whether gradients go through the vision tower.

    Args:
        args: training arguments.

    Returns:
        True where it is trained, or has an adapter.
    """
    return args.lora_target == "all" if args.use_lora else not args.freeze_vision


def content_tokens(config: PretrainedConfig, settings: NyxSettings) -> int:
    """Reckons the tokens of a content: one image at the limit, and some text.

    Args:
        config: the backbone's.
        settings: the retriever's.

    Returns:
        Tokens.
    """
    return min(settings.max_length, _visual_tokens(config, settings) + TEXT_TOKENS)


def activations(
    config: PretrainedConfig, settings: NyxSettings, args: NyxTrainingArguments, *, trains_vision: bool
) -> int:
    """Estimates what the way back needs of the contents that are embedded at once.

    With gradient checkpointing the inputs of all layers are kept, and one layer's inside at a time; without it the
    inside of every layer. Attention is reckoned as one that keeps no matrix of weights (sdpa, flash).

    Args:
        config: the backbone's.
        settings: the retriever's.
        args: training arguments.
        trains_vision: gradients go through the vision tower.

    Returns:
        Bytes.
    """
    size = _HALF if args.bf16 or args.fp16 else _FULL
    documents = args.per_device_train_batch_size * (args.positives_per_query + args.negatives_per_query)
    contents = args.per_device_train_batch_size + documents
    tokens = content_tokens(config, settings)
    at_once = _at_once(args, documents, tokens, _pixels(config, settings))
    kept = at_once if args.cache_gradients and args.chunk_limits(1).is_set else contents
    text, vision = config.get_text_config(), config.vision_config
    towers = [(kept * tokens, at_once * tokens, _layer(text), text.hidden_size, text.num_hidden_layers)]
    if trains_vision:
        patches = _visual_tokens(config, settings) * vision.spatial_merge_size**2
        towers.append((kept * patches, at_once * patches, _vision_layer(vision), _vision_width(vision), vision.depth))
        pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        towers.append((kept * patches, at_once * patches, pixels, pixels, 1))  # what the patches are projected from
    if args.gradient_checkpointing:
        inputs = sum(many * width * layers for many, _, _, width, layers in towers)
        return size * (inputs + max(some * inside for _, some, inside, _, _ in towers))
    return size * sum(many * inside * layers for many, _, inside, _, layers in towers)


def _at_once(args: NyxTrainingArguments, documents: int, tokens: int, pixels: int) -> int:
    """Contents of one forward pass."""
    limits = [documents, args.chunk_rows or documents]
    limits += [max(1, args.chunk_tokens // tokens)] if args.chunk_tokens else []
    limits += [max(1, args.chunk_pixels // pixels)] if args.chunk_pixels else []
    return max(1, min(limits))


def _layer(text: PretrainedConfig) -> int:
    """Values a token that the way back through one language layer needs.

    Of both norms the input in float32, what it is divided by its length, and what they give; query, key, value and
    what attention gives; the four of the MLP.
    """
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = head * (2 * text.num_attention_heads + 2 * text.num_key_value_heads)
    return 8 * text.hidden_size + heads + 4 * text.intermediate_size


def _vision_layer(vision: PretrainedConfig) -> int:
    """Values a patch that the way back through one vision layer needs."""
    width = _vision_width(vision)
    inner = getattr(vision, "intermediate_size", None) or width * vision.mlp_ratio
    return 8 * width + 4 * width + 4 * inner


def _vision_width(vision: PretrainedConfig) -> int:
    """Qwen2-VL calls the language model's width its vision tower's `hidden_size`."""
    width: int = vision.embed_dim if vision.model_type == "qwen2_vl" else vision.hidden_size
    return width


def _pixels(config: PretrainedConfig, settings: NyxSettings) -> int:
    vision = config.vision_config
    return _visual_tokens(config, settings) * (vision.patch_size * vision.spatial_merge_size) ** 2


def _visual_tokens(config: PretrainedConfig, settings: NyxSettings) -> int:
    """Tokens of an image at the limit; 16,384 is the backbones' own, which no one trains with."""
    vision = config.vision_config
    most = settings.max_pixels // (vision.patch_size * vision.spatial_merge_size) ** 2
    return most or min(16384, settings.max_length - TEXT_TOKENS)


def _deepspeed(count: Count, args: NyxTrainingArguments, launch: Launch) -> tuple[int, int, int]:
    """Weights, gradients and optimizer under ZeRO, which keeps float32 copies of what is trained."""
    config: dict[str, Any] = json.loads(launch.path.with_suffix(".json").read_text(encoding="utf-8"))
    zero = config["zero_optimization"]
    half = args.bf16 or args.fp16
    weights = count.all * _HALF if half else count.bytes
    trained = count.trained * _HALF if half else count.trained_bytes
    optimizer = (1 + _ADAM) * _FULL * count.trained // launch.processes
    if zero["stage"] == 3:
        return weights // launch.processes + count.largest_block, trained // launch.processes, optimizer
    buckets = 2 * zero["reduce_bucket_size"] * (_HALF if half else _FULL)  # one is filled while one is sent
    return weights, trained // launch.processes + buckets, optimizer
