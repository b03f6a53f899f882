"""Answers of an answerer, judged against the right ones: what a retriever is worth to who reads its documents."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.answering import Answerer, Question, Reply
from nyx_hf.data_builders.ranking import Ranking, stored_rows
from nyx_hf.data_builders.schema import Row

_AT_ONCE = 64


@dataclass
class Judged:
    """Answers to questions, and what they are worth.

    Attributes:
        replies: The answer to each question.
        scores: `em`, `f1` and `accuracy` of each: float64 (questions,), a question without an answer scoring 0.
        failures: Questions without an answer, by reason.
        cut: What of the documents was not shown, by kind.
    """

    replies: list[Reply] = field(default_factory=list)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)


def ask(
    answerer: Answerer,
    queries: Dataset,
    corpus: Dataset | None = None,
    rankings: Sequence[Ranking] | None = None,
    k: int = 1,
) -> list[Reply]:
    """Asks questions with the documents that were found for them.

    Args:
        answerer: Who answers.
        queries: Rows of the `queries` schema.
        corpus: Rows of the `corpus` schema; None for direct answers.
        rankings: What was found for each query, in their order; None for direct answers.
        k: Documents that are shown, the best first.

    Returns:
        A reply to each query, in order.

    Raises:
        GeneratorError: If the answerer cannot go on; answers that it keeps are not asked for again.
    """
    number_of = {} if corpus is None else {name: number for number, name in enumerate(corpus["id"])}
    replies: list[Reply] = []
    questions: list[Question] = []
    rows = tqdm(stored_rows(queries), total=len(queries), desc="answer", unit="question")
    for place, row in enumerate(rows):
        found = [] if corpus is None or rankings is None else list(rankings[place].ids[:k])
        documents = [] if corpus is None else _contents(corpus, [number_of[one] for one in found])
        questions.append(Question(row["content"], documents, row.get("options")))
        if len(questions) == _AT_ONCE:
            replies += answerer.replies(questions)
            questions = []
    return replies + (answerer.replies(questions) if questions else [])


def judge(replies: Sequence[Reply], queries: Dataset) -> Judged:
    """Judges answers.

    Args:
        replies: An answer to each query.
        queries: Rows of the `queries` schema, with `answers`.

    Returns:
        The answers with their scores.

    Raises:
        ValueError: If a query has no right answer to judge by.
    """
    rows = queries.select_columns(["answers", "options"])
    judged = Judged(list(replies))
    judged.scores = answer_scores([reply.text for reply in replies], list(rows["answers"]), list(rows["options"]))
    for reply in replies:
        judged.cut.update(reply.cut)
        if reply.text is None:
            judged.failures[reply.failure or "no answer"] += 1
    return judged


def _contents(corpus: Dataset, numbers: Sequence[int]) -> list[list[Row]]:
    """Reads documents' contents as they are stored."""
    if not numbers:
        return []
    rows: list[Row] = corpus.with_format("arrow")[list(numbers)].to_pylist()
    return [row["content"] for row in rows]
