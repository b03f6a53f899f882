"""Batches in chunks: their slices, and the gradients they give, against the whole batch at once."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trainer import Gradients, Rows, arguments, loaded, state_of
from torch import Tensor

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer import chunks
from nyx_hf.trainer.chunks import ChunkLimits, split_rows, take_rows
from nyx_hf.trainer.same_shape import BlankRow, same_on_all
from nyx_hf.trainer.tiny import MODEL_TYPES
from nyx_hf.trainer.trainer import NyxTrainer
from tests.pictures import noise_image

FRAMES = [noise_image(56, 56, seed) for seed in range(4)]
CONTENTS: list[Any] = [
    "a fox",
    ("first ", noise_image(56, 28, 1), " then ", noise_image(84, 56, 2), " and a longer text behind them"),
    "the quick brown fox jumps over the lazy dog",
    {"text": "a clip", "video": FRAMES},
    noise_image(28, 28, 3),
    ("a clip ", {"type": "video", "video": FRAMES[:2]}, " beside a picture ", noise_image(40, 90, 4)),
    "two words",
]


@pytest.fixture(scope="module", params=MODEL_TYPES)
def retriever(request: pytest.FixtureRequest, tiny_backbones: dict[str, Path]) -> NyxModel:
    return loaded(tiny_backbones[request.param])


@pytest.fixture(autouse=True)
def whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without limits a batch is embedded at once: what chunks are compared with."""
    monkeypatch.setattr(chunks, "_FEW", 10**6)


class TestSlices:
    @pytest.mark.parametrize("rows", [[1], [3, 0], [5, 1, 4], [2, 6], [6, 5, 4, 3, 2, 1, 0]])
    def test_are_what_the_rows_alone_would_be(self, retriever: NyxModel, rows: list[int]) -> None:
        features = retriever.processor.process(CONTENTS)
        chunk = take_rows(features, torch.tensor(rows))
        alone = retriever.processor.process([CONTENTS[row] for row in rows])
        assert set(chunk.features) == set(alone)
        for name, value in alone.items():
            assert torch.equal(chunk.features[name], value), name

    def test_each_rows_vector_stays(self, retriever: NyxModel) -> None:
        features = retriever.processor.process(CONTENTS)
        with torch.no_grad():
            whole = retriever(**features).embeddings
            for chunk in split_rows(features, ChunkLimits(rows=2)):
                part = retriever(**chunk.features).embeddings
                torch.testing.assert_close(part, whole[chunk.rows], rtol=0, atol=1e-5)

    @settings(max_examples=40, deadline=None)
    @given(
        rows=st.none() | st.integers(1, 8),
        tokens=st.none() | st.integers(1, 120),
        patches=st.none() | st.integers(1, 60),
    )
    def test_limits(self, tiny_model: NyxModel, rows: int | None, tokens: int | None, patches: int | None) -> None:
        features = tiny_model.processor.process(CONTENTS)
        chunks = split_rows(features, ChunkLimits(rows, tokens, patches))
        assert sorted(row for chunk in chunks for row in chunk.rows.tolist()) == list(range(len(CONTENTS)))
        for chunk in chunks:
            held = chunk.features
            seen = sum(len(held[name]) for name in ("pixel_values", "pixel_values_videos") if name in held)
            over = (
                (rows is not None and len(chunk) > rows)
                or (tokens is not None and held["input_ids"].numel() > tokens)
                or (patches is not None and seen > patches)
            )
            assert len(chunk) == 1 or not over
        longest = [chunk.features["input_ids"].shape[1] for chunk in chunks]
        assert longest == sorted(longest, reverse=True)
        if (rows, tokens, patches) == (None, None, None):
            assert len(chunks) == 1

    def test_without_limits_rows_of_like_length_go_together(
        self, retriever: NyxModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chunks, "_FEW", 3)
        features = retriever.processor.process(
            [f"{'word ' * count}{count}" for count in (1, 2, 3, 30, 40, 41, 42, 43)]
        )
        lengths = features["attention_mask"].sum(dim=1)
        pieces = [lengths[chunk.rows].tolist() for chunk in split_rows(features, ChunkLimits())]
        assert [len(piece) for piece in pieces] == [5, 3]  # 30 is like 43, and three go together in any case
        padding = sum(max(piece) * len(piece) - sum(piece) for piece in pieces)
        assert padding < (lengths.max() * len(lengths) - lengths.sum()) / 4

    def test_right_padding_and_pooling_masks(self, tiny_backbones: dict[str, Path]) -> None:
        model = NyxModel.from_backbone(tiny_backbones["qwen2_vl"], "u-marvel")
        model.processor.tokenizer.padding_side = "right"
        features = model.processor.process(CONTENTS, prompt="Find it.")
        chunk = take_rows(features, torch.tensor([6, 1]))
        alone = model.processor.process([CONTENTS[6], CONTENTS[1]], prompt="Find it.")
        assert "pooling_mask" in alone and all(torch.equal(chunk.features[name], alone[name]) for name in alone)


