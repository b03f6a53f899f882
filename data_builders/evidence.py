"""How much documents say of a question, and where: its words nearby, its images nearby, its wording around a gap."""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from bm25s.stopwords import STOPWORDS_EN_PLUS

from nyx_hf.data_builders.document_words import APART, BORDER, DocumentWords, words_of

SAYS_NOTHING = frozenset({*STOPWORDS_EN_PLUS, "could", "us", "whose", "would"})
"""Words that tell nothing of what a question is about."""

_GAP = re.compile(r"_{2,}")
_QUOTED_LAST = re.compile(r"[?:]\s*[“\"](.+)[”\"]\s*$", re.S)
_ASKS = re.compile(r"\b(?:what|who|whom|whose|which|where|when|why|how)\b", re.I)
_LATER = 0.95  # what a document counts of what the one before it does
_MOST_WORDS = 64  # around a gap, that are compared
_IMAGE = 8.0  # an image that is found again says as much as a few rare words
_BEFORE_IMAGE = 0.5  # lines: what stands before an image is its caption less often than what stands behind it


@dataclass(frozen=True)
class Asked:
    """What a question asks.

    Attributes:
        text: Its text.
        words: Those of its words that say something.
        before: All words before the gap that the answer fills.
        after: All words behind it.
    """

    text: str
    words: frozenset[str]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Asked":
        """Reads a question; its gap is a blank, what stands before a quoted description, or its `what` or `who`.

        Args:
            text: The question.

        Returns:
            What it asks.
        """
        words = [word for word in words_of(text) if word not in SAYS_NOTHING]
        before, after = "", ""
        if gap := _GAP.search(text):
            before, after = text[: gap.start()], text[gap.end() :]
        elif quoted := _QUOTED_LAST.search(text):
            after = quoted[1]
        elif asks := _ASKS.search(text):
            after = text[asks.end() :]
        return cls(text, frozenset(words), tuple(words_of(before)), tuple(words_of(after)))


class Evidence:
    """What documents say of a question.

    Args:
        asked: The question.
        documents: The documents.
        images: For each image of the question that they hold, the lines where it stands.
        options: Choices; a word that many of them hold tells little.
    """

    def __init__(
        self,
        asked: Asked,
        documents: DocumentWords,
        images: Sequence[Sequence[int]] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.asked, self.documents, self.images = asked, documents, images
        self._lines = {word: lines for word in sorted(asked.words) if (lines := documents.lines_of(word))}
        choices = [set(words_of(option)) for option in options]
        total = len(documents.lines) + len(choices)
        held = {word: len(lines) + sum(word in choice for choice in choices) for word, lines in self._lines.items()}
        self._weights = {word: math.log(1 + total / count) for word, count in held.items()}
        self._at: dict[int, float] = {}

    def at(self, line: int) -> float:
        """Weighs a line by the question's words and images in it and near it; 0 where its document has none."""
        if line not in self._at:
            words = sum(self._weights[word] * _nearness(lines, line) for word, lines in self._lines.items())
            images = sum(_IMAGE * _nearness(lines, line, _BEFORE_IMAGE) for lines in self.images)
            self._at[line] = (words + images) * trust(line)
        return self._at[line]

    def support(self, start: int, end: int) -> float:
        """Weighs a run of words by its line, and by the wording around it where that is the wording around the gap."""
        line = self.documents.line_of[start]
        alike = (*self.alike_before(start), *self.alike_behind(end))
        return self.at(line) + trust(line) * sum(self._weights.get(word, 0.0) for word in alike)

    def alike_before(self, start: int) -> list[str]:
        """Gives the words before a place that stand before the gap too, unbroken."""
        words = self.documents.words[max(0, start - _MOST_WORDS) : start]
        return _equal_run(reversed(words), reversed(self.asked.before))

    def alike_behind(self, end: int) -> list[str]:
        """Gives the words from a place on that stand behind the gap too, unbroken."""
        return _equal_run(self.documents.words[end : end + _MOST_WORDS], self.asked.after)


def trust(line: int) -> float:
    """Gives what a line's document counts: a little less than the one before it."""
    return _LATER ** (line // APART)


def _nearness(lines: Sequence[int], line: int, before: float = 0.0) -> float:
    """Gives 1 / (1 + distance) to the nearest of some lines of the same document, 0 where there is none.

    A line that stands before it counts as farther by `before`.
    """
    place = bisect_left(lines, line)
    beside = [other for other in lines[max(0, place - 1) : place + 1] if other // APART == line // APART]
    return max((1 / (1 + abs(other - line) + before * (line < other)) for other in beside), default=0.0)


def _equal_run(words: Iterable[str], asked: Iterable[str]) -> list[str]:
    """Gives the words that two runs begin with; a border between paragraphs does not end it."""
    pairs = zip((word for word in words if word != BORDER), asked, strict=False)
    return [word for word, other in takewhile(lambda pair: pair[0] == pair[1], pairs)]
