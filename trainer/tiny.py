"""Tiny random vision-language models of the real architectures: for smoke runs, the quickstart and tests.

The folder written here has the stock layout of `Qwen/Qwen2.5-VL-3B-Instruct` and its sisters (config, weights with a
language head, tokenizer, image and video processor configs, chat template), so every code path that loads the real
checkpoint loads this one.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Enough English for a byte-level vocabulary whose merges are not empty; callers pass their own texts for real use.
_TEXTS = (
    "Please retrieve the most relevant document to answer the question.",
    "Represent the given image in one word. Represent the given text in one word.",
    "The quick brown fox jumps over the lazy dog, and the record of the code is written by hand.",
    "zero one two three four five six seven eight nine 0 1 2 3 4 5 6 7 8 9",
)

_CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny_vlm(
    out_dir: str | Path,
    model_type: str = "qwen2_5_vl",
    *,
    seed: int = 0,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 4,
    vision_hidden_size: int = 32,
    vision_layers: int = 2,
    patch_size: int = 14,
    vocab_size: int = 700,
    texts: Iterable[str] = (),
    max_pixels: int = 28 * 28 * 64,
    initializer_range: float = 0.02,
) -> Path:
    """Writes a small random VLM with a tokenizer trained on the spot.

    Args:
        out_dir: Folder to write; made when missing.
        model_type: One of `qwen2_vl`, `qwen2_5_vl`, `qwen3_vl`.
        seed: Seed of the random weights.
        hidden_size: Width of the language model, and so of the embeddings; a multiple of `heads`.
        layers: Decoder layers.
        heads: Attention heads, with half as many key-value heads.
        vision_hidden_size: Width of the vision tower; a multiple of 8.
        vision_layers: Vision layers.
        patch_size: Side of a vision patch in pixels; 2 × 2 patches make one visual token.
        vocab_size: Entries the tokenizer may learn, special tokens included.
        texts: Texts to train the tokenizer on, besides a few English lines.
        max_pixels: Largest image area in pixels after resizing.
        initializer_range: Deviation of the random weights; narrow models that learn from scratch want more than the
            families' 0.02.

    Returns:
        The folder.

    Raises:
        ValueError: `model_type` is not one of the three.
    """
    if model_type not in MODEL_TYPES:
        raise ValueError(f"model_type is {model_type!r}; tiny models exist for {', '.join(MODEL_TYPES)}")
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer([*_TEXTS, *texts], vocab_size)
    config = _config(model_type, tokenizer, hidden_size, layers, heads, vision_hidden_size, vision_layers, patch_size)
    for part in (config, config.get_text_config(), config.vision_config):
        part.initializer_range = initializer_range
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _write_processor_files(out, model_type, patch_size, max_pixels)
    return out


def train_tokenizer(texts: list[str], vocab_size: int) -> Qwen2Tokenizer:
    """Trains a byte-level BPE tokenizer of Qwen's kind.

    Args:
        texts: Texts to learn merges from.
        vocab_size: Entries in all, special tokens included; at least 256 bytes and the specials are always there.

    Returns:
        A tokenizer with Qwen's special tokens, `<|im_end|>` ending a sequence and `<|endoftext|>` padding it.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    blank = Qwen2Tokenizer()
    learner = Tokenizer(models.BPE())
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learnt["merges"]]
    return Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=32768,
        padding_side="left",
    )


def _config(
    model_type: str,
    tokenizer: Qwen2Tokenizer,
    hidden: int,
    layers: int,
    heads: int,
    vision_hidden: int,
    vision_layers: int,
    patch_size: int,
) -> Any:
    """The family's own config at a tiny size."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS}
    head_dim = hidden // heads
    half = head_dim // 2
    section = [half - 2 * (half // 3), half // 3, half // 3]  # t, h, w frequencies; they add up to head_dim / 2
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section},
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision: dict[str, Any] = {"depth": vision_layers, "patch_size": patch_size, "num_heads": 2, "in_channels": 3}
    if model_type == "qwen2_vl":
        vision |= {"embed_dim": vision_hidden, "hidden_size": hidden, "mlp_ratio": 2}
    elif model_type == "qwen2_5_vl":
        vision |= {"hidden_size": vision_hidden, "intermediate_size": 2 * vision_hidden, "out_hidden_size": hidden}
        vision |= {"fullatt_block_indexes": [vision_layers - 1], "window_size": 8 * patch_size, "tokens_per_second": 2}
    else:
        vision |= {"hidden_size": vision_hidden, "intermediate_size": 2 * vision_hidden, "out_hidden_size": hidden}
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
        text |= {"head_dim": head_dim}
        text["rope_parameters"]["mrope_interleaved"] = True
    return AutoConfig.for_model(
        model_type,
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _write_processor_files(out: Path, model_type: str, patch_size: int, max_pixels: int) -> None:
    """The stock processor's files, written as data: the stock video processor class needs torchvision to be built."""
    limits = {"shortest_edge": (2 * patch_size) ** 2, "longest_edge": max_pixels}
    shared = {"patch_size": patch_size, "temporal_patch_size": 2, "merge_size": 2, "size": limits}
    family = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[model_type]
    # Qwen3-VL normalises with mean and deviation 0.5, its elder sisters with CLIP's (their classes' defaults)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} if model_type == "qwen3_vl" else {}
    processor_class = f"{family}Processor"
    image = {"image_processor_type": "Qwen2VLImageProcessor", **shared, **half}
    video_type = "Qwen3VLVideoProcessor" if model_type == "qwen3_vl" else "Qwen2VLVideoProcessor"
    video = {"video_processor_type": video_type, **shared, **half}
    for name, content in (("preprocessor_config.json", image), ("video_preprocessor_config.json", video)):
        text = json.dumps({**content, "processor_class": processor_class}, indent=2, sort_keys=True)
        (out / name).write_text(text + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(_CHAT_TEMPLATE, encoding="utf-8")
