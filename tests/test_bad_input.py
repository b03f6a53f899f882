"""What a training run refuses: one clear line, exit code 2, and no weight loaded before."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.trainer import training_run
from nyx_hf.trainer.training_run import main


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_digits(tmp_path_factory.mktemp("data") / "digits", train_documents=16, test_documents=8)


@pytest.fixture()
def refused(
    digits: Path, tiny_backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Callable[..., str]:
    """Runs a recipe that should be refused, and gives the line that says why."""
    monkeypatch.setattr(training_run, "load_model", lambda *_: pytest.fail("weights were loaded"))

    def run(*words: str) -> str:
        out = tmp_path / "out"
        here = [f"model={tiny_backbones['qwen2_vl']}", f"datasets=[{digits}]", "eval_dataset=[]", f"output_dir={out}"]
        assert main(["--config", "digits", "smoke=true", *here, *words]) == training_run.REFUSED
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(said) == 1 and not list(out.glob("*.safetensors"))
        return str(said[0])

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["matryoshka_dim=[64]"], "unknown setting 'matryoshka_dim'; did you mean matryoshka_dims"),
        (["matryoshka_dims=[128, 64, 32]"], "matryoshka_dims asks for 128 dimensions, but the vectors of"),
        (["matryoshka_dims=[64, 32]"], "3 matryoshka weights came with 2 dims; give one weight a dim"),
        (["matryoshka_dims=[64, 64, 32]"], "give each prefix length once"),
        (["temperature_tasks=[a, a]", "learn_temperature=true"], "two tasks have the name 'a'"),
        (["temperature_tasks=[a]", "learn_temperature=true"], "which is none of temperature_tasks (a)"),
        (["temperature=0"], "temperature is 0.0; it divides"),
        (["false_negative_threshold=2"], "false_negative_threshold is 2.0; it bounds"),
        (["hardness=-1"], "hardness is -1.0; it is"),
        (["loss=triplet"], "loss is 'triplet'; it is contrastive | feedback"),
        (["loss=distillation", "negatives_per_query=0"], "needs negatives_per_query of 1 or more"),
        (["sub_batch_size=3", "batching=interleaved"], "sub_batch_size 3 does not divide"),
        (["per_device_train_batch_size=4000"], "do not fill one batch of 4000"),
        (["early_stopping_patience=1", "load_best_model_at_end=false"], "needs load_best_model_at_end=true"),
        (["settings={pooling: max}"], "pooling is 'max'; it is one of"),
        (["settings={poolin: mean}"], "unknown settings: poolin"),
        (["split=dev"], "expected 'dev'"),
        (["preset=nix"], "unknown preset 'nix'"),
    ],
)
def test_settings(refused: Callable[..., str], words: list[str], message: str) -> None:
    assert message in refused(*words)


def changed(digits: Path, folder: Path, table: str, change: Callable[[pa.Table], pa.Table], split: str = "") -> Path:
    """A copy of the dataset with other tables in it."""
    shutil.copytree(digits, folder)
    for path in folder.glob(f"**/{table}/{split}*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)
    return folder


def emptied(table: pa.Table, row: int, column: str) -> pa.Table:
    """The table with one row's list empty."""
    lists = table[column].to_pylist()
    lists[row] = []
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(lists, type=table[column].type))


@pytest.mark.parametrize(
    ("table", "change", "words", "message"),
    [
        ("triplets", lambda t: t.drop_columns(["positive_ids"]), [], "expected one named 'positive_ids'"),
        ("corpus", lambda t: t.drop_columns(["content"]), [], "expected one named 'content'"),
        (
            "triplets",
            lambda t: t.drop_columns(["negative_scores"]),
            ["loss=feedback"],
            "expected 'negative_scores'; score",
        ),
        ("triplets", lambda t: emptied(t, 3, "positive_ids"), [], "row 3 (id 'train-q00003'): found no positive_ids"),
        ("queries", lambda t: t.filter(pc.not_equal(t["id"], t["id"][2])), [], "which the queries lack"),
    ],
)
def test_data(
    refused: Callable[..., str],
    digits: Path,
    tmp_path: Path,
    table: str,
    change: Callable[[pa.Table], pa.Table],
    words: list[str],
    message: str,
) -> None:
    bad = changed(digits, tmp_path / "bad", table, change)
    said = refused(f"datasets=[{bad}]", *words)
    assert message in said and "bad" in said


def test_splits_that_disagree(refused: Callable[..., str], digits: Path, tmp_path: Path) -> None:
    bad = changed(digits, tmp_path / "bad", "triplets", lambda t: t.drop_columns(["positive_ids"]), "train")
    assert "triplets cannot be read: its files are broken, or have not all the same columns" in refused(
        f"datasets=[{bad}]"
    )


def test_two_datasets_of_one_name(refused: Callable[..., str], digits: Path) -> None:
    assert "each once" in refused(f"datasets=[{digits}, {digits}]")
