"""The columns that MMEB, mmE5 and the Nyx authors share: texts with image tags, and images by their paths."""

import ast
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row

TRAIN_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
EVAL_COLUMNS = ("qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
_TAG = re.compile(r"<\|image_(\d+)\|>\s?")


class UnusableRowError(ValueError):
    """A row that lacks what it names; the message is the reason that is counted."""


def tagged_content(text: str | None, paths: Sequence[str], images: ImageFiles) -> list[Row]:
    """Turns a text with `<|image_k|>` tags into parts, each image where its tag stands.

    Args:
        text: The text.
        paths: The images' paths; those without a tag come first, in order.
        images: Where they are.

    Returns:
        The parts.

    Raises:
        UnusableRowError: If a tag has no image, or an image is not there.
    """
    pieces = _TAG.split(text or "")
    tagged = [int(number) for number in pieces[1::2]]
    if any(not 1 <= number <= len(paths) for number in tagged):
        raise UnusableRowError("row: image tag without an image")
    parts = [_image(path, images) for number, path in enumerate(paths, start=1) if number not in tagged]
    for place, piece in enumerate(pieces):
        if place % 2:
            parts.append(_image(paths[int(piece) - 1], images))
        elif piece.strip():
            parts.append({"type": "text", "text": piece.strip()})
    return parts


def train_record(row: Mapping[str, Any], images: ImageFiles, *, task: str | None, source: str) -> Record | Dropped:
    """Turns a training row into a record: one positive, the negatives that it has.

    Its instruction stays where upstream has it, in the query.

    Args:
        row: A row with `TRAIN_COLUMNS`, perhaps `neg_text`, `neg_image_path` and `ans`; cells are values, lists, or
            lists written out as text, as mmE5 has them.
        images: Where its images are.
        task: Its task.
        source: The set that it is from.

    Returns:
        The record, or why there is none.
    """
    try:
        query = tagged_content(row["qry"], _list(row["qry_image_path"]), images)
        positive = tagged_content(row["pos_text"], _list(row["pos_image_path"]), images)
        negatives = _candidates(row.get("neg_text"), row.get("neg_image_path"), images)
    except UnusableRowError as reason:
        return Dropped(str(reason))
    answers = _list(row.get("ans")) or None
    return Record(query, [positive], [one for one in negatives if one], answers=answers, task=task, source=source)


def candidates_record(
    row: Mapping[str, Any], images: ImageFiles, *, task: str | None, source: str
) -> Record | Dropped:
    """Turns an evaluation row into a record: the first candidate is right, the others are its negatives, in order.

    Args:
        row: A row with `EVAL_COLUMNS`, perhaps `qry_inst`.
        images: Where its images are.
        task: Its task.
        source: The set that it is from.

    Returns:
        The record, or why there is none.
    """
    try:
        query = tagged_content(row["qry_text"], _list(row["qry_img_path"]), images)
        candidates = _candidates(row["tgt_text"], row["tgt_img_path"], images)
    except UnusableRowError as reason:
        return Dropped(str(reason))
    if not candidates:
        return Dropped("row: no candidate")
    instruction = _TAG.sub("", row.get("qry_inst") or "").strip() or None
    return Record(query, candidates[:1], candidates[1:], instruction=instruction, task=task, source=source)


def _image(path: str, images: ImageFiles) -> Row:
    file = images.read(path)
    if file is None:
        raise UnusableRowError("row: image file is missing")
    return {"type": "image", "image": file}


def _candidates(texts: Any, paths: Any, images: ImageFiles) -> list[list[Row]]:
    """Pairs texts with their images by place; either may be empty, or shorter than the other."""
    said, shown = _list(texts, keep_empty=True), _list(paths, keep_empty=True)
    return [
        tagged_content(_at(said, number), _list(_at(shown, number)), images)
        for number in range(max(len(said), len(shown)))
    ]


def _list(value: Any, *, keep_empty: bool = False) -> list[Any]:
    values = [] if value is None else _written_out(value) if isinstance(value, str) else list(value)
    return values if keep_empty else [one for one in values if one]


def _written_out(text: str) -> list[str]:
    """Reads a list that is written out as text; any other text is one value."""
    if text.startswith("[") and text.endswith("]"):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            values = ast.literal_eval(text)
            if isinstance(values, list) and all(isinstance(one, str) for one in values):
                return values
    return [text]


def _at(values: Sequence[Any], number: int) -> Any:
    return values[number] if number < len(values) else None
