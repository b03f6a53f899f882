"""No two rows of a global batch share a positive: properties over random rows."""

from collections import Counter
from collections.abc import Iterator

import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from nyx_hf.trainer.samplers import UniquePositivesSampler

ONE_POSITIVE = st.lists(st.integers(0, 12).map(lambda i: [i]), min_size=1, max_size=60)
SOME_POSITIVES = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=3), min_size=1, max_size=60)
ROWS = ONE_POSITIVE | SOME_POSITIVES


def batched(order: list[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cuts an order into its batches."""
    return (tuple(order[at : at + size]) for at in range(0, len(order), size))


def sampler_or_none(rows: list[list[int]], batch_size: int, **kwargs: object) -> UniquePositivesSampler | None:
    try:
        return UniquePositivesSampler(rows, batch_size, **kwargs)
    except ValueError as error:
        assert "do not fill one batch" in str(error)
        return None


def fillable(rows: list[list[int]], batch_size: int) -> int:
    """The most batches of rows with one positive each: the largest n with Σ min(rows of a positive, n) ≥ n · size."""
    sizes = Counter(row[0] for row in rows).values()
    return max(n for n in range(len(rows) + 1) if sum(min(size, n) for size in sizes) >= n * batch_size)


def shares_no_positive(rows: list[list[int]], batch: tuple[int, ...]) -> bool:
    held = [positive for row in batch for positive in set(rows[row])]
    return len(held) == len(set(held))


@given(ROWS, st.integers(1, 8), st.integers(0, 3), st.integers(0, 4), st.booleans())
def test_properties(rows: list[list[int]], size: int, seed: int, epoch: int, drop_last: bool) -> None:
    sampler = sampler_or_none(rows, size, seed=seed, drop_last=drop_last)
    if sampler is None:
        assert drop_last
        return
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(set(order))
    assert set(order) <= set(range(len(rows)))
    assert all(shares_no_positive(rows, batch) for batch in batched(order, size))
    again = UniquePositivesSampler(rows, size, seed=seed, drop_last=drop_last)
    again.set_epoch(epoch)
    assert list(again) == order
    batches = [-(-count // size) for count in (len(order), len(sampler))]
    assert batches[0] == batches[1]  # every epoch has as many batches as len() says
    if drop_last:
        assert len(order) == len(sampler) and len(order) % size == 0


@given(ONE_POSITIVE, st.integers(1, 8), st.integers(0, 4))
def test_one_positive_a_row_fills_as_many_batches_as_can_be(rows: list[list[int]], size: int, epoch: int) -> None:
    sampler = sampler_or_none(rows, size)
    if sampler is None:
        assert fillable(rows, size) == 0
        return
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == size * fillable(rows, size)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2))
def test_each_process_gets_its_share_of_the_same_global_batch(per_device: int, world: int, epoch: int) -> None:
    rows = [[i % 40] for i in range(100)]
    sampler = UniquePositivesSampler(rows, per_device * world)
    sampler.set_epoch(epoch)
    batches = BatchSampler(sampler, per_device, drop_last=True)
    shards = [list(BatchSamplerShard(batches, world, rank)) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    together = [[row for share in step for row in share] for step in zip(*shards, strict=True)]
    assert [row for batch in together for row in batch] == list(sampler)
    assert all(len({row % 40 for row in batch}) == per_device * world for batch in together)


def test_epochs_and_seeds_have_their_own_orders() -> None:
    rows = [[i // 2] for i in range(64)]
    orders = []
    for seed in (0, 1):
        for epoch in (0, 1, 2):
            sampler = UniquePositivesSampler(rows, 8, seed=seed)
            sampler.set_epoch(epoch)
            orders.append(list(sampler))
    assert len({tuple(order) for order in orders}) == 6
    compositions = {frozenset(frozenset(batch) for batch in batched(order, 8)) for order in orders}
    assert len(compositions) == 6  # not only the order of the batches changes
    assert {len(order) for order in orders} == {64}


def test_nearly_all_rows_are_used_when_rows_have_several_positives() -> None:
    rows = [[i, (i * 7 + 1) % 500] for i in range(500)]  # every document answers two queries
    sampler = UniquePositivesSampler(rows, 16)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) >= 500 - 2 * 16
        assert all(shares_no_positive(rows, batch) for batch in batched(order, 16))


def test_every_row_has_its_turn_over_the_epochs() -> None:
    rows = [[min(i, 50)] for i in range(100)]  # half of the rows share one positive: few of them fit an epoch
    sampler = UniquePositivesSampler(rows, 10)
    seen: Counter[int] = Counter()
    for epoch in range(60):
        sampler.set_epoch(epoch)
        seen.update(sampler)
    assert len(seen) == 100


def test_a_hot_positive_ends_soon() -> None:
    rows = [[0 if i % 10 else i] for i in range(20_000)]  # nine rows in ten share one positive
    sampler = UniquePositivesSampler(rows, 64)
    order = list(sampler)
    assert len(order) == 64 * fillable_fast(rows, 64)
    assert all(shares_no_positive(rows, batch) for batch in batched(order, 64))


def fillable_fast(rows: list[list[int]], size: int) -> int:
    sizes = Counter(row[0] for row in rows).values()
    return max(n for n in range(len(rows) // size + 1) if sum(min(s, n) for s in sizes) >= n * size)


class TestBadInput:
    def test_too_few_positives(self) -> None:
        with pytest.raises(ValueError, match=r"6 rows with 2 different positives do not fill one batch of 4; lower"):
            UniquePositivesSampler([[0], [1]] * 3, 4)

    def test_row_without_positive(self) -> None:
        with pytest.raises(ValueError, match="row 1 has no positive ids"):
            UniquePositivesSampler([[0], []], 1)

    def test_no_rows_and_no_batch(self) -> None:
        with pytest.raises(ValueError, match="no row to sample"):
            UniquePositivesSampler([], 1)
        with pytest.raises(ValueError, match="at least one row"):
            UniquePositivesSampler([[0]], 0)
