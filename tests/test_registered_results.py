"""Results for the Hub's own leaderboards: registered benchmarks alone, whole sets alone, and they go up."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.errors import EntryNotFoundError

from nyx_hf.folders import files_to_push
from nyx_hf.registered_results import write_registered
from nyx_hf.results import Run, SetScore, SuiteReport

REGISTERED = {"org/bench": ["cirr", "visual_news"], "org/single": ["default"], "org/broken": []}


def score(name: str, repo: str, value: float = 0.5, **changes: Any) -> SetScore:
    told: dict[str, Any] = {"group": "g", "part": "image", "metric": "hit@1", "metrics": {"hit@1": value}}
    told |= {"queries": 10, "documents": 20, "revisions": {repo: "c0ffee", "files": "1234"}}
    return SetScore(name=name, **(told | changes))


def report(scores: list[SetScore], limit: int | None = None) -> SuiteReport:
    run = Run(model="m", model_revision="r1", date="2026-01-02T03:04:05+00:00", limit=limit)
    return SuiteReport(suite="s", title="S", dataset="org/bench", metric="hit@1", run=run, tables=[], scores=scores)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, name: str, repo_type: str) -> str:
        assert (name, repo_type) == ("eval.yaml", "dataset")
        if repo not in REGISTERED:
            raise EntryNotFoundError("no eval.yaml")
        path = tmp_path / f"{repo.replace('/', '-')}.yaml"
        told = [{"id": task} for task in REGISTERED[repo]]
        path.write_text("just words" if repo == "org/broken" else yaml.safe_dump({"name": "B", "tasks": told}))
        return str(path)

    monkeypatch.setattr("nyx_hf.registered_results.hf_hub_download", download)


def test_sets_of_registered_benchmarks_are_told_and_go_up(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    scores = [
        score("CIRR", "org/bench", 0.25),
        score("VisualNews", "org/bench", 0.5),
        score("CIRR", "org/bench", 0.125, dim=64),
        score("N24News", "org/bench", 0.75, partial=("short",)),
        score("Anything", "org/single", 1.0),
        score("Private", "org/unknown", 0.9),
        score("Odd", "org/broken", 0.9),
    ]
    path = write_registered(report(scores), model)
    assert path == model / ".eval_results" / "s.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert [(one.dataset_id, one.task_id, one.value, one.dataset_revision) for one in entries] == [
        ("org/bench", "cirr", 25.0, "c0ffee"),
        ("org/bench", "visual_news", 50.0, "c0ffee"),
        ("org/single", "default", 100.0, "c0ffee"),
    ]
    (model / ".hidden").write_text("stays")
    assert files_to_push(model) == (".eval_results/s.yaml",)


def test_a_sample_is_never_told_and_takes_back_what_was(tmp_path: Path) -> None:
    path = write_registered(report([score("CIRR", "org/bench")]), tmp_path)
    assert path is not None and path.is_file()
    assert write_registered(report([score("CIRR", "org/bench")], limit=5), tmp_path) is None and not path.exists()
    assert write_registered(report([score("CIRR", "org/unknown")]), tmp_path / "none") is None
