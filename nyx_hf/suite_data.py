"""The datasets that a suite evaluates on: where they lie, how they are built, and what is read of them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from datasets.exceptions import DatasetsError

from nyx_hf.build import build_dataset, make_builder, shown_command
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.records import GRADES
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.schema import Row, matching_split
from nyx_hf.suites import Evaluation
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR

_SPLIT = "test"
_END = 65_536  # bytes: a Parquet file's end has its schema, sizes and statistics
_REVISIONS = re.compile(r"^\| input \| revision \|\n\|[^\n]*\n((?:\|[^\n]*\n?)+)", re.M)


class MissingSetError(ValueError):
    """A set that is not there; the message says why."""


@dataclass(frozen=True)
class SetPlace:
    """Where a set's dataset lies, and what builds it.

    Attributes:
        name: The set, and its folder in `DATA/BUILDER`.
        builder: The builder's name.
        words: The builder's options.
        column: The column of the queries that tells the set from others.
        holds: What stands there.
    """

    name: str
    builder: str
    words: tuple[str, ...]
    column: str
    holds: str

    def folder(self, data: Path) -> Path:
        """Gives its folder."""
        return data / self.builder / self.name

    def command(self, data: Path) -> str:
        """Gives the command that builds it."""
        words = ["nyx-hf", "build", self.builder, *self.words, "--out", str(self.folder(data))]
        return shown_command(words)


@dataclass(frozen=True)
class SetData:
    """A set, opened.

    Attributes:
        corpus: Its documents.
        queries: The queries that are asked.
        grades: Grades of each query's right documents, by id; 1 where judgements are not graded.
        negatives: Ids of each query's wrong candidates, in order.
        total: Queries that the dataset has.
        limited: Whether the dataset was built with --limit.
        revisions: Commits of the repositories that it was built from, and a hash of its files.
    """

    corpus: Dataset
    queries: Dataset
    grades: Sequence[Mapping[str, float]]
    negatives: Sequence[Sequence[str]]
    total: int
    limited: bool
    revisions: Mapping[str, str]

    def partial(self, expected: int | None = None) -> tuple[str, ...]:
        """Says why scores on it are not the benchmark's own numbers.

        Args:
            expected: Queries that the benchmark has; None where that is not known.

        Returns:
            Reasons; none where they are.
        """
        reasons = []
        if len(self.queries) < self.total:
            reasons.append(f"{len(self.queries):,} of {self.total:,} queries asked")
        if self.limited:
            reasons.append("built with --limit")
        if expected is not None and self.total != expected:
            reasons.append(f"{self.total:,} queries, the benchmark has {expected:,}")
        return tuple(reasons)


def open_set(place: SetPlace, evaluation: Evaluation) -> SetData:
    """Opens a set, building it first where it is missing and may be built.

    Args:
        place: Where it lies.
        evaluation: The data folder, whether to build, and how many queries to ask.

    Returns:
        The set.

    Raises:
        MissingSetError: If it is not there, or could not be built.
        ValueError: If what lies there is another dataset.
    """
    folder = place.folder(evaluation.data)
    if not folder.exists():
        build_set(place, folder, evaluation)
    if not (folder / "data" / "triplets").is_dir():
        raise ValueError(
            f"found no dataset of corpus, queries and triplets in {folder}, expected {place.name}; move it away and "
            f"run: {place.command(evaluation.data)}"
        )
    tables = load_tables(folder, ("corpus", "queries", "triplets"))
    if _SPLIT not in tables["triplets"]:
        raise ValueError(
            f"found the splits {', '.join(tables['triplets'])} in {folder}, expected {_SPLIT}; run: "
            f"{place.command(evaluation.data)}"
        )
    corpus, queries = (
        tables[config][matching_split(config, tables[config], _SPLIT)] for config in ("corpus", "queries")
    )
    _check_kind(place, queries, folder)
    links = list(stored_rows(tables["triplets"][_SPLIT]))
    asked = draw_sample([link["query_id"] for link in links], evaluation.limit, evaluation.seed)
    rows = {name: row for row, name in enumerate(queries["id"])}
    limited, revisions = provenance(folder)
    return SetData(
        corpus,
        queries.select([rows[links[number]["query_id"]] for number in asked]),
        [_grades(links[number]) for number in asked],
        [links[number]["negative_ids"] or [] for number in asked],
        len(links),
        limited,
        revisions,
    )


def provenance(folder: Path) -> tuple[bool, dict[str, str]]:
    """Reads what a dataset's card says of its making.

    Args:
        folder: The dataset.

    Returns:
        Whether it was built with --limit; commits of the repositories that it was built from, and a hash of its files.
    """
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    limited = re.search(r"^nyx-hf build .*--limit\b", text, re.M) is not None
    return limited, {**_revisions(text), "files": _files_hash(folder)}


def build_set(place: SetPlace, folder: Path, evaluation: Evaluation) -> None:
    """Builds a set that is missing.

    Args:
        place: What builds it.
        folder: Where to.
        evaluation: Whether to build at all, and from where.

    Raises:
        MissingSetError: If it is not to be built, or could not be.
    """
    if not evaluation.build:
        raise MissingSetError("is not built")
    local = () if evaluation.local is None else ("--local", str(evaluation.local))
    words = (*place.words, *local)
    try:
        build_dataset(
            make_builder(place.builder, words),
            folder,
            ["nyx-hf", "build", place.builder, *words, "--out", str(folder)],
        )
    except (NETWORK_ERROR, DatasetsError, OSError, ValueError) as error:
        raise MissingSetError(f"could not be built: {' '.join(str(error).split())[:300]}") from error


def _check_kind(place: SetPlace, queries: Dataset, folder: Path) -> None:
    """Refuses a dataset that is not the one its folder is named after."""
    held = set(queries[place.column]) if place.column in queries.column_names else {None}
    if held != {place.holds}:
        found = ", ".join(sorted(map(str, held)))[:200]
        raise ValueError(
            f"found queries whose {place.column} is {found} in {folder}, expected {place.holds}: it is another "
            "dataset; check --data"
        )


def draw_sample(ids: Sequence[str], limit: int | None, seed: int) -> list[int]:
    """Draws queries by the hash of their ids; numbers in ascending order."""
    numbers = range(len(ids))
    if limit is None:
        return list(numbers)
    return sorted(sorted(numbers, key=lambda number: seeded_fraction(ids[number], seed))[:limit])


def _grades(link: Row) -> dict[str, float]:
    graded = link.get("scorer") == GRADES  # other scorers' scores say nothing of how right a document is
    grades = link["positive_scores"] if graded else [1.0] * len(link["positive_ids"])
    return dict(zip(link["positive_ids"], grades, strict=True))


def _revisions(card: str) -> dict[str, str]:
    """Reads the commits that a dataset's card names."""
    found = _REVISIONS.search(card)
    rows = [line.strip("| ").split(" | ") for line in found[1].splitlines()] if found else []
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _files_hash(folder: Path) -> str:
    """Tells a dataset by its files' names, sizes and ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("data/**/*.parquet")):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _END))
            digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode() + file.read())
    return digest.hexdigest()[:12]
