"""Commits of what a run was made from: told where the Hub answers, left as they were said where it does not."""

from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from nyx_hf.trainer import hub_revisions
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR, commit_of, pinned


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


@pytest.mark.parametrize("error", [NETWORK_ERROR("no route"), OfflineModeIsEnabled("offline"), OSError("gone")])
def test_without_an_answer_the_revision_stays(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    hub(monkeypatch, error)
    assert commit_of("owner/name", "v1", "model") == "v1" and commit_of("owner/name", None, "model") is None
    values = {"model": "owner/name", "datasets": ["owner/rows@v2"], "seed": 1}
    assert pinned(values) == {"model": "owner/name", "datasets": ["owner/rows@v2"], "seed": 1}


def test_every_name_of_the_hub_gets_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    asked = hub(monkeypatch, "c0ffee")
    values = {
        "model": "owner/name",
        "model_revision": "v1",
        "datasets": [{"name": "owner/rows@v2", "cap": 3}, str(tmp_path), "build:digits"],
        "eval_dataset": "owner/rows",
    }
    assert pinned(values) == {
        "model": "owner/name",
        "model_revision": "c0ffee",
        "datasets": [{"name": "owner/rows@c0ffee", "cap": 3}, str(tmp_path), "build:digits"],
        "eval_dataset": ["owner/rows@c0ffee"],
    }
    assert asked == [
        ("owner/name", "v1", "model"),
        ("owner/rows", "v2", "dataset"),
        ("owner/rows", None, "dataset"),
    ]
    assert commit_of(str(tmp_path), None, "model") is None and commit_of("tiny:qwen2_vl", None, "model") is None
