"""What a folder is (model, adapter or dataset) and whether it is ready for the Hub. No network is touched here."""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import RepoCard

from nyx_hf.index_files import stale_files
from nyx_hf.model_cards.dataset_card import OWN_PAGES

Kind = Literal["model", "adapter", "dataset"]

IGNORED = (
    *("checkpoint-*", "global_step*", "runs", "wandb", "__pycache__", "*.pyc", "*.tmp", "*.lock", ".*"),
    *("optimizer*.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth", "trainer_state.json", "training_args.bin"),
    *("objective_optimizer.pt", "sampler.json", "run.json", "not_finite_*.json"),
)
"""Names of files and folders that stay at home: training state, caches, half-written and hidden files."""

SHOWN = ".eval_results"
"""The hidden folder that goes up: the Hub reads a model's results for its own leaderboards there."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_HOME_PATH = re.compile(r"(?<![\w./:])(?:/home/|/Users/|/root/|file:///|[A-Za-z]:\\Users\\)\S*")


class HubError(RuntimeError):
    """A folder is not ready for the Hub, or the Hub refused; the message says what to do."""


@dataclass(frozen=True)
class ReadyFolder:
    """A folder that passed every check.

    Attributes:
        path: The folder.
        kind: What it holds.
        files: What is uploaded, relative to it, in order.
        card: Text of its README.md.
        own_pages: Whether its card says that it is made from its maker's own pages.
    """

    path: Path
    kind: Kind
    files: tuple[str, ...]
    card: str
    own_pages: bool = False


def check_folder(path: Path, repo_id: str) -> ReadyFolder:
    """Checks that a folder is complete and fit to be seen, before anything is sent.

    Args:
        path: The folder.
        repo_id: Where it is to go, `owner/name`.

    Returns:
        The folder, its kind, its files and its card.

    Raises:
        HubError: If it is no folder, its kind is not clear, its card is missing, has no licence or names a local path,
            or a file that it needs is missing.
    """
    kind = kind_of(path)
    files = files_to_push(path)
    card = _card_text(path)
    metadata = _metadata(path, card)
    _check_licence(path, metadata)
    _check_card_body(path, card)
    if kind == "dataset":
        _check_dataset(path, files, metadata, repo_id)
    elif kind == "adapter":
        _check_adapter(path)
    else:
        _check_model(path)
    return ReadyFolder(path, kind, files, card, bool(metadata.get(OWN_PAGES)))


def kind_of(path: Path) -> Kind:
    """Tells a model from an adapter and a dataset by their files.

    Args:
        path: The folder.

    Returns:
        `adapter` (adapter_config.json), `model` (config.json) or `dataset` (Parquet files under data/).

    Raises:
        HubError: If it is no folder, or none of the three.
    """
    if not path.is_dir():
        raise HubError(f"{path} is not a folder; give the folder that holds the model, adapter or dataset")
    kind = _kind(path)
    if kind is not None:
        return kind
    inside = [child.name for child in sorted(path.iterdir()) if child.is_dir() and _kind(child) is not None]
    hint = f"; it holds {' and '.join(inside)}: push {path / inside[0]}" if inside else ""
    raise HubError(
        f"{path} is no model (config.json), adapter (adapter_config.json) or dataset (data/**/*.parquet){hint}"
    )


def files_to_push(path: Path) -> tuple[str, ...]:
    """Lists the files of a folder that go to the Hub, relative to it, in order; of an index those that are in use."""
    stale = stale_files(path)
    relative = (file.relative_to(path) for file in path.rglob("*") if file.is_file() and file not in stale)
    return tuple(sorted(file.as_posix() for file in relative if not any(map(_is_ignored, file.parts))))


def _is_ignored(name: str) -> bool:
    return name != SHOWN and any(fnmatch(name, pattern) for pattern in IGNORED)


def _kind(path: Path) -> Kind | None:
    if (path / "adapter_config.json").is_file():
        return "adapter"
    if (path / "config.json").is_file():
        return "model"
    return "dataset" if next(path.glob("data/**/*.parquet"), None) is not None else None


def _card_text(path: Path) -> str:
    card = path / "README.md"
    if not card.is_file():
        raise HubError(f"{path} has no card: write README.md (nyx_hf.model_cards makes one from facts)")
    return card.read_text(encoding="utf-8")


def _metadata(path: Path, card: str) -> dict[str, Any]:
    """Reads the card's YAML block."""
    try:
        data: Any = RepoCard(card, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError) as error:
        raise HubError(f"the YAML block of {path / 'README.md'} cannot be read: {error}") from error
    metadata: dict[str, Any] = data.to_dict()
    return metadata


