"""Options of a multiple-choice question, and questions as content (Nyx §3.2, option generation)."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nyx_hf.data_builders.pages import images_of
from nyx_hf.data_builders.schema import Row

TAG = re.compile(r"<image (\d+)>")
DISTRACTORS = 3


def normal_answer(text: str) -> str:
    """Gives an answer without case, spacing and the marks around it: what makes two answers the same."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'“”‘’()")


def options_fault(answer: str, distractors: Sequence[str]) -> str | None:
    """Says what is wrong with distractors.

    Args:
        answer: The right answer.
        distractors: The wrong ones.

    Returns:
        The reason that is counted; None for three that differ from each other and from the answer.
    """
    if len(distractors) != DISTRACTORS:
        return "options: not three distractors"
    distinct = {normal_answer(one) for one in (answer, *distractors)}
    return "options: not all different" if len(distinct) <= DISTRACTORS or "" in distinct else None


def make_options(pair: Mapping[str, Any], seed: int) -> tuple[list[str], int]:
    """Shuffles the answer in among its distractors; where it comes to stand is known, never looked for.

    Args:
        pair: A pair with `id`, `answer` and three `distractors`.
        seed: Seed of the shuffle, together with the pair's id.

    Returns:
        Four options, and the place of the right one.

    Raises:
        ValueError: If the distractors are not three that differ.
    """
    if fault := options_fault(pair["answer"], pair["distractors"] or []):
        raise ValueError(f"pair {pair['id']!r}: {fault}")
    options = [pair["answer"], *pair["distractors"]]
    order = list(range(len(options)))
    random.Random(f"{seed}/{pair['id']}").shuffle(order)
    return [options[place] for place in order], order.index(0)


def query_content(question: str, chunk_content: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Puts the images that a question names in the place of their tags.

    Args:
        question: The question; `<image k>` stands for the k-th image of the chunk, from 1.
        chunk_content: The chunk's blocks.

    Returns:
        Parts of the query; images that it does not name are not shown.

    Raises:
        ValueError: If it names an image that the chunk lacks.
    """
    images = images_of(chunk_content)
    parts: list[Row] = []
    for place, piece in enumerate(TAG.split(question)):
        if place % 2:
            if not 1 <= int(piece) <= len(images):
                raise ValueError(f"found <image {piece}> for a chunk of {len(images)} images; filter the pair first")
            parts.append({"type": "image", "image": {"bytes": images[int(piece) - 1], "path": None}})
        elif piece.strip():
            parts.append({"type": "text", "text": piece})
    return parts
