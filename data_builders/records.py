"""Records: queries with their documents, as upstream sets give them, spooled to corpus, queries and triplets by id."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Self

from nyx_hf.data_builders.checks import checked_rows
from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.row_file import RowFile
from nyx_hf.data_builders.schema import FEATURES, Row, SchemaError

GRADES = "graded judgements"
"""The scorer of triplets whose positive scores are the benchmark's own grades."""


@dataclass
class Record:
    """One query with its documents in full.

    Attributes:
        query: The query's parts in order, images in any form that the schema takes.
        positives: Contents of the documents that answer it; none for a query that is only asked, never trained on.
        negatives: Contents of hard negatives, in order.
        instruction: The task text put before the query.
        answers: Right answers, where it is a question.
        options: Choices, where it has them.
        task: RzenEmbed's task, or another name that groups alike queries.
        source: The upstream set that it comes from.
        id: Its id upstream; numbered where it has none.
        grades: How right each positive is, where judgements are graded; the triplets' positive scores then.
    """

    query: Sequence[Row]
    positives: Sequence[Sequence[Row]] = ()
    negatives: Sequence[Sequence[Row]] = ()
    instruction: str | None = None
    answers: Sequence[str] | None = None
    options: Sequence[str] | None = None
    task: str | None = None
    source: str | None = None
    id: str | None = None
    grades: Sequence[float] | None = None


@dataclass(frozen=True)
class Dropped:
    """A row left out, and why."""

    reason: str


@dataclass
class Spool:
    """Takes records in one pass and keeps corpus, queries and triplets on disk, each document once.

    Equal contents are one document: its id is the hash of what it holds. Use it as a context: its files go with it.

    Attributes:
        name: The dataset's name, which query ids begin with.
        dropped: Rows left out, by reason.
    """

    name: str
    dropped: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        return self.open()

    def open(self) -> Self:
        """Makes room on disk; where it is not used as a context, the files go when the spool does."""
        self._folder = tempfile.TemporaryDirectory(prefix="nyx-hf-spool-")
        self._writers: dict[tuple[str, str], RowFile] = {}
        self._documents: dict[str, set[str]] = {}
        self._queries: dict[str, set[str]] = {}
        self.counts: Counter[str] = Counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Deletes the spooled rows."""
        for writer in self._writers.values():
            writer.finish()
        self._folder.cleanup()

    def fill(self, split: str, records: Iterable[Record | Dropped], limit: int | None = None) -> int:
        """Takes records of one split; those that do not fit the schema are dropped and counted.

        Args:
            split: The split they go to; it may be filled several times.
            records: Records, and what their converter left out.
            limit: Stop after this many queries.

        Returns:
            The number of queries taken.
        """
        taken = 0
        for record in records:
            if limit is not None and taken >= limit:
                break
            if isinstance(record, Dropped):
                self.dropped[record.reason] += 1
                continue
            try:
                self._take(split, record)
            except SchemaError as error:
                self.dropped[f"does not fit the schema: {error.expected}"] += 1
            else:
                taken += 1
        return taken

    def pool(self, split: str, contents: Iterable[Sequence[Row] | Dropped]) -> None:
        """Takes documents that no record names; those that do not fit the schema are dropped and counted.

        Args:
            split: The split whose corpus they go to.
            contents: Their parts, and what their converter left out.
        """
        for content in contents:
            if isinstance(content, Dropped):
                self.dropped[content.reason] += 1
                continue
            try:
                self.document(split, content)
            except SchemaError as error:
                self.dropped[f"document: does not fit the schema: {error.expected}"] += 1

    def document(self, split: str, content: Sequence[Row], document_id: str | None = None) -> str:
        """Puts a document into the corpus of a split, unless it is there.

        Args:
            split: The split.
            content: Its parts.
            document_id: Its id; the hash of its content where it is None.

        Returns:
            Its id.

        Raises:
            SchemaError: If it does not fit the schema.
        """
        [row] = checked_rows("corpus", split, [{"id": document_id or "-", "content": content}])
        row["id"] = document_id or content_hash(row["content"])[:24]
        known = self._documents.setdefault(split, set())
        if row["id"] not in known:
            known.add(row["id"])
            self.counts[f"documents, {_modality(row['content'])}"] += 1
            self._file("corpus", split).add(row)
        return str(row["id"])

    def splits(self, config: str) -> dict[str, Iterable[Row]]:
        """Gives the spooled rows of a config by split; they can be iterated over until the spool is closed."""
        return {split: writer for (of, split), writer in self._writers.items() if of == config}

    def _take(self, split: str, record: Record) -> None:
        known = self._queries.setdefault(split, set())
        query_id = record.id or f"{self.name}-{split}-{len(known):07d}"
        if query_id in known:
            raise SchemaError(f"the id {query_id!r} a second time", "ids that occur once", "drop the repeated row")
        query = {
            "id": query_id,
            "content": record.query,
            "instruction": record.instruction,
            "answers": None if record.answers is None else list(record.answers),
            "options": None if record.options is None else list(record.options),
            "task": record.task,
            "source": record.source,
        }
        [query] = checked_rows("queries", split, [query])
        positives: dict[str, float] = {}  # of equal documents the highest grade counts
        for content, grade in zip(record.positives, record.grades or repeat(1.0), strict=False):
            document = self.document(split, content)
            positives[document] = max(grade, positives.get(document, grade))
        negatives = dict.fromkeys(self.document(split, content) for content in record.negatives)
        known.add(query_id)
        self.counts[f"queries, {_modality(record.query)}"] += 1
        self._file("queries", split).add(query)
        if positives:
            link: Row = {
                "query_id": query_id,
                "positive_ids": list(positives),
                "negative_ids": [one for one in negatives if one not in positives],
            }
            if record.grades is not None:
                link |= {"positive_scores": list(positives.values()), "scorer": GRADES}
            [link] = checked_rows("triplets", split, [link])
            self._file("triplets", split).add(link)

    def _file(self, config: str, split: str) -> "RowFile":
        if (config, split) not in self._writers:
            path = Path(self._folder.name) / f"{config}-{len(self._writers)}.arrow"
            self._writers[config, split] = RowFile(path, FEATURES[config])
        return self._writers[config, split]


def _modality(content: Sequence[Row]) -> str:
    """Names the kinds of parts that a content has: `text`, `image`, `text and image`."""
    kinds = dict.fromkeys(part["type"] for part in content)
    return " and ".join(kind for kind in ("text", "image", "video") if kind in kinds)
