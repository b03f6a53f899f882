"""Reads a dataset's configs with `load_dataset`, and never another folder's rows from its cache."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is public, by its docs


def check_name(name: str) -> None:
    """Refuses what is neither on this machine nor a name that the Hub could have.

    Args:
        name: Of a model or a dataset: a path, `name` or `owner/name`.

    Raises:
        ValueError: It is neither.
    """
    if Path(name).exists():
        return
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name} is neither a folder nor a Hub name (owner/name): check the path") from error


def load_tables(
    path_or_repo: str | Path, configs: Iterable[str], revision: str | None = None
) -> dict[str, DatasetDict]:
    """Reads configs of a dataset folder or a Hub dataset.

    `load_dataset` keeps what it read of a folder under the folder's bare name: of two folders that are both named
    `dataset`, or of one that was written anew, it would give the rows it saw first. So the state of a folder's files
    goes into the name.

    Args:
        path_or_repo: Folder or `owner/name`.
        configs: Names of the configs.
        revision: The Hub's branch, tag or commit; unused for a folder.

    Returns:
        Each config's splits.

    Raises:
        ValueError: If there is no such dataset or config, or its files do not agree with each other.
    """
    check_name(str(path_or_repo))
    folder = Path(path_or_repo)
    # a description changes nothing but where the cache keeps the rows
    known_by = {"description": _fingerprint(folder)} if folder.is_dir() else {}
    tables = {}
    for config in configs:
        try:
            tables[config] = load_dataset(str(path_or_repo), config, revision=revision, **known_by)
        except DatasetGenerationError as error:
            why = " ".join(str(error.__cause__ or error).split())[:400]
            raise ValueError(
                f"{config} cannot be read: its files are broken, or have not all the same columns ({why})"
            ) from error
    return tables


def _fingerprint(folder: Path) -> str:
    """Tells a folder's state by the places, sizes and times of its files."""
    digest = sha256(str(folder.resolve()).encode())
    for path in sorted(folder.rglob("*.parquet")):
        state = path.stat()
        digest.update(f"\0{path.relative_to(folder)}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()
