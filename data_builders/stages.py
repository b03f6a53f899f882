"""Stages: pure functions from rows to rows, run over a table on one machine or many, outcomes cached row by row.

What a stage leaves out comes back as a row whose `dropped` says why, so that it can be counted wherever it ran.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset, Features

from nyx_hf.data_builders.outcomes import OutcomeCache
from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.row_file import RowFile
from nyx_hf.data_builders.schema import Row

Runner = Literal["local", "ray"]
RowsOut = list[list[Row]]


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline.

    Attributes:
        name: Its name, for counts and caches.
        run: Gives the rows that each row becomes, none, one or many, in order. It looks at nothing but the row and
            the settings, and can be pickled.
        features: Columns of the rows that come out, `dropped` among them.
        settings: What its outcome depends on besides the rows and the code.
        cached: Whether outcomes are kept row by row, for what takes longer than to read a file.
        batch_size: Rows passed to `run` at once.
        kept: Whether the finished stage is read when it is asked for again: not where another run may meet with less
            failures, and what succeeded is kept elsewhere.
    """

    name: str
    run: Callable[[Sequence[Row]], RowsOut]
    features: Features
    settings: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    batch_size: int = 64
    kept: bool = True


@dataclass(frozen=True)
class Table:
    """Rows on disk, and a key that is the same whenever the rows are.

    Attributes:
        rows: The rows; images are plain bytes.
        key: Hash of what they were made from.
    """

    rows: Dataset
    key: str

    @classmethod
    def of(cls, rows: Iterable[Row], features: Features, folder: Path, name: str) -> "Table":
        """Writes rows to a file of a folder, hashing them as they go by."""
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        file = RowFile(folder / f"{name}.arrow", features)
        for row in rows:
            digest.update(content_hash(row).encode())
            file.add(row)
        return cls(file.dataset(), digest.hexdigest())

    def select(self, numbers: Sequence[int]) -> "Table":
        """Gives some of the rows, in the order of their numbers."""
        return Table(self.rows.select(numbers), content_hash([self.key, list(numbers)]))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        for batch in self.rows.with_format("arrow").iter(256):
            yield from batch.to_pylist()


@dataclass
class StageCount:
    """What went through a stage: rows in and out, how many had a cached outcome, and what was dropped, by reason."""

    name: str
    rows_in: int = 0
    rows_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def run_stage(
    stage: Stage, table: Table, cache_dir: Path, *, runner: Runner = "local", processes: int = 1
) -> tuple[Table, StageCount]:
    """Runs a stage over a table; one that was finished before is read from its cache.

    A run that is killed has kept the outcomes of a `cached` stage's rows, and asks for none of them again.

    Args:
        stage: The stage.
        table: Its rows.
        cache_dir: Where finished stages and outcomes are kept.
        runner: `local` maps with `datasets`, `ray` with Ray Data; the rows are the same.
        processes: Workers.

    Returns:
        The rows that were not dropped, and the counts.
    """
    key = content_hash([code_key(), table.key, stage.name, dict(stage.settings)])
    finished = cache_dir / f"{stage.name}-{key[:16]}.arrow"
    cache_dir.mkdir(parents=True, exist_ok=True)
    call = StageCall(stage, OutcomeCache(cache_dir / stage.name, stage.features) if stage.cached else None)
    if len(table) == 0:
        whole = Dataset.from_dict({name: [] for name in stage.features}, features=stage.features)
    elif runner == "ray":
        from nyx_hf.data_builders.ray_runner import map_on_ray

        whole = map_on_ray(call, table.rows, finished, processes)
    else:
        whole = table.rows.with_format("arrow").map(
            call,
            batched=True,
            batch_size=stage.batch_size,
            remove_columns=table.rows.column_names,
            features=stage.features,
            num_proc=processes if processes > 1 else None,
            cache_file_name=str(finished),
            load_from_cache_file=stage.kept,
            new_fingerprint=key[:32],
            desc=stage.name,
        )
        whole = whole.with_format(None)
    reasons = whole.select_columns(["dropped"]).with_format("arrow")[:]["dropped"].to_pylist()
    kept = [number for number, reason in enumerate(reasons) if reason is None]
    dropped = Counter(reason for reason in reasons if reason is not None)
    return Table(whole.select(kept), key), StageCount(stage.name, len(table), len(kept), dropped)


@dataclass(frozen=True)
class StageCall:
    """A stage as both runners call it: an Arrow table in, an Arrow table out."""

    stage: Stage
    cache: OutcomeCache | None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Runs the stage on a batch."""
        rows = [row for rows_out in self._outcomes(batch.to_pylist()) for row in rows_out]
        return pa.Table.from_pylist(rows, schema=self.stage.features.arrow_schema)

    def _outcomes(self, rows: Sequence[Row]) -> RowsOut:
        """Runs the stage on those rows whose outcome is not known."""
        if self.cache is None:
            return self.stage.run(rows)
        keys = [content_hash([code_key(), dict(self.stage.settings), row]) for row in rows]
        known = {key: outcome for key in keys if (outcome := self.cache.get(key)) is not None}
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        for key, outcome in zip(missing, self.stage.run(list(missing.values())), strict=True):
            self.cache.put(key, outcome)
            known[key] = outcome
        return [known[key] for key in keys]


@lru_cache(maxsize=1)
def code_key() -> str:
    """Hashes the builders' own code: outcomes of other code are not taken for those of this one."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
