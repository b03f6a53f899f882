"""Content: what one item to embed is made of, an ordered sequence of text, image and video parts.

`parse_content` takes every accepted form of an item to one `Content`, so that all forms of the same content give the
same embedding. It checks types and order; nothing is opened, so images and videos stay the raw sources that they are.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import IOBase
from itertools import groupby
from typing import Any

import numpy as np
import torch
from PIL import Image

from .parts_nyx import ContentError, Part, PartType, bare_part, checked_part, clean_text, parse_part, text_part
from .sources_nyx import describe, is_undecoded
from .video_nyx import is_frames, is_video_path

__all__ = [
    "Content",
    "ContentError",
    "Part",
    "PartType",
    "as_batch",
    "clean_text",
    "content_modalities",
    "parse_content",
    "to_messages",
]

TAG = re.compile("<image *([0-9]+) *>")  # where image k of a dict stands in its text, k from 1
PLURALS = {"texts": "text", "images": "image", "videos": "video"}


@dataclass(frozen=True)
class Content:
    """An ordered sequence of parts; no two neighbours are texts.

    Args:
        parts: At least one part. Only a content that is the empty text alone has an empty text part.
        instruction: Text of the system messages, where the content came as chat messages.
    """

    parts: tuple[Part, ...]
    instruction: str = ""


def parse_content(item: Any, *, index: int | None = None) -> Content:
    """Parses one item in any accepted form.

    - A string is text, never a path; tags in it are literal.
    - An image by itself: a PIL image, `pathlib.Path`, bytes, a binary file, an array, an undecoded dict of `bytes` and
      `path`. A path that ends as video files do, and an array of four dimensions, are videos.
    - A dict with `text`, `image`, `video`, one or a list each. Where there are images and the text has tags,
      `<image k>` says where image k stands, k from 1 (videos come first); else images come first, then videos, then
      text. A list of images under `video` is one video's frames. Other keys are ignored.
    - A tuple of parts in order: strings (text), images and videos by themselves, typed parts. Tags are literal.
    - `{"content": ...}`: a string or a list of parts. Other keys of a row are ignored.
    - A list of chat messages: the text of system messages is the instruction, the parts of all others follow in
      order.

    A typed part is `{"type": "text", "text": ...}`, `{"type": "image", ...}` with one of `image`, `path`, `url`,
    `base64`, `{"type": "video", ...}` likewise, or `{"type": "image_url", "image_url": {"url": ...}}`. Keys whose
    value is None count as absent. Neighbouring texts are joined with nothing between them, and empty texts are dropped
    unless there is nothing else.

    Args:
        item: The item.
        index: Its place in the caller's batch, for error messages.

    Returns:
        The content, with images and videos as they were given.

    Raises:
        ContentError: The item is none of these, a part of it is malformed, a tag and an image do not match, or it is
            empty; it names `index` and the part.
    """
    try:
        parts, instruction = _parse(item)
        if not parts:
            raise ContentError(f"found {describe(item)}, an empty content: give at least one text, image or video")
    except ContentError as error:
        raise ContentError(error.message, index=index, part=error.part) from None
    return Content(_merged(parts), instruction)


def as_batch(inputs: Any) -> tuple[list[Any], bool]:
    """Tells a batch of items from a single item.

    Args:
        inputs: One item, or a batch: a list (but a list of chat messages is one item), a column or rows of a dataset,
            a generator, an array of strings or objects. A tuple is one item.

    Returns:
        The items, and whether `inputs` was a single item.
    """
    if isinstance(inputs, np.ndarray):
        return (list(inputs), False) if inputs.dtype.kind in "OUT" and inputs.ndim == 1 else ([inputs], True)
    single = (str, bytes, bytearray, tuple, Mapping, set, frozenset, torch.Tensor, Image.Image, IOBase)
    if isinstance(inputs, single) or not isinstance(inputs, Iterable) or _is_chat(inputs):
        return [inputs], True
    return list(inputs), False


def content_modalities(content: Content) -> frozenset[PartType]:
    """Tells which types of part a content has.

    Args:
        content: The content.

    Returns:
        A set of "text", "image" and "video".
    """
    return frozenset(part.type for part in content.parts)


def to_messages(content: Content) -> list[dict[str, Any]]:
    """Writes a content as chat messages with typed parts, the form that chat templates and other libraries read.

    Args:
        content: The content.

    Returns:
        A system message where there is an instruction, and a user message; `parse_content` reads them back.
    """
    parts = [
        {"type": part.type, part.type: part.text if part.type == "text" else part.source} for part in content.parts
    ]
    system = [{"role": "system", "content": [{"type": "text", "text": content.instruction}]}]
    return [*(system if content.instruction else []), {"role": "user", "content": parts}]


def _parse(item: Any) -> tuple[list[Part], str]:
    """Parts as they stand in the item, and its instruction."""
    if _is_chat(item):
        return _chat(item)
    if _is_message(item):
        return _chat([item])
    if isinstance(item, Mapping) and not is_undecoded(item):
        return _row({key: value for key, value in item.items() if value is not None}), ""
    if isinstance(item, tuple):
        return _sequence(item), ""
    bare = bare_part(item)
    if bare is None:
        hint = (
            "a list is a batch, one item of several parts is a tuple"
            if isinstance(item, list)
            else "pass one of these"
        )
        raise ContentError(
            f"found {describe(item)}, expected text, an image, a tuple of parts, a dict with 'text', 'image', 'video' "
            f"or 'content', or a list of chat messages: {hint}"
        )
    return [bare], ""


def _merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Joins neighbouring texts and drops empty ones, so that equal contents have equal parts."""
    joined: list[Part] = []
    for kind, group in groupby(parts, key=lambda part: part.type):
        run = list(group)
        joined += [text_part("".join(part.text for part in run))] if kind == "text" else run
    return tuple(part for part in joined if part.type != "text" or part.text) or (text_part(""),)


