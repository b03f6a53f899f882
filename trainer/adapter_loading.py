"""An adapter and its base in one call."""

import json
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from transformers import AutoConfig
from transformers.utils import cached_file

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel

SETTINGS_FILE = "nyx.json"  # how content becomes a vector; a base that is a plain vision-language model has none
_WRITTEN = ("format_version", "code_version", "code_hash")


def load_adapter(name_or_path: str | Path, *, revision: str | None = None, **how: Any) -> PeftModel:
    """Loads an adapter with the retriever that it was trained on.

    Args:
        name_or_path: Hub id or folder of an adapter that `NyxTrainer` saved.
        revision: commit, tag or branch of the adapter; its base is loaded at the commit that the adapter names.
        **how: `is_trainable` to go on with its training, and how the base is loaded: `dtype`, `attn_implementation`,
            `token`, …

    Returns:
        The retriever with its adapter; `encode` and its kin work on it.

    Raises:
        ValueError: there is no adapter.
    """
    name = str(name_or_path)
    is_trainable = how.pop("is_trainable", False)
    config = adapter_config(name, revision)
    if config is None:
        raise ValueError(
            f"{name} is no adapter: it has no adapter_config.json; NyxModel.from_pretrained loads a model"
        )
    settings = adapter_settings(name, revision)
    if config.revision is not None:
        how["revision"] = config.revision
    retriever = _base(str(config.base_model_name_or_path), settings, how)
    if settings is not None:
        retriever.settings = settings
    return PeftModel.from_pretrained(retriever, name, is_trainable=is_trainable, revision=revision)


def adapter_config(name: str, revision: str | None = None) -> PeftConfig | None:
    """Reads what an adapter is, and what it was trained on.

    Args:
        name: Hub id or folder.
        revision: commit, tag or branch.

    Returns:
        Its config, with `base_model_name_or_path` and the base's `revision`; None where `name` is no adapter.
    """
    path = cached_file(name, "adapter_config.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    return None if path is None else PeftConfig.from_pretrained(str(Path(path).parent))


def adapter_settings(name: str, revision: str | None = None) -> NyxSettings | None:
    """Reads how the retriever of an adapter makes a vector of content.

    Args:
        name: Hub id or folder.
        revision: commit, tag or branch.

    Returns:
        Its settings; None where it has none of its own, but those of its base.
    """
    path = cached_file(name, SETTINGS_FILE, revision=revision, _raise_exceptions_for_missing_entries=False)
    return None if path is None else NyxSettings.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))


def write_settings(settings: NyxSettings, folder: str | Path) -> None:
    """Writes how content becomes a vector beside an adapter.

    Args:
        settings: the retriever's.
        folder: the adapter's folder.
    """
    text = json.dumps(settings.to_dict(), indent=2, sort_keys=True) + "\n"
    (Path(folder) / SETTINGS_FILE).write_text(text, encoding="utf-8")


def _base(name: str, settings: NyxSettings | None, how: dict[str, Any]) -> NyxModel:
    """The retriever, made of a plain vision-language model where the base is one."""
    config = AutoConfig.from_pretrained(name, revision=how.get("revision"))
    if settings is None or getattr(config, "nyx", None) is not None:
        model: NyxModel = NyxModel.from_pretrained(name, **how)
        return model
    values = {key: value for key, value in settings.to_dict().items() if key not in _WRITTEN}
    return NyxModel.from_backbone(name, **how, **values)
