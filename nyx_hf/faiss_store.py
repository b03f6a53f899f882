"""The vector store that is a folder: vectors mapped into memory, searched by faiss on the CPU, without a server."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Features, Value

from nyx_hf.coarse_search import Coarse, Exact, best, coarse, rescored
from nyx_hf.data_builders.schema import DOC
from nyx_hf.index_files import LOCK, ROWS, VECTORS, read_manifest
from nyx_hf.segment_writing import SegmentWriter, commit, locked
from nyx_hf.segments import FORMAT, Segments, open_segments
from nyx_hf.vector_store import Batch, StoreError, StoreProperties, Where, checked_vectors, checked_where

_DTYPES = ("float32", "float16")
_SMALL, _MANY = 4096, 8  # so many segments of fewer rows are made one


class FaissStore:
    """Vectors in a folder; see `VectorStore` for what its methods do.

    Options of `StoreProperties`: `search`, `prefix` and `oversample` as in `coarse_search.coarse`, and `dtype`,
    float32 or float16. All vectors are kept whole, whatever the search: scores are exact.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(
        self, folder: Path, properties: StoreProperties, segments: Segments | None, overwrite: bool = False
    ) -> None:
        self.folder, self.properties = folder, properties
        self._segments, self._overwrite = segments, overwrite
        self._way: Coarse = coarse(properties.options, properties.dims)

    @classmethod
    def create(cls, place: str, properties: StoreProperties, overwrite: bool = False) -> "FaissStore":
        """Makes an empty store; the folder is written by the first `upsert`.

        Raises:
            FileExistsError: If the folder holds something else, or an index that may not be replaced.
            StoreError: If an option is out of range.
        """
        unknown = set(properties.options) - {"search", "prefix", "oversample", "dtype"}
        if unknown:
            raise StoreError(f"found the option {min(unknown)!r}, which the store faiss does not have")
        if _dtype(properties) not in _DTYPES:
            raise StoreError(f"found the dtype {_dtype(properties)!r}, expected one of {', '.join(_DTYPES)}")
        _check_free(Path(place), overwrite)
        return cls(Path(place), properties, None, overwrite)

    @classmethod
    def open(cls, place: str, search: str | None = None) -> "FaissStore":
        """Opens a store as it is now.

        Args:
            place: The folder.
            search: `exact` goes through all vectors, whatever the store was told when it was made.

        Raises:
            StoreError: If there is none, or `search` is another than that of the store and not `exact`.
        """
        folder = Path(place)
        segments = open_segments(folder)
        store = cls(folder, StoreProperties(**segments.manifest["properties"]), segments)
        made = store.properties.options.get("search", "exact")
        if search not in (None, made, "exact"):
            raise StoreError(f"found the search {search!r}, expected {made}, as the index was made, or exact")
        if search == "exact":
            store._way = Exact()
        return store

    @property
    def segment_names(self) -> list[str]:
        """The segments in use."""
        return [] if self._segments is None else list(self._segments.names)

    @property
    def generation(self) -> int:
        """How often the folder was written to."""
        return 0 if self._segments is None else int(self._segments.manifest["generation"])

    @property
    def search_kind(self) -> str:
        """How the store is searched."""
        return "exact" if isinstance(self._way, Exact) else str(self.properties.options["search"])

    def __len__(self) -> int:
        return 0 if self._segments is None else len(self._segments)

    def known(self, ids: Collection[str]) -> set[str]:
        """Gives those of the ids that are stored."""
        return set() if self._segments is None else {name for name in ids if name in self._segments.numbers}

    def upsert(self, batches: Iterable[Batch]) -> None:
        """Stores documents, replacing those of the same id; readers see all of it at once."""
        with self._write() as (segments, writer):
            added: set[str] = set()
            for batch in batches:
                for name in batch.ids:
                    if name in added:
                        raise StoreError(
                            f"found the id {name!r} twice, expected each once: rename or drop one document"
                        )
                    added.add(name)
                writer.append(self._rows(batch), batch.vectors)
            kept = self._carry_over(segments, writer, added)
            writer.close()
            self._commit(kept, writer)

    def delete(self, ids: Collection[str]) -> int:
        """Removes documents: the segments that they stand in are written anew without them."""
        with self._write() as (segments, writer):
            gone = set() if segments is None else {name for name in ids if name in segments.numbers}
            if gone:
                kept = self._carry_over(segments, writer, gone)
                writer.close()
                self._commit(kept, writer)
        return len(gone)

    def search(self, vectors: np.ndarray, k: int, where: Where | None = None) -> tuple[np.ndarray, list[list[str]]]:
        """Finds the nearest documents, exactly or among candidates; scores are exact always."""
        queries = checked_vectors(vectors, self.properties.dims, "queries")
        if k < 1:
            raise StoreError(f"found k={k}, expected 1 or more")
        counted = self._counted(where)
        total = len(self) if counted is None else int(counted.sum())
        if self._segments is None or not total or not len(queries):
            return np.empty((len(queries), 0), np.float32), [[] for _ in queries]
        k, wanted = min(k, total), min(k * self._way.oversample, total)
        if isinstance(self._way, Exact):
            scores, numbers = best(self._way, queries, self._segments.blocks(counted, codes=False), k)
        else:
            _, candidates = best(self._way, self._way.queries(queries), self._segments.blocks(counted), wanted)
            scores, numbers = rescored(queries, candidates, self._segments.vectors, k)
        flat = self._segments.ids(numbers.ravel())
        return scores, [flat[start : start + k] for start in range(0, len(flat), k)]

    def take(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Gives metadata, `content` among it, in the order of the ids; the id stands in it too."""
        if self._segments is None:
            raise KeyError(next(iter(ids)))
        return self._segments.rows([self._segments.numbers[name] for name in ids])

    def batches(self) -> Iterator[Batch]:
        """Reads the whole store, group by group."""
        if self._segments is not None:
            for at, rows in enumerate(np.diff(self._segments.starts)):
                for table, vectors in self._segments.tables(at, np.ones(rows, bool)):
                    yield Batch(table["id"].to_pylist(), np.asarray(vectors, np.float32), table)

    @contextmanager
    def _write(self) -> Iterator[tuple[Segments | None, SegmentWriter]]:
        """Locks the folder and reads what stands there: another writer may have been at work since it was opened."""
        with locked(self.folder) as manifest:
            if self._segments is None:
                _check_free(self.folder, self._overwrite)
            segments = None if self._segments is None else open_segments(self.folder)
            generation = 1 + (0 if manifest is None else manifest["generation"])
            way = coarse(self.properties.options, self.properties.dims)
            codes = way.codes if _has_codes(self.properties) else None
            yield segments, SegmentWriter(self.folder, generation, self._schema(), _dtype(self.properties), codes)

    def _carry_over(self, segments: Segments | None, writer: SegmentWriter, gone: set[str]) -> list[dict[str, Any]]:
        """Writes anew what stays of segments with documents that go, and of many small ones; gives the others."""
        if segments is None:
            return []
        stays = np.ones(len(segments), bool)
        stays[[segments.numbers[name] for name in gone if name in segments.numbers]] = False
        old: list[dict[str, Any]] = segments.manifest["segments"]
        small = [at for at, one in enumerate(old) if one["rows"] < _SMALL]
        merged = set(small) if len(small) >= _MANY else set()
        untouched = []
        for at, one in enumerate(old):
            mask = stays[segments.starts[at] : segments.starts[at + 1]]
            if mask.all() and at not in merged:
                untouched.append(one)
            else:
                for rows, vectors in segments.tables(at, mask):
                    writer.append(rows, vectors)
        return untouched

    def _commit(self, kept: list[dict[str, Any]], writer: SegmentWriter) -> None:
        found = [*kept, *writer.segments]
        manifest = {
            "format": FORMAT,
            "generation": writer.generation,
            "properties": asdict(self.properties),
            "codes": _has_codes(self.properties),
            "documents": sum(one["rows"] for one in found),
            "segments": found,
        }
        commit(self.folder, manifest)
        self._segments = open_segments(self.folder)

    def _schema(self) -> pa.Schema:
        """Rows as `load_dataset` reads them: images are images there, too."""
        scalars = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in self.properties.columns.items()])
        return Features({"id": Value("string"), "content": DOC, **Features.from_arrow_schema(scalars)}).arrow_schema

    def _rows(self, batch: Batch) -> pa.Table:
        """Brings a batch's rows into the store's columns; those that it does not have are null."""
        checked_vectors(batch.vectors, self.properties.dims, "documents")
        schema = self._schema()
        if unknown := [name for name in batch.metadata.column_names if name not in schema.names]:
            raise StoreError(f"found the column {unknown[0]!r}, expected {', '.join(self.properties.columns)}")
        columns = {name: batch.metadata[name] for name in batch.metadata.column_names} | {"id": pa.array(batch.ids)}
        given = len(batch.ids)
        if len(batch.vectors) != given or len(batch.metadata) not in (0, given):
            raise StoreError(f"found {given} ids and {len(batch.vectors)} vectors, expected equally many")
        return pa.table([columns.get(one.name, pa.nulls(given, one.type)) for one in schema], names=schema.names).cast(
            schema
        )

    def _counted(self, where: Where | None) -> np.ndarray | None:
        """Tells which documents fit a filter: bool (N,); None where there is no filter."""
        checked = checked_where(where, self.properties.columns)
        if self._segments is None or not len(self) or not checked:
            return None
        scalars = self._segments.scalars
        fits = [pc.is_in(scalars[column], value_set=values, skip_nulls=True) for column, values in checked.items()]
        return np.logical_and.reduce([one.to_numpy() for one in fits])


def _dtype(properties: StoreProperties) -> str:
    return str(properties.options.get("dtype", "float32"))


def _has_codes(properties: StoreProperties) -> bool:
    return properties.options.get("search", "exact") != "exact"


def _check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that holds something else, or an index that may not be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"found a file at {folder}, expected a folder or nothing: choose another path")
    names = {path.name for path in folder.iterdir()}
    if "segments" in (read_manifest(folder) or {}):
        if not overwrite:
            raise FileExistsError(
                f"{folder} holds an index already: add to it with --add or --update, or replace it with --overwrite"
            )
    elif names and not (
        LOCK in names and names <= {LOCK, ROWS.split("/")[0], VECTORS}
    ):  # a first write that was killed
        raise FileExistsError(f"found {min(names)} in {folder}, expected a new or empty folder: choose another")
