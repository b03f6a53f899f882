"""Opens a retriever by name: our own models, any of sentence-transformers', or BM25."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from sentence_transformers import SentenceTransformer

from nyx_hf.data_builders.embedding_cache import Encoder, Side
from nyx_hf.data_builders.loading import check_name
from nyx_hf.data_builders.schema import Row, present_parts
from nyx_hf.data_builders.searching import DenseSearcher, LexicalSearcher, Searcher
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.hub_revisions import commit_of

_END = 1_000_000  # bytes
EMBEDDINGS = Path(constants.HF_HOME) / "nyx_hf" / "embeddings"


def load_searcher(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    batch_size: int = 32,
    device: str | None = None,
) -> Searcher:
    """Opens what finds documents.

    Args:
        name: `bm25`, or the folder or Hub name of a model.
        revision: The Hub's branch, tag or commit.
        cache_dir: Where vectors are kept; a folder under HF_HOME where it is None.
        batch_size: Contents encoded together.
        device: Where the model computes.

    Returns:
        The searcher.

    Raises:
        ValueError: If there is no such model.
    """
    if name == "bm25":
        return LexicalSearcher()
    return DenseSearcher(load_encoder(name, revision, device), cache_dir or EMBEDDINGS, batch_size, device)


def load_encoder(name: str, revision: str | None = None, device: str | None = None) -> Encoder:
    """Opens a model that makes vectors.

    Args:
        name: Its folder or Hub name.
        revision: The Hub's branch, tag or commit.
        device: Where it computes.

    Returns:
        The encoder.

    Raises:
        ValueError: If it is not there, or neither one of ours nor one of sentence-transformers'.
    """
    check_name(name)
    folder = Path(name)
    commit = folder_hash(folder) if folder.is_dir() else commit_of(name, revision or "main", "model")
    shown = folder.resolve().name if folder.is_dir() else name
    try:
        if _is_ours(name, commit):
            model = NyxModel.from_pretrained(name, **({} if folder.is_dir() else {"revision": commit}))
            return NyxEncoder(shown, commit, model if device is None else model.to(device))
        return SentenceEncoder(
            shown, commit, SentenceTransformer(name, device=device, revision=None if folder.is_dir() else commit)
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be opened as a retriever: {' '.join(str(error).split())[:300]}") from error


@dataclass
class NyxEncoder:
    """One of our models."""

    name: str
    revision: str | None
    model: NyxModel = field(repr=False)

    def settings(self) -> dict[str, Any]:
        """Gives nothing: all that vectors depend on stands in the model's folder."""
        return {}

    def encode(self, contents: Sequence[Sequence[Row]], side: Side, instruction: str | None) -> np.ndarray:
        """Embeds contents of any mix."""
        items = [{"content": list(content)} for content in contents]
        encode = self.model.encode_query if side == "query" else self.model.encode_document
        prompt = {} if instruction is None else {"prompt": instruction}
        vectors: np.ndarray = encode(items, batch_size=len(items), show_progress_bar=False, **prompt)
        return vectors


@dataclass
class SentenceEncoder:
    """One of sentence-transformers' models: for texts, or for what else it reads."""

    name: str
    revision: str | None
    model: SentenceTransformer = field(repr=False)

    def settings(self) -> dict[str, Any]:
        """Gives the length at which texts are cut."""
        return {"max_seq_length": self.model.max_seq_length}

    def encode(self, contents: Sequence[Sequence[Row]], side: Side, instruction: str | None) -> np.ndarray:
        """Embeds contents; an instruction is put before them where the model has prompts, and left out elsewhere.

        Raises:
            ValueError: If a content holds what the model does not read.
        """
        inputs = [self._input(content) for content in contents]
        encode = self.model.encode_query if side == "query" else self.model.encode_document
        prompt = {"prompt": instruction} if instruction is not None and any(self.model.prompts.values()) else {}
        how: dict[str, Any] = {"show_progress_bar": False, "normalize_embeddings": True, **prompt}
        vectors: list[np.ndarray | None] = [None] * len(inputs)
        for kind in dict.fromkeys(type(one) for one in inputs):  # a batch is of one kind
            numbers = [number for number, one in enumerate(inputs) if type(one) is kind]
            found = encode([inputs[number] for number in numbers], batch_size=len(numbers), **how)
            for number, vector in zip(numbers, found, strict=True):
                vectors[number] = vector
        return np.stack([vector for vector in vectors if vector is not None])

    def _input(self, content: Sequence[Row]) -> Any:
        """Gives a text, an image, or a chat message of both, as far as the model reads them."""
        kinds = {part["type"] for part in content}
        if kinds == {"text"}:
            return "\n\n".join(part["text"] for part in content)
        if "video" not in kinds and self.model.supports("image"):
            images = [part for part in content if part["type"] == "image"]
            if len(content) == 1:
                return load_image(images[0]["image"])
            if self.model.supports(("image", "text")):
                parts = [
                    part if part["type"] == "text" else {"type": "image", "image": load_image(part["image"])}
                    for part in content
                ]
                return [{"role": "user", "content": present_parts(parts)}]
        named = " and ".join(sorted(kinds))
        raise ValueError(
            f"{self.name} reads {', '.join(map(str, self.model.modalities))}, and found a content of {named}; take a "
            "mixed-modal retriever"
        )


def _is_ours(name: str, commit: str | None) -> bool:
    """Whether a model's config carries our settings."""
    file = Path(name) / "config.json"
    if not Path(name).is_dir():
        try:
            file = Path(hf_hub_download(name, "config.json", revision=commit))
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return False
    return file.is_file() and "nyx" in json.loads(file.read_text(encoding="utf-8"))


def folder_hash(folder: Path) -> str:
    """Tells a local model by its files: the same wherever it is copied to. Of weights their ends and size will do.

    Args:
        folder: The model's folder.

    Returns:
        The first twelve hexadecimal digits of a hash.
    """
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".bin", ".txt", ".py"))
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_END))
            file.seek(max(0, size - _END))
            digest.update(file.read(_END))
    return digest.hexdigest()[:12]
