"""One part of a content: a text, an image or a video, in any form that a part may have."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .images_nyx import is_image
from .sources_nyx import describe
from .video_nyx import is_frames, is_video, is_video_path

PartType = Literal["text", "image", "video"]

# What `type` may say, and where a part of each type keeps what it shows. The names with `_url` are the OpenAI API's.
TYPES: dict[str, PartType] = {
    "text": "text",
    "image": "image",
    "video": "video",
    "image_url": "image",
    "video_url": "video",
}
PLACES = {
    "text": ("text",),
    "image": ("image", "image_url", "path", "url", "base64"),
    "video": ("video", "video_url", "path", "url", "base64"),
}

# Lone surrogates, which no tokenizer can encode, and two noncharacters that mark texts inside the processor.
_UNWRITABLE = re.compile("[\ud800-\udfff\ufdd0\ufdd1]")


class ContentError(ValueError):
    """An item that is no content, or whose image or video cannot be read.

    Args:
        message: What was found, what was expected and what to do.
        index: Place of the item in the caller's batch, from 0.
        part: Place of the part in the item, from 0.
    """

    def __init__(self, message: str, *, index: int | None = None, part: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.index = index
        self.part = part

    def __str__(self) -> str:
        places = [f"{name} {at}" for name, at in (("item", self.index), ("part", self.part)) if at is not None]
        return ": ".join([", ".join(places), self.message] if places else [self.message])


@dataclass(frozen=True)
class Part:
    """One text, image or video.

    Args:
        type: Which of the three.
        text: The text of a text part.
        source: The image or video as it was given, not yet loaded.
    """

    type: PartType
    text: str = ""
    source: Any = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        """Equal type and text, and the same source object or an equal path, URI or bytes."""
        if not isinstance(other, Part):
            return NotImplemented
        comparable = isinstance(self.source, (str, bytes, os.PathLike)) and type(self.source) is type(other.source)
        same = self.source is other.source or (comparable and bool(self.source == other.source))
        return same and (self.type, self.text) == (other.type, other.text)


def clean_text(text: str) -> str:
    """Replaces what no text may hold (lone surrogates, U+FDD0, U+FDD1) by U+FFFD, one for one.

    Args:
        text: Any string.

    Returns:
        Text that encodes to UTF-8.
    """
    return _UNWRITABLE.sub("\ufffd", text)


def text_part(text: str) -> Part:
    """A text part, cleaned."""
    return Part("text", clean_text(text))


def parse_part(value: Any) -> Part:
    """Parses one part of a sequence.

    Args:
        value: A string (text), an image or video by itself, or a typed part. Keys whose value is None count as absent.

    Returns:
        The part.

    Raises:
        ContentError: `value` is none of these.
    """
    bare = bare_part(value)
    if bare is not None:
        return bare
    if not isinstance(value, Mapping):
        raise ContentError(
            f"found {describe(value)}, expected a string, an image or a typed part: a video's frames go into "
            '{"type": "video", "video": [...]}'
        )
    return _typed({key: value[key] for key in value if value[key] is not None})


def bare_part(value: Any) -> Part | None:
    """Parses a text, image or video that stands by itself.

    Args:
        value: Anything.

    Returns:
        The part, or None where `value` is a typed part or no part at all.
    """
    if isinstance(value, str):
        return text_part(value)
    if isinstance(value, (list, tuple)):
        return None  # frames by themselves would be taken for parts
    if is_frames(value) or is_video_path(value):
        return Part("video", source=value)
    return Part("image", source=value) if is_image(value) else None


def checked_part(kind: PartType, value: Any) -> Part:
    """A part of a known type.

    Args:
        kind: The type.
        value: Its text or source.

    Returns:
        The part.

    Raises:
        ContentError: `value` cannot be a part of this type.
    """
    if kind == "text" and isinstance(value, str):
        return text_part(value)
    if (kind == "image" and is_image(value)) or (kind == "video" and is_video(value)):
        return Part(kind, source=value)
    if kind == "text":
        raise ContentError(f"found {describe(value)} as text, expected a string: convert it")
    if kind == "image":
        hint = "frames are a video" if is_frames(value) else "pass one of these"
        raise ContentError(
            f"found {describe(value)} as image, expected a PIL image, a path, bytes, a data URI or an array of shape "
            f"(H, W, C): {hint}"
        )
    strange = [at for at, frame in enumerate(value) if not is_image(frame)] if isinstance(value, (list, tuple)) else []
    found = (
        f"{describe(value[strange[0]])} as frame {strange[0]} of a video" if strange else f"{describe(value)} as video"
    )
    raise ContentError(
        f"found {found}, expected a list of images, an array of shape (T, H, W, C), or a video file's path or bytes: "
        "pass one of these"
    )


def _typed(given: dict[str, Any]) -> Part:
    name = given.get("type")
    if not isinstance(name, str) or name not in TYPES:
        found = f"a part of type {name!r}" if "type" in given else f"{describe(given)} and no 'type'"
        raise ContentError(f"found {found}, expected a part whose 'type' is one of {', '.join(TYPES)}: set it")
    kind = TYPES[name]
    others = [key for key in ("text", "image", "video") if key != kind and _holds(given.get(key))]
    if others:
        raise ContentError(f"found {others[0]!r} in a part of type {name!r}: make it a part of its own")
    places = [key for key in PLACES[kind] if key in given]
    if len(places) != 1:
        raise ContentError(
            f"found a part of type {name!r} with {' and '.join(map(repr, places)) or 'nothing in it'}, expected "
            f"exactly one of {', '.join(map(repr, PLACES[kind]))}: set it, or leave the part out"
        )
    value = given[places[0]]
    if places[0].endswith("_url") and isinstance(value, Mapping):
        value = value.get("url")
    if places[0] == "base64" and isinstance(value, str) and not value.startswith("data:"):
        value = f"data:;base64,{value}"
    return checked_part(kind, value)


def _holds(value: Any) -> bool:
    """Whether a key says anything: Arrow gives each row all keys, some with None, "" or []."""
    return value is not None and not (isinstance(value, (str, list, tuple)) and len(value) == 0)
