"""What is trained on: rows of one dataset, or of several joined."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.samplers import Source


class TrainingRows(Protocol):
    """Rows to train on, and what a sampler must know of them without decoding an image."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Gives a row as `RetrievalCollator` takes it."""

    def positives(self) -> Ragged:
        """Gives the right documents of every row, by number (`Ragged.of_ids` numbers ids)."""

    def sources(self) -> Sequence[Source]:
        """Gives the datasets that the rows come from."""


class DatasetRows(Protocol):
    """Rows of one dataset: a `TripletDataset`."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Gives a row as `RetrievalCollator` takes it."""

    def positives(self) -> Ragged:
        """Gives the right documents of every row, by number."""


class JoinedRows:
    """Rows of several datasets, one dataset after the other.

    Documents are told apart by their dataset.

    Args:
        datasets: the datasets, each of another name.
        specs: weight, cap, group and task of each; None takes them as they are.

    Raises:
        ValueError: there is none, or two have one name.
    """

    def __init__(self, datasets: Sequence[DatasetRows], specs: Sequence[DatasetSpec] | None = None) -> None:
        names = Counter(dataset.name for dataset in datasets)
        if not datasets or max(names.values()) > 1:
            raise ValueError(
                f"datasets to train on: {', '.join(sorted(names.elements())) or 'none'}; name one or more, each once"
            )
        self.datasets = list(datasets)
        self.specs = [DatasetSpec(dataset.name) for dataset in datasets] if specs is None else list(specs)
        self._ends = list(accumulate(len(dataset) for dataset in datasets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Gives a row of one of the datasets.

        Args:
            index: from 0, over all datasets.

        Returns:
            The row as its dataset gives it, with the task that its spec names.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        row = self.datasets[number][index - (self._ends[number - 1] if number else 0)]
        task = self.specs[number].task
        return row if task is None else {**row, "task": task}

    def positives(self) -> Ragged:
        """Gives the right documents of every row, by number; those of different datasets are different."""
        parts = [dataset.positives() for dataset in self.datasets]
        return Ragged.joined(parts, [int(part.values.max(initial=-1)) + 1 for part in parts])

    def sources(self) -> list[Source]:
        """Gives the datasets that the rows come from."""
        return [
            Source(dataset.name, range(start, end), spec.weight, spec.cap, spec.group)
            for dataset, spec, (start, end) in zip(self.datasets, self.specs, pairwise([0, *self._ends]), strict=True)
        ]
