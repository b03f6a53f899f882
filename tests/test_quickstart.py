"""The quickstart: finishes, goes on where it stopped, refuses another run's folder, and (the long test) learns."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nyx_hf import quickstart
from nyx_hf.cli import app
from nyx_hf.data_builders.digits import TASKS, build_digits
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.modeling.modeling_nyx import NyxModel

TABLE = "unseen documents, by embedding dimension"


@pytest.fixture()
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(quickstart, "build_digits", partial(build_digits, train_documents=120, test_documents=24))
    monkeypatch.setattr(quickstart, "FEEDBACK_DOCUMENTS", 120)


@pytest.mark.e2e
def test_a_stopped_run_goes_on_and_a_finished_one_is_shown(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    real_check = quickstart.check_saved_model

    def power_cut(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "check_saved_model", power_cut)
    with pytest.raises(KeyboardInterrupt):
        quickstart.run_quickstart(out, seed=1, steps=3)
    assert not (out / "report.json").exists()
    weights = (out / "model" / "model.safetensors").read_bytes()
    untrained = (out / "stages" / "untrained.json").stat().st_mtime_ns

    monkeypatch.setattr(quickstart, "check_saved_model", real_check)
    quickstart.run_quickstart(out, seed=1, steps=3)
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    assert (out / "pretrained" / "model.safetensors").read_bytes() != weights
    assert (out / "stages" / "untrained.json").stat().st_mtime_ns == untrained
    assert TABLE in capsys.readouterr().out
    _check_report(out)

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = CliRunner().invoke(app, ["quickstart", "--out", str(out), "--seed", "1", "--steps", "3"])
    assert done.exit_code == 0, done.output
    assert TABLE in done.output
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before

    for changed in (["--seed", "2", "--steps", "3"], ["--seed", "1", "--steps", "4"], ["--seed", "1"]):
        refused = CliRunner().invoke(app, ["quickstart", "--out", str(out), *changed])
        assert refused.exit_code == 1
        assert "holds a run with seed 1 and 3 steps" in refused.output
        assert "Traceback" not in refused.output


def _check_report(out: Path) -> None:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(report["stages"]) == ["untrained", "stage 1", "stage 2"]
    assert report["stages"]["stage 2"] == report["trained"] != report["untrained"]
    for by_dim in report["stages"].values():
        assert list(by_dim) == [str(dim) for dim in quickstart.DIMS]
        for scores in by_dim.values():
            assert set(scores["by_kind"]) == set(TASKS)
            for metric in ("recall@1", "answers"):
                mean = np.mean([kind[metric] for kind in scores["by_kind"].values()])
                assert scores[metric] == pytest.approx(mean)
    assert [one["stages"] for one in report["comparisons"]] == [["untrained", "stage 1"], ["stage 1", "stage 2"]]
    assert all(one["questions"] == report["queries"] for one in report["comparisons"])
    assert max(report["saved_model"]["auto_model"], report["saved_model"]["sentence_transformer"]) <= 1e-5
    shown = (out / "report.md").read_text(encoding="utf-8")
    for name in ("gallery.png", "recall_by_dimension.png", "loss.png"):
        assert f"]({name})" in shown
        assert min(Image.open(out / name).size) > 300
    for scores in report["trained"].values():
        assert f"{100 * scores['ndcg@10']:.1f}" in shown and f"{100 * scores['answers']:.1f}" in shown
    assert all(one["verdict"] in shown for one in report["comparisons"])
    told = TripletDataset.load(out / "feedback", "feedback", negatives_per_query=2)
    assert told[0]["negatives"] and "digit-reader" in told.triplets[0]["scorer"]
    model = NyxModel.from_pretrained(out / "model")
    assert model.settings.matryoshka_dims == quickstart.DIMS
    card = (out / "model" / "README.md").read_text(encoding="utf-8")
    assert "nyx-hf quickstart --seed 1 --steps 3" in card
    assert "# nyx-handwriting" in card
    assert str(out) not in card


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(quickstart.QuickstartError, match="exists and is no quickstart folder"):
        quickstart.run_quickstart(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.long
@pytest.mark.e2e
def test_the_whole_quickstart_learns_to_read(tmp_path: Path) -> None:
    quickstart.run_quickstart(tmp_path / "run", seed=0)
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    recall = [scores["recall@1"] for scores in report["trained"].values()]
    assert report["documents"] >= 300
    assert recall[0] >= 0.85
    assert recall[2] > 0.7  # 16 dimensions: a graceful fall
    assert report["untrained"]["128"]["recall@1"] < 0.05
