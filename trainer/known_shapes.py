"""The shapes of published backbones, for plans that are made without a network."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

_QWEN2 = {"model_type": "qwen2_vl", "vision": {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4}}
_QWEN2_5 = {
    "model_type": "qwen2_5_vl",
    "vision": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
}

# Hub id -> family, vision tower and language model, as their config.json says
_SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2-VL-2B-Instruct": {
        **_QWEN2,
        "text": {"hidden": 1536, "intermediate": 8960, "layers": 28, "heads": 12, "kv": 2, "vocab": 151936},
        "tied": True,
    },
    "Qwen/Qwen2-VL-7B-Instruct": {
        **_QWEN2,
        "text": {"hidden": 3584, "intermediate": 18944, "layers": 28, "heads": 28, "kv": 4, "vocab": 152064},
        "tied": False,
    },
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        **_QWEN2_5,
        "text": {"hidden": 2048, "intermediate": 11008, "layers": 36, "heads": 16, "kv": 2, "vocab": 151936},
        "tied": True,
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        **_QWEN2_5,
        "text": {"hidden": 3584, "intermediate": 18944, "layers": 28, "heads": 28, "kv": 4, "vocab": 152064},
        "tied": False,
    },
    "Qwen/Qwen3-VL-Embedding-2B": {
        "model_type": "qwen3_vl",
        "vision": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "patch_size": 16,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [5, 11, 17],
        },
        "text": {"hidden": 2048, "intermediate": 6144, "layers": 28, "heads": 16, "kv": 8, "vocab": 151936},
        "tied": True,
    },
}


def known_names() -> list[str]:
    """Lists the backbones whose shapes are known."""
    return list(_SHAPES)


def known_config(name: str) -> PretrainedConfig | None:
    """Gives a backbone's config.

    Args:
        name: Hub id.

    Returns:
        A config with its shapes (not with its token ids); None where they are not known.
    """
    shape = _SHAPES.get(name)
    if shape is None:
        return None
    text = shape["text"]
    head_dim = 128
    vision = dict(shape["vision"])
    vision["hidden_size" if shape["model_type"] == "qwen2_vl" else "out_hidden_size"] = text["hidden"]
    return AutoConfig.for_model(
        shape["model_type"],
        text_config={
            "vocab_size": text["vocab"],
            "hidden_size": text["hidden"],
            "intermediate_size": text["intermediate"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "num_key_value_heads": text["kv"],
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            **({"head_dim": head_dim} if shape["model_type"] == "qwen3_vl" else {}),
        },
        vision_config=vision,
        tie_word_embeddings=shape["tied"],
    )
