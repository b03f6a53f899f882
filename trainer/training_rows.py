"""What is trained on: rows of one dataset, or of several joined."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol


class TrainingRows(Protocol):
    """Rows to train on: a `TripletDataset`, or several joined."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Gives a row as `RetrievalCollator` takes it."""

    def positive_ids(self, index: int) -> list[str]:
        """Gives the ids of a row's right documents, without decoding an image."""


class NamedRows(TrainingRows, Protocol):
    """Rows of a dataset that has a name."""

    name: str


class JoinedRows:
    """Rows of several datasets, one dataset after the other.

    Ids of documents are told apart by their dataset's name.

    Args:
        datasets: the datasets, each of another name.

    Raises:
        ValueError: there is none, or two have one name.
    """

    def __init__(self, datasets: Sequence[NamedRows]) -> None:
        names = Counter(dataset.name for dataset in datasets)
        if not datasets or max(names.values()) > 1:
            raise ValueError(f"datasets to train on: {sorted(names.elements())}; name one or more, each once")
        self.datasets = list(datasets)
        self._ends = list(accumulate(len(dataset) for dataset in datasets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Gives a row of one of the datasets.

        Args:
            index: from 0, over all datasets.

        Returns:
            The row as its dataset gives it.
        """
        dataset, row = self._find(index)
        return dataset[row]

    def positive_ids(self, index: int) -> list[str]:
        """Gives the ids of a row's right documents, each after its dataset's name.

        Args:
            index: from 0, over all datasets.

        Returns:
            `<dataset>/<id>` of each.
        """
        dataset, row = self._find(index)
        return [f"{dataset.name}/{name}" for name in dataset.positive_ids(row)]

    def _find(self, index: int) -> tuple[NamedRows, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return self.datasets[number], index - (self._ends[number - 1] if number else 0)
