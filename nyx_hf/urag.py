"""Questions of any mix, answered from a corpus of any mix: retrieve, then let a model read and answer (Nyx §3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import constants

from nyx_hf.data_builders.answering import Answerer, Reply
from nyx_hf.data_builders.checks import checked_rows
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.judging import ask
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.ranking import Ranking, rank
from nyx_hf.data_builders.schema import FEATURES, Row
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.modeling.content_nyx import as_batch, parse_content
from nyx_hf.modeling.video_nyx import load_frames
from nyx_hf.retrievers import load_searcher

ANSWERS = Path(constants.HF_HOME) / "nyx_hf" / "answers"
_FPS, _FRAMES = 1.0, 16


@dataclass(frozen=True)
class Answered:
    """An answer, and what it was read from.

    Attributes:
        text: The answer; None where there is none.
        failure: Why there is none.
        documents: The documents that were shown, the best first: corpus rows with a `score`.
        cut: What of them did not fit, by kind.
    """

    text: str | None
    failure: str | None = None
    documents: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    cut: Mapping[str, int] = field(default_factory=dict)


class URAG:
    """Answers questions from a corpus: `URAG("data/nyxqa", "runs/model", "extractive").answer("What is …?")`.

    Args:
        corpus: A dataset folder or Hub dataset with a `corpus`, or rows of that schema.
        retriever: A model's folder or Hub name, `bm25`, or a searcher.
        answerer: `extractive`, `digits`, `endpoint:URL#MODEL`, `transformers:MODEL`, `vllm:MODEL`, or an answerer.
            Nothing leaves this machine unless an endpoint is named.
        k: Documents that are shown.
        split: The corpus's split; needed where it has several.
        revision: The dataset's branch, tag or commit.
        instruction: Put before each query to the retriever.

    Raises:
        ValueError: If one of them is not there, or the corpus has several splits and none is named.
    """

    def __init__(
        self,
        corpus: str | Path | Dataset,
        retriever: str | Searcher,
        answerer: str | Answerer,
        *,
        k: int = 1,
        split: str | None = None,
        revision: str | None = None,
        instruction: str | None = ANSWER,
    ) -> None:
        self.corpus = corpus if isinstance(corpus, Dataset) else _corpus(corpus, split, revision)
        self.searcher = load_searcher(retriever) if isinstance(retriever, str) else retriever
        self.answerer = open_answerer(answerer, cache_dir=ANSWERS) if isinstance(answerer, str) else answerer
        self.k, self.instruction = k, instruction

    def answer(
        self, queries: Any, *, options: Sequence[Any] | None = None, k: int | None = None
    ) -> Answered | list[Answered]:
        """Answers one question, or a list of them.

        Args:
            queries: Contents in any form that `encode` takes: texts, images, both in order.
            options: Choices: a list for one question, a list of lists for several.
            k: Documents that are shown, if others than the class was made with; 0 asks without any.

        Returns:
            The answer, or a list of them, with the documents that they were read from.

        Raises:
            ContentError: If a query is malformed; it names which.
            GeneratorError: If the answerer cannot be asked.
        """
        items, single = as_batch(queries)
        choices = [None] * len(items) if options is None else [options] if single else list(options)
        if len(choices) != len(items):
            raise ValueError(f"found options for {len(choices)} of {len(items)} questions; give a list for each")
        shown = self.k if k is None else k
        table = self._table(items, choices)
        rankings = rank(self.searcher, table, self.corpus, shown) if shown else None
        replies = ask(self.answerer, table, self.corpus if shown else None, rankings, shown)
        answered = [
            self._answered(reply, None if rankings is None else rankings[number])
            for number, reply in enumerate(replies)
        ]
        return answered[0] if single else answered

    def _table(self, items: Sequence[Any], choices: Sequence[Sequence[str] | None]) -> Dataset:
        """Writes queries as the dataset's schema has them."""
        rows = [
            {"id": str(number), "content": _stored(item, number), "instruction": self.instruction, "options": options}
            for number, (item, options) in enumerate(zip(items, choices, strict=True))
        ]
        return Dataset.from_list(list(checked_rows("queries", "asked", rows)), features=FEATURES["queries"])

    def _answered(self, reply: Reply, ranking: Ranking | None) -> Answered:
        found = () if ranking is None else zip(ranking.ids, ranking.scores, strict=True)
        documents = [{**self.corpus[self._numbers[name]], "score": float(score)} for name, score in found]
        return Answered(reply.text, reply.failure, documents, reply.cut)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.corpus["id"])}


def _corpus(dataset: str | Path, split: str | None, revision: str | None) -> Dataset:
    splits = load_tables(dataset, ("corpus",), revision)["corpus"]
    if split is None and len(splits) > 1:
        raise ValueError(f"{dataset}: the corpus has the splits {', '.join(splits)}; name one with split")
    name = next(iter(splits)) if split is None or len(splits) == 1 else split
    if name not in splits:
        raise ValueError(f"{dataset}: there is no corpus split {name!r}; it has {', '.join(splits)}")
    return splits[name]


def _stored(item: Any, number: int) -> list[Row]:
    """Gives a content's parts as rows have them; a video file becomes frames."""
    parts: list[Row] = []
    for part in parse_content(item, index=number).parts:
        if part.type == "text":
            parts.append({"type": "text", "text": part.text})
        elif part.type == "image":
            parts.append({"type": "image", "image": part.source})
        else:
            frames = load_frames(part.source, fps=_FPS, max_frames=_FRAMES)
            parts.append({"type": "video", "video": list(frames.images)})
    return parts
