"""Multi-hop questions with passages that a text retriever finds in Wikipedia (Nyx §3.3, appendix C).

"For each query, we retrieve the top-k documents from the full Wikipedia corpus using E5-v2, and treat the top-1
document as the positive sample, while selecting negative samples from documents ranked beyond top-10." Corpora for
training and for evaluation are made apart: the top 20 of all questions of each, merged and without repeats.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from nyx_hf.data_builders.builder import Made, RetrievalBuilder, builder_configs, option
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.near_duplicates import is_near_text
from nyx_hf.data_builders.passages import Passages
from nyx_hf.data_builders.public_builder import PublicSettings
from nyx_hf.data_builders.records import Record, Spool
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.searching import Item, LexicalSearcher, Searcher
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source

_SUMMARY = """
{}

For each question `{}` found {} passages: the first is the positive, negatives are ranked beyond {} (Nyx §3.3). Each
split's corpus is what was found for its own questions (appendix C). No test question is a training question.
"""


@dataclass(frozen=True)
class QuestionSet:
    """Where a set's questions are.

    Attributes:
        repository: On the Hub.
        config: The repository's config.
        splits: Upstream's split for `train` and `test`; the held-out one is sampled.
        columns: Upstream's columns of id, question and answer.
        licence: Its licence.
    """

    repository: str
    config: str | None
    splits: dict[str, str]
    columns: tuple[str, str, str]
    licence: str | None


SETS = {
    "hotpotqa": QuestionSet(
        "hotpotqa/hotpot_qa", "fullwiki", {"train": "train", "test": "validation"}, ("id", "question", "answer"),
        "cc-by-sa-4.0",
    ),
    "2wikimultihopqa": QuestionSet(
        "framolfese/2WikiMultihopQA", None, {"train": "train", "test": "validation"}, ("id", "question", "answer"),
        "apache-2.0",
    ),
    "musique": QuestionSet(
        "bdsaglam/musique", None, {"train": "train", "test": "validation"}, ("id", "question", "answer"), "cc-by-4.0",
    ),
    "bamboogle": QuestionSet(
        "chiayewken/bamboogle", None, {"test": "test"}, ("Question", "Question", "Answer"), None
    ),
}  # fmt: skip


@dataclass
class MultiHopConfig(PublicSettings, datasets.BuilderConfig):
    """Which questions to ask of which passages."""

    passages: str = option("", "JSONL file of Wikipedia passages: `id` and `contents`, or `id`, `title` and `text`.")
    retriever: str = option("intfloat/e5-base-v2", "What finds passages: a model's folder or name, or bm25.")
    depth: int = option(20, "Passages found for each question; they make the corpus.")
    beyond: int = option(10, "Negatives are ranked beyond this.")
    held_out: int = option(250, "Questions to test with, drawn by the seed.")


class MultiHopBuilder(RetrievalBuilder):
    """The base of the four sets."""

    SET: str
    BUILDER_CONFIG_CLASS = MultiHopConfig
    BUILDER_CONFIGS = builder_configs(MultiHopConfig)

    def splits(self) -> tuple[str, ...]:
        """Gives `train` where the set has it, and `test`."""
        return tuple(SETS[self.SET].splits)

    def make(self) -> Made:
        """Asks the questions and gathers what is found."""
        config = self.config
        if not config.passages:
            raise ValueError(
                "no passages are named: pass --passages FILE, Wikipedia's as JSONL of `id` and `contents`"
            )
        passages = Passages(Path(config.passages).expanduser())
        upstream = Upstream(None if config.local is None else Path(config.local).expanduser(), self._pins())
        spool = Spool(self.SET).open()
        asked = _apart({split: self._questions(split, upstream) for split in self.splits()}, spool.dropped)
        searcher = self._searcher()
        for split, rows in asked.items():
            spool.fill(split, self._records(split, rows, passages, searcher, spool))
        corpus, queries, triplets = (spool.splits(name) for name in ("corpus", "queries", "triplets"))
        return Made(corpus, queries, triplets, self._facts(spool, upstream, searcher), spool)

    def _questions(self, split: str, upstream: Upstream) -> list[Row]:
        """Reads a split's questions; of those to test with, a seeded sample."""
        chosen, config = SETS[self.SET], self.config
        _, question, answer = chosen.columns
        rows = [
            {"question": row[question].strip(), "answers": _answers(row, answer)}
            for row in upstream.rows(chosen.repository, chosen.config, chosen.splits[split], chosen.columns)
        ]
        wanted = [number for number in (config.limit, config.held_out if split == "test" else None) if number]
        order = sorted(range(len(rows)), key=lambda number: seeded_fraction(rows[number]["question"], config.seed))
        return [rows[number] for number in sorted(order[: min(wanted)] if wanted else order)]

    def _records(
        self, split: str, rows: Sequence[Row], passages: Passages, searcher: Searcher, spool: Spool
    ) -> Iterator[Record]:
        """Asks a split's questions; all that is found for them goes into its corpus."""
        config = self.config
        index = searcher.index(
            lambda: (Item(_text(row["question"])) for row in rows), lambda: (Item(_text(one)) for one in passages)
        )
        _, found = index.top_k(np.arange(len(rows)), config.depth)
        for row, numbers in zip(rows, found, strict=True):
            ranked = [passages[int(number)] for number in numbers]
            for one in ranked:
                spool.document(split, _text(one))
            negatives = [one for one in ranked[config.beyond :] if not is_near_text(one, ranked[0])]
            yield Record(
                _text(row["question"]),
                [_text(ranked[0])],
                [_text(one) for one in negatives],
                instruction=ANSWER,
                answers=row["answers"],
                task="text retrieval",
                source=self.SET,
            )

    def _searcher(self) -> Searcher:
        name = self.config.retriever
        if name == "bm25":
            return LexicalSearcher()
        if self.load_searcher is None:
            raise ValueError(f"the retriever {name!r} is a model: set load_searcher, or build with nyx-hf")
        searcher: Searcher = self.load_searcher(name)
        return searcher

    def _pins(self) -> dict[str, str]:
        return {} if self.config.revision is None else {SETS[self.SET].repository: self.config.revision}

    def _facts(self, spool: Spool, upstream: Upstream, searcher: Searcher) -> DatasetFacts:
        chosen, config = SETS[self.SET], self.config
        url = f"https://huggingface.co/datasets/{chosen.repository}"
        return DatasetFacts(
            name=self.SET,
            pretty_name=f"{self.SET}, with retrieved passages",
            summary=_SUMMARY.format(self.SUMMARY, searcher.name, config.depth, config.beyond),
            configs={},
            default_config="preview",
            modalities=["text"],
            task_categories=["text-retrieval", "question-answering"],
            sources=[
                Source(chosen.repository, url, chosen.licence),
                Source("Wikipedia passages", "https://dumps.wikimedia.org", "cc-by-sa-4.0"),
            ],
            seed=config.seed,
            revisions={**upstream.revisions, "retriever": searcher.name},
            counts=spool.counts,
            dropped=spool.dropped,
            citations=[self.SET, "nyx"],
        )