class TestBlankRows:
    @pytest.mark.parametrize("kind", ["pixel_values", "pixel_values_videos"])
    @pytest.mark.parametrize("contents", [["a fox", "a dog of two"], CONTENTS[:2], CONTENTS[3:5]])
    def test_the_other_rows_stay_as_they_are(self, retriever: NyxModel, kind: str, contents: list[Any]) -> None:
        features = dict(retriever.processor.process(contents))
        grown = BlankRow.of(retriever.processor).added_to(features, kind)
        assert len(grown["input_ids"]) == len(contents) + 1 and kind in grown
        with torch.no_grad():
            before, after = (retriever(**some).embeddings for some in (features, grown))
        torch.testing.assert_close(after[:-1], before, rtol=0, atol=1e-5)
        assert after.isfinite().all()

    def test_a_trained_vision_tower_always_sees_an_image(self, tiny_model: NyxModel) -> None:
        chunks = split_rows(tiny_model.processor.process(["a", "b c", "d e f"]), ChunkLimits(rows=1))
        blank = BlankRow.of(tiny_model.processor)
        seen = [chunk.has("pixel_values") for chunk in same_on_all(chunks, blank, last_sees_image=True)]
        assert seen == [False, False, True]
        assert not any(c.has("pixel_values") for c in same_on_all(chunks, blank, last_sees_image=False))


class Clips(Rows):
    """Rows with several pictures and a video too."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = super().__getitem__(index)
        if index % 3 == 0:
            row["query"]["content"].append({"type": "image", "image": noise_image(28, 56, 100 + index)})
            row["positives"][0]["content"].append({"type": "image", "image": noise_image(56, 56, 50 + index)})
        if index % 4 == 1:
            row["positives"][0]["content"].insert(0, {"type": "video", "video": FRAMES[: 2 + index % 2]})
        return row


class Passes:
    """Counts a model's forward passes, and how many rows each had."""

    def __init__(self, model: NyxModel) -> None:
        self.rows: list[int] = []
        model.register_forward_pre_hook(lambda _, __, kw: self.rows.append(len(kw["input_ids"])), with_kwargs=True)


def first_step(
    model: NyxModel, folder: Path, rows: Rows | None = None, **changes: Any
) -> tuple[float, dict[str, Tensor], list[int], dict[str, Tensor]]:
    """Loss, gradients, rows of each forward pass and weights after one step."""
    kept, passes = Gradients(), Passes(model)
    how = {"max_steps": 1, "max_grad_norm": 0.0, "per_device_train_batch_size": 6, "temperature": 0.5, **changes}
    trainer = NyxTrainer(model, arguments(folder, **how), train_dataset=rows or Clips(), callbacks=[kept])
    trainer.train()
    return trainer.state.log_history[0]["loss"], kept.steps[0], passes.rows, state_of(trainer.model)


