"""Branches and tags of the Hub move, commits stay."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

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
    except (NETWORK_ERROR, OSError, HFValidationError):  # the Hub is away, or has no such repository
        return revision
    return commit