def _text_or_sequence(value: Any) -> list[Part]:
    if isinstance(value, str):
        return [text_part(value)]
    if isinstance(value, (list, tuple)):
        return _sequence(value)
    raise ContentError(f"found 'content' with {describe(value)}, expected a string or a list of typed parts")


def _sequence(values: Sequence[Any]) -> list[Part]:
    parts = []
    for at, value in enumerate(values):
        try:
            parts.append(parse_part(value))
        except ContentError as error:
            raise ContentError(error.message, part=at) from None
    return parts


def _row(row: dict[str, Any]) -> list[Part]:
    """Parts of a dict, its None values taken out."""
    if "content" in row:
        return _text_or_sequence(row["content"])
    plurals = [key for key in PLURALS if key in row]
    if plurals:
        raise ContentError(
            f"found the key {plurals[0]!r}, expected {PLURALS[plurals[0]]!r}, which takes one or a list: rename it"
        )
    if not row.keys() & {"text", "image", "video"} and row:
        raise ContentError(
            f"found {describe(row)}, expected 'text', 'image', 'video' or 'content': rename its keys, or put "
            'typed parts into {"content": [...]}'
        )
    texts = [_of_key("text", at, value) for at, value in enumerate(_listed(row.get("text", [])))]
    images = [_of_key("image", at, value) for at, value in enumerate(_listed(row.get("image", [])))]
    videos = [_of_key("video", at, value) for at, value in enumerate(_videos(row.get("video", [])))]
    if images and any(TAG.search(part.text) for part in texts):
        return videos + _placed(texts, images)
    return images + videos + texts


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _videos(value: Any) -> list[Any]:
    """A list is the frames of one video, unless its entries can only be whole videos."""
    if isinstance(value, (list, tuple)) and all(is_frames(entry) or is_video_path(entry) for entry in value):
        return list(value)
    return [value]


def _of_key(kind: PartType, at: int, value: Any) -> Part:
    try:
        return checked_part(kind, value)
    except ContentError as error:
        raise ContentError(f"{kind!r} of a dict: {error.message}", part=at) from None


def _placed(texts: Sequence[Part], images: Sequence[Part]) -> list[Part]:
    """Texts with images in place of their tags."""
    numbered = {str(number): image for number, image in enumerate(images, 1)}
    unplaced = dict(numbered)
    parts = []
    for text in texts:
        for at, piece in enumerate(TAG.split(text.text)):  # text, digits, text, digits, ..., text
            if at % 2 == 0:
                parts.append(text_part(piece))
                continue
            number = piece.lstrip("0")
            if number not in numbered:
                raise ContentError(
                    f"found the tag <image {piece[:20]}> and {len(images)} image(s): number tags from 1 to "
                    f"{len(images)}, or give the image that is missing"
                )
            unplaced.pop(number, None)
            parts.append(numbered[number])
    if unplaced:
        first = min(map(int, unplaced))
        raise ContentError(
            f"found tags in the text but none for image {first} of {len(images)}: put <image {first}> where it stands,"
            " or take all tags out to have the images first",
            part=first - 1,
        )
    return parts


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and "content" in value


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_message(message) for message in value)


def _chat(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Part], str]:
    parts: list[Part] = []
    instruction = ""
    for number, message in enumerate(messages):
        try:
            found = [] if message["content"] is None else _text_or_sequence(message["content"])
        except ContentError as error:
            raise ContentError(f"message {number}: {error.message}", part=error.part) from None
        if message["role"] != "system":
            parts += found
            continue
        for at, part in enumerate(found):
            if part.type != "text":
                raise ContentError(
                    f"message {number}: found a part of type {part.type!r} in a system message, expected text: "
                    "put it in a user message",
                    part=at,
                )
            instruction += part.text
    return parts, instruction
