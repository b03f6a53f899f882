"""Questions that a chunk's own words make: about its images, its terms, its definitions, and gaps in its sentences."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nyx_hf.data_builders.extractive_text import (
    clean_caption,
    clean_title,
    paths_of,
    sentences,
    stands_alone,
    terms_of,
)
from nyx_hf.data_builders.pages import images_of, text_of

GAP = "____"
_BEFORE = re.compile(r"\b(?:original|before|without)\b", re.I)
_AFTER = re.compile(r"\b(?:applied|result|after|with|filtered)\b", re.I)
_WORD_OF_NAME = r"(?:[A-Z][\w’'-]*|of|and|the|to|tool|filter|dialog|mode|option|command|window|menu|layer|brush|mask)"
_VERB = (
    r"is used to|are used to|allows you to|allow you to|lets you|let you|enables you to|is a|is an|is the|provides|"
    r"creates|converts|displays|contains|performs|generates|simulates|applies|adds|removes|produces|opens|determines|"
    r"defines|sets|controls|specifies"
)
_DEFINITION = re.compile(
    rf"^(?:The |An? )?(?P<subject>[A-Z][\w’'-]*(?: {_WORD_OF_NAME})*) (?P<verb>{_VERB}) (?P<rest>.+)[.!]$"
)
_NO_SUBJECT = re.compile(
    r"(?:The|This|That|These|It|They|You|There|Here|When|If|In|On|At|By|For|With|As|An?|One|All)\b"
)
_KEYS = re.compile(r"\b(?:Ctrl|Shift|Alt|Enter|Esc|Escape|Tab|Space|Delete|Backspace|F\d{1,2})(?:\s?\+\s?\w+)*\b")
_NUMBER = re.compile(
    r"(?<![\w.,(])\d+(?:[.,]\d+)?(?:\s?(?:%|pixels?|bits?|bytes?|colors?|levels?|degrees?|°))?(?![\w.,)])"
)


@dataclass(frozen=True)
class Draft:
    """A question, its answer, and what kind of thing the answer is: distractors are of the same kind."""

    question: str
    answer: str
    kind: str


Maker = Callable[[Mapping[str, Any]], Iterator[Draft]]


def about_images(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Asks what an image shows, by its caption, and what turned one image into the next."""
    title = clean_title(chunk["title"])
    captions = dict(_captions(chunk["content"]))
    for number in sorted(captions):
        if (
            title
            and number + 1 in captions
            and _BEFORE.search(captions[number])
            and _AFTER.search(captions[number + 1])
        ):
            question = (
                f"<image {number}> was turned into <image {number + 1}>. Which tool, filter or command was used?"
            )
            yield Draft(question, title, "title")
    for number, caption in captions.items():
        if (shown := clean_caption(caption)) is not None:
            yield Draft(f"What does <image {number}> show?", shown, "caption")


def about_topic(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Asks which topic an image belongs to, where no caption says more of it."""
    title = clean_title(chunk["title"])
    if title is not None and images_of(chunk["content"]) and next(about_images(chunk), None) is None:
        yield Draft("Which topic does <image 1> illustrate?", title, "title")


def about_terms(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Asks which term an explanation belongs to."""
    title = clean_title(chunk["title"])
    for term in terms_of(chunk["content"]):
        if title is not None and not _named(term.name, term.meaning) and not _named(term.name, title):
            yield Draft(f"In “{title}”, what is described as follows? “{term.meaning}”", term.name, "term")


def about_definitions(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Asks what is or does what a sentence says of its subject."""
    title = clean_title(chunk["title"])
    for sentence in _good_sentences(chunk):
        match = _DEFINITION.match(sentence)
        if match is None or _NO_SUBJECT.match(match["subject"]) or len(match["subject"].split()) > 5:
            continue
        verb, rest = match["verb"], match["rest"]
        if _named(match["subject"], rest) or len(rest.split()) < 5:
            continue
        asked = f"hat {verb} {rest}?"
        context = title is not None and not _named(match["subject"], title) and not _named(title, match["subject"])
        yield Draft(f"In “{title}”, w{asked}" if context else f"W{asked}", match["subject"], "subject")


def about_paths(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Asks for the menu path of what the page is about."""
    title = clean_title(chunk["title"])
    for path in paths_of(text_of(chunk["content"])):
        if title is not None and path.split(" → ")[-1].casefold() == title.casefold():
            yield Draft(f"Through which menu entries is “{title}” reached?", path, "path")
            return


def about_gaps(chunk: Mapping[str, Any]) -> Iterator[Draft]:
    """Blanks a key, a number or a menu path in a sentence that stands alone."""
    title = clean_title(chunk["title"])
    for sentence in _good_sentences(chunk):
        for kind, found in (
            ("path", paths_of(sentence)),
            ("keys", _KEYS.findall(sentence)),
            ("number", _numbers(sentence)),
        ):
            if title is not None and len(found) == 1 and sentence.count(found[0]) == 1:
                gapped = sentence.replace(found[0], GAP)
                yield Draft(f"Complete this sentence about “{title}”: “{gapped}”", found[0], kind)
                break


MAKERS: tuple[Maker, ...] = (about_images, about_definitions, about_terms, about_paths, about_gaps, about_topic)
"""From the best to the last resort."""


def _captions(content: list[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """Pairs images, by number, with the caption that stands beside each: behind it, or else before it."""
    number = 0
    for place, block in enumerate(content):
        if block["type"] == "image":
            number += 1
            beside = [content[near] for near in (place + 1, place - 1) if 0 <= near < len(content)]
            caption = next((one["text"] for one in beside if one["role"] == "caption"), None)
            if caption is not None:
                yield number, caption


def _good_sentences(chunk: Mapping[str, Any]) -> Iterator[str]:
    for block in chunk["content"]:
        if block["role"] in ("paragraph", "item"):
            yield from filter(stands_alone, sentences(" ".join(block["text"].split())))


def _numbers(sentence: str) -> list[str]:
    return [match.group() for match in _NUMBER.finditer(sentence)]


def _named(name: str, text: str) -> bool:
    """Whether a text gives a name away, written apart or together."""
    close = re.sub(r"[\s-]", "", name).casefold() in re.sub(r"[\s-]", "", text).casefold()
    return close or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I) is not None
