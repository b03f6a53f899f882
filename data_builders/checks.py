"""The check that each row passes before it is written, and the form in which it is stored."""

import io
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from PIL import Image

from nyx_hf.data_builders.schema import FEATURES, PART_TYPES, SCORES, Row, SchemaError
from nyx_hf.modeling.images_nyx import load_image

_KEPT_FORMATS = ("PNG", "JPEG", "WEBP")  # what browsers show; any other file becomes PNG


def checked_rows(config: str, split: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Checks rows one by one and gives them as they are stored: every column present, images as bytes.

    Args:
        config: `corpus`, `queries` or `triplets`.
        split: The split's name, for errors.
        rows: Mappings, or a `Dataset`, whose images are passed on byte for byte. Only `id` and `content`, or
            `query_id` and `positive_ids`, must be there.

    Yields:
        Rows with exactly the columns of `FEATURES[config]`.

    Raises:
        SchemaError: At the first row that does not fit, naming config, split, row and id.
    """
    check, key = _CHECKS[config], "query_id" if config == "triplets" else "id"
    seen: set[str] = set()
    for number, row in enumerate(_undecoded(rows)):
        row_id = row.get(key) if isinstance(row, Mapping) else None
        try:
            checked = check(_known_columns(config, row))
            if config != "triplets":
                _unseen(checked["id"], seen)
        except SchemaError as error:
            raise error.at(config, split, number, row_id) from None
        yield checked


def linked_rows(
    split: str, rows: Iterable[Row], query_ids: Collection[str], document_ids: Collection[str]
) -> Iterator[Row]:
    """Passes checked triplets on, each of whose ids exists.

    Args:
        split: The triplets' split, for errors.
        rows: Triplets out of `checked_rows`.
        query_ids: Ids of the queries that they may name.
        document_ids: Ids of the documents that they may name.

    Yields:
        The same rows.

    Raises:
        SchemaError: At the first id that is not there.
    """
    for number, row in enumerate(rows):
        named = [("query_id", "queries", row["query_id"], query_ids)]
        named += [("positive_ids", "corpus", one, document_ids) for one in row["positive_ids"]]
        named += [("negative_ids", "corpus", one, document_ids) for one in row["negative_ids"]]
        for column, config, one, known in named:
            if one not in known:
                raise SchemaError(
                    f"{column} naming {one!r}, which the {config} lack",
                    f"an id among the {len(known)} of the {config}",
                    f"add that row to the {config} or drop it here",
                ).at("triplets", split, number, row["query_id"])
        yield row


def stored_image(source: Any) -> Row:
    """Turns an image into what Parquet keeps: the bytes of a PNG, JPEG or WebP file as they are, PNG for all else.

    Args:
        source: A PIL image, an array, an encoded file's bytes, a path, or Arrow's `{"bytes", "path"}`.

    Returns:
        `{"bytes": …, "path": None}`.

    Raises:
        SchemaError: If it cannot be read as an image.
    """
    try:
        image = load_image(source)
    except ValueError as error:
        raise SchemaError(f"an image that cannot be read ({error})", "a readable image", "mend or drop it") from error
    file = _file_bytes(source)
    if file is not None and Image.open(io.BytesIO(file)).format in _KEPT_FORMATS:
        return {"bytes": file, "path": None}
    png = io.BytesIO()
    image.save(png, format="PNG")
    return {"bytes": png.getvalue(), "path": None}


def _file_bytes(source: Any) -> bytes | None:
    """Gives the encoded file behind an image that could be loaded; None for pixels and data URIs."""
    if isinstance(source, Mapping):
        source = source.get("path") if source.get("bytes") is None else source["bytes"]
    if isinstance(source, str | Path) and not str(source).startswith("data:"):
        return Path(source).read_bytes()
    return source if isinstance(source, bytes) else None


def _undecoded(rows: Iterable[Any]) -> Iterator[Any]:
    """Iterates over rows; a dataset's images stay the bytes they are."""
    if isinstance(rows, Dataset | IterableDataset):
        for batch in rows.with_format("arrow").iter(batch_size=256):
            yield from batch.to_pylist()
    else:
        yield from rows


def _known_columns(config: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise SchemaError(f"a {type(row).__name__}", "a mapping of columns", "pass each row as a dict")
    if unknown := [name for name in row if name not in FEATURES[config]]:
        raise SchemaError(
            f"the column {unknown[0]!r}", f"only {', '.join(FEATURES[config])}", "rename it or leave it out"
        )
    return row


def _unseen(row_id: str, seen: set[str]) -> None:
    if row_id in seen:
        raise SchemaError(f"the id {row_id!r} a second time", "ids that occur once", "drop or rename the repeated row")
    seen.add(row_id)


def _corpus_row(row: Mapping[str, Any]) -> Row:
    return {"id": _id(row.get("id"), "id"), "content": _content(row.get("content"))}


def _queries_row(row: Mapping[str, Any]) -> Row:
    checked = _corpus_row(row)
    checked |= {name: _text(row.get(name), name) for name in ("instruction", "task", "source")}
    return checked | {name: _list(row.get(name), name, _text) for name in ("answers", "options")}


def _triplets_row(row: Mapping[str, Any]) -> Row:
    checked: Row = {"query_id": _id(row.get("query_id"), "query_id"), "scorer": _text(row.get("scorer"), "scorer")}
    for side in ("positive", "negative"):
        ids = _list(row.get(f"{side}_ids"), f"{side}_ids", _id) or []
        checked[f"{side}_ids"] = ids
        for name in (f"{side}{kind}" for kind in SCORES):
            scores = _list(row.get(name), name, _score)
            if scores is not None and len(scores) != len(ids):
                raise SchemaError(
                    f"{len(scores)} {name} for {len(ids)} {side}_ids", "one score an id", f"give {len(ids)} or none"
                )
            checked[name] = scores
    if not checked["positive_ids"]:
        raise SchemaError("no positive_ids", "at least one", "drop the row or name its positive document")
    if repeated := _repeated([*checked["positive_ids"], *checked["negative_ids"]]):
        raise SchemaError(
            f"the document {repeated!r} named twice", "each document once in a row", "keep it on one side only"
        )
    return checked


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Row]] = {
    "corpus": _corpus_row,
    "queries": _queries_row,
    "triplets": _triplets_row,
}


