"""Vectors on disk, by what was encoded and by which model: nothing is encoded twice, nor lost when a run is killed."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.schema import Row, present_parts

Side = Literal["query", "document"]
Pair = tuple[Sequence[Row], str | None]
_COMMIT = 16  # batches that are written together


class Encoder(Protocol):
    """What makes vectors.

    Attributes:
        name: The model's name, never a path.
        revision: Its commit, or a hash of its files; None where it is not known.
    """

    name: str
    revision: str | None

    def settings(self) -> dict[str, Any]:
        """Gives what vectors depend on besides the model: dimensions, limits."""
        ...

    def encode(self, contents: Sequence[Sequence[Row]], side: Side, instruction: str | None) -> np.ndarray:
        """Embeds contents that share an instruction: float32 (n, D), of length 1."""
        ...


class EmbeddingCache:
    """Keeps the vectors of one model in a folder, a file for every few batches.

    Args:
        folder: Where all models' vectors are kept.
        encoder: The model.
        batch_size: Contents encoded together.
    """

    def __init__(self, folder: Path, encoder: Encoder, batch_size: int = 32) -> None:
        key = content_hash([encoder.name, encoder.revision, encoder.settings()])
        self._folder, self._encoder, self._batch_size = folder / key[:16], encoder, batch_size
        self._folder.mkdir(parents=True, exist_ok=True)
        self.encoded = 0
        """Contents that were encoded, and not found."""

    def vectors(self, rows: Iterable[Pair], side: Side) -> np.ndarray:
        """Gives the vectors of contents, encoding those that are new.

        Args:
            rows: Stored parts and instruction of each.
            side: Whether they are queries or documents.

        Returns:
            Vectors, float32 (n, D), in the rows' order, in a file that is mapped into memory and goes with the array.
        """
        places = self._places()
        keys: list[str] = []
        what = {"query": "encode queries", "document": "encode documents"}[side]
        remaining = iter(tqdm(rows, desc=what, unit="row"))
        while batch := list(islice(remaining, self._batch_size * _COMMIT)):
            fresh: dict[str, Pair] = {}
            for content, instruction in batch:
                keys.append(content_hash([side, instruction, list(content)]))
                if keys[-1] not in places:
                    fresh[keys[-1]] = (content, instruction)
            if fresh:
                places |= self._add(fresh, side)
        return self._matrix(keys, places)

    def _add(self, fresh: dict[str, Pair], side: Side) -> dict[str, tuple[Path, int]]:
        """Encodes contents and keeps them: the file of keys, written last, makes the vectors count."""
        found: dict[str, np.ndarray] = {}
        for instruction in dict.fromkeys(instruction for _, instruction in fresh.values()):
            alike = [key for key, (_, asked) in fresh.items() if asked == instruction]
            for start in range(0, len(alike), self._batch_size):
                some = alike[start : start + self._batch_size]
                contents = [present_parts(fresh[key][0]) for key in some]
                found |= dict(zip(some, self._encoder.encode(contents, side, instruction), strict=True))
        keys = list(found)
        self.encoded += len(keys)
        path = self._folder / f"{content_hash(keys)[:24]}.npy"
        _write(path, lambda file: np.save(file, np.stack([found[key] for key in keys]).astype(np.float32)))
        _write(path.with_suffix(".keys"), lambda file: file.write("\n".join(keys).encode()))
        return {key: (path, row) for row, key in enumerate(keys)}

    def _places(self) -> dict[str, tuple[Path, int]]:
        """Finds every kept vector: its file and row."""
        return {
            key: (file.with_suffix(".npy"), row)
            for file in sorted(self._folder.glob("*.keys"))
            for row, key in enumerate(file.read_text().split("\n"))
        }

    def _matrix(self, keys: Sequence[str], places: dict[str, tuple[Path, int]]) -> np.ndarray:
        """Lays vectors out in order in a file without a name, which the system deletes once nobody reads it."""
        if not keys:
            return np.empty((0, 0), np.float32)
        files = {path: np.load(path, mmap_mode="r") for path in {places[key][0] for key in keys}}
        width = next(iter(files.values())).shape[1]
        with tempfile.TemporaryFile(dir=self._folder) as file:
            matrix = np.memmap(file, np.float32, "w+", shape=(len(keys), width))
        for row, key in enumerate(keys):
            path, place = places[key]
            matrix[row] = files[path][place]
        return matrix


def _write(path: Path, fill: Any) -> None:
    """Writes a file beside its place and renames it."""
    handle, beside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        fill(file)
    Path(beside).replace(path)