class HotpotQABuilder(MultiHopBuilder):
    """HotpotQA."""

    NAME = SET = "hotpotqa"
    SUMMARY = "HotpotQA's questions with passages found in Wikipedia (hotpotqa/hotpot_qa)."


class TwoWikiBuilder(MultiHopBuilder):
    """2WikiMultiHopQA."""

    NAME = SET = "2wikimultihopqa"
    SUMMARY = "2WikiMultiHopQA's questions with passages found in Wikipedia."


class MuSiQueBuilder(MultiHopBuilder):
    """MuSiQue."""

    NAME = SET = "musique"
    SUMMARY = "MuSiQue's questions with passages found in Wikipedia."


class BamboogleBuilder(MultiHopBuilder):
    """Bamboogle, for tests alone."""

    NAME = SET = "bamboogle"
    SUMMARY = "Bamboogle's questions with passages found in Wikipedia, to test with."


def _apart(asked: dict[str, list[Row]], dropped: Counter[str]) -> dict[str, list[Row]]:
    """Leaves out of training, and counts, the questions that are tested with."""
    tested = {_normal(row["question"]) for row in asked["test"]}
    apart = {**asked}
    if "train" in asked:
        apart["train"] = [row for row in asked["train"] if _normal(row["question"]) not in tested]
        if leaks := len(asked["train"]) - len(apart["train"]):
            dropped["question: in the test split, too"] += leaks
    return apart


def _normal(question: str) -> str:
    return " ".join(question.casefold().split()).rstrip(" ?.")


def _answers(row: Row, column: str) -> list[str]:
    value = row[column]
    aliases = row.get("answer_aliases") or []
    return [*([value] if isinstance(value, str) else value), *aliases]


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]
