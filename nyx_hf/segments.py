"""Reads an index folder as one of its manifests describes it: rows in Parquet, vectors mapped into memory."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nyx_hf.index_files import codes_file, read_manifest, rows_file, vectors_file
from nyx_hf.vector_store import StoreError

FORMAT = 1
_DECODED = 4096  # rows that are decoded at a time, few enough to stay in the processor's cache
_TRIES = 20  # a writer may replace and delete files while they are being opened


def open_segments(folder: Path) -> "Segments":
    """Opens the newest state of an index folder.

    All files are opened at once, so that a later write can delete them without being felt.

    Raises:
        StoreError: If there is no index, it is of another format, or files are missing.
    """
    missing: OSError | None = None
    for _ in range(_TRIES):
        manifest = read_manifest(folder)
        if manifest is None or "segments" not in manifest:
            raise StoreError(
                f"{folder} holds no index: make one with nyx-hf index DATASET --model MODEL --out {folder}"
            )
        if manifest.get("format") != FORMAT:
            raise StoreError(
                f"{folder} is an index of format {manifest.get('format')}, and this version reads format {FORMAT}: "
                "index the documents anew, or install the version of nyx_hf that made it"
            )
        try:
            return Segments(folder, manifest)
        except FileNotFoundError as error:
            missing = error
    raise StoreError(
        f"{folder} lacks {missing.filename if missing else 'files'}, which its manifest names: copy it anew"
    )


class Segments:
    """Documents by number, from 0, in the order of the segments.

    Args:
        folder: The index folder.
        manifest: One of its manifests.

    Raises:
        FileNotFoundError: If a file is gone.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self.names = [segment["name"] for segment in manifest["segments"]]
        counts = [segment["rows"] for segment in manifest["segments"]]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._vectors = [np.load(folder / vectors_file(name), mmap_mode="r") for name in self.names]
        self._codes = [
            np.load(folder / codes_file(name), mmap_mode="r") if manifest["codes"] else vectors
            for name, vectors in zip(self.names, self._vectors, strict=True)
        ]
        self._files = [pq.ParquetFile(folder / rows_file(name), memory_map=True) for name in self.names]
        self._groups = [_group_starts(file.metadata) for file in self._files]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def scalars(self) -> pa.Table:
        """Ids and the columns that can be filtered by, in memory."""
        columns = ["id", *self.manifest["properties"]["columns"]]
        tables = [file.read(columns=columns) for file in self._files]
        return pa.concat_tables(tables).combine_chunks() if tables else pa.table({name: [] for name in columns})

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each id."""
        return {name: number for number, name in enumerate(self.scalars["id"].to_pylist())}

    def ids(self, numbers: np.ndarray) -> list[str]:
        """Gives the ids of numbers."""
        found: list[str] = self.scalars["id"].take(pa.array(numbers)).to_pylist()
        return found

    def blocks(self, counted: np.ndarray | None = None, codes: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Goes through the documents: a segment at a time, or, what must be decoded first, a few thousand.

        Args:
            counted: Whether each document counts, bool (N,); all where it is None.
            codes: Whether to give what is searched first, or the vectors themselves.

        Yields:
            Numbers, int64 (n,), and codes or vectors (n, …); without a filter as they lie on disk.
        """
        for at, stored in enumerate(self._codes if codes else self._vectors):
            size = len(stored) if stored.dtype in (np.float32, np.uint8) else _DECODED
            for first in range(0, len(stored), size):
                block = stored[first : first + size]
                start = int(self.starts[at]) + first
                if counted is None:
                    yield np.arange(start, start + len(block)), block
                elif len(rows := np.flatnonzero(counted[start : start + len(block)])):
                    yield start + rows, block[rows]

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """Gives vectors: float32 (n, dims)."""
        numbers = np.asarray(numbers)
        places = np.searchsorted(self.starts, numbers, side="right") - 1
        found = np.empty((len(numbers), self.manifest["properties"]["dims"]), np.float32)
        for at in np.unique(places):
            mine = places == at
            found[mine] = self._vectors[at][numbers[mine] - self.starts[at]]
        return found

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Reads whole rows, in the order of the numbers; only the row groups that they stand in."""
        places = np.searchsorted(self.starts, numbers, side="right") - 1
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for slot, (number, at) in enumerate(zip(numbers, places.tolist(), strict=True)):
            row = number - int(self.starts[at])
            group = int(np.searchsorted(self._groups[at], row, side="right")) - 1
            wanted.setdefault((at, group), []).append((slot, row - int(self._groups[at][group])))
        found: dict[int, dict[str, Any]] = {}
        for (at, group), slots in wanted.items():
            table = self._files[at].read_row_group(group)
            read = table.take(pa.array([row for _, row in slots])).to_pylist()
            found |= {slot: row for (slot, _), row in zip(slots, read, strict=True)}
        return [found[slot] for slot in range(len(numbers))]

    def tables(self, segment: int, kept: np.ndarray) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Reads a segment group by group, for a writer: rows and vectors of those kept, bool (rows,)."""
        groups = self._groups[segment]
        for group, (start, end) in enumerate(pairwise(groups)):
            mask = kept[start:end]
            if mask.any():
                table = self._files[segment].read_row_group(group).filter(pa.array(mask))
                yield table, self._vectors[segment][start:end][mask]


def _group_starts(metadata: pq.FileMetaData) -> np.ndarray:
    """Gives the row that each row group begins at, and the number of rows last."""
    rows = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    return np.cumsum([0, *rows])
