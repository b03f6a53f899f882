"""Queries of any mix as searches read them: typed, from a file, or in any form that a model takes."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.content_nyx import parse_content
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.modeling.video_nyx import load_frames

_FPS, _FRAMES = 1.0, 16
_TAG = re.compile(r"<image \d+>")


@dataclass(frozen=True)
class Query:
    """What is sought.

    Attributes:
        content: Its parts, pictures loaded.
        id: Its id, where it has one.
        instruction: Its own instruction.
    """

    content: Sequence[Row]
    id: str | None = None
    instruction: str | None = None


def read_query(item: Any, number: int = 0, query_id: str | None = None, instruction: str | None = None) -> Query:
    """Reads a query.

    Args:
        item: A content in any form that `encode` takes.
        number: Its place among others, for errors.
        query_id: Its id.
        instruction: Its instruction.

    Returns:
        The query.

    Raises:
        ValueError: If it is malformed, a picture cannot be read, or nothing is in it.
    """
    content = parse_content(item, index=number)
    parts: list[Row] = []
    for part in content.parts:
        if part.type == "text":
            parts.append({"type": "text", "text": part.text})
        elif part.type == "image":
            parts.append({"type": "image", "image": load_image(part.source)})
        else:
            frames = load_frames(part.source, fps=_FPS, max_frames=_FRAMES)
            parts.append({"type": "video", "video": list(frames.images)})
    if not any(part["type"] != "text" or part["text"].strip() for part in parts):
        raise ValueError(f"query {number + 1} is empty: give some words, an image or both")
    return Query(parts, query_id, instruction or content.instruction)


def typed_query(text: str | None, images: Sequence[Path], images_first: bool) -> Any:
    """Gives what was typed as one content.

    Args:
        text: The words; where they have tags such as `<image 1>`, these say where the images stand.
        images: Image files.
        images_first: Whether an image was typed before the words.

    Returns:
        The content.

    Raises:
        ValueError: If nothing was typed, or an image file is not there.
    """
    for path in images:
        if not path.is_file():
            raise ValueError(f"found no image at {path}, expected a file: check --image")
    if text is None and not images:
        raise ValueError('there is nothing to search for: give some words ("a red bicycle"), --image FILE, or both')
    words = [] if text is None else [text]
    if text is not None and images and _TAG.search(text):
        return {"text": text, "image": list(images)}
    return (*images, *words) if images_first else (*words, *images)


def read_queries(path: Path) -> list[Query]:
    """Reads a file of queries.

    Args:
        path: Plain text, a query a line; or, if its name ends in `.jsonl`, rows of the `queries` schema, of which only
            `content` must be there: a text, or a list of parts, whose images are files beside it or data URIs.

    Returns:
        The queries, in order.

    Raises:
        ValueError: If there is no such file or no query in it, or a line cannot be read; it names the line.
    """
    if not path.is_file():
        raise ValueError(f"found no file at {path}, expected queries: check --queries")
    queries = list(_lines(path))
    if not queries:
        raise ValueError(f"found no query in {path}, expected one a line")
    return queries


def _lines(path: Path) -> Iterator[Query]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _row(json.loads(line), path.parent) if path.suffix == ".jsonl" else read_query(line.strip())
        except ValueError as error:
            raise ValueError(f"{path.name} line {number}: {error}") from error


def _row(row: Any, folder: Path) -> Query:
    if not isinstance(row, dict) or not row.get("content"):
        raise ValueError('expected {"content": a text or a list of parts}, and no content was found')
    content = row["content"]
    if isinstance(content, list):
        content = [_beside(part, folder) for part in content]
    name = row.get("id")
    return read_query(
        {"content": content}, query_id=None if name is None else str(name), instruction=row.get("instruction")
    )


def _beside(part: Any, folder: Path) -> Any:
    """Reads a part's image file relative to the file of queries."""
    source = part.get("image") if isinstance(part, dict) else None
    return {**part, "image": folder / source} if isinstance(source, str) and not source.startswith("data:") else part
