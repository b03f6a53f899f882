"""A loss or gradient that is no number ends the run, says where, and leaves the last good checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import Rows, arguments, loaded
from torch import Tensor

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.checkpoints import last_whole
from nyx_hf.trainer.finite import NotFiniteError
from nyx_hf.trainer.loss_batch import EmbeddedBatch, LossOutput, Objective
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_run import main


@pytest.fixture()
def model(tiny_backbones: dict[str, Path]) -> NyxModel:
    return loaded(tiny_backbones["qwen2_5_vl"])


def spoil(model: NyxModel, at_pass: int, row: int) -> None:
    """From one forward pass on, a row's vector is no number."""
    passes: list[int] = []

    def hook(_: Any, __: Any, ___: Any, output: Any) -> Any:
        passes.append(len(output.embeddings))
        if len(passes) >= at_pass and output.embeddings.requires_grad:
            factor = torch.ones(len(output.embeddings), 1)
            factor[row] = torch.nan
            output.embeddings = output.embeddings * factor
        return output

    model.register_forward_hook(hook, with_kwargs=True)


def trained(trainer: NyxTrainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_a_loss_that_is_no_number_names_its_row(model: NyxModel, tmp_path: Path) -> None:
    spoil(model, at_pass=6, row=1)  # two passes a step: the documents of the third
    how = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1}
    trainer = NyxTrainer(model, arguments(tmp_path, **how), train_dataset=Rows())
    with pytest.raises(NotFiniteError, match="the loss is nan in step 3; 1 rows .with embeddings that are not finite"):
        trainer.train()
    found = json.loads((tmp_path / "not_finite_rank0.json").read_text())
    assert found["step"] == 3 and len(found["rows"]) == 1 and found["rows"][0]["dataset"] == "rows"
    batch = list(trainer._get_train_sampler())[8:12]  # the third batch of the first epoch
    assert found["rows"][0]["query_id"] == f"q{batch[1]}"
    assert last_whole(tmp_path) == tmp_path / "checkpoint-2"
    assert all(value.isfinite().all() for value in trained(trainer).values())


@pytest.mark.parametrize("chunks", [{}, {"chunk_rows": 2}])
def test_it_ends_before_the_weights_change(model: NyxModel, tmp_path: Path, chunks: dict[str, int]) -> None:
    trainer = NyxTrainer(model, arguments(tmp_path, temperature=0.5, **chunks), train_dataset=Rows())
    before = trained(trainer)
    trainer.objective = Exploding()
    with pytest.raises(NotFiniteError, match="the loss is -?inf in step 1; 4 rows .none with"):
        trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in trained(trainer).items())


class Exploding(Objective):
    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        return LossOutput(batch.query.sum() * torch.inf)


class Steep(Objective):
    """A finite loss whose gradient is not."""

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        zero = (batch.query - batch.query.detach()).abs().sum()
        return LossOutput(zero.sqrt())  # the root's slope at 0 is infinite


def test_a_gradient_that_is_not_finite(model: NyxModel, tmp_path: Path) -> None:
    for norm in (1.0, 0.0):  # clipped or not
        trainer = NyxTrainer(model, arguments(tmp_path, max_grad_norm=norm), train_dataset=Rows())
        trainer.objective = Steep()
        before = trained(trainer)
        with pytest.raises(NotFiniteError, match="the gradient's norm is nan in step 1, though the loss is finite"):
            trainer.train()
        assert all(torch.equal(value, before[name]) for name, value in trained(trainer).items())


def test_the_script_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", "digits", "smoke=true", f"output_dir={tmp_path / 'run'}", "loss=test_finite:Exploding"]
    assert main(words) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: the loss is ") and "The last checkpoint is kept" in said
