"""Our objectives inside SentenceTransformerTrainer, and sentence-transformers' losses as the oracle of whole steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from test_trainer import WORDS, Rows, arguments
from torch import Tensor

import nyx_hf
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.trainer import NyxTrainer

TEMPERATURE = 0.5
SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "learning_rate": 1e-2, "max_grad_norm": 0.0, "max_steps": 1}
EIGHT = {"per_device_train_batch_size": 8, "seed": 3}


class OneNegative(Rows):
    """The first eight rows, a hard negative of its own for each, every other document with a picture."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = super().__getitem__(index)
        negatives = [{"content": [{"type": "text", "text": f"no record of {WORDS[index]}"}]}]
        return row | {"negatives": negatives, "negative_ids": [f"n{index}"]}


def columns(scores: bool = False) -> Dataset:
    """The same rows as sentence-transformers reads them."""
    rows = OneNegative()

    def cell(content: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"role": "user", "content": content["content"]}]

    def cells(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        picked = [rows[index] for index in batch["anchor"]]
        made: dict[str, list[Any]] = {
            "anchor": [cell(row["query"]) for row in picked],
            "positive": [cell(row["positives"][0]) for row in picked],
            "negative": [cell(row["negatives"][0]) for row in picked],
        }
        return made | ({"label": [[1.0, 0.1 * (index % 3)] for index in batch["anchor"]]} if scores else {})

    numbers = list(range(len(rows)))
    names = ["anchor", "positive", "negative", *(["label"] if scores else [])]
    table = Dataset.from_dict(dict.fromkeys(names, numbers))
    table.set_transform(cells)
    return table


@pytest.fixture()
def folder(tiny_backbones: dict[str, Path], tmp_path: Path) -> Path:
    """A retriever without prompts, so that both trainers see the same words."""
    model = NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], "nyx", prompts={"query": "", "document": ""})
    model.save_pretrained(tmp_path / "retriever")
    return tmp_path / "retriever"


def trained(
    folder: Path,
    make_loss: Callable[[SentenceTransformer], torch.nn.Module],
    out: Path,
    scores: bool = False,
    **changes: Any,
) -> tuple[SentenceTransformer, torch.nn.Module]:
    """What SentenceTransformerTrainer makes of the retriever with a loss."""
    model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    args = SentenceTransformerTrainingArguments(
        str(out), save_strategy="no", use_cpu=True, disable_tqdm=True, report_to=[], **{**SGD, **EIGHT, **changes}
    )
    loss = make_loss(model)
    SentenceTransformerTrainer(model, args, train_dataset=columns(scores), loss=loss).train()
    return model, loss


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Weights under the backbone's own names."""
    prefixed = ((name.rpartition("transformer.model.")[2], value) for name, value in model.state_dict().items())
    return {name: value.detach().clone() for name, value in prefixed}


def ours(folder: Path, out: Path, **changes: Any) -> dict[str, Tensor]:
    """What NyxTrainer makes of it."""
    settings = {"temperature": TEMPERATURE, "negatives_per_query": 1, "shared_negatives": True, "matryoshka_dims": []}
    model = NyxModel.from_pretrained(folder)
    args = arguments(out, **{**SGD, **EIGHT, **settings, **changes})
    NyxTrainer(model, args, train_dataset=OneNegative()).train()
    return weights(model)


def furthest(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.e2e
class TestOneStepIsTheSame:
    """A step of SGD from one folder: what moves is the gradient."""

    def test_with_and_without_a_gradient_cache(self, folder: Path, tmp_path: Path) -> None:
        before = weights(NyxModel.from_pretrained(folder))
        theirs, _ = trained(
            folder, lambda model: MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE), tmp_path / "theirs"
        )
        wanted = weights(theirs)
        assert furthest(wanted, before) > 1e-3
        cached, _ = trained(
            folder,
            lambda model: CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=3),
            tmp_path / "cached",
        )
        assert furthest(weights(cached), wanted) < 1e-6
        in_theirs, _ = trained(
            folder,
            lambda model: nyx_hf.SentenceTransformerLoss(
                model, nyx_hf.ContrastiveLoss(TEMPERATURE, shared_negatives=True)
            ),
            tmp_path / "in-theirs",
        )
        assert furthest(weights(in_theirs), wanted) < 1e-6
        assert furthest(ours(folder, tmp_path / "ours"), wanted) < 1e-6
        assert furthest(ours(folder, tmp_path / "chunks", chunk_rows=3), wanted) < 1e-6
        assert furthest(ours(folder, tmp_path / "own", shared_negatives=False), wanted) > 1e-5

    def test_matryoshka(self, folder: Path, tmp_path: Path) -> None:
        dims, shares = [64, 32, 16], [0.5, 0.3, 0.2]
        theirs, _ = trained(
            folder,
            lambda model: MatryoshkaLoss(
                model, MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE), dims, shares
            ),
            tmp_path / "theirs",
        )
        wanted = weights(theirs)
        changes = {"matryoshka_dims": dims, "matryoshka_weights": shares}
        assert furthest(ours(folder, tmp_path / "ours", **changes), wanted) < 1e-6
        objective = nyx_hf.ContrastiveLoss(TEMPERATURE, dims=dims, weights=shares, shared_negatives=True)
        in_theirs, _ = trained(
            folder, lambda model: nyx_hf.SentenceTransformerLoss(model, objective), tmp_path / "in-theirs"
        )
        assert furthest(weights(in_theirs), wanted) < 1e-6


@pytest.mark.e2e
class TestInsideTheirTrainer:
    def test_everything_at_once_with_a_learned_temperature(self, folder: Path, tmp_path: Path) -> None:
        before = weights(NyxModel.from_pretrained(folder))
        temperature = nyx_hf.Temperature(TEMPERATURE, learnable=True)
        objective = nyx_hf.ContrastiveLoss(
            temperature,
            dims=[64, 16],
            hardness=9.0,
            two_way=True,
            false_negatives=nyx_hf.FalseNegatives(threshold=0.999),
        )
        model, loss = trained(
            folder,
            lambda model: nyx_hf.SentenceTransformerLoss(model, objective),
            tmp_path / "run",
            max_steps=3,
            learning_rate=0.05,
        )
        assert furthest(weights(model), before) > 1e-3
        [learned] = [value for name, value in loss.named_parameters() if "log" in name]
        assert abs(float(learned.detach().exp()) - TEMPERATURE) > 1e-4

    @pytest.mark.parametrize("name", ["distillation", "feedback"])
    def test_scores_come_in_the_label_column(self, folder: Path, tmp_path: Path, name: str) -> None:
        before = weights(NyxModel.from_pretrained(folder))
        objective: nyx_hf.Objective = {
            "distillation": nyx_hf.DistillationLoss(nyx_hf.Temperature(TEMPERATURE)),
            "feedback": nyx_hf.FeedbackLoss(nyx_hf.ContrastiveLoss(TEMPERATURE), right=0.15),
        }[name]
        model, _ = trained(
            folder, lambda model: nyx_hf.SentenceTransformerLoss(model, objective), tmp_path / "run", scores=True
        )
        assert furthest(weights(model), before) > 1e-4

    def test_scores_that_are_missing_are_asked_for(self, folder: Path, tmp_path: Path) -> None:
        objective = nyx_hf.DistillationLoss(nyx_hf.Temperature(TEMPERATURE))
        with pytest.raises(
            ValueError, match="needs scores of 2 documents a row, found None; give the dataset a column"
        ):
            trained(folder, lambda model: nyx_hf.SentenceTransformerLoss(model, objective), tmp_path / "run")
