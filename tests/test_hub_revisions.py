"""Commits of what a run was made from: told where the Hub answers, left as they were said where it does not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

from nyx_hf.trainer import hub_revisions
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR, commit_of
from nyx_hf.trainer.pinning import pinned
from nyx_hf.trainer.run_arguments import RunArguments, parse_run


def hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[tuple[Any, ...]]:
    """Stands in the Hub's place; gives what it was asked."""
    asked: list[tuple[Any, ...]] = []

    class Api:
        def repo_info(self, name: str, *, revision: str | None, repo_type: str) -> Any:
            asked.append((name, revision, repo_type))
            if isinstance(answer, BaseException):
                raise answer
            return SimpleNamespace(sha=answer)

    monkeypatch.setattr(hub_revisions, "HfApi", Api)
    return asked


def run_of(tmp_path: Path, **values: Any) -> RunArguments:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({"output_dir": str(tmp_path / "out"), "use_cpu": True, **values}, sort_keys=False)
    )
    return parse_run(["--config", str(recipe)])


ERRORS = [NETWORK_ERROR("no route"), OfflineModeIsEnabled("offline"), OSError("gone"), HFValidationError("no name")]


@pytest.mark.parametrize("error", ERRORS)
def test_without_an_answer_the_revision_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    asked = hub(monkeypatch, error)
    assert commit_of("owner/name", "v1", "model") == "v1" and commit_of("owner/name", None, "model") is None
    run = run_of(tmp_path, model="owner/name", datasets=["owner/rows@v2"])
    assert pinned(run) == run and len(asked) == 4


def test_every_name_of_the_hub_gets_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = hub(monkeypatch, "c0ffee")
    datasets = [{"name": "owner/rows@v2", "cap": 3}, str(tmp_path), "build:digits"]
    run = run_of(tmp_path, model="owner/name", model_revision="v1", datasets=datasets, eval_dataset="owner/rows")
    found = pinned(run)
    assert asked == [
        ("owner/name", "v1", "model"),
        ("owner/rows", "v2", "dataset"),
        ("owner/rows", None, "dataset"),
    ]
    assert found.model.model_revision == found.values["model_revision"] == "c0ffee"
    assert found.values["datasets"] == [{"name": "owner/rows@c0ffee", "cap": 3}, str(tmp_path), "build:digits"]
    assert found.data.datasets == ['{"name": "owner/rows@c0ffee", "cap": 3}', str(tmp_path), "build:digits"]
    assert found.data.eval_dataset == found.values["eval_dataset"] == ["owner/rows@c0ffee"]
    assert (found.training, found.typed) == (run.training, run.typed)


def test_what_is_here_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = hub(monkeypatch, "c0ffee")
    assert commit_of(str(tmp_path), None, "model") is None and commit_of("tiny:qwen2_vl", None, "model") is None
    assert asked == []
