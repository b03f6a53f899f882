"""Documents as an offline reader reads them: words in their order, by line, and the images between the lines."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nyx_hf.data_builders.extractive_text import sentences
from nyx_hf.data_builders.schema import Row

APART = 1_000_000
"""Line numbers of a document begin at its rank times this: no line is near one of another document."""

BORDER = ""
"""Stands among the words between paragraphs: no phrase goes across."""

CAPITALISED = rf"[{''.join(filter(str.isupper, map(chr, range(0x530))))}][\w’'-]*"
"""Pattern of a word that begins with a capital: Latin, Greek or Cyrillic."""

_CJK = r"\u3040-\u30ff\u3400-\u9fff"  # written without spaces: each sign counts as a word
_WORD = re.compile(rf"[{_CJK}]|\d+(?:[.,]\d+)*(?![^\W_])|[^\W_{_CJK}]+")
_UNIT = re.compile(r"\s?[%°]")


@dataclass
class DocumentWords:
    """The words and images of documents, the best document first.

    Attributes:
        lines: Text of each line, a sentence or a row, by its number.
        words: All words in order, without case; an empty one between paragraphs.
        spans: Where each word begins and ends in its line.
        line_of: The line of each word.
        places: Where each word occurs among `words`.
        images: The line number that each image takes, and its file.
    """

    lines: dict[int, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    line_of: list[int] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    images: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, documents: Sequence[Sequence[Row]]) -> "DocumentWords":
        """Reads documents.

        Args:
            documents: Contents as stored, the best first.

        Returns:
            Their words and images.
        """
        read = cls()
        for rank, document in enumerate(documents):
            line = rank * APART
            for part in texts_and_images(document):
                if isinstance(part, bytes):
                    read.images.append((line, part))
                    line += 1
                    continue
                for paragraph in _composed(part).split("\n\n"):
                    for text in (one for row in paragraph.split("\n") for one in sentences(row)):
                        read._add(text, line)
                        line += 1
                    read._border()
        return read

    def find(self, phrase: Sequence[str]) -> list[int]:
        """Finds a phrase.

        Args:
            phrase: Its words, as `words_of` gives them.

        Returns:
            The places where it begins, ascending.
        """
        if not phrase:
            return []
        size = len(phrase)
        wanted = list(phrase)
        return [place for place in self.places.get(phrase[0], ()) if self.words[place : place + size] == wanted]

    def lines_of(self, word: str) -> list[int]:
        """Gives the numbers of the lines that hold a word, ascending, each once."""
        return list(dict.fromkeys(self.line_of[place] for place in self.places.get(word, ())))

    def line_start(self, place: int, most: int) -> int:
        """Gives the place of the first word of a word's line, or of the word `most` places before it."""
        start = place
        while start and place - start < most and self.line_of[start - 1] == self.line_of[place]:
            start -= 1
        return start

    def line_end(self, place: int, most: int) -> int:
        """Gives the place behind the last word of a word's line, or behind the word `most` places behind it."""
        end = place + 1
        while end < len(self.words) and end - place <= most and self.line_of[end] == self.line_of[place]:
            end += 1
        return end

    def text(self, start: int, end: int) -> str:
        """Gives the text of words of one line, with the unit sign or bracket that belongs to the last."""
        line = self.lines[self.line_of[start]]
        left, right = self.spans[start][0], self.spans[end - 1][1]
        if behind := _UNIT.match(line, right):
            right = behind.end()
        opened = line.count("(", left, right) > line.count(")", left, right)
        return line[left : right + 1] if opened and line[right : right + 1] == ")" else line[left:right]

    def _add(self, text: str, line: int) -> None:
        self.lines[line] = text
        for match in _WORD.finditer(text):
            word = match.group().casefold()
            self.places[word].append(len(self.words))
            self.words.append(word)
            self.spans.append(match.span())
            self.line_of.append(line)

    def _border(self) -> None:
        self.words.append(BORDER)
        self.spans.append((0, 0))
        self.line_of.append(-1)


def words_of(text: str) -> list[str]:
    """Gives a text's words, without case and marks."""
    return [match.group().casefold() for match in _WORD.finditer(_composed(text))]


def texts_and_images(content: Sequence[Row]) -> Iterator[str | bytes]:
    """Iterates over texts and image files of a content; frames of videos are images."""
    for part in content:
        if part["type"] == "text":
            yield part["text"]
        else:
            for image in [part["image"]] if part["type"] == "image" else part["video"]:
                yield image["bytes"]


def _composed(text: str) -> str:
    """Writes each letter with its accents as one sign, however it was typed."""
    return unicodedata.normalize("NFC", text)
