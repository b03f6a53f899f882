"""Pages and chunks: what sources give and the NyxQA stages pass on, before it becomes a corpus."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import Features, List, Value

from nyx_hf.data_builders.schema import Row

ROLES = ("heading", "paragraph", "term", "item", "table", "code", "caption")
BLOCK = {"type": Value("string"), "role": Value("string"), "text": Value("string"), "image": Value("binary")}
_DROPPED = {"dropped": Value("string")}

PAGE = Features(
    {"id": Value("string"), "title": Value("string"), "url": Value("string"), "content": List(BLOCK), **_DROPPED}
)
CHUNK = Features(
    {
        "id": Value("string"),
        "page_id": Value("string"),
        "number": Value("int32"),
        "title": Value("string"),
        "content": List(BLOCK),
        **_DROPPED,
    }
)


def text_block(text: str, role: str = "paragraph") -> Row:
    """Makes a block of text.

    Args:
        text: The text, of one paragraph, heading, table….
        role: What it is on its page, one of `ROLES`.

    Returns:
        The block: `{"type": "text", "role", "text", "image": None}`.
    """
    return {"type": "text", "role": role, "text": text, "image": None}


def image_block(file: bytes) -> Row:
    """Makes a block of one image, from its encoded file."""
    return {"type": "image", "role": None, "text": None, "image": file}


def dropped_row(row_id: str, reason: str, features: Features) -> Row:
    """Makes the row that stands for what was left out; runs of stages count it and pass it no further.

    Args:
        row_id: What was left out: a page, a chunk, a pair, or `page#image 3`.
        reason: Why, in words that do not differ from row to row, such as `image: blurred`.
        features: The columns of the table that it stands in.

    Returns:
        A row with nothing but `id` and `dropped`.
    """
    return {**dict.fromkeys(features), "id": row_id, "dropped": reason}


def images_of(content: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Lists the images of a page or chunk in order; `<image k>` means the k-th of a chunk, from 1."""
    return [block["image"] for block in content if block["type"] == "image"]


def text_of(content: Iterable[Mapping[str, Any]]) -> str:
    """Gives the text of a page or chunk, its blocks apart by an empty line."""
    return "\n\n".join(block["text"] for block in content if block["type"] == "text")


def to_parts(content: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Turns blocks into the parts of a document: texts that follow each other become one.

    Args:
        content: Blocks in reading order.

    Returns:
        Parts as the schema has them, images as `{"bytes", "path"}`.
    """
    parts: list[Row] = []
    for block in content:
        if block["type"] == "image":
            parts.append({"type": "image", "image": {"bytes": block["image"], "path": None}})
        elif parts and parts[-1]["type"] == "text":
            parts[-1]["text"] += f"\n\n{block['text']}"
        else:
            parts.append({"type": "text", "text": block["text"]})
    return parts


def modality_of(content: Iterable[Mapping[str, Any]]) -> str:
    """Tells which of the three kinds a chunk is: `text`, `one image` or `several images`."""
    count = len(images_of(content))
    return "text" if count == 0 else "one image" if count == 1 else "several images"


def content_hash(value: Any) -> str:
    """Hashes rows, settings, texts and bytes by what they hold: the same for equal values on any machine.

    Args:
        value: None, a bool, number, string or bytes, or a mapping (in any order) or sequence of such.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: If it holds anything else.
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    if isinstance(value, bytes):
        digest.update(b"b%d:" % len(value) + value)
    elif isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        digest.update(b"s%d:" % len(text) + text)
    elif isinstance(value, Mapping):
        digest.update(b"m%d:" % len(value))
        for key in sorted(value):
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(b"l%d:" % len(value))
        for one in value:
            _feed(digest, one)
    elif value is None or isinstance(value, bool | int | float):
        digest.update(f"{type(value).__name__}:{value!r};".encode())
    else:
        raise TypeError(f"found a {type(value).__name__}, expected text, bytes, numbers, mappings and sequences")
