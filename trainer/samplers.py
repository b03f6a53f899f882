"""The order in which training rows are seen."""

import random
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence

from torch.utils.data import Sampler

_DRAWS = 8  # orders tried to fill an epoch's batches before the first epoch's batches are taken again


class UniquePositivesSampler(Sampler[int]):
    """Orders rows so that no two rows of a batch share a positive document.

    A row that shares another row's positive would be asked to push its own right answer away. The sampler yields row
    indices; every run of `batch_size` consecutive ones is a batch. Give it the GLOBAL batch size (rows a process ×
    processes): the stock DataLoader and accelerate then cut each run into the shares of the processes.

    An epoch's order is made from the seed and the epoch's number alone, and all epochs have equally many batches, so
    that a run can be resumed by counting steps. A row appears at most once an epoch.

    How: rows of one positive stand together and are dealt out like cards, to as many batches as can be filled. Where
    rows share all their positives or none, no other way fills more batches.

    Args:
        positive_ids: for each row, the ids of its right documents.
        batch_size: rows in a global batch.
        seed: of the order.
        drop_last: leave out the rows that fill no batch; else they follow as one smaller batch, which again shares no
            positive.

    Raises:
        ValueError: a row has no positive, or too few rows with different positives fill a batch.
    """

    def __init__(
        self,
        positive_ids: Sequence[Collection[Hashable]],
        batch_size: int,
        *,
        seed: int = 0,
        drop_last: bool = True,
    ) -> None:
        _check(positive_ids, batch_size)
        self.positive_ids = positive_ids
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        named = [min(ids, key=str) for ids in positive_ids]  # the same one for rows that share all positives
        number = {positive: index for index, positive in enumerate(dict.fromkeys(named))}
        self._group = [number[positive] for positive in named]
        self._first_epoch = self._fill_most()
        if drop_last and not self._first_epoch:
            raise ValueError(
                f"{len(positive_ids)} rows with {len(number)} different positives do not fill one batch of "
                f"{batch_size}; lower the batch size or allow shared positives (unique_positives=false)"
            )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order is yielded next.

        Args:
            epoch: number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        rest = 0 if self.drop_last else len(self._rest(self._first_epoch, random.Random(self.seed)))
        return len(self._first_epoch) * self.batch_size + rest

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"batches {self.seed} {self.epoch}")
        batches = list(self._batches(self.epoch))
        rng.shuffle(batches)
        for batch in batches:
            yield from rng.sample(batch, len(batch))
        if not self.drop_last:
            yield from self._rest(batches, rng)

    def _batches(self, epoch: int) -> list[list[int]]:
        """Fills the batches of one epoch: as many as the first epoch has, each full."""
        count = len(self._first_epoch)
        for draw in range(1, _DRAWS + 1) if epoch else ():
            batches = self._deal(self._order(epoch, draw), count)
            if all(len(batch) == self.batch_size for batch in batches):
                return batches
        return self._first_epoch

    def _fill_most(self) -> list[list[int]]:
        """Fills as many batches as the first epoch's order allows."""
        order = self._order(epoch=0, draw=0)
        sizes = Counter(self._group).values()
        count = len(order) // self.batch_size
        while sum(min(size, count) for size in sizes) < count * self.batch_size:
            count = sum(min(size, count) for size in sizes) // self.batch_size
        batches = self._deal(order, count)
        while (dealt := sum(map(len, batches))) < len(batches) * self.batch_size:
            batches = self._deal(order, dealt // self.batch_size)
        return batches

    def _order(self, epoch: int, draw: int) -> list[int]:
        """Shuffles the rows, and brings those of one positive together."""
        rng = random.Random(f"rows {self.seed} {epoch} {draw}")
        rank = rng.sample(range(max(self._group) + 1), max(self._group) + 1)
        rows = rng.sample(range(len(self._group)), len(self._group))
        return sorted(rows, key=lambda row: rank[self._group[row]])

    def _deal(self, order: list[int], count: int) -> list[list[int]]:
        """Deals rows to `count` batches in turn, passing over those that are full or hold one of the positives."""
        batches: list[list[int]] = [[] for _ in range(count)]
        held: list[set[Hashable]] = [set() for _ in range(count)]
        uses: Counter[Hashable] = Counter()
        turn = places = 0
        for row in order:
            ids = self.positive_ids[row]
            if places == count * self.batch_size:
                break
            if any(uses[positive] == count for positive in ids):
                continue  # some positive is in every batch already
            for step in range(count):
                batch = (turn + step) % count
                if len(batches[batch]) < self.batch_size and held[batch].isdisjoint(ids):
                    batches[batch].append(row)
                    held[batch].update(ids)
                    uses.update(set(ids))
                    turn, places = batch + 1, places + 1
                    break
        return batches

    def _rest(self, batches: list[list[int]], rng: random.Random) -> list[int]:
        """Picks the rows of the last, smaller batch from those in no batch."""
        used = {row for batch in batches for row in batch}
        rows = [row for row in range(len(self.positive_ids)) if row not in used]
        held: set[Hashable] = set()
        rest: list[int] = []
        for row in rng.sample(rows, len(rows)):
            if len(rest) < self.batch_size and held.isdisjoint(self.positive_ids[row]):
                rest.append(row)
                held.update(self.positive_ids[row])
        return rest


def _check(positive_ids: Sequence[Collection[Hashable]], batch_size: int) -> None:
    """Refuses rows and batch sizes that make no batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; a batch holds at least one row")
    if not positive_ids:
        raise ValueError("there is no row to sample; check the training dataset")
    without = next((row for row, ids in enumerate(positive_ids) if not ids), None)
    if without is not None:
        raise ValueError(f"row {without} has no positive ids; every training row needs a right document")