def _check_licence(path: Path, metadata: dict[str, Any]) -> None:
    card = path / "README.md"
    licence = metadata.get("license")
    if not licence:
        raise HubError(f"{card} has no licence: add `license: …` (such as apache-2.0) to its YAML block")
    if licence != "other":
        return
    name, link = metadata.get("license_name"), metadata.get("license_link")
    if not name or not link:
        raise HubError(f"{card} has `license: other`: add license_name and license_link to its YAML block")
    if "://" not in link and not (path / link).is_file():
        raise HubError(f"{card} names the licence file {link}, which is not in {path}: add it")


def _check_card_body(path: Path, card: str) -> None:
    """Refuses what would break or tell too much on the Hub: local paths, pictures that are not there."""
    # a folder's own place may stand in a command or a snippet; home folders name a person
    own = [str(place) for place in (path.resolve(), path.resolve().parent) if len(place.parts) > 2]
    for number, line in enumerate(card.splitlines(), start=1):
        home = _HOME_PATH.search(line)
        found = home.group() if home else next((place for place in own if place in line), None)
        if found:
            raise HubError(f"{path / 'README.md'} line {number} names the local path {found}: write it without")
    for picture in _PICTURE.findall(card):
        if "://" not in picture and not (path / picture).is_file():
            raise HubError(f"{path / 'README.md'} shows {picture}, which is not in {path}: add the file")


def _check_model(path: Path) -> None:
    """A model has whole weights, the code its config names, and the folders its modules.json names."""
    config = _read_json(path / "config.json")
    _check_weights(path)
    for target in config.get("auto_map", {}).values():
        code = path / f"{target.split('--')[-1].split('.')[0]}.py"
        if "--" not in target and not code.is_file():
            raise HubError(f"config.json names the code {code.name}, which is not in {path}: save the model again")
    if (path / "modules.json").is_file():
        for module in _read_json(path / "modules.json"):
            if module["path"] and not (path / module["path"]).is_dir():
                raise HubError(f"modules.json names {module['path']}, which is not in {path}: save the model again")


def _check_weights(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    shards = set(_read_json(index)["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    missing = sorted(shard for shard in shards if not (path / shard).is_file() or not (path / shard).stat().st_size)
    if missing:
        raise HubError(f"{path} lacks weights: {', '.join(missing)}; save the model again (safetensors)")


def _check_adapter(path: Path) -> None:
    """An adapter has its weights and names a base model that others can load."""
    weights = path / "adapter_model.safetensors"
    if not weights.is_file() or not weights.stat().st_size:
        raise HubError(f"{path} lacks adapter_model.safetensors: save the adapter again")
    base = _read_json(path / "adapter_config.json").get("base_model_name_or_path")
    # a relative folder can look just like a Hub name
    if not base or not _HUB_ID.fullmatch(base) or Path(base).exists():
        raise HubError(
            f"adapter_config.json names the base model {base!r}, which others cannot load: "
            "set base_model_name_or_path to its Hub name"
        )


def _check_dataset(path: Path, files: tuple[str, ...], metadata: dict[str, Any], repo_id: str) -> None:
    """A dataset's card lists its configs, their files are there and whole, and no script stands in the way."""
    script = f"{repo_id.rsplit('/', 1)[-1]}.py"
    if script in files:
        raise HubError(f"{path / script} would be taken for a loading script, which datasets does not run: rename it")
    if not metadata.get("configs"):
        raise HubError(f"{path / 'README.md'} has no `configs:`: list each config's files in its YAML block")
    for config in metadata["configs"]:
        for pattern in _patterns(config.get("data_files")):
            if not any(fnmatch(file, pattern) for file in files):
                raise HubError(f"config {config.get('config_name')!r} names {pattern}, but {path} has no such file")
    for file in files:
        if file.endswith(".parquet") and not _is_whole_parquet(path / file):
            raise HubError(f"{path / file} is not a whole Parquet file: write it again")


def _patterns(data_files: Any) -> list[str]:
    """Lists the file patterns of one config, in any of the forms that the Hub allows."""
    if isinstance(data_files, str):
        return [data_files]
    if isinstance(data_files, dict):
        data_files = [{"path": path} for path in data_files.values()]
    entries = [entry["path"] if isinstance(entry, dict) else entry for entry in data_files or []]
    return [pattern for entry in entries for pattern in ([entry] if isinstance(entry, str) else entry)]


def _is_whole_parquet(path: Path) -> bool:
    """Whether a file begins and ends as Parquet does; a write that was cut off does not."""
    if path.stat().st_size < 12:
        return False
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        return head == file.read(4) == b"PAR1"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} cannot be read as JSON: {error}") from error
