"""Documents as rows of a Milvus collection: its fields, how a document becomes one, and filters over them.

Metadata stands in scalar fields, which can be filtered by. The document itself is JSON text, its pictures in base64,
cut into pieces of what Milvus allows a string and kept as one ARRAY field: so vector, metadata and content are written
and replaced together, and any client can read them. It costs a third more than the pictures' bytes.
"""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pymilvus import CollectionSchema, DataType, MilvusClient

from nyx_hf.vector_store import Batch, StoreError, StoreProperties, Where, checked_vectors, checked_where

Item = TypeVar("Item")
ID, VECTOR, CONTENT = "id", "vector", "content"
CHARACTERS, _PIECES = 65_535, 4_096  # Milvus's limits of a VARCHAR, in bytes, and of an ARRAY
DOCUMENT_BYTES = 48 << 20  # a server takes requests of 64 MB
_REQUEST_BYTES = 16 << 20
_BYTES = "base64"
_ESCAPED = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def prefix_field(width: int) -> str:
    """The field of the first so many dimensions."""
    return f"prefix_{width}"


def column_fields(columns: Iterable[str]) -> dict[str, str]:
    """Names the field of each column: `modality` is `c0_modality`, as a column may be called `in` or `1st`, too."""
    return {name: f"c{number}_" + re.sub(r"\W", "_", name, flags=re.ASCII) for number, name in enumerate(columns)}


def schema(properties: StoreProperties, prefixes: Sequence[int]) -> CollectionSchema:
    """Describes a collection.

    Args:
        properties: What the store was made with.
        prefixes: Widths of the prefixes that are kept beside the vectors.

    Returns:
        Its fields: `id`, `vector`, `prefix_W` for each width, `cN_NAME` for each column, and `content`.

    Raises:
        StoreError: If a column has a type that Milvus lacks.
    """
    made = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    made.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=CHARACTERS)
    made.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=properties.dims)
    for width in prefixes:
        made.add_field(prefix_field(width), DataType.FLOAT_VECTOR, dim=width)
    for name, field in column_fields(properties.columns).items():
        kind = _field_type(name, properties.columns[name])
        length = {"max_length": CHARACTERS} if kind == DataType.VARCHAR else {}
        made.add_field(field, kind, nullable=True, **length)
    pieces: dict[str, Any] = {"max_capacity": _PIECES, "max_length": CHARACTERS, "mmap_enabled": True}
    made.add_field(CONTENT, DataType.ARRAY, element_type=DataType.VARCHAR, **pieces)
    return made


def requests(batch: Batch, properties: StoreProperties, prefixes: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    """Turns documents into rows, as many together as a request may hold.

    Args:
        batch: Documents.
        properties: What the store was made with.
        prefixes: Widths of the prefixes to keep.

    Yields:
        Rows by field.

    Raises:
        StoreError: If vectors have another width, a column is unknown, or a text or document is too large.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for row in _rows(batch, properties, prefixes):
        rows.append(row)
        size += sum(map(len, row[CONTENT])) + 8 * properties.dims
        if size >= _REQUEST_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def read_row(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Gives a document's metadata as it was stored, `id` and `content` among it."""
    values = {name: row[field] for name, field in column_fields(columns).items()}
    return {"id": row[ID], "content": _unpacked(row[CONTENT]), **values}


def cut(vectors: np.ndarray, width: int) -> np.ndarray:
    """Gives the first dimensions, of length 1 again: float32 (n, width)."""
    found = vectors[:, :width]
    return np.ascontiguousarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)


def filter_text(where: Where | None, columns: Mapping[str, str]) -> str:
    """Writes a filter in Milvus's language; nothing where there is no filter.

    Raises:
        StoreError: If there is no such column, or a value is not of its type.
    """
    fields = column_fields(columns)
    checked = checked_where(where, columns)
    return " and ".join(within(fields[name], values.drop_null().to_pylist()) for name, values in checked.items())


def within(field: str, values: Iterable[Any]) -> str:
    """Writes that a field has one of some values."""
    return f"{field} in [{', '.join(map(_literal, values))}]"


def runs(items: Sequence[Item], together: int) -> Iterator[Sequence[Item]]:
    """Cuts a sequence into runs of at most so many."""
    return (items[start : start + together] for start in range(0, len(items), together))


def _field_type(name: str, kind: str) -> DataType:
    """Gives the type of a column's field, wide enough for all of Arrow's."""
    arrow = pa.type_for_alias(kind)
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        return DataType.VARCHAR
    if pa.types.is_boolean(arrow):
        return DataType.BOOL
    if pa.types.is_signed_integer(arrow):
        return DataType.INT64
    if pa.types.is_floating(arrow):
        return DataType.DOUBLE
    raise StoreError(f"found the column {name!r} of type {kind}, expected texts, numbers or truth values")


def _literal(value: Any) -> str:
    """Writes a value; templates would quote strings for us, but Milvus Lite has none."""
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPED)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if not math.isfinite(value):
        raise StoreError(f"found {value} in a filter, expected a finite number")
    return repr(value)


def _rows(batch: Batch, properties: StoreProperties, prefixes: Sequence[int]) -> Iterator[dict[str, Any]]:
    vectors = checked_vectors(batch.vectors, properties.dims, "documents")
    if len(vectors) != len(batch.ids) or len(batch.metadata) not in (0, len(batch.ids)):
        raise StoreError(f"found {len(batch.ids)} ids and {len(vectors)} vectors, expected equally many")
    arrays = {VECTOR: vectors} | {prefix_field(width): cut(vectors, width) for width in prefixes}
    columns = _columns(batch, properties)
    contents = batch.metadata[CONTENT] if CONTENT in batch.metadata.column_names else pa.nulls(len(batch.ids))
    for at, name in enumerate(batch.ids):
        values = {field: column[at] for field, column in columns.items()}
        for text in (name, *values.values()):
            if isinstance(text, str) and len(text.encode()) > CHARACTERS:
                raise StoreError(f"found a text of {len(text):,} characters in {name[:40]!r}, and Milvus takes 65,535")
        packed = _packed(contents[at].as_py(), name)
        yield {ID: name, CONTENT: packed, **values, **{field: array[at] for field, array in arrays.items()}}


def _columns(batch: Batch, properties: StoreProperties) -> dict[str, list[Any]]:
    """Gives the values of each field that is a column; those that the batch does not have are null."""
    kinds, given = properties.columns, batch.metadata.column_names
    if unknown := [name for name in given if name not in kinds and name not in (ID, CONTENT)]:
        raise StoreError(f"found the column {unknown[0]!r}, expected {', '.join(kinds)}")
    return {
        field: batch.metadata[name].cast(pa.type_for_alias(kinds[name])).to_pylist()
        if name in given
        else [None] * len(batch.ids)
        for name, field in column_fields(kinds).items()
    }


def _packed(content: Any, name: str) -> list[str]:
    """Writes a document as JSON in ASCII, in pieces."""
    text = json.dumps(content, default=lambda data: {_BYTES: base64.b64encode(data).decode()})
    if len(text) > DOCUMENT_BYTES:
        raise StoreError(
            f"found {len(text) >> 20} MB of content in {name!r}, and Milvus takes {DOCUMENT_BYTES >> 20} MB a "
            "document: index smaller pictures with --max-pixels"
        )
    return [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)]


def _unpacked(pieces: Iterable[str]) -> Any:
    return json.loads("".join(pieces), object_hook=lambda found: _as_bytes(found) if [*found] == [_BYTES] else found)


def _as_bytes(found: Mapping[str, str]) -> bytes:
    return base64.b64decode(found[_BYTES])
