"""Wikipedia's passages as a retriever's corpus is shared: a JSONL file, far larger than memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Passages:
    """Passages in a JSONL file, read one by one: only where each line begins is kept in memory.

    Attributes:
        file: The file; a line has `id` and `contents`, or `id`, `title` and `text`.

    Raises:
        ValueError: If there is no such file, or no line in it.
    """

    file: Path
    _starts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.file.is_file():
            raise ValueError(f"{self.file.name}: there is no such file of passages; check --passages")
        starts, place = [], 0
        with self.file.open("rb") as lines:
            for line in lines:
                if line.strip():
                    starts.append(place)
                place += len(line)
        if not starts:
            raise ValueError(f"{self.file.name}: the file of passages is empty")
        self._starts = np.array(starts, np.int64)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[str]:
        with self.file.open("rb") as lines:
            for number, line in enumerate(one for one in lines if one.strip()):
                yield self._passage(line, number)

    def __getitem__(self, number: int) -> str:
        with self.file.open("rb") as lines:
            lines.seek(int(self._starts[number]))
            return self._passage(lines.readline(), number)

    def _passage(self, line: bytes, number: int) -> str:
        try:
            row: Any = json.loads(line)
            if "contents" in row:
                return str(row["contents"]).strip()
            return f"{row['title']}\n{row['text']}".strip()
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.file.name} passage {number + 1}: found neither `contents` nor `title` and `text` in it; "
                "write one JSON object a line"
            ) from error
