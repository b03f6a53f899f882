"""MMEB-V2's 24 sets of visual documents: pages as images, judged by queries (ViDoRe, ViDoRe-V2, VisRAG, others)."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.mmeb_sets import GROUPS, group_of
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream

INSTRUCTION = "Find a document image that matches the given query:"
_VISRAG = "openbmb/VisRAG-Ret-Test-"
_OTHERS = {
    "ViDoRe_esg_reports_human_labeled_v2": "vidore/esg_reports_human_labeled_v2",
    "ViDoRe_biomedical_lectures_v2_multilingual": "vidore/biomedical_lectures_v2",
    "ViDoRe_economics_reports_v2_multilingual": "vidore/economics_reports_v2",
    "ViDoRe_esg_reports_v2_multilingual": "vidore/esg_reports_v2",
    "ViDoSeek-page": "VLM2Vec/ViDoSeek-page-fixed",
    "ViDoSeek-doc": "VLM2Vec/ViDoSeek",
    "MMLongBench-page": "VLM2Vec/MMLongBench-page-fixed",
    "MMLongBench-doc": "VLM2Vec/MMLongBench-doc",
}
_SUBSAMPLED = ("arxivqa", "docvqa", "infovqa", "tabfquad")
SETS = tuple(name for group in GROUPS if group.modality == "document" for name in group.sets)


def repository_of(name: str) -> str:
    """Gives the repository of a set.

    Args:
        name: One of `SETS`.

    Returns:
        Its name on the Hub.

    Raises:
        ValueError: If there is no such set.
    """
    if name not in SETS:
        raise ValueError(f"found subset={name}, expected one of {', '.join(SETS)}")
    if name in _OTHERS:
        return _OTHERS[name]
    kind, _, bare = name.partition("_")
    if kind == "VisRAG":
        return f"{_VISRAG}{bare}"
    return f"vidore/{bare}_test_{'subsampled_' if bare in _SUBSAMPLED else ''}beir"


@dataclass
class VisualDocumentsConfig(PublicSettings, datasets.BuilderConfig):
    """Which set to build."""

    subset: str = option("ViDoRe_docvqa", "One of the 24 sets.")
    language: str | None = option(None, "Queries of one language alone, where the set has several: english, french….")


class VisualDocumentsBuilder(PublicBuilder):
    """One set of visual documents; its whole corpus is kept, grades above zero are right, and the grades are kept."""

    NAME = "visual-documents"
    SUMMARY = "MMEB-V2's visual documents (ViDoRe, ViDoRe-V2, VisRAG, ViDoSeek, MMLongBench): page images and queries."
    PRETTY_NAME = "Visual documents of MMEB-V2"
    BUILDER_CONFIG_CLASS = VisualDocumentsConfig
    BUILDER_CONFIGS = builder_configs(VisualDocumentsConfig)

    @property
    def repository(self) -> str:
        """The set's repository."""
        return repository_of(self.config.subset)

    def splits(self) -> tuple[str, ...]:
        """Gives `test`."""
        return ("test",)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the queries with the pages that are right for them."""
        repository, name = self.repository, self.config.subset
        judged: dict[str, dict[str, float]] = defaultdict(dict)
        for row in upstream.rows(repository, "qrels", self._split(), ("query-id", "corpus-id", "score")):
            if row["score"] > 0:
                pages_of, page = judged[str(row["query-id"])], str(row["corpus-id"])
                pages_of[page] = max(float(row["score"]), pages_of.get(page, 0.0))  # as the benchmark reads repeats
        wanted = {one for grades in judged.values() for one in grades}
        pages = {number: content for number, content in self._pages(upstream) if number in wanted}
        columns = ("query-id", "query", *(("language",) if self.config.language else ()))
        for row in upstream.rows(repository, "queries", self._split(), columns):
            if self.config.language and row["language"] != self.config.language:
                continue
            grades = {one: grade for one, grade in judged.get(str(row["query-id"]), {}).items() if one in pages}
            if not grades:
                yield Dropped("query: no page is right for it")
                continue
            yield Record(
                [{"type": "text", "text": row["query"]}],
                [pages[one] for one in grades],
                instruction=INSTRUCTION,
                task=group_of(name).task,
                source=name,
                id=str(row["query-id"]),
                grades=list(grades.values()),
            )

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads every page."""
        return (content for _, content in self._pages(upstream))

    def _pages(self, upstream: Upstream) -> Iterator[tuple[str, list[Row]]]:
        for row in upstream.rows(self.repository, "corpus", self._split(), ("corpus-id", "image")):
            yield str(row["corpus-id"]), [{"type": "image", "image": row["image"]}]

    def _split(self) -> str:
        return "train" if self.repository.startswith(_VISRAG) else "test"
