"""NyxModel: a vision-language model that embeds any ordered mix of text, images and video into one vector."""

import importlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.utils import ModelOutput

from .backbones_nyx import KEY_MAPPING, backbone_class, check_weights
from .code_nyx import code_hash
from .configuration_nyx import NyxSettings, preset_settings
from .encoder_nyx import Encoder
from .pooling_nyx import pool
from .processing_nyx import NyxProcessor
from .sentence_transformers_nyx import write_sentence_transformers_files
from .visual_nyx import IMAGE, VIDEO

_HUB = ("revision", "token", "cache_dir", "local_files_only")
AUTO_MAP = {"AutoModel": "modeling_nyx.NyxModel", "AutoProcessor": "processing_nyx.NyxProcessor"}


@dataclass
class NyxOutput(ModelOutput):
    """What a forward pass gives.

    Args:
        embeddings: One vector a row, float32, (B, D), not normalised.
        last_hidden_state: Hidden states after the last norm, (B, L, D).
    """

    embeddings: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None


class NyxModel(Encoder, PreTrainedModel):
    """A retriever over a Qwen2-VL, Qwen2.5-VL or Qwen3-VL backbone, or another VLM with the same surface.

    An instance is the backbone itself: its class is made from the backbone's stock class with this one's methods
    before it, so parameters keep their names, adapters fit both, and the saved folder loads as the plain VLM too.
    """

    processor: NyxProcessor

    # ---------------------------------------------------------------- making and loading

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | Path,
        preset: str | NyxSettings = "nyx",
        *,
        key_mapping: dict[str, str] | None = None,
        dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        **settings: Any,
    ) -> "NyxModel":
        """Makes a retriever from a plain vision-language model.

        Args:
            name_or_path: Hub id or folder, for example `Qwen/Qwen2.5-VL-3B-Instruct`.
            preset: `nyx`, `u-marvel`, `rzenembed`, or one of these with `-official` (the released code's habits); or
                settings of your own.
            key_mapping: Patterns in the checkpoint's weight names and what takes their place, before the family's own
                conversions.
            dtype: Weights' type; left out, the checkpoint's own.
            attn_implementation: `sdpa`, `eager`, `flash_attention_2`, …
            revision: Commit, tag or branch of the backbone.
            token: Access token for private repos.
            cache_dir: Where downloads are kept.
            local_files_only: Whether to look only into the cache.
            **settings: Settings that differ from the preset, by name (`NyxSettings`). Matryoshka dims that the
                preset gives and this backbone is too narrow for become its width, half, quarter and eighth.

        Returns:
            The retriever, in evaluation mode.

        Raises:
            ValueError: Unknown preset or setting, dims over the model's width, or a family off the common surface.
        """
        hub = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        hub = {key: value for key, value in hub.items() if value}
        config = AutoConfig.from_pretrained(str(name_or_path), **hub)
        chosen = fitted_settings(preset, config.get_text_config().hidden_size, settings)
        config.nyx = chosen.to_dict()
        how: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn_implementation}
        how = {key: value for key, value in how.items() if value}
        how["key_mapping"] = {**(key_mapping or {}), **KEY_MAPPING}
        model = cls.from_pretrained(name_or_path, config=config, **hub, **how)
        model.processor = NyxProcessor.from_backbone(name_or_path, chosen, config.model_type, **hub)
        _check_tokens(model)
        return model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *args: Any,
        config: PretrainedConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Loads a retriever; every weight must be there.

        Args:
            pretrained_model_name_or_path: Hub id or folder of a retriever (a plain VLM: `from_backbone`).
            *args: As transformers takes them.
            config: A config already loaded.
            **kwargs: As transformers takes them (`revision`, `dtype`, `device_map`, …).

        Returns:
            The retriever, in evaluation mode; with `output_loading_info` also the report.

        Raises:
            ValueError: Weights are missing or left over, the folder has no `nyx` settings, or the family is off the
                common surface.
        """
        name = str(pretrained_model_name_or_path)
        hub: dict[str, Any] = {key: kwargs[key] for key in _HUB if key in kwargs}
        if config is None:
            config = AutoConfig.from_pretrained(name, **hub)
        if getattr(config, "nyx", None) is None:
            raise ValueError(
                f"{name} has no `nyx` object in its config.json: it is a plain {config.model_type}. "
                "Make a retriever of it with NyxModel.from_backbone(...)"
            )
        settings = NyxSettings.from_dict(config.nyx)
        config.get_text_config().is_causal = settings.attention == "causal"
        wants_report = kwargs.pop("output_loading_info", False)
        backbone = backbone_class(config)
        load = super(NyxModel, _retriever_class(backbone)).from_pretrained
        kwargs.setdefault("key_mapping", KEY_MAPPING)
        kwargs.setdefault("ignore_mismatched_sizes", True)  # check_weights refuses them, by name
        model, report = load(name, *args, config=config, output_loading_info=True, **kwargs)
        check_weights(name, report, adapter=bool(kwargs.get("adapter_kwargs")))
        if _is_retriever_folder(name, hub):
            model.processor = NyxProcessor.from_pretrained(name, **hub)
        return (model, report) if wants_report else model

    @classmethod
    def _from_config(cls, config: PretrainedConfig, **kwargs: Any) -> "NyxModel":
        """Builds a model without weights, as `AutoModel.from_config` asks."""
        return super(NyxModel, _retriever_class(backbone_class(config)))._from_config(config, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Does nothing: `save_pretrained` writes the code and the `auto_map` itself."""

    @classmethod
    def is_custom_code(cls) -> bool:
        """False: layers and key names are the stock ones, so stock checkpoint conversions apply."""
        return False

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Writes a folder that is ready for the Hub and loads by every door.

        Weights and config are the backbone's own with a `nyx` object; beside them stand our code, the processor, the
        chat template and sentence-transformers' files.

        Args:
            save_directory: Folder to write into.
            **kwargs: As transformers takes them (`state_dict`, `max_shard_size`, …).
        """
        folder = Path(save_directory)
        super().save_pretrained(str(folder), **{"save_original_format": False, **kwargs})
        if not kwargs.get("is_main_process", True):
            return
        self.processor.save_pretrained(folder)
        settings = self.settings.updated(code_hash=code_hash(folder))
        path = folder / "config.json"
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8"))
            values |= {"nyx": settings.to_dict(), "auto_map": AUTO_MAP}
            if settings.matryoshka_dims:
                values["matryoshka_dimensions"] = list(settings.matryoshka_dims)  # vLLM reads this
            path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            write_sentence_transformers_files(folder, settings, self.config.get_text_config().hidden_size)

    # ---------------------------------------------------------------- settings

    @property
    def settings(self) -> NyxSettings:
        """How content becomes one vector."""
        return NyxSettings.from_dict(self.config.nyx)

    @settings.setter
    def settings(self, settings: NyxSettings) -> None:
        _check_dims(settings, self.config.get_text_config().hidden_size)
        self.config.nyx = settings.to_dict()
        self.config.get_text_config().is_causal = settings.attention == "causal"
        self.processor.settings = settings

    # ---------------------------------------------------------------- forward

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pooling_mask: torch.Tensor | None = None,
        mm_token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> NyxOutput:
        """Runs the backbone and pools.

        Args:
            input_ids: Token ids, (B, L).
            attention_mask: 1 for tokens, 0 for padding, (B, L).
            pooling_mask: 0 for tokens left out of the mean, (B, L).
            mm_token_type_ids: 0 text, 1 image, 2 video, (B, L); worked out from `input_ids` when left out, as without
                it some families silently fall back to one-dimensional positions.
            position_ids: Positions of your own.
            **kwargs: `pixel_values`, `image_grid_thw`, `pixel_values_videos`, `video_grid_thw`, and what else the
                backbone takes.

        Returns:
            Pooled vectors and hidden states.
        """
        kwargs.pop("return_dict", None)
        kwargs.setdefault("use_cache", False)
        if attention_mask is None and input_ids is not None:
            attention_mask = torch.ones_like(input_ids)
        if mm_token_type_ids is None and input_ids is not None:
            mm_token_type_ids = IMAGE * (input_ids == self.config.image_token_id).long()  # (B, L)
            mm_token_type_ids += VIDEO * (input_ids == self.config.video_token_id).long()
        settings = self.settings
        if settings.positions == "sequential" and position_ids is None and attention_mask is not None:
            position_ids = (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)  # (B, L)
        output = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            mm_token_type_ids=mm_token_type_ids,
            position_ids=position_ids,
            return_dict=True,
            **kwargs,
        )
        hidden = output.last_hidden_state  # (B, L, D)
        counted = torch.ones(hidden.shape[:2], device=hidden.device) if attention_mask is None else attention_mask
        if pooling_mask is not None:
            counted = counted * pooling_mask  # (B, L)
        return NyxOutput(embeddings=pool(hidden, counted, settings.pooling), last_hidden_state=hidden)


class _OfTheBackbone:
    """Stands for an attribute that only the classes made from a backbone have."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        raise AttributeError("a retriever's config class is its backbone's")


