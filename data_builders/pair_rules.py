"""Stage 3 of NyxQA, error filtering: rules that a question–answer pair must pass (Nyx §3.2).

The paper names two: no explicit references to the context ("in this document"), and no image tag without its image.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from nyx_hf.data_builders.options import TAG, normal_answer
from nyx_hf.data_builders.pages import images_of

_SOURCES = (
    "document|documents|passage|passages|text|article|page|paragraph|paragraphs|section|chapter|excerpt|snippet|"
    "context|content|author|authors|source|material|description|chunk|webpage|website|post|example above"
)
_CONTEXT = re.compile(
    # "this document", "the passage", but not "the text tool" or "the page setup": nothing may follow that it qualifies
    rf"\b(?:in|from|by|to|of|on|with|within|per|under|throughout)\s+(?:the|this|that|these|those)\s+"
    rf"(?:given\s+|above\s+|following\s+|provided\s+|previous\s+|preceding\s+)?(?:{_SOURCES})\b(?=\s*(?:[?,.;:!]|$|is|are|"
    rf"was|were|do|does|did|say|says|mention|mentions|describe|describes|state|states|above|below|provided|given|about|"
    rf"what|which|who|how|why|where|when)\b|\s*[?,.;:!]|\s*$)"
    rf"|\b(?:this|these|the\s+(?:given|above|following|provided|preceding|present))\s+(?:{_SOURCES})\b"
    r"|\bthe\s+(?:document|passage|article|excerpt|snippet|author|authors|webpage)(?:'s|’s)?\b"
    r"|\baccording\s+to\s+(?:the|this|that|these)\b"
    r"|\b(?:mentioned|described|discussed|stated|shown|listed|given|seen|pictured|depicted|explained)\s+"
    r"(?:above|below|here|earlier|previously|in\s+the\s+(?:text|document|passage|article))\b"
    r"|\bas\s+(?:mentioned|described|stated|shown|seen)\b"
    r"|\bthe\s+text\s+(?:says?|mentions?|states?|describes?|above|below|provided)\b",
    re.I,
)
_PICTURE_WORDS = "image|picture|photo|photograph|figure|screenshot|illustration|diagram"
_UNTAGGED = re.compile(
    rf"\b(?:this|these|the\s+(?:above|following|given|provided|attached|shown|first|second|third))\s+(?:{_PICTURE_WORDS})s?\b"
    rf"|\b(?:shown|seen|depicted|visible|pictured|displayed|illustrated)\s+(?:in|on)\s+the\s+(?:{_PICTURE_WORDS})s?\b"
    rf"|\bin\s+the\s+(?:picture|photo|photograph|screenshot|illustration)s?\b"
    rf"|\bdoes\s+the\s+(?:{_PICTURE_WORDS})\s+(?:show|depict|illustrate|display)\b",
    re.I,
)
_LOOSE_TAG = re.compile(r"<\s*image[\s_#-]*(\d*)\s*>", re.I)
_LONGEST_QUESTION, _LONGEST_ANSWER = 60, 12  # words


def normal_tags(text: str) -> str:
    """Writes harmless spellings of image tags, `<image2>` or `<Image 2>`, as `<image 2>`."""
    return _LOOSE_TAG.sub(lambda match: f"<image {int(match[1])}>" if match[1] else match[0], text)


def rule_of(
    pair: Mapping[str, Any], chunk: Mapping[str, Any], preset: Literal["paper", "official"] = "paper"
) -> str | None:
    """Says which rule a pair breaks.

    Args:
        pair: A pair with `question` and `answer`.
        chunk: The chunk it was made from.
        preset: `paper` looks for whole words and phrases; `official` for the substrings of the authors' code, which
            also takes `context` for `text`.

    Returns:
        The reason that is counted; None for a pair that passes.
    """
    question, answer = pair["question"], pair["answer"]
    images = len(images_of(chunk["content"]))
    if preset == "official":
        return _official_rule(question, images)
    tags = [int(number) for number in TAG.findall(question)]
    if not question.strip() or not answer.strip():
        return "rule: empty question or answer"
    if len(question.split()) > _LONGEST_QUESTION or len(answer.split()) > _LONGEST_ANSWER:
        return "rule: question or answer too long"
    if _LOOSE_TAG.search(TAG.sub("", question)):
        return "rule: image tag without a number"
    if any(not 1 <= tag <= images for tag in tags):
        return "rule: image tag beyond the chunk's images"
    if _LOOSE_TAG.search(answer):
        return "rule: image tag in the answer"
    if not tags and _UNTAGGED.search(question):
        return "rule: speaks of an image without its tag"
    if _CONTEXT.search(TAG.sub(" ", question)):
        return "rule: refers to its context"
    if _gives_away(question, answer):
        return "rule: question holds its answer"
    return None


def _official_rule(question: str, images: int) -> str | None:
    """The authors' filter as their code has it."""
    lowered = question.lower()
    if "text" in lowered or "author" in lowered:
        return "rule: refers to its context"
    tags = [int(number) for number in re.findall(r"<image ?(\d+)>", question)]
    if "image" in lowered and not tags:
        return "rule: speaks of an image without its tag"
    return "rule: image tag beyond the chunk's images" if any(tag > images for tag in tags) else None


def _gives_away(question: str, answer: str) -> bool:
    """Whether the answer stands in the question as whole words; a choice between named things may name it."""
    words = normal_answer(answer)
    if words in ("yes", "no") or re.search(r"\bor\b", question, re.I):
        return False
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", " ".join(question.casefold().split())) is not None
