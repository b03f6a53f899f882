"""The order in which training rows are seen: which rows an epoch has, and which of them share a batch."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.trainer.unique_batches import Batch, UniqueBatches, deal, filled

BATCHINGS = ("mixed", "single", "interleaved")


@dataclass(frozen=True)
class Source:
    """Rows that come from one dataset.

    Args:
        name: of the dataset.
        rows: its rows among all.
        weight: how often a row is seen in an epoch, on average.
        cap: only so many of its rows, drawn once, are used.
        group: datasets of one group count as one where a batch comes from one dataset; None is a group of its own.

    Raises:
        ValueError: a value is out of range.
    """

    name: str
    rows: range
    weight: float = 1.0
    cap: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Refuses weights and caps that leave no row."""
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"dataset {self.name!r} has weight {self.weight}; it is a positive number")
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"dataset {self.name!r} has cap {self.cap}; it is 1 or more")

    def drawn(self, seed: int, epoch: int) -> np.ndarray:
        """Draws the rows of an epoch: whole rounds of all of them first, then a random part.

        Args:
            seed: of the draw.
            epoch: number of the epoch.

        Returns:
            int64 (n,); always equally many, each row ⌊weight⌋ times or once more.
        """
        pool = np.arange(self.rows.start, self.rows.stop)
        if self.cap is not None and self.cap < len(pool):
            pool = _generator(f"cap {self.name} {seed}").choice(pool, self.cap, replace=False)
        whole, part = divmod(max(1, round(self.weight * len(pool))), len(pool))
        some = _generator(f"draw {self.name} {seed} {epoch}").choice(pool, part, replace=False)
        return np.concatenate([np.tile(pool, whole), some])


