"""Outcomes of single rows, kept on disk by key."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from datasets import Features

from nyx_hf.data_builders.schema import Row


@dataclass(frozen=True)
class OutcomeCache:
    """Rows by key, a file each, so that any number of processes and machines can share a folder.

    Attributes:
        folder: Where the files lie; made where missing.
        features: The rows' columns.
    """

    folder: Path
    features: Features

    def get(self, key: str) -> list[Row] | None:
        """Gives the rows kept under a key; None where there are none, or the file is no whole one."""
        try:
            with pa.memory_map(str(self._path(key))) as file:
                rows: list[Row] = pa.ipc.open_file(file).read_all().to_pylist()
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        return rows

    def put(self, key: str, rows: Sequence[Row]) -> None:
        """Keeps rows under a key: written beside, then renamed."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(list(rows), schema=self.features.arrow_schema)
        handle, beside = tempfile.mkstemp(dir=path.parent)
        os.close(handle)
        with pa.OSFile(beside, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        Path(beside).replace(path)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.arrow"
