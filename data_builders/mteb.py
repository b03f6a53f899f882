"""Retrieval sets in MTEB's layout: configs `corpus`, `queries` and judgements, of texts, images or both."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import LayoutError, Upstream

_CORPUS, _QUERIES, _JUDGED = ("corpus",), ("queries", "query"), ("default", "qrels")
_JUDGEMENTS = ("query-id", "corpus-id", "score")


@dataclass
class MTEBConfig(PublicSettings, datasets.BuilderConfig):
    """Which set to build."""

    repo: str = option("", "The set on the Hub, such as mteb/scifact; with --local, a folder in it.")
    split: str = option("test", "The split whose judgements are read.")
    task: str | None = option(None, "Task of the queries.")


class MTEBBuilder(PublicBuilder):
    """One set: `MTEBBuilder(config_name="corpus", repo="mteb/scifact")`; its whole corpus is kept."""

    NAME = "mteb"
    SUMMARY = "Any retrieval set in MTEB's layout, by its repository: texts, images or both, with judgements."
    PRETTY_NAME = "A retrieval set of MTEB"
    BUILDER_CONFIG_CLASS = MTEBConfig
    BUILDER_CONFIGS = builder_configs(MTEBConfig)

    @property
    def repository(self) -> str:
        """The set's repository."""
        if not self.config.repo:
            raise ValueError("no set is named: pass --repo with its repository, such as mteb/scifact")
        return str(self.config.repo)

    def splits(self) -> tuple[str, ...]:
        """Gives the chosen split."""
        return (self.config.split,)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the judged queries: documents scored above zero are right, others wrong."""
        judged: dict[str, dict[str, float]] = defaultdict(dict)
        for row in self._rows(upstream, _JUDGED, _JUDGEMENTS):
            judged[str(row["query-id"])][str(row["corpus-id"])] = float(row["score"])
        wanted = {document for marks in judged.values() for document in marks}
        corpus = {name: _content(row) for name, row in self._named(upstream, _CORPUS) if name in wanted}
        for name, row in self._named(upstream, _QUERIES):
            if (marks := judged.get(name)) is None:
                continue  # a query of another split
            right = [corpus[one] for one, mark in marks.items() if mark > 0 and one in corpus]
            wrong = [corpus[one] for one, mark in marks.items() if mark <= 0 and one in corpus]
            if right:
                yield Record(
                    _content(row),
                    right,
                    wrong,
                    instruction=row.get("instruction") or None,
                    task=self.config.task,
                    source=self.repository,
                    id=name,
                )
            else:
                yield Dropped("query: no document is right")

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads the whole corpus."""
        return (_content(row) for _, row in self._named(upstream, _CORPUS))

    def _named(self, upstream: Upstream, names: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
        """Reads rows with their ids; older sets write `_id`."""
        for row in self._rows(upstream, names):
            name = row["id"] if "id" in row else row.get("_id")
            if name is None:
                raise LayoutError(f"{self.repository}, {names[0]}: found {', '.join(map(repr, row))}, expected 'id'")
            yield str(name), row

    def _rows(self, upstream: Upstream, names: tuple[str, ...], columns: tuple[str, ...] = ()) -> Iterator[Row]:
        """Reads the first config that there is of those names; one of a single split has it for all."""
        known = upstream.configs(self.repository)
        config = next((name for name in names if name in known), None)
        if config is None:
            raise LayoutError(
                f"{self.repository}: found the configs {', '.join(known)}, expected {' or '.join(names)}; is it laid "
                "out as MTEB's retrieval sets are?"
            )
        splits, split = upstream.splits(self.repository, config), self.config.split
        if split not in splits and (len(splits) > 1 or config in _JUDGED):
            raise LayoutError(
                f"{self.repository}, {config}: found the splits {', '.join(splits)}; choose with --split"
            )
        return upstream.rows(self.repository, config, split if split in splits else splits[0], columns)


def _content(row: Row) -> list[Row]:
    """Gives an image, then title and text, as far as the row has them."""
    parts: list[Row] = []
    if row.get("image") is not None:
        parts.append({"type": "image", "image": row["image"]})
    text = "\n".join(part for part in (row.get("title"), row.get("text")) if part and part.strip())
    return [*parts, {"type": "text", "text": text}] if text else parts
