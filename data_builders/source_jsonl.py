"""Pages in a JSONL file: rows of the corpus schema, or plain `{"id", "text"}`."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from nyx_hf.data_builders.folder_images import (
    FolderImages,
    ImageLimits,
    UnusableImageError,
    checked_image,
    decoded_base64,
)
from nyx_hf.data_builders.pages import PAGE, dropped_row, image_block, text_block
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import checked_place

_EMPTY_LINE = re.compile(r"\n[ \t\r]*\n")


class _BadLineError(ValueError):
    """A line that is no page; the message is the reason that is counted."""


@dataclass(frozen=True)
class JsonlSource:
    r"""One page a line: `{"id": "a", "text": "…"}`, or with `content`, a list of parts as the corpus has them.

    An image is a data URI, a path inside the file's folder, or `{"bytes": base64}`. A text part's paragraphs are apart
    by empty lines.

    Attributes:
        place: The file.
        max_bytes: Longest line, in bytes.
        limits: What images must be.
    """

    place: str
    max_bytes: int = 200_000_000
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
        return {"kind": "jsonl", "max_bytes": self.max_bytes, **vars(self.limits)}

    def refs(self) -> Iterator[Row]:
        """Lists the lines that are not empty, by where they begin; a line's state includes the images that it names.

        Raises:
            ValueError: If there are none.
        """
        seen: set[str] = set()
        start, found = 0, False
        with self._file.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    found = True
                    fault, state = self._fault_and_state(line, seen)
                    payload = json.dumps({"start": start, "length": len(line), "fault": fault})
                    yield {"id": f"line {number}", "state": state, "payload": payload}
                start += len(line)
        if not found:
            raise ValueError(f"jsonl:{self.place}: the file is empty; name another")

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads pages; a line that is none becomes a dropped row."""
        with self._file.open("rb") as file:
            return [self._read(file, ref["id"], json.loads(ref["payload"])) for ref in refs]

    @property
    def _file(self) -> Path:
        return checked_place("jsonl", self.place)

    def _fault_and_state(self, line: bytes, seen: set[str]) -> tuple[str | None, str]:
        """Tells what is wrong with a line before it is read, and hashes it with the images that it names."""
        digest = hashlib.sha256(line)
        if len(line) > self.max_bytes:
            return "line: too long", digest.hexdigest()
        try:
            row = _row(line)
            page_id = _id_of(row)
        except _BadLineError as reason:
            return str(reason), digest.hexdigest()
        if page_id in seen:
            return "line: an id that came before", digest.hexdigest()
        if page_id is not None:
            seen.add(page_id)
        content = row.get("content")
        images = FolderImages(self._file.parent, self.limits)
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and (path := _path_of(part.get("image"))) is not None:
                digest.update(images.state(path, self._file).encode())
        return None, digest.hexdigest()

    def _read(self, file: BinaryIO, line_id: str, place: Mapping[str, Any]) -> list[Row]:
        try:
            if place["fault"] is not None:
                raise _BadLineError(place["fault"])
            file.seek(place["start"])
            row = _row(file.read(place["length"]))
            page_id = _id_of(row) or line_id
            blocks, lost = self._blocks(_content_of(row))
        except _BadLineError as reason:
            return [dropped_row(line_id, str(reason), PAGE)]
        dropped = [dropped_row(f"{page_id}#left-out-{n}", reason, PAGE) for n, reason in enumerate(lost)]
        if not blocks:
            return [dropped_row(page_id, "page: no text and no image", PAGE), *dropped]
        title, url = (_whole(row[key]) if isinstance(row.get(key), str) else None for key in ("title", "url"))
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
            return checked_image(decoded_base64(value["bytes"], self.limits), self.limits)
        path = _path_of(value)
        if path is None:
            raise UnusableImageError("image: neither a path, a data URI nor bytes")
        return FolderImages(self._file.parent, self.limits).load(path, self._file)


def _row(line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _BadLineError("line: not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _BadLineError("line: no JSON") from error
    if not isinstance(row, Mapping):
        raise _BadLineError("line: no JSON object")
    return row


def _id_of(row: Mapping[str, Any]) -> str | None:
    """Gives a page's id; None for one that has none."""
    value = row.get("id")
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadLineError("line: an id that is neither text nor a number")
    return _whole(str(value))


def _content_of(row: Mapping[str, Any]) -> Any:
    return [{"type": "text", "text": row["text"]}] if isinstance(row.get("text"), str) else row.get("content")


def _path_of(image: Any) -> str | None:
    """Gives the path or data URI of an image that comes with no bytes."""
    if isinstance(image, Mapping):
        image = None if isinstance(image.get("bytes"), str) else image.get("path")
    return image if isinstance(image, str) else None


def _paragraphs(text: str) -> list[Row]:
    return [text_block(piece.strip()) for piece in _EMPTY_LINE.split(_whole(text)) if piece.strip()]


def _whole(text: str) -> str:
    """Replaces halves of characters, which JSON can write and no file of rows can hold."""
    return text.encode("utf-8", errors="replace").decode()
