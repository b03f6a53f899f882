"""A published checkpoint's files: where they are, at which commit, and the names of its weights."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard, snapshot_download
from safetensors import safe_open

from nyx_hf.model_cards.licences import License
from nyx_hf.trainer.hub_revisions import commit_of

MODEL, ADAPTER = "model.safetensors", "adapter_model.safetensors"
_INDEX = f"{MODEL}.index.json"
_SMALL = ["*.json", "*.jinja", "*.txt", "*.md", "LICENSE*", "NOTICE*"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class CheckpointError(ValueError):
    """A checkpoint cannot be read."""


@dataclass(frozen=True)
class Checkpoint:
    """A model or adapter as it was published.

    Attributes:
        name: Hub name, or the folder as it was given.
        folder: Where its files are; those of a Hub repository without its weights until `with_weights`.
        commit: The Hub's commit; None for a folder.
    """

    name: str
    folder: Path
    commit: str | None = None

    @classmethod
    def open(cls, name: str, revision: str | None = None) -> "Checkpoint":
        """Finds a checkpoint and fetches its small files.

        Args:
            name: Hub name or folder.
            revision: The Hub's commit, tag or branch.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: It is neither a folder nor a Hub name.
        """
        if Path(name).is_dir():
            return cls(name, Path(name))
        if not _HUB_ID.fullmatch(name):
            raise CheckpointError(f"{name} is neither a folder nor a Hub name (owner/name): check the path")
        commit = commit_of(name, revision, "model") or revision
        return cls(name, Path(snapshot_download(name, revision=commit, allow_patterns=_SMALL)), commit)

    @property
    def is_on_hub(self) -> bool:
        """Whether it came from the Hub."""
        return not Path(self.name).is_dir()

    @property
    def title(self) -> str:
        """Its name without where it lies on this machine."""
        return self.name if self.is_on_hub else self.folder.resolve().name

    @property
    def is_adapter(self) -> bool:
        """Whether it is a PEFT adapter."""
        return (self.folder / "adapter_config.json").is_file()

    def json(self, file: str) -> dict[str, Any]:
        """Reads one of its JSON files.

        Args:
            file: The file's name.

        Returns:
            What it holds; empty where there is no such file.

        Raises:
            CheckpointError: It is no JSON.
        """
        path = self.folder / file
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
        return values

    def keys(self) -> list[str]:
        """Names of its weights, read from headers alone.

        Returns:
            The names, in order.

        Raises:
            CheckpointError: There are no safetensors weights.
        """
        index = self.json(_INDEX)
        if index and not self.is_adapter:
            return sorted(index["weight_map"])
        file = ADAPTER if self.is_adapter else MODEL
        if (self.folder / file).is_file():
            with safe_open(self.folder / file, framework="pt") as weights:
                return sorted(weights.keys())
        if self.is_on_hub and HfApi().file_exists(self.name, file, revision=self.commit):
            return sorted(HfApi().parse_safetensors_file_metadata(self.name, file, revision=self.commit).tensors)
        raise CheckpointError(
            f"{self.name} has no {file}{'' if self.is_adapter else f' nor {_INDEX}'}: weights are read as safetensors "
            "only (save_pretrained of transformers or peft writes them)"
        )

    def with_weights(self) -> "Checkpoint":
        """Fetches the weights too, at the same commit."""
        if not self.is_on_hub:
            return self
        wanted = [*_SMALL, ADAPTER] if self.is_adapter else [*_SMALL, "model*.safetensors"]
        return Checkpoint(
            self.name, Path(snapshot_download(self.name, revision=self.commit, allow_patterns=wanted)), self.commit
        )

    def licence(self) -> License | None:
        """Reads the licence in its card; None where it states none."""
        card = self._card()
        stated = card.get("license")
        return License(str(stated), card.get("license_name"), card.get("license_link")) if stated else None

    def _card(self) -> Mapping[str, Any]:
        path = self.folder / "README.md"
        values: dict[str, Any] = (
            ModelCard.load(path, ignore_metadata_errors=True).data.to_dict() if path.is_file() else {}
        )
        return values
