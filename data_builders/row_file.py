"""Rows in an Arrow file: written one by one, read back as often as wanted, never all in memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from datasets import Dataset, Features

from nyx_hf.data_builders.schema import Row

_BATCH_ROWS = 256


class RowFile:
    """An Arrow stream that grows row by row.

    Args:
        path: The file to write; it is whole once `finish` was called.
        features: Its columns.
    """

    def __init__(self, path: Path, features: Features) -> None:
        self._path, self._features = path, features
        self._rows: list[Row] = []
        self._sink: Any = pa.OSFile(str(path), "wb")
        self._writer: Any = pa.ipc.new_stream(self._sink, features.arrow_schema)

    @classmethod
    def of(cls, rows: Iterable[Row], path: Path, features: Features) -> Self:
        """Writes rows to a file."""
        file = cls(path, features)
        for row in rows:
            file.add(row)
        file.finish()
        return file

    def add(self, row: Row) -> None:
        """Takes one more row."""
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS:
            self._flush()

    def finish(self) -> None:
        """Writes what is left and closes the file; rows cannot be added any more."""
        if self._writer is not None:
            self._flush()
            self._writer.close()
            self._sink.close()
            self._writer = None

    def dataset(self) -> Dataset:
        """Gives the rows as a memory-mapped dataset."""
        self.finish()
        return Dataset.from_file(str(self._path))

    def __iter__(self) -> Iterator[Row]:
        self.finish()
        with pa.memory_map(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield from batch.to_pylist()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._features.arrow_schema))
            self._rows = []
