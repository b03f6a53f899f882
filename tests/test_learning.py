"""Objectives at work: what a tiny model has learned after some steps, and what was logged and stopped meanwhile."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_trainer import WORDS, Rows, arguments, loaded, retrieval_set

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.samplers import Source
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_rows import JoinedRows

LEARN = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", "per_device_train_batch_size": 6, "max_steps": 40}


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


class Judged(Rows):
    """Six texts with three candidates each, and what a teacher or an answering VLM made of these."""

    name = "judged"
    scores = (1.0, 0.2, 0.6)  # of the positive and of both negatives

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = [f"record of {WORDS[index]}", f"no record of {WORDS[index]}", f"notes about {WORDS[index]}"]
        return {
            **super().__getitem__(index),
            "positives": [text(words[0])],
            "negatives": [text(word) for word in words[1:]],
            "negative_ids": [f"a{index}", f"b{index}"],
            "positive_scores": list(self.scores[:1]),
            "negative_scores": list(self.scores[1:]),
        }


def similarities(model: NyxModel, rows: Judged) -> np.ndarray:
    """Cosines of each query and its three candidates, (6, 3)."""
    picked = [rows[index] for index in range(len(rows))]
    queries = model.encode_query([row["query"] for row in picked])
    found = [
        model.encode_document([*row["positives"], *row["negatives"]]) @ q
        for row, q in zip(picked, queries, strict=True)
    ]
    return np.stack(found)


@pytest.fixture()
def model(tiny_backbones: dict[str, Path]) -> NyxModel:
    return loaded(tiny_backbones["qwen2_5_vl"])


@pytest.mark.e2e
def test_distillation_learns_the_teachers_order_and_distances(model: NyxModel, tmp_path: Path) -> None:
    """Softmax of the student becomes that of the teacher: differences of cosines become differences of scores."""
    rows = Judged()
    wanted = np.array(rows.scores)
    args = arguments(
        tmp_path, loss="distillation", gather_negatives=False, **{**LEARN, "max_steps": 150}, temperature=0.2
    )
    before = similarities(model, rows)
    trainer = NyxTrainer(model, args, train_dataset=rows)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    after = similarities(model, rows)
    assert losses[-1] < 0.1 * losses[0]
    assert (np.argsort(after, axis=1) == np.argsort(wanted)).all()
    assert not (np.argsort(before, axis=1) == np.argsort(wanted)).all()
    differences = [found[:, :1] - found[:, 1:] for found in (before, after)]
    errors = [np.abs(found - (wanted[:1] - wanted[1:])).mean() for found in differences]
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.e2e
def test_feedback_does_not_push_away_what_answered(tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
    """The second negative of each row answered rightly at 0.6: with that threshold it is spared."""
    rows, found = Judged(), {}
    for right in (None, 0.6):
        model = loaded(tiny_backbones["qwen2_5_vl"])
        args = arguments(tmp_path / str(right), loss="feedback", feedback_right=right, **LEARN)
        trainer = NyxTrainer(model, args, train_dataset=rows)
        trainer.train()
        found[right] = similarities(model, rows)
        shares = [line["negatives_that_answered"] for line in trainer.state.log_history if "loss" in line and right]
        assert set(shares) <= {0.5} and (len(shares) > 0) == (right is not None)
    assert all((scores[:, :1] > scores[:, 1:2]).all() for scores in found.values())  # the wrong one is learned to be
    assert found[0.6][:, 2].mean() > found[None][:, 2].mean() + 0.2


class Named(Rows):
    """The twelve rows under a name of their own."""

    def __init__(self, name: str) -> None:
        super().__init__(pictured=())
        self.name = name

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = super().__getitem__(index)
        return row | {"dataset": self.name, "positives": [text(f"record {self.name} of {WORDS[index]}")]}

    def positives(self) -> Ragged:
        return Ragged.of_ids([[f"d{index}"] for index in range(len(self))])

    def sources(self) -> list[Source]:
        return [Source(self.name, range(len(self)))]


def test_each_dataset_s_loss_is_logged(model: NyxModel, tmp_path: Path) -> None:
    """Batches of one dataset: of each step's line only its own is there, and it is the loss."""
    args = arguments(tmp_path, batching="single", max_steps=6)
    trainer = NyxTrainer(model, args, train_dataset=JoinedRows([Named("one"), Named("other")]))
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    seen = [{name for name in ("loss_one", "loss_other") if name in line} for line in lines]
    assert sorted(map(len, seen)) == [1] * 6 and set.union(*seen) == {"loss_one", "loss_other"}
    for line, [name] in zip(lines, seen, strict=True):
        assert line[name] == pytest.approx(line["loss"], abs=1e-4)
    assert all(
        {"grad_norm", "tokens_per_second", "images_per_second", "hardest_negative_share"} <= set(line)
        for line in lines
    )


def test_early_stop(model: NyxModel, tmp_path: Path) -> None:
    """Scores that fall from the first on: two evaluations later it ends, with the first checkpoint as the best."""
    falling = iter([0.9, 0.8, 0.7, 0.6, 0.5])
    steps = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "taste", "greater_is_better": True}
    args = arguments(tmp_path, max_steps=9, early_stopping_patience=2, **steps, **best)
    trainer = NyxTrainer(model, args, train_dataset=Rows(), eval_dataset=lambda _: {"taste": next(falling)})
    trainer.train()
    assert trainer.state.global_step == 3 and trainer.state.best_global_step == 1
    assert trainer.state.best_metric == 0.9


def test_sets_and_prefixes_are_scored_by_name(model: NyxModel, tmp_path: Path) -> None:
    args = arguments(tmp_path, matryoshka_dims=[64, 16], eval_strategy="steps", eval_steps=2, eval_ks=[1, 5])
    sets = {"a": retrieval_set(Rows(), name="a"), "b": retrieval_set(Rows(), 12, 6, "b")}
    trainer = NyxTrainer(model, args, train_dataset=Rows(), eval_dataset=sets)
    trainer.train()
    scored = {name for line in trainer.state.log_history for name in line if "@" in name}
    metrics = [f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in (1, 5)]
    assert scored == {f"eval_{s}_{prefix}{m}" for s in sets for prefix in ("", "dim_16_") for m in metrics}


def test_a_mask_that_takes_most_negatives_is_told(
    model: NyxModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)  # its own handler keeps records from the root
    try:
        for threshold in (1.0, -0.99):
            args = arguments(tmp_path, max_steps=1, false_negative_threshold=threshold)
            trainer = NyxTrainer(model, args, train_dataset=Rows())
            trainer.train()
            told = [record.message for record in caplog.records if "taken for false ones" in record.message]
            share = next(line["false_negatives_masked"] for line in trainer.state.log_history if "loss" in line)
            assert (len(told) == 1, share > 0.5) == (threshold < 0,) * 2
    finally:
        logger.removeHandler(caplog.handler)
    assert "raise false_negative_threshold" in told[0]
