"""What a reranker's training leaves: a stock vision-language model's folder that opens by every door."""

import json
import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import cached_file

from nyx_hf.trainer.reranker_encoding import PairProcessor
from nyx_hf.trainer.reranker_prompt import CONFIG_KEY, answer_ids

CONFIG = "config.json"
_PROCESSOR_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
_MODULE = "sentence_transformers.{}"


def save_reranker(model: PreTrainedModel, processor: PairProcessor, folder: str | Path, **hub: Any) -> None:
    """Writes a reranker: weights, config, tokenizer, processor, chat template, and sentence-transformers' files.

    All is written beside and renamed, config.json last: what is half written is no model yet.

    Args:
        model: The whole model, without an adapter on it.
        processor: Its processor, with the settings that it was trained with.
        folder: Where to.
        **hub: `revision` of the base model that `model` was loaded from.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".") as scratch:
        beside = Path(scratch)
        setattr(model.config, CONFIG_KEY, processor.wording.to_dict())
        model.save_pretrained(beside)
        _write_processor(processor, str(model.name_or_path), beside, hub)
        _write_cross_encoder(processor, beside)
        files = sorted((path for path in beside.rglob("*") if path.is_file()), key=lambda path: path.name == CONFIG)
        for path in files:
            place = target / path.relative_to(beside)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)


def _write_processor(processor: PairProcessor, base: str, folder: Path, hub: dict[str, Any]) -> None:
    """Writes the base's own processor files with our limits on images, and the chat template of pairs."""
    tokenizer = processor.tokenizer
    own = tokenizer.chat_template
    asked = "selectattr('role', 'equalto', 'document')"
    tokenizer.chat_template = own if own and asked in own else processor.wording.chat_template(own)
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = own
    size = dict(processor.image_processor.size)
    for name in _PROCESSOR_FILES:
        found = cached_file(base, name, _raise_exceptions_for_missing_entries=False, **hub)
        if found is None:
            continue
        values = json.loads(Path(found).read_text(encoding="utf-8"))
        values.pop("chat_template", None)
        for images in (values.get("image_processor"), values if name == _PROCESSOR_FILES[0] else None):
            if images is not None:
                images["size"] = size
                images.pop("min_pixels", None)
                images.pop("max_pixels", None)
        _write(folder / name, values)


def _write_cross_encoder(processor: PairProcessor, folder: Path) -> None:
    """Writes what `CrossEncoder(folder)` reads: stock modules that compare the two answers' logits."""
    yes, no = answer_ids(processor.tokenizer, processor.wording)
    logits = {"method": "forward", "method_output_name": "logits"}
    transformer = {
        "transformer_task": "any-to-any",
        "modality_config": {
            **dict.fromkeys(("text", "image", "video"), logits),
            "message": {**logits, "format": "structured"},
        },
        "module_output_name": "causal_logits",
        "processor_kwargs": {"use_fast": False},  # the PIL backend, whose pixels we use
    }
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": _MODULE.format("base.modules.transformer.Transformer")},
        {
            "idx": 1,
            "name": "1",
            "path": "1_LogitScore",
            "type": _MODULE.format("cross_encoder.modules.logit_score.LogitScore"),
        },
    ]
    scored = {"true_token_id": yes, "false_token_id": no, "module_input_name": "causal_logits"}
    overall: dict[str, Any] = {
        "model_type": "CrossEncoder",
        "activation_fn": "torch.nn.modules.activation.Sigmoid",
        "prompts": {},
        "default_prompt_name": None,
    }
    (folder / "1_LogitScore").mkdir()
    for name, values in (
        ("modules.json", modules),
        ("sentence_bert_config.json", transformer),
        ("1_LogitScore/config.json", scored),
        ("config_sentence_transformers.json", overall),
    ):
        _write(folder / name, values)


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
