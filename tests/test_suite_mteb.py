"""`nyx-hf evaluate mteb`: mteb's tasks by name, its results folder, and what may not be submitted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mteb
import pytest
from mteb.abstasks import AbsTaskRetrieval
from mteb.models import ModelMeta
from test_mteb import exported, our_metrics, task_of
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.mteb_model import NyxMTEBModel, model_meta
from nyx_hf.suite_mteb import MTEBOptions, find_tasks


@pytest.fixture()
def local_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AbsTaskRetrieval:
    """A task that mteb knows by name, among others that are its own."""
    task, others = task_of(exported(tmp_path, "t2i")[1], "t2i"), [mteb.get_task("Banking77Classification")]
    monkeypatch.setattr(mteb, "get_tasks", lambda **_: [task, *others])
    return task


def evaluate(model: Path, *words: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", "mteb", "--model", str(model), *map(str, words)])


def test_results_are_ready_to_submit(tmp_path: Path, tiny_folder: Path, local_task: AbsTaskRetrieval) -> None:
    out, words = tmp_path / "out", ("--hub-name", "own/tiny", "--cache", tmp_path / "cache")
    done = evaluate(tiny_folder, "--tasks", "LocalT2I", "--dims", "16,8", "--out", out, *words)
    assert done.exit_code == 0, done.output
    place = f"results/own__tiny/{model_meta(tiny_folder).revision}"
    assert place in done.output.replace("\n", "") and "under no name" not in done.output
    wide = out / place / "experiments" / "embed_dim_16"
    assert {path.name for path in wide.iterdir()} == {"LocalT2I.json", "model_meta.json", "run_settings.jsonl"}
    found = mteb.TaskResult.from_disk(wide / "LocalT2I.json")
    report = json.loads((out / "results.json").read_text())
    ours = our_metrics(tiny_folder, tmp_path / f"{tmp_path.name}-ours", tmp_path / "cache", 16)
    [first, second] = report["sets"]
    assert first["value"] == found.get_score() == pytest.approx(ours["ndcg@10"], abs=1e-5)
    assert (first["dim"], second["dim"], first["queries"], first["documents"]) == (16, 8, 12, 24)
    assert not report["partial"] and str(tmp_path) not in json.dumps({**report, "run": None})
    meta = ModelMeta.model_validate_json_resolved((wide / "model_meta.json").read_text())
    assert (meta.name, meta.embed_dim, meta.modalities) == ("own/tiny", 16, ["text", "image"])


def test_results_that_stand_there_are_not_made_again(
    tmp_path: Path, tiny_folder: Path, local_task: AbsTaskRetrieval, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    first = evaluate(tiny_folder, "--tasks", "LocalT2I", "--out", out, "--cache", cache)
    assert first.exit_code == 0 and "under no name of the Hub" in first.output, first.output
    assert (out / f"results/local__tiny-nyx/{model_meta(tiny_folder).revision}/LocalT2I.json").is_file()
    monkeypatch.setattr(NyxMTEBModel, "encode", None)
    again = evaluate(tiny_folder, "--tasks", "LocalT2I", "--out", out, "--overwrite", "--cache", cache)
    assert again.exit_code == 0, again.output


def test_a_sample_is_no_submission(tmp_path: Path, tiny_folder: Path, local_task: AbsTaskRetrieval) -> None:
    words = ("--tasks", "LocalT2I", "--limit", 5, "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    done = evaluate(tiny_folder, *words)
    assert done.exit_code == 0 and "SAMPLE" in done.output, done.output
    [score] = json.loads((tmp_path / "out" / "results.json").read_text())["sets"]
    assert (score["queries"], score["expected"], score["partial"]) == (5, 12, ["5 of 12 queries"])
    assert not (tmp_path / "out" / "results").exists()
    done = evaluate(tiny_folder, *words, "--submission")
    assert done.exit_code == 1 and "--limit makes a sample" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MTEBOptions(), "found no tasks, expected --tasks"),
        (MTEBOptions(tasks="LocalT2X"), "no task 'LocalT2X' (did you mean 'LocalT2I'?)"),
        (MTEBOptions(tasks="Banking77Classification"), "a task of Classification, expected a retrieval task"),
        (MTEBOptions(benchmark="ViDoRe(v9)"), "no benchmark 'ViDoRe(v9)' (did you mean 'ViDoRe(v"),
    ],
)
def test_names_of_tasks_are_checked(local_task: AbsTaskRetrieval, options: MTEBOptions, message: str) -> None:
    with pytest.raises(ValueError) as found:
        find_tasks(options)
    assert message in str(found.value)


def test_vidore_is_there() -> None:
    tasks = find_tasks(MTEBOptions(tasks="SciFact", benchmark="ViDoRe(v2)"))
    assert tasks[0].metadata.name == "SciFact" and any("Vidore" in task.metadata.name for task in tasks[1:])


def test_other_retrievers_have_mteb_s_own_command(tmp_path: Path, local_task: AbsTaskRetrieval) -> None:
    done = evaluate(Path("bm25"), "--tasks", "LocalT2I")
    assert done.exit_code == 1 and "bm25 is none of our models; mteb has its own command" in done.output


def test_mteb_is_imported_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys; from nyx_hf.suites import listed_suites; print('mteb' in listed_suites(), 'mteb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.delitem(sys.modules, "nyx_hf.mteb_model")
    with pytest.raises(ModuleNotFoundError, match=r"pip install nyx-hf\[mteb\]"):
        find_tasks(MTEBOptions(tasks="SciFact"))
