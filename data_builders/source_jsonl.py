"""Pages in a JSONL file: rows of the corpus schema, or plain `{"id", "text"}`."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.folder_images import FolderImages, ImageLimits, UnusableImageError, checked_image
from nyx_hf.data_builders.pages import PAGE, dropped_row, image_block, text_block
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import checked_place


class _BadLineError(ValueError):
    """A line that is no page; the message is the reason that is counted."""


@dataclass(frozen=True)
class JsonlSource:
    r"""One page a line: `{"id": "a", "text": "…"}`, or with `content`, a list of parts as the corpus has them.

    An image is a data URI, a path inside the file's folder, or `{"bytes": base64}`. A text part's paragraphs are apart
    by empty lines.

    Attributes:
        place: The file.
        limits: What images must be.
    """

    place: str
    limits: ImageLimits = field(default_factory=ImageLimits)
    own: bool = True

    def __post_init__(self) -> None:
        if not checked_place("jsonl", self.place).is_file():
            raise ValueError(f"jsonl:{self.place}: this is a folder; name the file")

    @property
    def label(self) -> str:
        """The kind and the file's name."""
        return f"jsonl:{Path(self.place).name}"

    def settings(self) -> dict[str, Any]:
        """Gives the limits."""
        return {"kind": "jsonl", **vars(self.limits)}

    def refs(self) -> Iterator[Row]:
        """Lists the lines that are not empty.

        Raises:
            ValueError: If there are none.
        """
        count = 0
        with Path(self.place).expanduser().open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    count += 1
                    text = line.decode("utf-8", errors="replace")
                    yield {"id": f"line {number}", "state": hashlib.sha256(line).hexdigest(), "payload": text}
        if not count:
            raise ValueError(f"jsonl:{self.place}: the file is empty; name another")

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads pages; a line that is none becomes a dropped row."""
        return [self._read(ref["id"], ref["payload"]) for ref in refs]

    def _read(self, line_id: str, line: str) -> list[Row]:
        try:
            row = _row(line)
            page_id = str(row.get("id") or line_id)
            blocks, lost = self._blocks(_content_of(row))
        except _BadLineError as reason:
            return [dropped_row(line_id, str(reason), PAGE)]
        dropped = [dropped_row(f"{page_id}#left-out-{n}", reason, PAGE) for n, reason in enumerate(lost)]
        if not blocks:
            return [dropped_row(page_id, "page: no text and no image", PAGE), *dropped]
        title, url = (row.get(key) if isinstance(row.get(key), str) else None for key in ("title", "url"))
        return [{"id": page_id, "title": title, "url": url, "content": blocks, "dropped": None}, *dropped]

    def _blocks(self, content: Any) -> tuple[list[Row], list[str]]:
        if not isinstance(content, list):
            raise _BadLineError("line: neither text nor a list of parts in content")
        blocks: list[Row] = []
        lost: list[str] = []
        for part in content:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind == "text" and isinstance(part.get("text"), str):
                blocks += _paragraphs(part["text"])
            elif kind == "image":
                try:
                    blocks.append(image_block(self._image(part.get("image"))))
                except UnusableImageError as reason:
                    lost.append(str(reason))
            else:
                raise _BadLineError("line: a part that is neither a text nor an image")
        return blocks, lost

    def _image(self, value: Any) -> bytes:
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), str):
            try:
                return checked_image(base64.b64decode(value["bytes"]), self.limits)
            except binascii.Error as error:
                raise UnusableImageError("image: broken base64") from error
        if isinstance(value, Mapping):
            value = value.get("path")
        if not isinstance(value, str):
            raise UnusableImageError("image: neither a path, a data URI nor bytes")
        file = checked_place("jsonl", self.place)
        return FolderImages(file.parent, self.limits).load(value, file)


def _row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadLineError("line: no JSON") from error
    if not isinstance(row, Mapping):
        raise _BadLineError("line: no JSON object")
    return row


def _content_of(row: Mapping[str, Any]) -> Any:
    return [{"type": "text", "text": row["text"]}] if isinstance(row.get("text"), str) else row.get("content")


def _paragraphs(text: str) -> list[Row]:
    return [text_block(piece.strip()) for piece in text.split("\n\n") if piece.strip()]
