"""Publishing on the Hugging Face Hub: a model, an adapter or a dataset goes up in one commit, or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from nyx_hf._version import __version__
from nyx_hf.folders import HubError, Kind, ReadyFolder, check_folder, kind_of
from nyx_hf.model_cards.blocks import fill_repo_id
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR

__all__ = ["NETWORK_ERROR", "HubError", "check_folder", "kind_of", "push_to_hub"]

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MANAGED: dict[Kind, tuple[str, ...]] = {
    "model": ("*.safetensors", "*.safetensors.index.json", "*.py", ".eval_results/*.yaml"),
    "adapter": ("*.safetensors",),
    "dataset": ("data/*", "images/*", "vectors/*"),
}
"""Files that a new version may not leave on the Hub: old shards would be read with the new ones."""


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    tag: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
    create: bool = True,
) -> CommitInfo:
    """Uploads a model, adapter or dataset folder in one commit and tags it.

    Everything is checked before anything is sent. The files become visible together, by the commit at the end: a push
    that fails before it leaves the repository at its old revision. Weights, code and data files that the folder no
    longer has are deleted in the same commit; other files on the Hub stay. `your-name/…` in the card becomes the
    repository's name.

    Args:
        folder: The folder; what it holds is told by its files.
        repo_id: Where it goes, `owner/name`.
        private: Visibility of a repository that is made now (True unless told otherwise); None leaves one that exists
            as it is, but a dataset made from its maker's own pages goes to no public one unless this is False.
        tag: Tag for the commit; one that exists is never moved.
        token: Hub token; the logged-in user's where it is left out.
        commit_message: Message of the commit.
        revision: Branch to push to, made if it is missing; `main` where it is left out.
        create: Whether to make a repository that does not exist.

    Returns:
        The commit, with its `oid` and `commit_url`.

    Raises:
        HubError: If the folder is not ready, there is no token, the tag exists, or the Hub refuses or is out of reach.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise HubError(f"{repo_id!r} is no repository name: give owner/name, such as your-name/nyx-digits")
    ready = check_folder(Path(folder), repo_id)
    token = token or get_token()
    if not token:
        raise HubError("there is no Hub token: run `hf auth login`, or set HF_TOKEN")
    api = HfApi(token=token, library_name="nyx_hf", library_version=__version__)
    repo_type = "dataset" if ready.kind == "dataset" else "model"
    branch = revision or constants.DEFAULT_REVISION
    with in_one_line(repo_id, token):
        open_repo(api, repo_id, repo_type, private, create)
        if ready.own_pages and private is None and not api.repo_info(repo_id, repo_type=repo_type).private:
            raise HubError(
                f"{repo_id} is public, and {folder} is made from its maker's own pages: push it with --public "
                "(private=False) if anybody may read them"
            )
        parent = _open_branch(api, repo_id, repo_type, branch, tag)
        commit = api.create_commit(
            repo_id,
            _operations(ready, repo_id, api.list_repo_files(repo_id, revision=parent, repo_type=repo_type)),
            commit_message=commit_message or f"Upload {ready.kind} with nyx_hf {__version__}",
            repo_type=repo_type,
            revision=branch,
            parent_commit=parent,  # the Hub refuses if someone else pushed in between
        )
    if tag is not None:
        with in_one_line(repo_id, token, done=f"{commit.oid[:10]} is up, but its tag {tag!r} is not: "):
            api.create_tag(repo_id, tag=tag, revision=commit.oid, repo_type=repo_type)
    return commit


def open_repo(api: HfApi, repo_id: str, repo_type: str, private: bool | None, create: bool) -> None:
    """Makes the repository if it is missing, and sees that an existing one has the visibility that was asked for."""
    try:
        info = api.repo_info(repo_id, repo_type=repo_type)
    except RepositoryNotFoundError as error:
        if error.response.status_code != 404:  # the Hub answers 401 where the token is bad
            raise
        if not create:
            raise HubError(f"there is no {repo_type} repository {repo_id}, and making one was ruled out") from error
        api.create_repo(repo_id, repo_type=repo_type, private=private is not False, exist_ok=True)
        return
    if private is not None and bool(info.private) != private:
        have, want = ("private", "public") if info.private else ("public", "private")
        raise HubError(f"{repo_id} is {have} already and {want} was asked for: change that in its settings on the Hub")


def _open_branch(api: HfApi, repo_id: str, repo_type: str, branch: str, tag: str | None) -> str:
    """Gives the commit that a branch stands at, making the branch if it is missing; refuses a tag that exists."""
    refs = api.list_repo_refs(repo_id, repo_type=repo_type)
    taken = {ref.name: ref.target_commit for ref in refs.tags}
    if tag is not None and tag in taken:
        raise HubError(f"{repo_id} has the tag {tag!r} already, at {taken[tag][:10]}; tags are not moved: use another")
    heads = {ref.name: ref.target_commit for ref in refs.branches}
    if branch not in heads:
        api.create_branch(repo_id, branch=branch, repo_type=repo_type)
        heads[branch] = heads[constants.DEFAULT_REVISION]
    return heads[branch]


def _operations(
    ready: ReadyFolder, repo_id: str, on_hub: list[str]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Lists what the commit adds and deletes."""
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    for file in ready.files:
        content = fill_repo_id(ready.card, repo_id).encode() if file == "README.md" else str(ready.path / file)
        operations.append(CommitOperationAdd(path_in_repo=file, path_or_fileobj=content))
    stale = sorted(set(on_hub) - set(ready.files))
    managed = _MANAGED[ready.kind]
    return operations + [CommitOperationDelete(f) for f in stale if any(fnmatch(f, p) for p in managed)]


@contextmanager
def in_one_line(repo_id: str, token: str, done: str = "") -> Iterator[None]:
    """Turns whatever the Hub or the network raises into one line that says what to do, without the token."""
    try:
        yield
    except HubError:
        raise
    except (NETWORK_ERROR, OfflineModeIsEnabled, OSError, RuntimeError, ValueError) as error:
        line = f"{done}{_explain(error, repo_id)}"
        raise HubError(" ".join(line.replace(token, "hf_…").split())) from error


def _explain(error: BaseException, repo_id: str) -> str:
    """Says in words what the Hub meant and what to do."""
    endpoint = constants.ENDPOINT
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to push"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or f"HTTP {status}"
        known = {
            401: f"{endpoint} does not accept this token: run `hf auth login`, or set HF_TOKEN to one that may write",
            403: f"this token may not write to {repo_id} ({said}): use one with write access to it",
            404: f"{repo_id} cannot be found ({said}): check the name, and that this token may see it",
            409: f"{repo_id} was changed in the meantime ({said}): push again",
            412: f"{repo_id} was changed in the meantime ({said}): push again",
        }
        return known.get(status, f"the Hub answered {status} for {repo_id} ({said}): push again")
    if isinstance(error, NETWORK_ERROR):
        return f"{endpoint} cannot be reached ({type(error).__name__}): check the network, HF_ENDPOINT and proxies"
    # the client wraps what went wrong with one large file
    why = f"{error} ({error.__cause__})" if error.__cause__ else f"{type(error).__name__}: {error}"
    return f"pushing to {repo_id} failed: {why}"
