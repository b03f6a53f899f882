"""Answers against the right ones, one value a question: exact match, token F1, accuracy.

An evaluation module for the Hub carries this file's text (nyx_hf/metric_modules.py), so it stands on numpy and on
functions that stand on nothing.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from nyx_hf.data_builders.options import normal_answer

_NAMES = ("em", "f1", "accuracy")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_scores(
    predictions: Sequence[str | None],
    answers: Sequence[Sequence[str]],
    options: Sequence[Sequence[str] | None] | None = None,
) -> dict[str, np.ndarray]:
    """Scores answers as SQuAD does, and choices by the option that was chosen.

    With w(x) the words of x after SQuAD's normalisation (`squad_words`), and G the right answers:

        em       = 1 if w(prediction) = w(g) for a g in G, else 0
        f1       = max over G of 2 · |w(prediction) ∩ w(g)| / (|w(prediction)| + |w(g)|), ∩ being that of multisets;
                   of an answer without words: 1 if the other has none either, else 0
        accuracy = 1 if the option that is meant is right, else 0; em where a question has no options

    They are those of SQuAD's official script, version 2: right answers without words (`The`, `?`) count only where
    every right answer is one. Version 1.1 gives the same wherever every right answer has words.

    Args:
        predictions: What was answered to each question; None, which scores 0, where there is no answer.
        answers: The right answers to each question; one that agrees is enough.
        options: The choices of each question, None or empty where it is an open one; all are open if left out.
            A prediction means the option that it is word for word, else the one that is the same after
            `options.normal_answer`; a letter alone means none (`answering.option_of` reads those).

    Returns:
        `em`, `f1` and `accuracy`: float64 (questions,), each value in [0, 1].

    Raises:
        ValueError: If the lengths differ, a question has no right answer or none among its options, or answers or
            options are one string where a list of them was expected.
    """
    choices = [None] * len(predictions) if options is None else options
    if not len(predictions) == len(answers) == len(choices):
        raise ValueError(
            f"found {len(predictions)} predictions, {len(answers)} lists of right answers and {len(choices)} of "
            "options, expected one each"
        )
    scores = np.zeros((len(_NAMES), len(predictions)))
    for query, (said, right, offered) in enumerate(zip(predictions, answers, choices, strict=True)):
        right_options = _checked(query, right, offered)
        if said is None:
            continue
        em, f1 = _squad_scores(said, right)
        accuracy = _chooses(said, offered, right_options) if offered else em
        scores[:, query] = em, f1, accuracy
    return dict(zip(_NAMES, scores, strict=True))


def squad_words(text: str) -> list[str]:
    """Gives a text's words as SQuAD compares them.

    Args:
        text: Any text.

    Returns:
        Its words in lower case, without ASCII punctuation and the articles a, an, the; none may be left.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _squad_scores(said: str, right: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1, the highest over the right answers."""
    words = squad_words(said)
    golds = [gold for gold in map(squad_words, right) if gold] or [[]]
    return float(words in golds), max(_f1(words, gold) for gold in golds)


def _f1(said: list[str], gold: list[str]) -> float:
    if not said or not gold:
        return float(said == gold)
    return 2 * (Counter(said) & Counter(gold)).total() / (len(said) + len(gold))


def _checked(query: int, right: Sequence[str], offered: Sequence[str] | None) -> set[str]:
    """Sees that a question can be scored; gives the options that are right."""
    for name, texts in (("right answers", right), ("options", offered)):
        if isinstance(texts, str):
            raise ValueError(f"found one string as the {name} of query {query}, expected a list: [{texts!r}]")
    if not right:
        raise ValueError(f"found no right answer for query {query}, expected at least one; leave it out")
    right_options = {option for gold in right for option in _meant(gold, offered or ())}
    if offered and not right_options:
        raise ValueError(f"found no right answer among the options of query {query}, expected one; leave it out")
    return right_options


def _meant(text: str, offered: Sequence[str]) -> set[str]:
    """Options that a text is word for word, else after `normal_answer`: `?` and `!` differ only word for word."""
    if text in offered:
        return {text}
    return {option for option in offered if normal_answer(option) == normal_answer(text)}


def _chooses(said: str, offered: Sequence[str], right_options: set[str]) -> bool:
    meant = _meant(said, offered)
    return bool(meant) and meant <= right_options
