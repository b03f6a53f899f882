"""Own parts without a fork: an outside package's loss, sampler, builder and suite, named in a recipe."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.training_run import main

PACKAGE = {
    "__init__.py": "",
    "loss.py": '''
import torch
from torch import nn
from nyx_hf import EmbeddedBatch, LossOutput, Objective


class PullTogether(Objective):
    """1 - cos of each pair, times a strength that is learned."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength))

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        cosine = torch.nn.functional.cosine_similarity(batch.query[batch.positive_owner], batch.positive)
        return LossOutput(self.strength * (1 - cosine).mean(), {"mean_cosine": cosine.mean().detach()})
''',
    "data.py": '''
from pathlib import Path
from nyx_hf.data_builders.digits import build_digits

order = []


def first_rows_only(rows, batch_size, seed):
    """The first rows, again and again."""
    order.append((len(rows), batch_size, seed))
    return list(range(batch_size * 3))


def few_digits(folder, *, seed, documents):
    return build_digits(folder, seed=seed, train_documents=documents, test_documents=10)
''',
    "suite.py": '''
def tastes(model):
    """Scores a retriever by whether it can be told from zero."""
    vectors = model.encode(["a", "b"])
    return {"spread": float(abs(vectors[0] - vectors[1]).sum()), "width": vectors.shape[1]}
''',
}


@pytest.fixture()
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "elsewhere" / "outside_nyx"
    folder.mkdir(parents=True)
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    for name in [name for name in sys.modules if name.startswith("outside_nyx")]:
        del sys.modules[name]


@pytest.mark.e2e
def test_a_recipe_names_them_all(outside: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = {
        "model": "tiny:qwen2_vl",
        "datasets": ["build:outside_nyx.data:few_digits"],
        "build": {"documents": 24},
        "eval_dataset": ["outside_nyx.suite:tastes", "build:outside_nyx.data:few_digits"],
        "eval_queries": 5,
        "loss": "outside_nyx.loss:PullTogether",
        "loss_settings": {"strength": 2.0},
        "sampler": "outside_nyx.data:first_rows_only",
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "logging_steps": 1,
        "save_steps": 3,
        "seed": 5,
        "use_cpu": True,
        "disable_tqdm": True,
        "output_dir": str(out),
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert main(["--config", str(path)]) == 0

    from outside_nyx.data import order

    assert order == [(24 * 3, 4, 5)]  # three queries a document
    state = json.loads((out / "checkpoint-3" / "trainer_state.json").read_text())
    losses = [line["mean_cosine"] for line in state["log_history"] if "loss" in line]
    assert len(losses) == 3 and losses[-1] > losses[0]
    model = NyxModel.from_pretrained(out)
    assert model.encode(["a code"]).shape == (1, 64)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "outside_nyx.loss:PullTogether" in card and "| tastes |" in card and "spread" in card
    assert "outside_nyx.data:few_digits" in (out / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("loss=outside_nyx.loss:Missing", "has no Missing"),
        ("loss=no_such_nyx_package:Loss", "No module named 'no_such_nyx_package'; the package must be installed"),
        ("sampler=no_such_nyx_package:x", "No module named"),
        ("datasets=['build:no_such_nyx_package:x']", "No module named"),
        ("eval_dataset=[no_such_nyx_package:x]", "No module named"),
    ],
)
def test_what_is_not_there_is_one_line(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    assert main(["--config", "digits", "smoke=true", f"output_dir={tmp_path / 'run'}", word]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and message in said
