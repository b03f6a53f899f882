"""Reading a chunk as the extractive generator does: sentences that stand alone, clean titles and captions, terms."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SENTENCE_END = re.compile(r"(?<=[.!?])[”\")]?\s+(?=[“\"(]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Fig|No|Dr|Mr|Ms|St|approx|resp|ca)|\b[A-Z])\.$")
_NUMBERING = re.compile(
    r"^\s*(?:(?:chapter|appendix|part|section|figure|table|example|fig\.)\s+)?(?:[A-Z]\.|\d+(?:\.\d+)*\.?|[A-Z](?:\.\d+)+\.?)"
    r"\s*[:.–-]?\s+",
    re.I,
)
# words that point out of the sentence they stand in
_POINTS_OUT = re.compile(
    r"\b(?:this|these|those|above|below|following|preceding|previous|previously|next|here|section|chapter|figure|"
    r"example|see|such|latter|former|same|another|other|also|however|therefore|thus|otherwise|instead|then|again|"
    r"too|image on the|shown)\b",
    re.I,
)
_STARTS_OUTSIDE = re.compile(
    r"^(?:it|its|they|their|he|she|that|there|so|but|and|or|if so|both|each|either|neither|one|some|most|now|note|tip|"
    r"yes|no|we|i|you|if (?:it|they|you|not)|to do|in addition|in general|in particular|finally|first|second)\b",
    re.I,
)
_NAME = r"[A-Z][\w’'&/-]*"
_ENTRY = rf"{_NAME}(?: (?:(?:of|and|to|the|by|from|on|for|with|in) )?{_NAME}){{0,3}}"
_PATH = re.compile(rf"{_ENTRY}(?: → {_ENTRY})+")
_LEADING_IN = re.compile(
    r"^(?:(?:use|using|select|choose|through|from|in|the|go|to|click|on|via|with|by|open|command|menu) )+", re.I
)
_TERM = re.compile(r"[^\W_][\w /&’'()+,-]{1,40}")
# an explanation may begin with what it explains, but must not lean on what stands elsewhere
_LEANS = re.compile(
    r"\b(?:above|below|previous|next|section|chapter|figure|see|same|also|however|not always|many other|described)\b",
    re.I,
)
_NO_TERM = re.compile(r"(?:another|under|for|with|on|in|the|as|see|note|tip|also|example|other|using|how)\b", re.I)
_SAYS_LITTLE = re.compile(
    r"(?:under|with|without|in|on|for|by|from|the)\b.{0,14}|.{0,14}\d|a single \w+"
    r"|(?:after|before|when|if|make|click|drag|playing|using)\b.*",
    re.I,
)


@dataclass(frozen=True)
class Term:
    """A term that a chunk explains, and the first sentence of its explanation."""

    name: str
    meaning: str


def sentences(text: str) -> list[str]:
    """Cuts a paragraph into sentences."""
    found: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece.strip())
    return [one for one in found if one]


def stands_alone(sentence: str) -> bool:
    """Tells whether a sentence can be understood without those around it, as far as its words show."""
    words = sentence.split()
    if not 7 <= len(words) <= 32 or not sentence[0].isupper() or sentence[-1] not in ".!":
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count("“") != sentence.count("”") or "\n" in sentence:
        return False
    return _POINTS_OUT.search(sentence) is None and _STARTS_OUTSIDE.match(sentence) is None


def clean_title(title: str | None) -> str | None:
    """Gives a title without its number: `4.4. Crop` is `Crop`; None where nothing short is left."""
    text = _NUMBERING.sub("", " ".join((title or "").split())).strip(" .:…–-")
    return text if text and len(text.split()) <= 8 and re.search(r"[^\W\d_]{2}", text) else None


def clean_caption(caption: str) -> str | None:
    """Gives a caption without its number, where it is a short phrase that says something; None for any other."""
    text = _NUMBERING.sub("", " ".join(caption.split())).strip()
    text = text[:-1] if text.endswith(".") and text.count(".") == 1 else text
    quotes_match = text.count("“") == text.count("”") and text.count('"') % 2 == 0
    if _SAYS_LITTLE.fullmatch(text):
        return None
    good = 2 <= len(text.split()) <= 12 and quotes_match and text[0].isupper() and not re.search(r"[.!?:]\s|:$", text)
    return text if good and not re.search(r"\b(?:above|below|this|these|here|left|right)\b", text, re.I) else None


def terms_of(content: list[Mapping[str, Any]]) -> Iterator[Term]:
    """Finds terms with their explanations: a term and the item behind it, or `Name: explanation` in one item."""
    for number, block in enumerate(content):
        following = content[number + 1] if number + 1 < len(content) else None
        if block["role"] == "term" and following is not None and following["role"] in ("item", "paragraph"):
            yield from _term(block["text"], following["text"])
        elif block["role"] == "item" and (match := re.match(r"([A-Z][\w /’'-]{1,40}): (.+)", block["text"], re.S)):
            yield from _term(match[1], match[2])


def paths_of(text: str) -> list[str]:
    """Finds menu paths: `Colors → Levels`."""
    found = (_LEADING_IN.sub("", match.group()) for match in _PATH.finditer(" ".join(text.split())))
    return [path for path in found if " → " in path and path[0].isupper()]


def _term(name: str, text: str) -> Iterator[Term]:
    name = " ".join(name.split()).rstrip(":,;.")
    meaning = next(iter(sentences(" ".join(text.split()))), "")
    named = _TERM.fullmatch(name) is not None and len(name.split()) <= 5 and _NO_TERM.match(name) is None
    explained = 8 <= len(meaning.split()) <= 40 and meaning[0].isupper() and meaning[-1] in ".!"
    if named and explained and _LEANS.search(meaning) is None:
        yield Term(name, meaning)
