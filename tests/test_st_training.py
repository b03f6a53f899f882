"""sentence-transformers' own trainer on our columns: a retriever folder trains there and comes back whole."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss

import nyx_hf
from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.schema import present_parts
from nyx_hf.modeling.modeling_nyx import NyxModel
from tests.fresh import run_fresh


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_digits(tmp_path_factory.mktemp("digits") / "digits", train_documents=8, test_documents=6)


@pytest.fixture(scope="module")
def contents(digits: Path) -> list[list[dict[str, Any]]]:
    """Test queries: texts, pictures and both."""
    return [present_parts(row["content"]) for row in load_tables(digits, ["queries"])["queries"]["test"]]


def messages(contents: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [[{"role": "user", "content": parts}] for parts in contents]


@pytest.fixture(scope="module")
def trained(digits: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two steps of SentenceTransformerTrainer from a saved retriever."""
    torch.manual_seed(0)
    model = SentenceTransformer(str(tiny_folder), trust_remote_code=True, device="cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    columns = nyx_hf.to_sentence_transformers(digits, negatives=1)
    out = tmp_path_factory.mktemp("trained")
    args = SentenceTransformerTrainingArguments(
        str(out / "run"),
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
    )
    loss = MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(model, args, train_dataset=columns, loss=loss)
    trainer.train()
    model.save_pretrained(str(out / "model"))
    return {"model": model, "before": before, "log": trainer.state.log_history, "folder": out / "model"}


def test_a_step_moves_the_weights(trained: dict[str, Any]) -> None:
    losses = [entry["loss"] for entry in trained["log"] if "loss" in entry]
    assert len(losses) == 2 and all(math.isfinite(loss) and loss > 0 for loss in losses)
    after = trained["model"].state_dict()
    assert after.keys() == trained["before"].keys()
    moved = {name for name, value in after.items() if not torch.equal(value, trained["before"][name])}
    assert any(".visual." in name for name in moved) and any(".language_model." in name for name in moved)
    assert all(torch.isfinite(value).all() for value in after.values())


def test_both_doors_agree_on_the_trained_model(
    trained: dict[str, Any], contents: list[list[dict[str, Any]]], tiny_folder: Path
) -> None:
    theirs = trained["model"].encode(messages(contents))
    ours = NyxModel.from_pretrained(trained["folder"])
    assert np.abs(ours.encode([{"content": parts} for parts in contents]) - theirs).max() < 1e-6
    assert np.abs(ours.encode_query([{"content": parts} for parts in contents]) - theirs).max() > 1e-3
    before = NyxModel.from_pretrained(tiny_folder).encode([{"content": parts} for parts in contents])
    assert np.abs(before - theirs).max() > 1e-3


def test_the_saved_folder_opens_by_every_door_in_a_fresh_process(
    trained: dict[str, Any], contents: list[list[dict[str, Any]]], digits: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """sentence-transformers saves through our model and processor, so code and settings go along."""
    found = run_fresh(
        """
from datasets import load_dataset
from sentence_transformers import SentenceTransformer
from transformers import AutoModel
folder, digits = sys.argv[1:]
rows = load_dataset(digits, "queries", split="test")
parts = [[{k: v for k, v in part.items() if v is not None} for part in row["content"]] for row in rows]
messages = [[{"role": "user", "content": one}] for one in parts]
model = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
ours = AutoModel.from_pretrained(folder, trust_remote_code=True)
report(
    sentences=model.encode(messages).tolist(),
    queries=model.encode_query(messages).tolist(),
    auto=ours.encode([{"content": one} for one in parts]).tolist(),
    auto_queries=ours.encode_query([{"content": one} for one in parts]).tolist(),
    module=type(ours).__module__.split(".")[0],
)
""",
        trained["folder"],
        digits,
        env={"HF_DATASETS_CACHE": str(tmp_path)},
    )
    wanted = trained["model"].encode(messages(contents))
    assert found["module"] == "transformers_modules"
    for name in ("sentences", "auto"):
        assert np.abs(np.asarray(found[name]) - wanted).max() < 1e-6
    queries = trained["model"].encode_query(messages(contents))
    for name in ("queries", "auto_queries"):
        assert np.abs(np.asarray(found[name]) - queries).max() < 1e-6
    kept = {path.name for path in tiny_folder.iterdir()}
    assert kept <= {path.name for path in trained["folder"].iterdir()}
