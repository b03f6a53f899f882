"""Answering questions with documents: what is asked, what comes back, and who answers (Nyx §3.1, URAG)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nyx_hf.data_builders.options import normal_answer
from nyx_hf.data_builders.schema import Row

_LETTER = re.compile(r"[(\[]?([A-Za-z])(?:[.):\]]+\s*|\s+|$)(.*)", re.S)


@dataclass(frozen=True)
class Question:
    """A question, with the documents that may help.

    Attributes:
        query: Its parts, as stored.
        documents: Contents of documents, the best first; none for a direct answer.
        options: Choices, where it has them.
    """

    query: Sequence[Row]
    documents: Sequence[Sequence[Row]] = ()
    options: Sequence[str] | None = None


@dataclass(frozen=True)
class Reply:
    """What an answerer said.

    Attributes:
        text: The answer; of a question with options one of these, word for word. None where there is none.
        failure: Why there is none, in words that do not differ from question to question.
        cut: What of the documents did not fit: `text tokens`, `images`, `documents`, each with its number.
    """

    text: str | None
    failure: str | None = None
    cut: Mapping[str, int] = field(default_factory=dict)


class Answerer(Protocol):
    """Answers questions from documents."""

    @property
    def name(self) -> str:
        """What it is and where it runs, for tables and cards."""
        ...

    @property
    def revision(self) -> str | None:
        """Its commit or version, where it has one."""
        ...

    @property
    def remote(self) -> bool:
        """Whether questions and documents leave this machine."""
        ...

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """Answers questions, in order; one that cannot be answered gets a failure.

        Raises:
            GeneratorError: If going on is of no use; what was answered before is kept, where the answerer keeps it.
        """
        ...


def option_of(said: str, options: Sequence[str]) -> str | None:
    """Finds the option that an answer means.

    Args:
        said: An option's letter, alone or before its words (`B`, `(b)`, `B. Paris`), or the option's words.
        options: The choices.

    Returns:
        The option, word for word; None where it is none of them, or could be two: the letter of one is the words of
        another.
    """
    said = said.strip()
    meant = {option for option in options if option.strip() == said} or {
        option for option in options if normal_answer(said) == normal_answer(option) != ""
    }
    if letter := _LETTER.fullmatch(said):
        place, words = ord(letter[1].upper()) - ord("A"), normal_answer(letter[2])
        if place < len(options) and words in ("", normal_answer(options[place])):
            meant.add(options[place])
    return meant.pop() if len(meant) == 1 else None
