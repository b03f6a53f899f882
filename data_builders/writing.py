"""Writes a dataset folder that plain `load_dataset` and the Hub's viewer read: Parquet shards and a card."""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nyx_hf.data_builders.checks import checked_rows, linked_rows
from nyx_hf.data_builders.preview import preview_row
from nyx_hf.data_builders.samples import sample_rows
from nyx_hf.data_builders.schema import FEATURES, Row, matching_split
from nyx_hf.model_cards.dataset_card import DatasetFacts, dataset_card

Splits = Mapping[str, Iterable[Mapping[str, Any]]]

# the Hub's viewer reads row groups of at most 100 MB
_ROW_GROUP_BYTES, _ROW_GROUP_ROWS = 64_000_000, 10_000
_LARGEST_ROW = 100_000_000 - _ROW_GROUP_BYTES
_SHARD_BYTES = 500_000_000


def write_dataset(
    out_dir: str | Path,
    corpus: Splits,
    queries: Splits,
    triplets: Splits,
    facts: DatasetFacts,
    *,
    preview_rows: int = 200,
    pictures: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Checks and writes corpus, queries and triplets, a preview made from them, and the card.

    All is written to a folder beside `out_dir` and renamed at the end: a run that is killed leaves no half of a
    dataset. Equal rows and facts give equal bytes.

    Args:
        out_dir: The folder to make, which gets `data/<config>/<split>-00000-of-0000N.parquet`, `README.md` and, in
            `images`, the pictures that it shows.
        corpus: Rows by split. Triplets of a split look in the split of the same name, or in the only one.
        queries: Rows by split, likewise.
        triplets: Rows by split.
        facts: What the card says. Its `configs` are replaced by what was written, and `samples`, where there are none,
            by the first rows of the preview, unless they are made from its maker's own pages.
        preview_rows: At most this many triplets of a split are shown in the preview, at least 1.
        pictures: Files to put into `images`, by name, for the card to show.
        overwrite: Whether a dataset that stands in `out_dir` may be replaced. Nothing else ever is.

    Returns:
        The folder.

    Raises:
        FileExistsError: If `out_dir` holds something that may not be replaced.
        SchemaError: If a row does not fit the schema.
        ValueError: If a config has no split, a split no row, or triplets have no matching split.
    """
    if preview_rows < 1:
        raise ValueError(f"found preview_rows={preview_rows}, expected 1 or more; the default is 200")
    with _draft(Path(out_dir), overwrite) as draft:
        written = _write_configs(draft / "data", corpus, queries, triplets, preview_rows)
        samples = facts.samples
        if not samples and not facts.own_pages:
            samples = sample_rows(draft / "data" / "preview", draft / "images")
        for name, file in (pictures or {}).items():
            (draft / "images").mkdir(exist_ok=True)
            (draft / "images" / name).write_bytes(file)
        dataset_card(replace(facts, configs=written, samples=samples)).save(draft / "README.md")
    return Path(out_dir)


def write_split(folder: Path, config: str, split: str, rows: Iterable[Row]) -> int:
    """Writes one split's rows to as many Parquet files as they need.

    Args:
        folder: The config's folder, made where missing.
        config: The config, whose features the file carries.
        split: The split's name.
        rows: Rows as they are stored, out of `checked_rows`.

    Returns:
        The number of rows.

    Raises:
        ValueError: If there are no rows, or one is too large for a row group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = FEATURES[config].arrow_schema
    shards: list[Path] = []
    writer, total, filled = None, 0, 0
    try:
        for group in _row_groups(rows, f"{config}/{split}"):
            table = pa.Table.from_pylist(group, schema=schema)
            if writer is None or filled > _SHARD_BYTES:
                if writer is not None:
                    writer.close()
                shards.append(folder / f"{split}-{len(shards):05d}.parquet")
                writer, filled = pq.ParquetWriter(shards[-1], schema, write_page_index=True), 0
            writer.write_table(table, row_group_size=len(group))
            total, filled = total + len(group), filled + table.nbytes
    finally:
        if writer is not None:
            writer.close()
    if not total:
        raise ValueError(f"found no rows in {config}/{split}, expected at least one; leave that split out")
    for number, shard in enumerate(shards):
        shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
    return total


def _write_configs(
    data: Path, corpus: Splits, queries: Splits, triplets: Splits, preview_rows: int
) -> dict[str, dict[str, int]]:
    """Writes the four configs and counts their rows; the first triplets say which contents the preview needs."""
    _check_splits({"corpus": corpus, "queries": queries, "triplets": triplets})
    links = {split: checked_rows("triplets", split, rows) for split, rows in triplets.items()}
    heads = {split: list(islice(rows, preview_rows)) for split, rows in links.items()}
    asked, found = {split: _Watch() for split in queries}, {split: _Watch() for split in corpus}
    sides = {
        split: (asked[matching_split("queries", queries, split)], found[matching_split("corpus", corpus, split)])
        for split in triplets
    }
    for split, head in heads.items():
        for row in head:
            sides[split][0].wanted.add(row["query_id"])
            sides[split][1].wanted.add(row["positive_ids"][0])

    configs: dict[str, dict[str, Iterator[Row]]] = {
        "corpus": {split: found[split].over(checked_rows("corpus", split, rows)) for split, rows in corpus.items()},
        "queries": {split: asked[split].over(checked_rows("queries", split, rows)) for split, rows in queries.items()},
        "triplets": {
            split: linked_rows(split, chain(heads[split], rows), *(side.ids for side in sides[split]))
            for split, rows in links.items()
        },
        "preview": {split: _preview(head, *sides[split]) for split, head in heads.items()},
    }
    # in this order: triplets are checked against the ids, and the preview is made of the contents, that went by before
    return {
        config: {split: write_split(data / config, config, split, rows) for split, rows in splits.items()}
        for config, splits in configs.items()
    }


def _check_splits(configs: Mapping[str, Splits]) -> None:
    for config, splits in configs.items():
        if not splits:
            raise ValueError(f"found no split in the {config}, expected at least one; pass {{'train': rows}}")
        for split in splits:
            if not re.fullmatch(r"\w+(\.\w+)*", split) or split.lower() == "all":
                raise ValueError(
                    f"found the split name {split!r} in the {config}, expected letters, digits and _, and not 'all', "
                    "which load_dataset keeps for itself; rename the split"
                )


@dataclass
class _Watch:
    """Watches rows go by: notes all ids, and keeps the contents of the wanted ones."""

    wanted: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    contents: dict[str, list[Row]] = field(default_factory=dict)

    def over(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.ids.add(row["id"])
            if row["id"] in self.wanted:
                self.contents[row["id"]] = row["content"]
            yield row


def _preview(head: Iterable[Row], queries: _Watch, documents: _Watch) -> Iterator[Row]:
    for row in head:
        yield preview_row(queries.contents[row["query_id"]], documents.contents[row["positive_ids"][0]])


def _row_groups(rows: Iterable[Row], place: str) -> Iterator[list[Row]]:
    """Groups rows so that no group holds more bytes than the Hub's viewer reads."""
    group: list[Row] = []
    held = 0
    for number, row in enumerate(rows):
        size = _size(row)
        if size > _LARGEST_ROW:
            raise ValueError(
                f"{place} row {number}: found {size / 1e6:.0f} MB, expected at most {_LARGEST_ROW / 1e6:.0f} MB; "
                "scale its images down or split its content"
            )
        group.append(row)
        held += size
        if held >= _ROW_GROUP_BYTES or len(group) >= _ROW_GROUP_ROWS:
            yield group
            group, held = [], 0
    if group:
        yield group


def _size(value: Any) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 8


@contextmanager
def _draft(out_dir: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a folder to fill beside `out_dir`, which takes its place once all went well."""
    check_replaceable(out_dir, overwrite)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out_dir.name}.", dir=out_dir.parent) as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        yield draft
        if out_dir.exists():
            out_dir.rename(Path(scratch) / "old")
        draft.rename(out_dir)


def check_replaceable(out_dir: Path, overwrite: bool) -> None:
    """Refuses a folder that is neither new nor empty, unless it holds a written dataset and may be replaced.

    Args:
        out_dir: The folder that a dataset is to go to.
        overwrite: Whether a dataset that stands there may be replaced.

    Raises:
        FileExistsError: If it may not be written to.
    """
    if not out_dir.exists():
        return
    if not out_dir.is_dir():
        raise FileExistsError(f"found a file at {out_dir}, expected a folder or nothing; choose another path")
    files = [path.relative_to(out_dir).as_posix() for path in out_dir.rglob("*") if not path.is_dir()]
    ours = ["README.md", "images/*", *(f"data/{config}/*-?????-of-?????.parquet" for config in FEATURES)]
    if foreign := [name for name in files if not any(fnmatch(name, pattern) for pattern in ours)]:
        raise FileExistsError(
            f"found {foreign[0]} in {out_dir}, expected a new or empty folder or a dataset written here before; "
            "choose another folder or move that file away"
        )
    if files and not overwrite:
        raise FileExistsError(
            f"found a dataset in {out_dir}, expected a new folder; pass overwrite=True (--overwrite) to replace it"
        )
