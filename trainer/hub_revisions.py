"""The commits of what a run was made from: branches and tags move, commits stay."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from nyx_hf.trainer.dataset_specs import BUILD, DatasetSpec

# the HTTP client's own base error: httpx's with huggingface_hub 1, httpx2's with 2
NETWORK_ERROR: type[BaseException] = HfHubHTTPError.__bases__[0]


def commit_of(name: str, revision: str | None, repo_type: str) -> str | None:
    """Finds the commit that a revision of a Hub repository stands for.

    Args:
        name: `owner/name`, or a local folder.
        revision: branch, tag or commit; None is the main branch.
        repo_type: `model` or `dataset`.

    Returns:
        The commit; the revision as it was given where the Hub does not answer, None for a folder.
    """
    if Path(name).exists() or ":" in name:
        return None
    try:
        commit: str | None = HfApi().repo_info(name, revision=revision, repo_type=repo_type).sha
    except (NETWORK_ERROR, OSError):  # the Hub is away, or has no such repository
        return revision
    return commit


def pinned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Writes commits into a run's settings, so that it can be repeated on the same weights and rows.

    Args:
        values: settled values by key.

    Returns:
        The same, with `model_revision` and each dataset's revision as commits.
    """
    found = dict(values)
    commit = commit_of(values["model"], values.get("model_revision"), "model")
    if commit is not None:
        found["model_revision"] = commit
    for key in ("datasets", "eval_dataset"):
        named = values.get(key) or []
        found |= {key: [_pinned(one) for one in (named if isinstance(named, list) else [named])]} if named else {}
    return found


def _pinned(dataset: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(dataset, dict):
        return {**dataset, "name": _pinned(dataset["name"])}
    spec = DatasetSpec(dataset)
    commit = None if dataset.startswith(BUILD) else commit_of(spec.folder_or_repo, spec.revision, "dataset")
    return dataset if commit is None else f"{spec.folder_or_repo}@{commit}"
