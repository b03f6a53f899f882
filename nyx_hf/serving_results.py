"""What is shown of a document that was found: its text, its data, small pictures."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from PIL import Image

from nyx_hf.modeling.content_nyx import Part, parse_content
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.modeling.sources_nyx import SourceError

SIDE = 256  # pixels of a thumbnail's longer side


@dataclass(frozen=True)
class Shown:
    """A document that was found.

    Attributes:
        id: Its id.
        score: Its score.
        text: Its texts.
        metadata: Its other columns.
        pictures: Its images and the first frames of its videos, small, as data URIs; None where they were not asked
            for.
    """

    id: str
    score: float
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    pictures: list[str] | None = None


def shown(result: Any, pictures: bool) -> Shown:
    """Takes what is shown from a result of an index.

    Args:
        result: With `id`, `score`, `content` and `metadata`.
        pictures: Whether to make thumbnails.

    Returns:
        The document.
    """
    content = result.content
    parts = parse_content(content if isinstance(content, str | Mapping) else {"content": list(content)}).parts
    text = "\n\n".join(part.text for part in parts if part.type == "text")
    small = [_thumbnail(part) for part in parts if part.type != "text"] if pictures else None
    found = None if small is None else [one for one in small if one is not None]
    metadata = {name: _plain(value) for name, value in (result.metadata or {}).items()}
    return Shown(str(result.id), float(result.score), text, metadata, found)


def _plain(value: Any) -> Any:
    """A value as JSON holds it; what it has no word for (a date, NaN) as text."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    known = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value))
    return value if known else str(value)


def _thumbnail(part: Part) -> str | None:
    """A small picture; None for one that cannot be read any more, and for a video file."""
    source = part.source
    if part.type == "video":
        if not isinstance(source, list | tuple) or not source:
            return None
        source = source[0]
    try:
        image = load_image(source).copy()
    except SourceError:
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG" if max(image.size) < 64 else "JPEG", quality=85)
    kind = "png" if max(image.size) < 64 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