def _content(value: Any) -> list[Row]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise SchemaError(
            f"content of type {type(value).__name__}", "a list of parts", 'write [{"type": "text", "text": "…"}]'
        )
    parts = [_part(part, number) for number, part in enumerate(value)]
    if not any(part["image"] or part["video"] or (part["text"] or "").strip() for part in parts):
        raise SchemaError("empty content", "a text that is not blank, an image or a video", "drop the row")
    return parts


def _part(part: Any, number: int) -> Row:
    if not isinstance(part, Mapping) or part.get("type") not in PART_TYPES:
        found = f"the type {part.get('type')!r}" if isinstance(part, Mapping) else f"a {type(part).__name__}"
        raise SchemaError(
            f"{found} in part {number}", f"a dict whose type is one of {', '.join(PART_TYPES)}", "mend that part"
        )
    kind = part["type"]
    for key, value in part.items():
        if key != "type" and key != kind and value is not None:
            raise SchemaError(
                f"the key {key!r} in part {number} of type {kind!r}", f"only {kind!r}", "make it a part of its own"
            )
    value = part.get(kind)
    stored: Row = {"type": kind, "text": None, "image": None, "video": None}
    if value is None:
        raise SchemaError(f"part {number} of type {kind!r} without {kind!r}", f"its {kind}", "fill or drop that part")
    if kind == "text":
        return stored | {"text": _text(value, f"the text of part {number}")}
    if kind == "image":
        return stored | {"image": stored_image(value)}
    frames = _list(value, f"the video of part {number}", lambda frame, _: stored_image(frame))
    if not frames:
        raise SchemaError(f"a video without frames in part {number}", "a list of images", "drop that part")
    return stored | {"video": frames}


def _text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SchemaError(f"{name} of type {type(value).__name__}", "a string", "convert it with str()")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(
            f"a lone surrogate character in {name} at {error.start}", "valid Unicode", "replace that character"
        ) from None
    return value


def _id(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise SchemaError(f"{name} {value!r}", "a string that is not empty", "give each row an id of its own")
    return _text(value, name) or ""


def _score(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise SchemaError(f"{value!r} in {name}", "finite numbers", "drop that score or the whole list")
    return float(value)


def _list(value: Any, name: str, check: Callable[[Any, str], Any]) -> list[Any] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise SchemaError(f"{name} of type {type(value).__name__}", "a list", f"wrap it: [{value!r:.40}]")
    return [check(one, name) for one in value]


def _repeated(ids: Sequence[str]) -> str | None:
    return next((one for one, times in Counter(ids).items() if times > 1), None)
