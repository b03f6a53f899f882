"""`nyx-hf push --space`: an index that is on the Hub gets a Space, in one commit."""

from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_token

from nyx_hf._version import __version__
from nyx_hf.folders import HubError
from nyx_hf.hub import in_one_line, open_repo
from nyx_hf.space_folder import space_files


def push_space(
    index: str,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> CommitInfo:
    """Makes a Space that searches an index, and pushes it.

    Args:
        index: The index on the Hub, `owner/name`.
        repo_id: Where the Space goes, `owner/name`.
        private: Visibility of a Space that is made now: True unless told otherwise. None leaves one that exists as it
            is.
        token: Hub token; the logged-in user's where it is left out.
        revision: The index's branch, tag or commit.
        commit_message: Message of the commit.

    Returns:
        The commit, with its `oid` and `commit_url`.

    Raises:
        HubError: If there is no such index or no token, or the Hub refuses or is out of reach.
    """
    if Path(index).exists():
        raise HubError(f"{index} is a folder: push the index first, then name it by owner/name for its Space")
    token = token or get_token()
    if not token:
        raise HubError("there is no Hub token: run `hf auth login`, or set HF_TOKEN")
    api = HfApi(token=token, library_name="nyx_hf", library_version=__version__)
    with in_one_line(index, token):
        files = space_files(index, revision, token)
    with in_one_line(repo_id, token):
        if not api.repo_exists(repo_id, repo_type="space"):
            api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private is not False)
        open_repo(api, repo_id, "space", private, create=False)
        return api.create_commit(
            repo_id,
            [CommitOperationAdd(name, text.encode()) for name, text in files.items()],
            commit_message=commit_message or f"Search {index} with nyx_hf {__version__}",
            repo_type="space",
        )
