"""The card of a soup: what is in it, and under which licence."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from nyx_hf._version import __version__
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import DataSource, ModelFacts
from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.trainer.adapter_loading import SETTINGS_FILE
from nyx_hf.trainer.saving import write_card
from nyx_hf.trainer.soup_ingredients import AdapterIngredient, Ingredient


def write_soup_card(
    folder: Path, name: str, ingredients: Sequence[Ingredient], shares: Mapping[str, float], *, adapter: bool
) -> None:
    """Writes a soup's README.md.

    Args:
        folder: the soup's folder.
        name: what it is called.
        ingredients: what is in it; their own cards say base, data and licence.
        shares: what each counts, by name.
        adapter: the soup is an adapter.
    """
    cards = [_metadata(ingredient.folder) for ingredient in ingredients]
    licences = [
        License(card["license"], card.get("license_name"), card.get("license_link"))
        for card in cards
        if card.get("license")
    ]
    datasets = dict.fromkeys(dataset for card in cards for dataset in card.get("datasets") or ())
    first = ingredients[0]
    base = _shown(first.base) if isinstance(first, AdapterIngredient) else cards[0].get("base_model")
    settings = _settings(folder)
    what = "adapters" if adapter else "retrievers"
    write_card(
        ModelFacts(
            name=name,
            summary=f"A soup of {len(ingredients)} {what}, made with nyx_hf {__version__}: the weighted mean of what "
            "each of them changes in the base model.",
            base_model=base,
            base_license=max(licences, key=lambda licence: licence.strictness) if licences else None,
            datasets=[DataSource(dataset) for dataset in datasets],
            settings=settings.to_dict(),
            needs_trust=settings.needs_remote_code,
            dims=list(settings.matryoshka_dims),
            hyperparameters={f"share of {_shown(one)}": f"{share:.4f}" for one, share in shares.items()},
            citations=["rzenembed", "model-soups", *(("lora", "peft") if adapter else ())],
            adapter=adapter,
        ),
        folder,
    )


def _metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's card; empty where it has none."""
    path = folder / "README.md"
    values: dict[str, Any] = ModelCard.load(path).data.to_dict() if path.is_file() else {}
    return values


def _settings(folder: Path) -> NyxSettings:
    """How a soup embeds."""
    path = folder / SETTINGS_FILE
    if path.is_file():
        return NyxSettings.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return NyxSettings.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))["nyx"])


def _shown(name: str) -> str:
    """A name without where it lies on this machine."""
    return Path(name).name if Path(name).is_dir() else name