def assert_same_step(one: tuple[Any, ...], other: tuple[Any, ...], atol: float = 2e-6) -> None:
    assert one[0] == pytest.approx(other[0], abs=atol)
    assert one[1].keys() == other[1].keys()
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-4, atol=atol)
    assert max(gradient.abs().max() for gradient in other[1].values()) > 1e-2


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize(
    "limits",
    [{"chunk_rows": 2}, {"chunk_tokens": 100}, {"chunk_pixels": 6000}, {"chunk_rows": 4, "chunk_pixels": 9000}],
)
def test_chunks_give_the_gradients_of_the_whole_batch(
    tiny_backbones: dict[str, Path], tmp_path: Path, model_type: str, limits: dict[str, int]
) -> None:
    backbone = tiny_backbones[model_type]
    whole = first_step(loaded(backbone), tmp_path / "whole")
    assert len(whole[2]) == 2 and max(whole[2]) >= 12  # queries, then documents
    cached = first_step(loaded(backbone), tmp_path / "cached", **limits)
    kept = first_step(loaded(backbone), tmp_path / "kept", **limits, cache_gradients=False)
    for chunked, times in ((cached, 2), (kept, 1)):
        assert len(chunked[2]) > 2 * times and max(chunked[2]) < max(whole[2])  # the chunks really were smaller
        assert_same_step(chunked, whole)
    assert sum(cached[2]) > 1.5 * sum(kept[2])  # each chunk is embedded twice


