"""Answers of URAG's questions, each way of answering once: by whom, from whose documents, and from how many."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.answering import Answerer
from nyx_hf.data_builders.judging import Judged, ask, judge
from nyx_hf.data_builders.ranking import Ranking, stored_items
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.suite_ranking import Dim, at_width
from nyx_hf.urag_sets import OpenedSet


@dataclass(frozen=True)
class Way:
    """How questions are answered.

    Attributes:
        answerer: Who answers.
        retriever: Whose documents are shown, with its revision; None for direct answers.
        dim: Embedding width; None for the full one.
        documents: How many documents are shown, at most.
    """

    answerer: str
    retriever: str | None = None
    dim: Dim = None
    documents: int = 0


@dataclass(frozen=True)
class Answers:
    """One set's answers.

    Attributes:
        judged: Answers and scores.
        found: Whether a right document was among those shown: 1 or 0, nan where none is labelled: (questions,).
    """

    judged: Judged
    found: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right: 1 or 0; exact match where a question has no options."""
        return self.judged.scores["accuracy"]


@dataclass
class Asking:
    """Finds documents and asks questions; what was done is not done again.

    Attributes:
        sets: The sets.
        depth: Documents that are found for a question.
        rankings: What was found, by retriever and width, and by set.
        answers: What was answered, by way and by set.
        notes: What could not be done, and why.
    """

    sets: Sequence[OpenedSet]
    depth: int
    rankings: dict[tuple[str, Dim], dict[str, list[Ranking]]] = field(default_factory=dict)
    answers: dict[Way, dict[str, Answers]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def find(self, searcher: Searcher, dims: Sequence[Dim] = (None,)) -> str:
        """Finds documents for the questions of every set; one that the searcher cannot read is left out and noted.

        Args:
            searcher: What finds.
            dims: Embedding widths.

        Returns:
            The searcher's name with its revision.
        """
        for dim in dims:
            self.rankings.setdefault((searcher.name, dim), {})
        for one in tqdm(self.sets, desc=f"urag, {searcher.name}", unit="set"):
            if all(one.set.name in self.rankings[searcher.name, dim] for dim in dims):
                continue
            try:
                found = self._rank(searcher, one, dims)
            except (ValueError, OSError) as error:
                why = " ".join(str(error).split())[:300]
                self.notes.append(f"{searcher.name} was left out of {one.set.title}: {why}.")
                continue
            for dim in dims:
                self.rankings[searcher.name, dim][one.set.name] = found[dim]
        return searcher.name

    def ask(self, answerer: Answerer, retriever: str | None = None, dim: Dim = None, documents: int = 0) -> Way:
        """Asks the questions of every set that the retriever could read.

        Args:
            answerer: Who answers.
            retriever: Whose documents are shown; None for direct answers.
            dim: Embedding width.
            documents: How many are shown; 0 for direct answers.

        Returns:
            The way, under which the answers stand.

        Raises:
            GeneratorError: If the answerer cannot go on; answers that it keeps are not asked for again.
        """
        way = Way(answerer.name, retriever, dim, documents) if documents else Way(answerer.name)
        if way in self.answers:
            return way
        answers = {}
        for one in self.sets:
            queries, corpus = one.data.queries, one.data.corpus
            if way.retriever is None:
                replies, found = ask(answerer, queries), np.full(len(queries), np.nan)
            elif (rankings := self.rankings[way.retriever, dim].get(one.set.name)) is not None:
                replies = ask(answerer, queries, corpus, rankings, documents)
                found = found_among(one, rankings, documents)
            else:
                continue
            answers[one.set.name] = Answers(judge(replies, queries), found)
        self.answers[way] = answers
        return way

    def _rank(self, searcher: Searcher, one: OpenedSet, dims: Sequence[Dim]) -> dict[Dim, list[Ranking]]:
        """Ranks a set's documents at every width."""
        queries, corpus = one.data.queries, one.data.corpus
        index = searcher.index(lambda: stored_items(queries), lambda: stored_items(corpus))
        ids: list[str] = list(corpus["id"])
        ranked = {}
        for dim in dims:
            scores, rows = at_width(index, dim).top_k(np.arange(len(queries)), self.depth)
            pairs = zip(scores, rows.tolist(), strict=True)
            ranked[dim] = [Ranking([ids[row] for row in found], best) for best, found in pairs]
        return ranked


def found_among(one: OpenedSet, rankings: Sequence[Ranking], documents: int) -> np.ndarray:
    """Tells for which questions a right document was shown.

    Args:
        one: The set.
        rankings: What was found for each of its questions.
        documents: How many were shown.

    Returns:
        1 or 0, nan where no document is labelled right: float64 (questions,).
    """
    hits = [
        float(not grades.keys().isdisjoint(ranking.ids[:documents])) if grades else np.nan
        for grades, ranking in zip(one.data.grades, rankings, strict=True)
    ]
    return np.array(hits, dtype=np.float64)
