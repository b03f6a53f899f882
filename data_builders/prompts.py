"""What a model is asked for in NyxQA: our own wording of the paper's four requests (Nyx §3.2, appendix D)."""

from collections.abc import Sequence
from typing import Any

from nyx_hf.data_builders.generators import Request
from nyx_hf.data_builders.pages import images_of
from nyx_hf.data_builders.schema import Row

VERSION = 1
"""Grows with every change of a prompt: answers to others are not taken from the cache."""


def _object(**properties: Any) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_STRING = {"type": "string", "minLength": 1}
PAIRS = _object(pairs={"type": "array", "maxItems": 5, "items": _object(question=_STRING, answer=_STRING)})
REFINED = _object(keep={"type": "boolean"}, question={"type": "string"}, answer={"type": "string"})
DISTRACTORS = _object(distractors={"type": "array", "items": _STRING, "minItems": 3, "maxItems": 3})

_ROLE = (
    "You write exam questions about material that the examinee will have to find first. You answer with JSON alone."
)

_TEXT = """
Below is a piece of a larger work. Write up to five questions whose answers stand in it, each with its answer.

- A reader who has never seen this piece must understand the question: name what it is about, and never speak of
  "the text", "this document", "the author" or the like.
- Only this piece may be needed for the answer; general knowledge must not do.
- An answer is a word, a name, a number or a short phrase, not a sentence.
- Ask about different things. Fewer good questions are better than five poor ones; none is allowed.

Reply with {"pairs": [{"question": "…", "answer": "…"}, …]}.
"""

_IMAGES = """
Below is a piece of a larger work with its images, each behind its tag, such as <image 1>. Write up to five questions
whose answers stand in it, each with its answer. At least half of them must need an image.

- A question that needs an image holds the image's tag, exactly as given, where the image belongs: the reader will see
  it there. Never speak of an image without its tag, and use no tag that is not below.
- A reader who has never seen this piece must understand the question: name what it is about, and never speak of
  "the text", "this document", "the author" or the like.
- An answer is a word, a name, a number or a short phrase, without tags, and cannot be read off the image alone.
- Ask about different things. Fewer good questions are better than five poor ones; none is allowed.

Reply with {"pairs": [{"question": "…", "answer": "…"}, …]}.
"""

_SEVERAL = """
Every question must need at least two of the images, and hold the tags of both.
"""

_REFINE = """
Below is a piece of a larger work, then a question about it and its answer. Make both shorter without changing what is
asked: no needless words, the answer in as few words as will do{limit}. Keep image tags as they are. If the question
cannot be understood without the piece, has several right answers, or the answer is wrong, do not keep it.

Reply with {{"keep": true or false, "question": "…", "answer": "…"}}.
"""

_DISTRACT = """
Below is a question and its right answer. Write three wrong answers that someone who does not know the right one would
find just as likely: of the same kind, in the same form and of about the same length. None may be right, and no two may
mean the same.

Reply with {"distractors": ["…", "…", "…"]}.
"""


def pairs_request(chunk: Row, seed: int, *, several: bool = False) -> Request:
    """Asks for raw pairs of a chunk: with the text prompt, or, where it has images, the multimodal one.

    Args:
        chunk: A row of `CHUNK`.
        seed: Seed of the answer.
        several: Ask for questions that need two images each (the authors' extra pass).

    Returns:
        The request.
    """
    task = (_IMAGES if images_of(chunk["content"]) else _TEXT) + (_SEVERAL if several else "")
    return Request(_ROLE, [_text(task), *shown(chunk["content"])], PAIRS, seed=seed)


def refine_request(pair: Row, chunk: Row, seed: int, longest_answer: int | None = None) -> Request:
    """Asks for a pair made shorter, or judged unfit.

    Args:
        pair: A row of `PAIR`.
        chunk: Its chunk.
        seed: Seed of the answer.
        longest_answer: Words of an answer, at most (the authors: 5).

    Returns:
        The request.
    """
    limit = "" if longest_answer is None else f", {longest_answer} at most"
    asked = f"Question: {pair['question']}\nAnswer: {pair['answer']}"
    content = [_text(_REFINE.format(limit=limit)), *shown(chunk["content"]), _text(asked)]
    return Request(_ROLE, content, REFINED, max_tokens=256, seed=seed)


def distract_request(pair: Row, chunk: Row, seed: int) -> Request:
    """Asks for three wrong answers; the images are shown, the text is not.

    Args:
        pair: A row of `PAIR`.
        chunk: Its chunk.
        seed: Seed of the answer.

    Returns:
        The request.
    """
    asked = f"Question: {pair['question']}\nRight answer: {pair['answer']}"
    images = [block for block in chunk["content"] if block["type"] == "image"] if "<image " in pair["question"] else []
    return Request(_ROLE, [_text(_DISTRACT), *shown(images), _text(asked)], DISTRACTORS, max_tokens=256, seed=seed)


def asked_again(request: Request, reason: str, attempt: int) -> Request:
    """Asks the same once more, saying what was wrong, with another draw.

    Args:
        request: The first request.
        reason: What was wrong with its answer.
        attempt: How often it was asked before.

    Returns:
        The request.
    """
    told = _text(f"Your last reply could not be used ({reason}). Reply with the JSON object and nothing else.")
    content = [*request.content, told]
    return Request(request.system, content, request.schema, request.max_tokens, 0.7, request.seed + attempt)


def shown(content: Sequence[Row]) -> list[Row]:
    """Gives blocks as a model sees them: texts, and each image behind its tag."""
    parts: list[Row] = []
    number = 0
    for block in content:
        if block["type"] == "image":
            number += 1
            parts += [_text(f"<image {number}>"), {"type": "image", "image": {"bytes": block["image"], "path": None}}]
        else:
            parts.append(_text(block["text"]))
    return parts


def _text(text: str) -> Row:
    return {"type": "text", "text": text.strip()}