def test_pieces_of_like_length_give_the_gradients_of_the_whole_batch(
    tiny_backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = first_step(loaded(tiny_backbones["qwen2_5_vl"]), tmp_path / "whole")
    monkeypatch.setattr(chunks, "_FEW", 1)
    pieces = first_step(loaded(tiny_backbones["qwen2_5_vl"]), tmp_path / "pieces")
    assert len(pieces[2]) > len(whole[2]) == 2 and sum(pieces[2]) < 1.5 * sum(whole[2])
    assert_same_step(pieces, whole)


class TestMixedWith:
    """What else a step may do, with chunks and without."""

    def both(
        self, backbone: Path, folder: Path, prepare: Callable[[NyxModel], Any] = lambda _: None, **how: Any
    ) -> Any:
        results = []
        for name, limits in (("whole", {}), ("cached", {"chunk_rows": 3})):
            torch.manual_seed(0)
            model = loaded(backbone)
            prepare(model)
            results.append(first_step(model, folder / name, **how, **limits))
        assert len(results[1][2]) > 2 * len(results[0][2])
        return results

    def test_accumulation(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        how = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
        assert_same_step(*self.both(tiny_backbones["qwen2_5_vl"], tmp_path, **how))

    def test_checkpointing(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        assert_same_step(*self.both(tiny_backbones["qwen3_vl"], tmp_path, gradient_checkpointing=True))

    def test_bfloat16(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        whole, cached = self.both(tiny_backbones["qwen2_5_vl"], tmp_path, bf16=True)
        assert cached[0] == pytest.approx(whole[0], rel=2e-2)
        for name in whole[1]:
            difference = (whole[1][name] - cached[1][name]).norm() / whole[1][name].norm().clamp(min=1e-3)
            assert difference < 0.1, name  # bfloat16 keeps 8 bits; padding differs with the chunk

    def test_learned_temperatures_and_hard_objectives(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        how = {"learn_temperature": True, "two_way": True, "hardness": 2.0, "shared_negatives": True}
        temperatures = []
        for name, limits in (("whole", {}), ("cached", {"chunk_rows": 3})):
            model = loaded(tiny_backbones["qwen2_vl"])
            args = arguments(tmp_path / name, **how, **limits, temperature=0.3, temperature_learning_rate=0.1)
            trainer = NyxTrainer(model, args, train_dataset=Clips())
            trainer.train()
            temperatures.append(trainer.state.log_history[-2]["temperature"])
        assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-4) and abs(temperatures[0] - 0.3) > 0.01

    def test_dropout_drops_the_same_twice(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        """With the same chunks, caching changes nothing, though dropout is random; without, other chunks do."""
        how = {"use_lora": True, "lora_dropout": 0.4, "lora_target": "all", "chunk_rows": 3}
        results = [
            first_step(loaded(tiny_backbones["qwen2_5_vl"]), tmp_path / name, **{**how, **more})
            for name, more in (("kept", {"cache_gradients": False}), ("cached", {}), ("other", {"chunk_rows": 2}))
        ]
        assert_same_step(results[1], results[0])
        others = [(results[2][1][name] - gradient).abs().max() for name, gradient in results[0][1].items()]
        assert max(others) > 1e-2

    def test_the_random_state_goes_on_as_if_embedded_once(
        self, tiny_backbones: dict[str, Path], tmp_path: Path
    ) -> None:
        states = []
        for name, cache in (("kept", False), ("cached", True)):
            how = {"use_lora": True, "lora_dropout": 0.4, "chunk_rows": 3, "cache_gradients": cache}
            first_step(loaded(tiny_backbones["qwen2_5_vl"]), tmp_path / name, **how)
            states.append(torch.get_rng_state())
        assert torch.equal(*states)


class TestOutOfMemory:
    """A model that holds at most so many rows at a time."""

    def limit(self, model: NyxModel, most: int, *, with_grad: bool) -> None:
        def check(_: Any, __: Any, kw: dict[str, Any]) -> None:
            if len(kw["input_ids"]) > most and torch.is_grad_enabled() == with_grad:
                raise torch.OutOfMemoryError("no memory left")

        model.register_forward_pre_hook(check, with_kwargs=True)

    def limit_way_back(self, model: NyxModel, most: int) -> None:
        """Runs out where the way back reaches the first layer's input: most gradients are there by then."""

        def fail(_: Tensor) -> None:
            raise torch.OutOfMemoryError("no memory left")

        def check(_: Any, args: tuple[Tensor, ...]) -> None:
            if len(args[0]) > most and torch.is_grad_enabled():
                args[0].register_hook(fail)

        model.language_model.layers[0].register_forward_pre_hook(check)

    @pytest.mark.parametrize("where", ["first pass", "second pass", "way back"])
    @pytest.mark.parametrize("accumulation", [1, 2])
    def test_shrinks_once_and_goes_on_with_the_same_gradients(
        self,
        tiny_backbones: dict[str, Path],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        where: str,
        accumulation: int,
    ) -> None:
        how = {"gradient_accumulation_steps": accumulation, "chunk_rows": 4}
        whole = first_step(loaded(tiny_backbones["qwen2_5_vl"]), tmp_path / "plain", **how)
        model = loaded(tiny_backbones["qwen2_5_vl"])
        if where == "way back":
            self.limit_way_back(model, 3)
        else:
            self.limit(model, 3, with_grad=where == "second pass")
        logging.getLogger("transformers").propagate = True
        with caplog.at_level(logging.WARNING):
            small = first_step(model, tmp_path / "small", **how)
        assert_same_step(small, whole)
        assert max(whole[2]) == 4 and max(small[2][-5:]) <= 3
        said = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
        assert len(said) == 1 and "chunks are half as large" in said[0] and "chunk_rows" in said[0]

    def test_gives_up_with_advice(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        model = loaded(tiny_backbones["qwen2_5_vl"])
        self.limit(model, 0, with_grad=True)
        with pytest.raises(
            torch.OutOfMemoryError, match="no memory left .set chunk_rows, chunk_tokens or chunk_pixels"
        ):
            first_step(model, tmp_path, chunk_rows=4)
        model = loaded(tiny_backbones["qwen2_5_vl"])
        self.limit(model, 0, with_grad=True)
        with pytest.raises(torch.OutOfMemoryError, match="set chunk_rows"):
            first_step(model, tmp_path)  # without chunks too


@pytest.mark.parametrize("name", ["chunk_rows", "chunk_tokens", "chunk_pixels"])
def test_chunks_that_hold_nothing_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; it is 1 or more"):
        arguments(tmp_path, **{name: 0})
