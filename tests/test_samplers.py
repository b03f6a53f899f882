"""Which rows share a batch: properties over random rows, datasets and settings."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.trainer.batching import BatchArguments, build_sampler
from nyx_hf.trainer.resampling import ResampledSampler
from nyx_hf.trainer.samplers import MixtureSampler, Source

ONE_POSITIVE = st.lists(st.integers(0, 12).map(lambda i: [i]), min_size=1, max_size=60)
SOME_POSITIVES = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=3), min_size=1, max_size=60)
ROWS = ONE_POSITIVE | SOME_POSITIVES


def sampler_of(rows: list[list[int]], batch_size: int, **kwargs: object) -> MixtureSampler:
    sources = kwargs.pop("sources", [Source("rows", range(len(rows)))])
    return MixtureSampler(Ragged.of_ids(rows), sources, batch_size, **kwargs)


def sampler_or_none(rows: list[list[int]], batch_size: int, **kwargs: object) -> MixtureSampler | None:
    try:
        return sampler_of(rows, batch_size, **kwargs)
    except ValueError as error:
        assert "do not fill one batch" in str(error)
        return None


def batched(order: list[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cuts an order into its batches."""
    return (tuple(order[at : at + size]) for at in range(0, len(order), size))


def in_epoch(sampler: MixtureSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def fillable(rows: list[list[int]], batch_size: int) -> int:
    """The most batches of rows with one positive each: the largest n with Σ min(rows of a positive, n) ≥ n · size."""
    sizes = Counter(row[0] for row in rows).values()
    return max(n for n in range(len(rows) // batch_size + 1) if sum(min(size, n) for size in sizes) >= n * batch_size)


def shares_no_positive(rows: list[list[int]], batch: tuple[int, ...]) -> bool:
    held = [positive for row in batch for positive in set(rows[row])]
    return len(held) == len(set(held))


class TestOneDataset:
    @given(ROWS, st.integers(1, 8), st.integers(0, 3), st.integers(0, 4), st.booleans())
    def test_properties(self, rows: list[list[int]], size: int, seed: int, epoch: int, drop_last: bool) -> None:
        sampler = sampler_or_none(rows, size, seed=seed, drop_last=drop_last)
        if sampler is None:
            assert drop_last
            return
        order = in_epoch(sampler, epoch)
        assert len(order) == len(set(order))
        assert set(order) <= set(range(len(rows)))
        assert all(shares_no_positive(rows, batch) for batch in batched(order, size))
        assert in_epoch(sampler_of(rows, size, seed=seed, drop_last=drop_last), epoch) == order
        batches = [-(-count // size) for count in (len(order), len(sampler))]
        assert batches[0] == batches[1]  # every epoch has as many batches as len() says
        if drop_last:
            assert len(order) == len(sampler) and len(order) % size == 0

    @given(ONE_POSITIVE, st.integers(1, 8), st.integers(0, 4))
    def test_one_positive_a_row_fills_as_many_batches_as_can_be(
        self, rows: list[list[int]], size: int, epoch: int
    ) -> None:
        sampler = sampler_or_none(rows, size)
        if sampler is None:
            assert fillable(rows, size) == 0
            return
        assert len(in_epoch(sampler, epoch)) == size * fillable(rows, size)

    @settings(max_examples=25)
    @given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2))
    def test_each_process_gets_its_share_of_the_same_global_batch(
        self, per_device: int, world: int, epoch: int
    ) -> None:
        rows = [[i % 40] for i in range(100)]
        sampler = sampler_of(rows, per_device * world)
        sampler.set_epoch(epoch)
        batches = BatchSampler(sampler, per_device, drop_last=True)
        shards = [list(BatchSamplerShard(batches, world, rank)) for rank in range(world)]
        assert len({len(shard) for shard in shards}) == 1
        together = [[row for share in step for row in share] for step in zip(*shards, strict=True)]
        assert [row for batch in together for row in batch] == list(sampler)
        assert all(len({row % 40 for row in batch}) == per_device * world for batch in together)

    def test_epochs_and_seeds_have_their_own_orders(self) -> None:
        rows = [[i // 2] for i in range(64)]
        orders = [in_epoch(sampler_of(rows, 8, seed=seed), epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
        assert len({tuple(order) for order in orders}) == 6
        compositions = {frozenset(frozenset(batch) for batch in batched(order, 8)) for order in orders}
        assert len(compositions) == 6  # not only the order of the batches changes
        assert {len(order) for order in orders} == {64}

    def test_nearly_all_rows_are_used_when_rows_have_several_positives(self) -> None:
        rows = [[i, (i * 7 + 1) % 500] for i in range(500)]  # every document answers two queries
        sampler = sampler_of(rows, 16)
        for epoch in range(4):
            order = in_epoch(sampler, epoch)
            assert len(order) >= 500 - 2 * 16
            assert all(shares_no_positive(rows, batch) for batch in batched(order, 16))

    def test_every_row_has_its_turn_over_the_epochs(self) -> None:
        rows = [[min(i, 50)] for i in range(100)]  # half of the rows share one positive: few of them fit an epoch
        sampler = sampler_of(rows, 10)
        seen: Counter[int] = Counter()
        for epoch in range(60):
            seen.update(in_epoch(sampler, epoch))
        assert len(seen) == 100

    def test_a_hot_positive_ends_soon(self) -> None:
        rows = [[0 if i % 10 else i] for i in range(20_000)]  # nine rows in ten share one positive
        order = list(sampler_of(rows, 64))
        assert len(order) == 64 * fillable(rows, 64)
        assert all(shares_no_positive(rows, batch) for batch in batched(order, 64))

    def test_shared_positives_may_be_allowed(self) -> None:
        sampler = MixtureSampler(None, [Source("rows", range(10))], 5)
        assert sorted(sampler) == list(range(10))


@st.composite
def datasets(draw: st.DrawFn) -> tuple[list[list[int]], list[Source]]:
    """Rows of one to four datasets whose documents are their own, some in a common group."""
    rows: list[list[int]] = []
    sources = []
    for number in range(draw(st.integers(1, 4))):
        start = len(rows)
        documents = draw(st.integers(1, 30))
        rows += [[1000 * number + draw(st.integers(0, documents))] for _ in range(draw(st.integers(1, 30)))]
        sources.append(
            Source(
                f"set{number}",
                range(start, len(rows)),
                weight=draw(st.sampled_from([0.5, 1.0, 1.5, 3.0])),
                cap=draw(st.none() | st.integers(1, 20)),
                group=draw(st.sampled_from([None, None, "together"])),
            )
        )
    return rows, sources


class TestSeveralDatasets:
    @given(datasets(), st.integers(1, 6), st.integers(0, 2), st.integers(0, 3))
    def test_single(self, made: tuple[list[list[int]], list[Source]], size: int, seed: int, epoch: int) -> None:
        rows, sources = made
        sampler = sampler_or_none(rows, size, sources=sources, batching="single", seed=seed)
        assume(sampler is not None)
        order = in_epoch(sampler, epoch)
        group = {row: source.group or source.name for source in sources for row in source.rows}
        for batch in batched(order, size):
            assert len({group[row] for row in batch}) == 1 and shares_no_positive(rows, batch)
        assert len(order) == len(sampler) and len(order) % size == 0
        again = sampler_of(rows, size, sources=sources, batching="single", seed=seed)
        assert in_epoch(again, epoch) == order

    @given(datasets(), st.integers(1, 3), st.integers(2, 3), st.integers(0, 3))
    def test_interleaved(self, made: tuple[list[list[int]], list[Source]], sub: int, parts: int, epoch: int) -> None:
        rows, sources = made
        how = {"sources": sources, "batching": "interleaved", "sub_batch_size": sub}
        sampler = sampler_or_none(rows, sub * parts, **how)
        assume(sampler is not None)
        order = in_epoch(sampler, epoch)
        group = {row: source.group or source.name for source in sources for row in source.rows}
        assert all(len({group[row] for row in part}) == 1 for part in batched(order, sub))
        assert all(shares_no_positive(rows, batch) for batch in batched(order, sub * parts))
        assert len(order) == len(sampler)

    @given(datasets(), st.sampled_from(["mixed", "single"]), st.integers(0, 3))
    def test_weights_and_caps(self, made: tuple[list[list[int]], list[Source]], batching: str, epoch: int) -> None:
        """With batches of one row nothing is left out: each dataset is seen as often as it weighs."""
        rows, sources = made
        sampler = sampler_of(rows, 1, sources=sources, batching=batching)
        seen = Counter(in_epoch(sampler, epoch))
        for source in sources:
            used = len(source.rows) if source.cap is None else min(source.cap, len(source.rows))
            counts = [seen[row] for row in source.rows]
            assert sum(counts) == max(1, round(source.weight * used))
            assert max(counts) <= np.ceil(source.weight) and sum(count > 0 for count in counts) <= used

    def test_a_cap_keeps_the_same_rows_and_a_weight_below_one_does_not(self) -> None:
        rows = [[i] for i in range(100)]
        capped, light = (
            [set(in_epoch(sampler_of(rows, 1, sources=[source]), epoch)) for epoch in range(3)]
            for source in (Source("a", range(100), cap=40), Source("a", range(100), weight=0.4))
        )
        assert {len(epoch) for epoch in capped + light} == {40}
        assert capped[0] == capped[1] == capped[2]
        assert light[0] != light[1] != light[2]

    def test_interleaved_batches_mix_datasets(self) -> None:
        rows = [[i] for i in range(120)]
        sources = [Source(name, range(40 * n, 40 * n + 40)) for n, name in enumerate("abc")]
        order = list(sampler_of(rows, 12, sources=sources, batching="interleaved", sub_batch_size=4))
        assert len(order) == 120
        assert all({row // 40 for row in batch} == {0, 1, 2} for batch in batched(order, 12))

    def test_merged_sets_make_batches_together(self) -> None:
        """Two sets with two labels each fill no batch of 4 alone, but one together (RzenEmbed §3.4.2)."""
        rows = [[i % 2] for i in range(20)] + [[2 + i % 2] for i in range(20)]
        alone = [Source("a", range(20)), Source("b", range(20, 40))]
        together = [Source("a", range(20), group="labels"), Source("b", range(20, 40), group="labels")]
        assert sampler_or_none(rows, 4, sources=alone, batching="single") is None
        order = list(sampler_of(rows, 4, sources=together, batching="single"))
        assert len(order) == 40 and all(len({row // 20 for row in batch}) == 2 for batch in batched(order, 4))

    def test_a_million_rows(self) -> None:
        """Rows whose positives are their own are not dealt one by one in Python."""
        positives = Ragged.of_lengths(np.arange(1_000_000), np.ones(1_000_000, dtype=np.int64))
        sampler = MixtureSampler(positives, [Source("a", range(1_000_000))], 512)
        batch = sampler.batches(0)[0]
        assert len(sampler) == 1_000_000 // 512 * 512 and len(set(batch)) == 512


def rounds_of(sampler: ResampledSampler, losses: list[dict[str, float]]) -> list[Counter[str]]:
    """How many batches each dataset gets, round by round."""
    counts = []
    for loss in [*losses, None]:
        batches = list(batched(list(sampler), sampler.mixture.batch_size))
        counts.append(Counter("ab"[batch[0] >= 200] for batch in batches))
        if loss is not None:
            sampler.finish_round(loss)
    return counts


class TestResampling:
    def sampler(self, batches: int = 20) -> ResampledSampler:
        rows = [[i] for i in range(400)]
        sources = [Source("a", range(200)), Source("b", range(200, 400))]
        return ResampledSampler(sampler_of(rows, 4, sources=sources, batching="single"), batches)

    def test_what_falls_slowly_is_seen_more_often(self) -> None:
        losses = [{"a": 4.0, "b": 4.0}, {"a": 3.6, "b": 1.2}, {"a": 3.6, "b": 0.4}]
        counts = rounds_of(self.sampler(), losses)
        assert [sum(count.values()) for count in counts] == [20] * 4
        assert counts[0] == counts[1] == {"a": 10, "b": 10}  # the first losses are only remembered
        assert counts[2] == {"a": 15, "b": 5}  # .9 against .3
        assert counts[3]["a"] > 15  # at most four times, at least a quarter of its own share
        assert counts[3]["b"] >= 2

    def test_equal_losses_change_nothing(self) -> None:
        counts = rounds_of(self.sampler(), [{"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 1.5}, {"a": 0.0, "b": 0.0}])
        assert all(count == {"a": 10, "b": 10} for count in counts)

    def test_batches_of_a_dataset_come_in_its_own_order_and_begin_anew(self) -> None:
        sampler = self.sampler(batches=50)
        seen: list[int] = []
        for _ in range(4):
            seen += [row for row in sampler if row < 200]
            sampler.finish_round({"a": 1.0, "b": 1.0})
        epochs = [row for epoch in (0, 1) for batch in sampler.mixture.groups["a"].epoch(epoch) for row in batch]
        assert seen == epochs[: len(seen)] and len(seen) == 400

    @given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=5), st.integers(1, 30))
    def test_a_state_goes_on_where_it_stood(self, losses: list[tuple[float, float]], batches: int) -> None:
        first = self.sampler(batches)
        for a, b in losses:
            first.finish_round({"a": a, "b": b})
        second = self.sampler(batches)
        second.load_state_dict(first.state_dict())
        assert list(first) == list(second) and len(list(first)) == len(first) == batches * 4
        for one in (first, second):
            one.finish_round({"a": 0.7})
        assert list(first) == list(second)

    def test_refusals(self) -> None:
        rows = [[i] for i in range(8)]
        with pytest.raises(ValueError, match="needs batching=single, found mixed"):
            ResampledSampler(sampler_of(rows, 4), 2)
        state = self.sampler().state_dict()
        other = ResampledSampler(sampler_of(rows, 4, sources=[Source("z", range(8))], batching="single"), 2)
        with pytest.raises(ValueError, match="was sampled from a, b, now there are z"):
            other.load_state_dict(state)


class Rows:
    """Eight rows of two datasets."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"row": index}

    def positives(self) -> Ragged:
        return Ragged.of_ids([[i // 2] for i in range(8)])

    def sources(self) -> list[Source]:
        return [Source("a", range(4)), Source("b", range(4, 8))]


def backwards(rows: Rows, batch_size: int, seed: int) -> list[int]:
    """An own sampler: the last rows first."""
    return list(range(len(rows)))[::-1][: batch_size * 2]


class TestBuild:
    def build(self, **settings: object) -> object:
        return build_sampler(Rows(), BatchArguments(**settings), 2, seed=0, drop_last=True, accumulation_steps=3)

    def test_arguments_reach_the_sampler(self) -> None:
        mixed, single = self.build(), self.build(batching="single")
        assert isinstance(mixed, MixtureSampler) and set(mixed.groups) == {"all"}
        assert set(single.groups) == {"a", "b"}
        assert self.build(unique_positives=False).positives is None
        resampled = self.build(batching="single", resample_steps=2)
        assert isinstance(resampled, ResampledSampler) and resampled.batches_in_round == 6
        assert self.build(batching="interleaved", sub_batch_size=1).sub_batch_size == 1
        assert self.build(sampler="test_samplers:backwards") == [7, 6, 5, 4]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"batching": "both"}, "batching is 'both'; it is mixed | single | interleaved"),
            ({"batching": "interleaved"}, "go together"),
            ({"sub_batch_size": 2}, "go together"),
            ({"resample_steps": 2}, "needs batching=single"),
            ({"resample_steps": 0, "batching": "single"}, "1 or more"),
            ({"sampler": "a:b", "batching": "single"}, "an own sampler settles all batches"),
            ({"positives_per_query": 0}, "1 positive or more"),
        ],
    )
    def test_refusals(self, settings: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message.replace("|", r"\|")):
            BatchArguments(**settings).check_batches()


class TestBadInput:
    def test_too_few_positives(self) -> None:
        with pytest.raises(
            ValueError, match=r"the 6 rows of rows do not fill one batch of 4 with different positives"
        ):
            sampler_of([[0], [1]] * 3, 4)

    def test_row_without_positive(self) -> None:
        with pytest.raises(ValueError, match="row 1 has no positive"):
            sampler_of([[0], []], 1)

    def test_no_rows_and_no_batch(self) -> None:
        with pytest.raises(ValueError, match="no row to sample"):
            sampler_of([], 1)
        with pytest.raises(ValueError, match="at least one row"):
            sampler_of([[0]], 0)

    @pytest.mark.parametrize(("changes", "message"), [({"weight": 0}, "weight 0"), ({"cap": 0}, "cap 0")])
    def test_source(self, changes: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=f"dataset 'a' has {message}"):
            Source("a", range(3), **changes)

    def test_interleaved_sizes(self) -> None:
        rows = [[i] for i in range(8)]
        for sub in (None, 3, 0):
            with pytest.raises(ValueError, match="sub_batch_size"):
                sampler_of(rows, 4, batching="interleaved", sub_batch_size=sub)
        with pytest.raises(ValueError, match="dataloader_drop_last=false needs batching=mixed"):
            sampler_of(rows, 4, batching="single", drop_last=False)


class TestRagged:
    @given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=12), st.data())
    def test_lists(self, lists: list[list[int]], data: st.DataObject) -> None:
        lengths = np.array([len(row) for row in lists], dtype=np.int64)
        flat = np.array([value for row in lists for value in row], dtype=np.int64)
        ragged = Ragged.of_lengths(flat, lengths)
        assert [row.tolist() for row in ragged] == lists and len(ragged) == len(lists)
        picked = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
        taken = ragged.taken(np.array(picked, dtype=np.int64))
        assert [row.tolist() for row in taken] == [lists[row] for row in picked]
        joined = Ragged.joined([ragged, ragged], [10, 10])
        assert [row.tolist() for row in joined] == lists + [[value + 10 for value in row] for row in lists]

    def test_ids_get_numbers(self) -> None:
        ragged = Ragged.of_ids([["x"], ["y", "x"], ["z"]])
        assert [row.tolist() for row in ragged] == [[0], [1, 0], [2]]
        assert all(a <= b for a, b in pairwise(ragged.offsets))
