"""Rows dealt out to batches so that no two of a batch share a positive document."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np

from nyx_hf.data_builders.ragged import Ragged

Batch = list[int]

_DRAWS = 8  # orders tried to fill an epoch's batches before the first epoch's batches are taken again


class UniqueBatches:
    """Full batches of rows, made anew for each epoch, always equally many.

    A row that shares another row's positive would be asked to push its own right answer away. So rows that share one
    are brought together and dealt out like cards, to as many batches as can be filled; the rest fills up. Where rows
    share all their positives or none, no other way fills more batches.

    Args:
        rows: gives the rows of an epoch, int64 (n,), by its number; always equally many.
        positives: the positives of every row, by number; None lets rows of a batch share positives.
        batch_size: rows in a batch.
        seed: of the order.
        name: what the rows are, for the seed.
    """

    def __init__(
        self,
        rows: Callable[[int], np.ndarray],
        positives: Ragged | None,
        batch_size: int,
        seed: int,
        name: str = "rows",
    ) -> None:
        self.rows, self.positives, self.batch_size = rows, positives, batch_size
        self.seed, self.name = seed, name
        count = len(rows(0)) // batch_size
        self._first_epoch = filled(lambda most: self._fill(0, 0, most), count, batch_size)

    def __len__(self) -> int:
        return len(self._first_epoch)

    def epoch(self, epoch: int) -> list[Batch]:
        """Makes the batches of an epoch.

        Args:
            epoch: its number, from 0.

        Returns:
            As many batches as the first epoch has, each full, in random order.
        """
        rng = random.Random(f"batches {self.name} {self.seed} {epoch}")
        batches = [rng.sample(batch, len(batch)) for batch in self._fill_as_many(epoch)]
        rng.shuffle(batches)
        return batches

    def rest(self, epoch: int, batches: Iterable[Batch]) -> Batch:
        """Picks the rows of a last, smaller batch from those in no batch.

        Args:
            epoch: its number.
            batches: the epoch's batches.

        Returns:
            Fewer rows than a batch has, or as many; none share a positive.
        """
        used = Counter(row for batch in batches for row in batch)
        left = list((Counter(self.rows(epoch).tolist()) - used).elements())
        random.Random(f"rest {self.name} {self.seed} {epoch}").shuffle(left)
        return deal(left, self._keys, 1, self.batch_size)[0]

    def _fill_as_many(self, epoch: int) -> list[Batch]:
        """Fills as many batches as the first epoch has."""
        for draw in range(_DRAWS) if epoch else ():
            batches = self._fill(epoch, draw, len(self))
            if all(len(batch) == self.batch_size for batch in batches):
                return batches
        return self._first_epoch

    def _fill(self, epoch: int, draw: int, count: int) -> list[Batch]:
        """Deals the epoch's rows to batches: first those that share a positive, then the others."""
        rng = np.random.default_rng(list(f"rows {self.name} {self.seed} {epoch} {draw}".encode()))
        rows = rng.permutation(self.rows(epoch))
        shared = self._share_a_positive(rows)
        batches = deal(self._brought_together(rows[shared].tolist()), self._keys, count, self.batch_size)
        others = iter(rows[~shared].tolist())
        for batch in batches:
            batch.extend(islice(others, self.batch_size - len(batch)))
        return batches

    def _share_a_positive(self, rows: np.ndarray) -> np.ndarray:
        """Tells which rows have a positive that another of them has too: bool (n,)."""
        if self.positives is None or not len(rows):
            return np.zeros(len(rows), dtype=bool)
        keys = self.positives.taken(rows)
        _, number, uses = np.unique(keys.values, return_inverse=True, return_counts=True)
        owners = np.repeat(np.arange(len(rows)), keys.lengths())
        return np.bincount(owners, weights=uses[number] > 1, minlength=len(rows)) > 0

    def _brought_together(self, rows: list[int]) -> list[int]:
        """Brings rows of one positive together, in the order of the first of them."""
        place: dict[int, int] = {}
        return sorted(rows, key=lambda row: place.setdefault(min(self._keys(row)), len(place)))

    def _keys(self, row: int) -> list[int]:
        return [] if self.positives is None else self.positives[row].tolist()


def deal(order: Iterable[int], keys: Callable[[int], Sequence[int]], count: int, size: int) -> list[Batch]:
    """Deals items to batches in turn, passing over those that are full or hold one of the item's keys.

    Args:
        order: the items, those of one key together.
        keys: what two items of a batch may not share.
        count: how many batches.
        size: items in a batch, at most.

    Returns:
        The batches; items that fit nowhere are in none.
    """
    batches: list[Batch] = [[] for _ in range(count)]
    held: list[set[int]] = [set() for _ in range(count)]
    uses: Counter[int] = Counter()
    turn = places = 0
    for item in order:
        if places == count * size:
            break
        own = set(keys(item))
        if any(uses[key] == count for key in own):
            continue  # some key is in every batch already
        for step in range(count):
            batch = (turn + step) % count
            if len(batches[batch]) < size and held[batch].isdisjoint(own):
                batches[batch].append(item)
                held[batch].update(own)
                uses.update(own)
                turn, places = batch + 1, places + 1
                break
    return batches


def filled(dealt: Callable[[int], list[Batch]], count: int, size: int) -> list[Batch]:
    """Fills as many batches as can be: where they do not all get full, fewer are dealt to.

    Args:
        dealt: deals items to so many batches.
        count: how many batches there could be.
        size: items in a full batch.

    Returns:
        The batches, all full.
    """
    while count:
        batches = dealt(count)
        places = sum(map(len, batches))
        if places == count * size:
            return batches
        count = min(count - 1, places // size)
    return []