class MixtureSampler(Sampler[int]):
    """Orders the rows of one dataset or many, in batches that share no positive.

    Yields row numbers; every run of `batch_size` consecutive ones is a batch. Give it the GLOBAL batch size (rows a
    process × processes): the stock DataLoader and accelerate then cut each run into the shares of the processes.

    An epoch's order is made from the seed and the epoch's number alone, and all epochs have equally many batches, so
    that a run can be resumed by counting steps.

    - `mixed`: a batch is drawn from all datasets.
    - `single`: a batch is of one dataset, or of one group of datasets (RzenEmbed §3.4.2, "each training batch is
      sampled from single dataset"; its classification sets are a group).
    - `interleaved`: a batch is made of sub-batches, each of one dataset or group; those of a batch are of different
      ones as far as there are enough.

    Args:
        positives: the positives of every row, by number; None lets rows of a batch share positives.
        sources: where the rows come from.
        batch_size: rows in a global batch.
        batching: one of `BATCHINGS`.
        sub_batch_size: rows in a sub-batch, for `interleaved`.
        seed: of the order.
        drop_last: leave out the rows that fill no batch; else, where batches are mixed, they follow as a smaller one.

    Raises:
        ValueError: too few rows with different positives fill a batch, or settings do not fit together.
    """

    def __init__(
        self,
        positives: Ragged | None,
        sources: Sequence[Source],
        batch_size: int,
        *,
        batching: str = "mixed",
        sub_batch_size: int | None = None,
        seed: int = 0,
        drop_last: bool = True,
    ) -> None:
        _check(batch_size, batching, sub_batch_size, drop_last)
        if positives is not None and (bare := np.flatnonzero(positives.lengths() == 0)).size:
            raise ValueError(f"row {bare[0]} has no positive; every training row needs a right document")
        self.batch_size, self.batching, self.seed, self.drop_last = batch_size, batching, seed, drop_last
        self.positives = positives
        self.epoch = 0
        self.sub_batch_size = batch_size if sub_batch_size is None else sub_batch_size
        self.groups: dict[str, UniqueBatches] = {
            name: UniqueBatches(_Draws(members, seed), positives, self.sub_batch_size, seed, name)
            for name, members in grouped(sources, merge=batching == "mixed").items()
        }
        self._first_epoch = self._batches(0)
        self._rest_length = len(self._rest(0, self._first_epoch))
        if not self._first_epoch and not self._rest_length:
            raise ValueError(
                f"the {sum(len(source.rows) for source in sources)} rows of {', '.join(s.name for s in sources)} do "
                f"not fill one batch of {batch_size} with different positives; lower the batch size, allow shared "
                "positives (unique_positives=false) or mix datasets (batching=mixed)"
            )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order is yielded next.

        Args:
            epoch: number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._first_epoch) * self.batch_size + self._rest_length

    def __iter__(self) -> Iterator[int]:
        batches = self.batches(self.epoch)
        for batch in batches:
            yield from batch
        yield from self._rest(self.epoch, batches)[: self._rest_length]

    def batches(self, epoch: int) -> list[Batch]:
        """Makes the batches of an epoch.

        Args:
            epoch: its number.

        Returns:
            The full batches in order.
        """
        batches = self._batches(epoch) if epoch else self._first_epoch
        return batches[: len(self._first_epoch)] if len(batches) >= len(self._first_epoch) else self._first_epoch

    def _batches(self, epoch: int) -> list[Batch]:
        if self.batching == "interleaved":
            return self._combined(epoch)
        batches = [batch for group in self.groups.values() for batch in group.epoch(epoch)]
        random.Random(f"groups {self.seed} {epoch}").shuffle(batches)
        return batches

    def _rest(self, epoch: int, batches: list[Batch]) -> Batch:
        if self.drop_last:
            return []
        (group,) = self.groups.values()
        return group.rest(epoch, batches)

    def _combined(self, epoch: int) -> list[Batch]:
        """Puts sub-batches together to batches: those of one group are dealt to different batches in turn."""
        parts = [batch for group in self.groups.values() for batch in group.epoch(epoch)]

        def keys(part: int) -> list[int]:
            rows = [] if self.positives is None else [self.positives[row] for row in parts[part]]
            return np.concatenate(rows).tolist() if rows else []

        rng = random.Random(f"combined {self.seed} {epoch}")
        each = self.batch_size // self.sub_batch_size
        dealt = filled(lambda count: deal(range(len(parts)), keys, count, each), len(parts) // each, each)
        full = [rng.sample(batch, len(batch)) for batch in dealt]
        rng.shuffle(full)
        return [[row for part in batch for row in parts[part]] for batch in full]


@dataclass(frozen=True)
class _Draws:
    """The rows of some sources, by epoch."""

    sources: Sequence[Source]
    seed: int

    def __call__(self, epoch: int) -> np.ndarray:
        return np.concatenate([source.drawn(self.seed, epoch) for source in self.sources])


def grouped(sources: Sequence[Source], *, merge: bool) -> dict[str, list[Source]]:
    """Puts sources together whose rows may share a batch.

    Args:
        sources: where the rows come from.
        merge: all of them may.

    Returns:
        The sources of each group, by its name.

    Raises:
        ValueError: there is no source, or none has a row.
    """
    if not sum(len(source.rows) for source in sources):
        raise ValueError("there is no row to sample; check the training datasets")
    groups: dict[str, list[Source]] = {}
    for source in sources:
        if len(source.rows):
            groups.setdefault("all" if merge else source.group or source.name, []).append(source)
    return groups


def _generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(list(seed.encode()))


def _check(batch_size: int, batching: str, sub_batch_size: int | None, drop_last: bool) -> None:
    """Refuses settings that make no batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; a batch holds at least one row")
    if batching not in BATCHINGS:
        raise ValueError(f"batching is {batching!r}; it is {' | '.join(BATCHINGS)}")
    if (batching == "interleaved") != (sub_batch_size is not None):
        raise ValueError("sub_batch_size and batching=interleaved go together: give both or neither")
    if sub_batch_size is not None and (sub_batch_size < 1 or batch_size % sub_batch_size):
        raise ValueError(f"sub_batch_size is {sub_batch_size}; it divides the batch of {batch_size} rows")
    if not drop_last and batching != "mixed":
        raise ValueError(
            f"dataloader_drop_last=false needs batching=mixed: {batching} batches leave no rest that is one"
        )
