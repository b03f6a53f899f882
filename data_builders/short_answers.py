"""Short answers out of documents: what fills a question's gap, what is said of its image, or a phrase of a line."""

import re
from collections import Counter
from collections.abc import Iterator

from nyx_hf.data_builders.document_words import APART, CAPITALISED, words_of
from nyx_hf.data_builders.evidence import SAYS_NOTHING, Evidence
from nyx_hf.data_builders.extractive_text import clean_caption, clean_title, paths_of
from nyx_hf.data_builders.gap_filling import fill_gap

_MOST_WORDS = 12  # of a phrase
_LABEL = re.compile(r"(?:figure|fig\.|table|example)\s+[A-Z\d.]+", re.I)
_NUMBERING = re.compile(r"(?:[A-Z]\.)?\d[\d.]*")
_PHRASE = re.compile(
    r"(?<=[“\"])[^“”\"]{2,60}(?=[”\"])"
    rf"|(?<!\w){CAPITALISED}(?:\s+(?:(?:of|and|the|for|de|von|van)\s+)?{CAPITALISED}){{0,7}}"
    r"|(?<!\w)\d+(?:[.,]\d+)*(?!\w)(?:\s?[%°])?"
)
_FORMS = (  # what a question's words tell of its answer
    (re.compile(r"\b(?:menu|menus)\b", re.I), re.compile(r".+ → .+")),
    (re.compile(r"\bhow (?:many|much|old|long|far|high|often)\b|\b(?:when|year|number)\b", re.I), re.compile(r"\d.*")),
)


def short_answer(evidence: Evidence) -> str | None:
    """Answers a question without options.

    Args:
        evidence: What documents say of it.

    Returns:
        A few words of the documents; None where they say nothing of it.
    """
    return _caption(evidence) or _heading(evidence) or fill_gap(evidence) or _phrase(evidence)


def _caption(evidence: Evidence) -> str | None:
    """Reads the caption of an image: behind it, or else before it; for a question of what it is."""
    lines = evidence.documents.lines
    for place in _images(evidence, "what"):
        behind = place + 2 if _LABEL.fullmatch(lines.get(place + 1, "")) else place + 1
        for line in (behind, place - 1):
            if (shown := clean_caption(lines.get(line, ""))) is not None:
                return shown
    return None


def _heading(evidence: Evidence) -> str | None:
    """Reads the heading that an image's document begins with; for a question of which thing it is of."""
    lines = evidence.documents.lines
    for place in _images(evidence, "which"):
        first = place - place % APART
        heading = lines.get(first + 1 if _NUMBERING.fullmatch(lines.get(first, "")) else first, "")
        if not heading.endswith((".", "!", "?", ":")) and (title := clean_title(heading)) is not None:
            return title
    return None


def _images(evidence: Evidence, asking: str) -> list[int]:
    """Gives the lines of the question's images, those of the document that holds most of them; if it asks this way."""
    if asking not in words_of(evidence.asked.text):
        return []
    places = [place for found in evidence.images for place in found]
    held = Counter(line // APART for found in evidence.images for line in {place - place % APART for place in found})
    return sorted(places, key=lambda place: -held[place // APART])


def _phrase(evidence: Evidence) -> str | None:
    """Gives the longest new phrase of the line that says most of the question, one of the form asked for if any is."""
    documents, asked = evidence.documents, evidence.asked
    known = f" {' '.join(words_of(asked.text))} "
    form = next((form for asks, form in _FORMS if asks.search(asked.text)), re.compile(""))
    first: str | None = None
    for line in sorted((one for one in documents.lines if evidence.at(one) > 0), key=lambda one: -evidence.at(one)):
        phrases = {phrase: words_of(phrase) for phrase in _phrases(documents.lines[line])}
        new = [one for one, words in phrases.items() if _tells(words) and f" {' '.join(words)} " not in known]
        # a lone word that begins a sentence has its capital from there
        new.sort(key=lambda phrase: (-len(phrases[phrase]), documents.lines[line].startswith(phrase)))
        if fitting := [phrase for phrase in new if form.match(phrase)]:
            return fitting[0]
        first = first or next(iter(new), None)
    return first


def _phrases(text: str) -> Iterator[str]:
    yield from paths_of(text)
    yield from (match.group() for match in _PHRASE.finditer(text))


def _tells(words: list[str]) -> bool:
    return len(words) <= _MOST_WORDS and not SAYS_NOTHING.issuperset(words)
