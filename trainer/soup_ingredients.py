"""What each ingredient of a soup changes in the weights of its base: adapters and whole models alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file
from torch import Tensor

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapter_weights import adapted, scaling
from nyx_hf.trainer.objective_training import load_objective

ADAPTER_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PARTS = ("lora_A", "lora_B", "lora_magnitude_vector")


class SoupError(ValueError):
    """Ingredients that make no soup; the message says why."""


class Ingredient(Protocol):
    """Something that changes a base's weights."""

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def folder(self) -> Path:
        """Where its files are."""

    @property
    def objective(self) -> Mapping[str, Tensor]:
        """What its objective learned."""

    def weights(self) -> set[str]:
        """Names of the weights that it changes."""

    def update(self, name: str, weight: Tensor) -> Tensor:
        """Gives what it adds to a weight of the base, float32; zero where it leaves it as it is."""


@dataclass(frozen=True)
class AdapterIngredient:
    """A LoRA or DoRA adapter.

    Args:
        name: as it was given.
        folder: where its files are.
        base: what it was trained on.
        config: the adapter's.
        layers: of each adapted layer `lora_A` (r, in), `lora_B` (out, r) and, of a DoRA, `lora_magnitude_vector`
            (out,), on the CPU.
        objective: what its objective learned.
    """

    name: str
    folder: Path
    base: str
    config: LoraConfig
    layers: Mapping[str, Mapping[str, Tensor]]
    objective: Mapping[str, Tensor]

    @classmethod
    def load(cls, name: str | Path) -> "AdapterIngredient":
        """Reads an adapter.

        Args:
            name: folder or Hub id.

        Returns:
            The ingredient.

        Raises:
            SoupError: it is no LoRA or DoRA adapter.
        """
        folder = local_folder(name)
        if not (folder / ADAPTER_FILE).is_file():
            raise SoupError(f"{name} has no {ADAPTER_FILE}; adapters and whole models make no soup together")
        config = PeftConfig.from_pretrained(str(folder))
        if not isinstance(config, LoraConfig):
            raise SoupError(f"{name} is a {config.peft_type} adapter; soups are made of LoRA and DoRA adapters")
        layers: dict[str, dict[str, Tensor]] = {}
        for key, value in load_file(folder / ADAPTER_FILE).items():
            layer, _, part = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
            if part not in _PARTS:
                raise SoupError(f"{name} holds {key}, which is no part of a LoRA or DoRA layer")
            layers.setdefault(layer, {})[part] = value
        return cls(str(name), folder, str(config.base_model_name_or_path), config, layers, load_objective(folder))

    @property
    def is_dora(self) -> bool:
        """Whether its updates depend on the base's weights, and are of full rank."""
        return bool(self.config.use_dora)

    def weights(self) -> set[str]:
        """Names of the weights that it changes."""
        return {f"{layer}.weight" for layer in self.layers}

    def update(self, name: str, weight: Tensor) -> Tensor:
        """Gives what it adds to a layer.

        Args:
            name: of the layer's weight.
            weight: (out, in), the base's.

        Returns:
            (out, in), float32; zero where the layer has no adapter here.
        """
        parts = self.layers.get(name.removesuffix(".weight"))
        if parts is None:
            return torch.zeros_like(weight, dtype=torch.float32)
        return adapted(weight.float(), parts, scaling(self.config)) - weight.float()


@dataclass(frozen=True)
class ModelIngredient:
    """A whole retriever; the base is then the first of them.

    Args:
        name: as it was given.
        folder: where its files are.
        state: its weights, on the CPU.
        objective: what its objective learned.
    """

    name: str
    folder: Path
    state: Mapping[str, Tensor]
    objective: Mapping[str, Tensor]

    @classmethod
    def load(cls, name: str | Path) -> "ModelIngredient":
        """Reads a model.

        Args:
            name: folder or Hub id.

        Returns:
            The ingredient.
        """
        folder = local_folder(name)
        return cls(str(name), folder, NyxModel.from_pretrained(folder).state_dict(), load_objective(folder))

    def weights(self) -> set[str]:
        """Names of its weights."""
        return set(self.state)

    def update(self, name: str, weight: Tensor) -> Tensor:
        """Gives the difference of its weight from the base's.

        Args:
            name: of the weight.
            weight: the base's.

        Returns:
            The difference, float32.
        """
        return self.state[name].float() - weight.float()


def load_ingredients(names: list[str | Path]) -> list[AdapterIngredient] | list[ModelIngredient]:
    """Reads all ingredients of a soup.

    Args:
        names: folders or Hub ids of adapters of one base, or of whole models of one architecture.

    Returns:
        The ingredients.

    Raises:
        SoupError: they do not go together.
    """
    if any((local_folder(name) / "adapter_config.json").is_file() for name in names):
        return [AdapterIngredient.load(name) for name in names]
    models = [ModelIngredient.load(name) for name in names]
    for other in models[1:]:
        if different := sorted(other.weights() ^ models[0].weights()):
            raise SoupError(f"{models[0].name} and {other.name} are different models: one of them has {different[0]}")
    return models


def local_folder(name: str | Path) -> Path:
    """Finds a folder, on the Hub if it is not here.

    Args:
        name: folder or Hub id.

    Returns:
        The folder.

    Raises:
        SoupError: it is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    if str(name).count("/") != 1 or str(name).startswith((".", "~", "/")):
        raise SoupError(f"{name} is no folder, and no Hub id such as owner/name")
    return Path(snapshot_download(str(name)))
