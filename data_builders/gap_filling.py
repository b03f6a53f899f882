"""Fills the gap of a question: finds where documents are worded as the question is, and reads what stands there."""

import re
from collections.abc import Iterator

from nyx_hf.data_builders.document_words import CAPITALISED, DocumentWords
from nyx_hf.data_builders.evidence import Evidence, trust

_MOST_WORDS = 8  # of what fills a gap
_LEAST_ALIKE = 3  # words around the gap that the documents must share, or all where there are fewer
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\w)", re.I)
_LAST_NAME = re.compile(rf"(?<!\w){CAPITALISED}(?:\s+(?:(?:of|and|the|to|de|von|van)\s+)?{CAPITALISED})*$")


def fill_gap(evidence: Evidence) -> str | None:
    """Fills the gap of a question.

    Args:
        evidence: What documents say of the question.

    Returns:
        What stands in the gap's place where the wording around it is most alike, the earliest of equals; None where no
        wording is alike.
    """
    asked = evidence.asked
    least = min(_LEAST_ALIKE, len(asked.before) + len(asked.after))
    best, filling = 0.0, None
    for alike, place, text in _before_wording(evidence) if asked.after else _behind_wording(evidence):
        weight = len(alike) * trust(evidence.documents.line_of[place])
        if text and weight > best and len(alike) >= least and not asked.words.isdisjoint(alike):
            best, filling = weight, text
    return filling


def _before_wording(evidence: Evidence) -> Iterator[tuple[list[str], int, str]]:
    """Reads what stands before each place where the documents go on as the question does behind its gap."""
    documents = evidence.documents
    for end in documents.find(evidence.asked.after[:1]):
        before, start = _wording_ahead(evidence, end)
        text = documents.text(start, end) if before else _subject(documents, end)
        yield [*before, *evidence.alike_behind(end)], end, text


def _wording_ahead(evidence: Evidence, end: int) -> tuple[list[str], int]:
    """Finds where, a few words before a place, the wording before the gap ends: the longest one."""
    if not evidence.asked.before:
        return [], end
    first = evidence.documents.line_start(end, _MOST_WORDS)
    found = [(evidence.alike_before(start), start) for start in range(first, end)]
    return max(found, key=lambda one: len(one[0]), default=([], end))


def _behind_wording(evidence: Evidence) -> Iterator[tuple[list[str], int, str]]:
    """Reads the rest of the line behind each place where the documents are worded as the question before its gap."""
    documents = evidence.documents
    for place in documents.find(evidence.asked.before[-1:]):
        start, end = place + 1, documents.line_end(place, _MOST_WORDS + 1)
        text = documents.text(start, end) if 0 < end - start <= _MOST_WORDS else ""
        yield evidence.alike_before(start), place, text


def _subject(documents: DocumentWords, end: int) -> str:
    """Reads what a line says before a place; where it begins there, the short line before it, which is a term."""
    first = documents.line_start(end, _MOST_WORDS + 1)
    if first == end:
        line = documents.lines.get(documents.line_of[end] - 1, "").rstrip(" .:;,…")
        return line if len(line.split()) <= _MOST_WORDS else ""
    text = _ARTICLE.sub("", documents.text(first, end))
    if end - first <= _MOST_WORDS:
        return text
    name = _LAST_NAME.search(text)
    return name.group() if name else ""
