"""How a recipe names a dataset: a word, or a mapping with what else is to be said of it."""

import json
from dataclasses import dataclass, fields
from typing import Any

BUILD = "build:"  # a dataset that is made on the spot: `build:digits`, or `build:my_package.my_module:my_builder`


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset to train on.

    Args:
        name: folder or Hub id with the configs `corpus`, `queries` and `triplets`, with `@revision` where one is
            meant; or `build:…`.
        split: split of its triplets; None takes the run's.
        weight: how often a row is seen in an epoch, on average.
        cap: only so many of its rows, drawn once, are used.
        group: datasets of one group may share a batch where batches come from one dataset.
        task: the task of its rows; None takes each row's own.

    Raises:
        ValueError: there is no name.
    """

    name: str
    split: str | None = None
    weight: float = 1.0
    cap: int | None = None
    group: str | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        """Refuses a dataset without a name."""
        if not self.name:
            raise ValueError("a dataset has no name; give a folder, a Hub id or build:…")

    @classmethod
    def parse(cls, word: str) -> "DatasetSpec":
        """Reads a dataset out of a recipe.

        Args:
            word: its name, or a JSON object with `name` and what else is to be said.

        Returns:
            The spec.

        Raises:
            ValueError: it is a mapping with unknown keys or without a name.
        """
        if not word.lstrip().startswith("{"):
            return cls(word)
        values: dict[str, Any] = json.loads(word)
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown or "name" not in values:
            what = f"unknown keys {', '.join(unknown)}" if unknown else "no name"
            raise ValueError(f"dataset {values} has {what}; the keys are {', '.join(known)}")
        return cls(**values)

    @property
    def folder_or_repo(self) -> str:
        """Where it is, without the revision."""
        return self.name.partition("@")[0]

    @property
    def revision(self) -> str | None:
        """The Hub's branch, tag or commit."""
        return self.name.partition("@")[2] or None

    @property
    def builder(self) -> str | None:
        """Name or import path of what makes it; None where it is there already."""
        return self.name.removeprefix(BUILD) if self.name.startswith(BUILD) else None