# AutoModel of older transformers registers the class under the config's, if the two do not contradict each other
NyxModel.config_class = _OfTheBackbone()


@cache
def _retriever_class(backbone: Any) -> Any:
    """The backbone's class with NyxModel's methods before it, under the backbone's own name.

    The name stays because configs, checkpoint conversions and stock loaders go by it.
    """
    if issubclass(backbone, NyxModel):
        return backbone
    namespace = {"__module__": __name__, "__doc__": NyxModel.__doc__, "config_class": backbone.config_class}
    return type(backbone.__name__, (NyxModel, backbone), namespace)


def __getattr__(name: str) -> Any:
    """Finds a retriever class by its backbone's name, so that models pickle."""
    if name in MODEL_MAPPING_NAMES.values():
        return _retriever_class(getattr(importlib.import_module("transformers"), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def fitted_settings(preset: str | NyxSettings, width: int, changes: dict[str, Any]) -> NyxSettings:
    """A preset's settings for a backbone.

    Args:
        preset: Its name, or settings of your own.
        width: Of the backbone's vectors.
        changes: Settings that differ.

    Returns:
        The settings. Matryoshka dims that the preset gives and the backbone is too narrow for become its width, half,
        quarter and so on.

    Raises:
        ValueError: Unknown preset or setting, or dims over the width.
    """
    settings = preset_settings(preset, **changes) if isinstance(preset, str) else preset.updated(**changes)
    if "matryoshka_dims" not in changes and settings.matryoshka_dims and settings.matryoshka_dims[0] > width:
        settings = settings.updated(
            matryoshka_dims=tuple(width >> step for step in range(len(settings.matryoshka_dims)))
        )
    _check_dims(settings, width)
    return settings


def _check_dims(settings: NyxSettings, width: int) -> None:
    for name, value in (
        ("matryoshka_dims", max(settings.matryoshka_dims, default=0)),
        ("truncate_dim", settings.truncate_dim),
    ):
        if value > width:
            raise ValueError(f"{name} asks for {value} dimensions, but this backbone's vectors have {width}")


def _check_tokens(model: NyxModel) -> None:
    """Refuses added tokens that the backbone has no embedding for."""
    rows = model.get_input_embeddings().num_embeddings
    tokens = {token: model.processor.tokenizer.convert_tokens_to_ids(token) for token in model.settings.extra_tokens}
    for token, number in tokens.items():
        if number >= rows:
            raise ValueError(
                f"extra_tokens has {token}, number {number} of the tokenizer, but the backbone embeds {rows} tokens: "
                "leave it out, or give the backbone more rows first (resize_token_embeddings)"
            )


def _is_retriever_folder(name: str, hub: dict[str, Any]) -> bool:
    """Whether a processor of ours was saved there (a plain VLM on its way to one has none)."""
    config, _ = PretrainedConfig.get_config_dict(name, **hub)
    return "nyx" in config
