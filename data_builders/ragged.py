"""Lists of whole numbers of different lengths, one after the other in one array."""

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Lists of numbers: no Python object for each, so that millions of rows fit in memory.

    Args:
        values: int64 (total,), list after list.
        offsets: int64 (lists + 1,), where each list begins; the last is the end.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> "Ragged":
        """Cuts an array into lists.

        Args:
            values: int64 (total,).
            lengths: int64 (lists,), whose sum is the total.

        Returns:
            The lists.
        """
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @classmethod
    def of_ids(cls, lists: Iterable[Collection[Hashable]]) -> "Ragged":
        """Numbers ids in the order in which they first appear.

        Args:
            lists: ids of any kind.

        Returns:
            Their numbers.
        """
        numbers: dict[Hashable, int] = {}
        rows = [[numbers.setdefault(name, len(numbers)) for name in row] for row in lists]
        flat = [number for row in rows for number in row]
        return cls.of_lengths(np.array(flat, dtype=np.int64), np.array([len(row) for row in rows], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Ragged"], sizes: Sequence[int]) -> "Ragged":
        """Puts lists one after the other, with numbers that stay apart.

        Args:
            parts: lists over numbers of their own, from 0.
            sizes: how many numbers each part uses.

        Returns:
            All lists; the numbers of a part follow those of the parts before it.
        """
        starts = np.cumsum([0, *sizes[:-1]])
        values = [part.values + start for part, start in zip(parts, starts, strict=True)]
        return cls.of_lengths(np.concatenate(values), np.concatenate([part.lengths() for part in parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Gives one list, int64 (length,)."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def taken(self, rows: np.ndarray) -> "Ragged":
        """Picks lists.

        Args:
            rows: int64 (n,) numbers of lists, in any order and repeated at will.

        Returns:
            The n lists.
        """
        lengths = self.lengths()[rows]
        starts = np.repeat(self.offsets[rows], lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged.of_lengths(self.values[starts + within], lengths)

    def lengths(self) -> np.ndarray:
        """Counts each list's numbers: int64 (lists,)."""
        return np.diff(self.offsets)
