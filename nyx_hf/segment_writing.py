"""Writes an index folder: immutable segments beside those there are, then a manifest that is renamed into place.

A reader opens what a manifest names, so it sees all of a write or nothing. What a killed write left, and what the last
one replaced, is deleted by the next.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from nyx_hf.index_files import (
    LOCK,
    MANIFEST,
    codes_file,
    read_manifest,
    rows_file,
    segment_files,
    stale_files,
    vectors_file,
)
from nyx_hf.vector_store import StoreError

SEGMENT_ROWS = 65_536
_GROUP = 32  # rows that are read from Parquet together, to show one


@contextmanager
def locked(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Makes this process the folder's one writer, and deletes what earlier writes left behind.

    Args:
        folder: The index folder, made where it is missing.

    Yields:
        The manifest as it stands; None where there is none yet.

    Raises:
        StoreError: If another process is writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(f"{folder} is being written to by another process: try again when that is done") from error
    try:
        manifest = read_manifest(folder)
        left = stale_files(folder) if manifest is not None else {path for path, _ in segment_files(folder)}
        for path in left:
            path.unlink()
        (folder / f"{MANIFEST}.tmp").unlink(missing_ok=True)
        yield manifest
    finally:
        lock.release()


def commit(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Makes a write count: from now on readers see the segments that the manifest names."""
    draft = folder / f"{MANIFEST}.tmp"
    draft.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _sync(draft)
    draft.replace(folder / MANIFEST)


class SegmentWriter:
    """Writes segments of at most `SEGMENT_ROWS` documents, of any number of documents.

    Args:
        folder: The index folder.
        generation: Number of the write: segments are named by it.
        schema: Columns of the rows.
        dtype: `float32` or `float16`.
        codes: What makes codes of vectors; None where vectors are searched themselves.
    """

    def __init__(
        self,
        folder: Path,
        generation: int,
        schema: pa.Schema,
        dtype: str,
        codes: Callable[[np.ndarray], np.ndarray] | None,
    ) -> None:
        self._folder, self.generation, self._schema = folder, generation, schema
        self._dtype, self._codes = dtype, codes
        self._open: _Segment | None = None
        self.segments: list[dict[str, Any]] = []
        """Name and number of rows of each segment that is written."""

    def append(self, rows: pa.Table, vectors: np.ndarray) -> None:
        """Writes documents.

        Args:
            rows: Their rows, of the schema.
            vectors: float (n, dims).
        """
        done = 0
        while done < len(rows):
            segment = self._open or self._begin()
            some = slice(done, done + SEGMENT_ROWS - segment.rows)
            kept = np.ascontiguousarray(vectors[some], self._dtype)
            segment.append(rows[some], kept, None if self._codes is None else self._codes(kept))
            done += len(kept)
            if segment.rows == SEGMENT_ROWS:
                self.close()

    def close(self) -> None:
        """Ends the segment that is being written, if there is one."""
        if self._open is not None:
            self._open.close()
            self.segments.append({"name": self._open.name, "rows": self._open.rows})
            self._open = None

    def _begin(self) -> "_Segment":
        self._open = _Segment(self._folder, f"{self.generation:06d}-{len(self.segments):04d}", self._schema)
        return self._open


class _Segment:
    """One segment that is being written."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self.name, self.rows, self._folder = name, 0, folder
        self._path = folder / rows_file(name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._parquet = pq.ParquetWriter(self._path, schema, write_page_index=True)
        self._arrays: dict[str, _Rows] = {}

    def append(self, rows: pa.Table, vectors: np.ndarray, codes: np.ndarray | None) -> None:
        self._parquet.write_table(rows, row_group_size=_GROUP)
        self._array(vectors_file(self.name)).append(vectors)
        if codes is not None:
            self._array(codes_file(self.name)).append(codes)
        self.rows += len(rows)

    def close(self) -> None:
        self._parquet.close()
        _sync(self._path)
        for array in self._arrays.values():
            array.close()

    def _array(self, path: str) -> "_Rows":
        if path not in self._arrays:
            self._arrays[path] = _Rows(self._folder / path)
        return self._arrays[path]


class _Rows:
    """A .npy file that grows row by row: numpy leaves room in its header for the number of rows to grow."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        self._like: np.ndarray | None = None
        self._count = 0

    def append(self, rows: np.ndarray) -> None:
        if self._like is None:
            self._like = rows[:0]
            self._write_header()
        self._count += len(rows)
        self._file.write(np.ascontiguousarray(rows).data)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> None:
        assert self._like is not None  # a segment is begun for rows that there are
        header = np.lib.format.header_data_from_array_1_0(self._like)
        header["shape"] = (self._count, *self._like.shape[1:])
        np.lib.format.write_array_header_1_0(self._file, header)


def _sync(path: Path) -> None:
    """Sees that a file is on the disk before a manifest names it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
