"""The files that let `SentenceTransformer(folder)` read the same folder, with stock modules wherever they suffice."""

import json
from pathlib import Path
from typing import Any

from .configuration_nyx import NyxSettings

_MODULE = "sentence_transformers.{}"
_NORMALIZE = {"name": "normalize", "type": _MODULE.format("base.modules.normalize.Normalize")}
_TRANSFORMER = {"name": "transformer", "path": "", "type": _MODULE.format("base.modules.transformer.Transformer")}
_POOLING = {
    "name": "pooling",
    "path": "1_Pooling",
    "type": _MODULE.format("sentence_transformer.modules.pooling.Pooling"),
}


def write_sentence_transformers_files(folder: Path, settings: NyxSettings, width: int) -> None:
    """Writes modules.json and the configs it names.

    Where stock modules can express the settings the folder is Transformer + Pooling + Normalize and loads without
    remote code. Otherwise (instruction left out of the mean, sequential positions) the model's own forward gives the
    pooled vector, so that it is Transformer + Normalize and needs `trust_remote_code=True`.

    Args:
        folder: The model's folder.
        settings: The retriever's settings.
        width: Width of the embeddings.
    """
    own = settings.needs_remote_code
    parameters = {"method": "forward", "method_output_name": "embeddings" if own else "last_hidden_state"}
    names = ("text", "image", "video", "image+text", "text+video", "image+video", "image+text+video")
    modalities: dict[str, Any] = dict.fromkeys(names, parameters)
    modalities["message"] = {**parameters, "format": "structured"}
    transformer = {
        "transformer_task": "feature-extraction",
        "modality_config": modalities,
        "module_output_name": "sentence_embedding" if own else "token_embeddings",
        # the PIL backend, whose pixels we use; `backend` would also reach the video processor, which has none
        "processor_kwargs": {"use_fast": False},
    }
    place = 1 if own else 2
    modules: list[dict[str, Any]] = [{"idx": 0, **_TRANSFORMER}]
    if not own:
        modules.append({"idx": 1, **_POOLING})
        mode = {"last": "lasttoken", "mean": "mean"}[settings.pooling]
        pooling = {"embedding_dimension": width, "pooling_mode": mode, "include_prompt": True}
        _write(folder / "1_Pooling" / "config.json", pooling)
    modules.append({"idx": place, "path": f"{place}_Normalize", **_NORMALIZE})
    _write(folder / f"{place}_Normalize" / "config.json", {})
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", transformer)
    _write(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "prompts": settings.prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
            "truncate_dim": settings.truncate_dim or None,
        },
    )


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
