"""Which model an index was made with, and where it is: a search then needs no `--model`."""

from pathlib import Path

from huggingface_hub import constants

from nyx_hf.data_builders.embedding_cache import Encoder
from nyx_hf.retrievers import load_encoder
from nyx_hf.vector_store import StoreError, StoreProperties

_FOLDERS = Path(constants.HF_HOME) / "nyx_hf" / "model_folders"


def remember_folder(model: str, revision: str | None) -> None:
    """Keeps where a model's folder is, under its hash: on this machine alone, as an index names no path.

    Args:
        model: What the model was opened by; a Hub name needs no keeping.
        revision: Its hash.
    """
    if Path(model).is_dir() and revision is not None:
        _FOLDERS.mkdir(parents=True, exist_ok=True)
        draft = _FOLDERS / f".{revision}.tmp"
        draft.write_text(str(Path(model).resolve()), encoding="utf-8")
        draft.replace(_FOLDERS / revision)


def model_of(properties: StoreProperties, model: str | None, revision: str | None) -> tuple[str, str | None]:
    """Says which model to open for an index.

    Args:
        properties: The index's.
        model: A folder or Hub name that was asked for; None for the index's own.
        revision: A revision that was asked for.

    Returns:
        Folder or Hub name, and revision; of the index's own model precisely its revision.

    Raises:
        StoreError: If it is a folder that is not known here.
    """
    if model is not None:
        return model, revision
    if "/" in properties.model:
        return properties.model, revision or properties.revision
    kept = _FOLDERS / (properties.revision or "unknown")
    if kept.is_file() and (folder := Path(kept.read_text(encoding="utf-8"))).is_dir():
        return str(folder), None
    raise StoreError(
        f"the index was made with a model in a folder, {properties.shown_model}, which is not known on this machine: "
        "name its folder with --model"
    )


def open_model(
    properties: StoreProperties, model: str | None, revision: str | None, device: str | None = None
) -> Encoder:
    """Opens the model that encodes queries for an index.

    Raises:
        StoreError: If it is not the one that the index was made with.
        ValueError: If it cannot be opened.
    """
    name, revision = model_of(properties, model, revision)
    encoder = load_encoder(name, revision, device)
    properties.check_model(encoder.name, encoder.revision, encoder.settings())
    remember_folder(name, encoder.revision)
    return encoder
