"""Data sets in others' layouts, read from disk: BEIR, sentence-transformers, VLM2Vec, ms-swift and WebDataset."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
from datasets import load_dataset

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.image_text import improved
from nyx_hf.data_builders.pair_columns import train_record
from nyx_hf.data_builders.public_builder import ImageTextSettings, OwnBuilder, OwnSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import LayoutError, Upstream

_IMAGE_KEYS = ("jpg", "jpeg", "png", "webp")


@dataclass
class ImportConfig(ImageTextSettings, OwnSettings, datasets.BuilderConfig):
    """What to read, and how it is laid out."""

    layout: Literal["beir", "sentence-transformers", "vlm2vec", "ms-swift", "webdataset"] = option(
        "beir", "How the data set is laid out."
    )
    path: str = option("", "The folder or file to read.")
    split: str = option("train", "The split that its rows go to; BEIR: the one whose qrels are read.")
    images: str | None = option(None, "Folder of the images that rows name; the folder that holds them if left out.")
    task: str | None = option(None, "Task of its queries.")


class ImportBuilder(OwnBuilder):
    """A data set from disk: `ImportBuilder(config_name="triplets", layout="beir", path="scifact")`."""

    NAME = "import"
    SUMMARY = "A data set of yours in another layout: BEIR, sentence-transformers, VLM2Vec, ms-swift, WebDataset."
    PRETTY_NAME = "Imported data set"
    BUILDER_CONFIG_CLASS = ImportConfig
    BUILDER_CONFIGS = builder_configs(ImportConfig)

    @property
    def repository(self) -> str:
        """What was read: the layout and the path's last part."""
        return f"{self.config.layout}:{self._path().name}"

    def splits(self) -> tuple[str, ...]:
        """Gives the chosen split."""
        return (self.config.split,)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads rows in the chosen layout."""
        path = self._path()
        folder = (
            Path(self.config.images).expanduser() if self.config.images else path if path.is_dir() else path.parent
        )
        records = _READERS[self.config.layout](path, split, ImageFiles([folder]), self.config.task)
        recaption, cache = self.config.recaption, Path(self.config.cache).expanduser()
        if recaption is not None and self.config.layout != "webdataset":
            raise ValueError(f"found recaption={recaption} for {self.config.layout}, expected webdataset: image pairs")
        return improved(records, clean=self.config.clean, recaption=recaption, cache_dir=cache)

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads the rest of a BEIR corpus."""
        if self.config.layout == "beir":
            yield from (_beir_text(row) for row in _json_lines(self._path() / "corpus.jsonl", ("_id", "text")))

    def _path(self) -> Path:
        if not self.config.path:
            raise ValueError("nothing to read is named: pass --path with the folder or file")
        path = Path(self.config.path).expanduser()
        if not path.exists():
            raise ValueError(f"{self.config.path}: there is no such folder or file")
        return path.resolve()


def _beir(path: Path, split: str, images: ImageFiles, task: str | None) -> Iterator[Record | Dropped]:
    """Reads `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`: judgements above zero are right, zeros wrong."""
    corpus = {row["_id"]: _beir_text(row) for row in _json_lines(path / "corpus.jsonl", ("_id", "text"))}
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    qrels = path / "qrels" / f"{split}.tsv"
    if not qrels.is_file():
        raise LayoutError(f"{path.name}: there is no qrels/{split}.tsv; choose another split with --split")
    with qrels.open(encoding="utf-8", newline="") as lines:
        for query, document, mark in list(csv.reader(lines, delimiter="\t"))[1:]:
            judged[query][document] = int(float(mark))
    for row in _json_lines(path / "queries.jsonl", ("_id", "text")):
        marks = judged.get(row["_id"])
        if not marks:
            continue  # a query of another split
        right = [corpus[one] for one, given in marks.items() if given > 0 and one in corpus]
        wrong = [corpus[one] for one, given in marks.items() if given <= 0 and one in corpus]
        if right:
            yield Record(_text(row["text"]), right, wrong, task=task, source=path.name, id=row["_id"])
        else:
            yield Dropped("query: no document is right")


def _sentence_transformers(path: Path, split: str, images: ImageFiles, task: str | None) -> Iterator[Record | Dropped]:
    """Reads columns anchor (or query, question), positive (or answer), and any number of negatives."""
    for number, row in enumerate(_table(path)):
        names = list(row)
        anchor = next((name for name in ("anchor", "query", "question", "sentence1") if name in row), None)
        positive = next((name for name in ("positive", "answer", "pos", "sentence2") if name in row), None)
        if anchor is None or positive is None:
            raise LayoutError(
                f"{path.name} row {number}: found the columns {', '.join(names)}, expected `anchor` and `positive`, "
                "and perhaps `negative` or `negative_1`, …; rename them"
            )
        negatives = [
            row[name] for name in names if re.fullmatch(r"neg(ative)?(_\d+)?", name) and row[name] is not None
        ]
        flat = [one for value in negatives for one in (value if isinstance(value, list) else [value])]
        query, right = _cell(row[anchor]), _cell(row[positive])
        yield Record(query, [right], [_cell(one) for one in flat], task=task, source=path.stem)


def _vlm2vec(path: Path, split: str, images: ImageFiles, task: str | None) -> Iterator[Record | Dropped]:
    """Reads rows of `qry`, `qry_image_path`, `pos_text`, `pos_image_path` and what negatives there are."""
    for row in _json_lines(path, ("qry", "pos_text")):
        whole = {"qry_image_path": None, "pos_image_path": None, **row}
        yield train_record(whole, images, task=task, source=path.stem)


def _ms_swift(path: Path, split: str, images: ImageFiles, task: str | None) -> Iterator[Record | Dropped]:
    """Reads chat messages with `<image>` tags, their images, and the same of positives and negatives."""
    for row in _json_lines(path, ("messages", "positive_messages")):
        try:
            sides = [_chat(row["messages"], row.get("images"), images)]
            sides += _chats(row, "positive", images)
            negatives = _chats(row, "negative", images)
        except ValueError as reason:
            yield Dropped(str(reason))
        else:
            yield Record(sides[0], sides[1:], negatives, task=task, source=path.stem)


def _webdataset(path: Path, split: str, images: ImageFiles, task: str | None) -> Iterator[Record | Dropped]:
    """Reads tar shards of image and caption: the caption asks for the image."""
    shards = sorted(map(str, path.glob("*.tar"))) if path.is_dir() else [str(path)]
    if not shards:
        raise LayoutError(f"{path.name}: there is no .tar shard in it")
    for row in load_dataset("webdataset", data_files={"train": shards}, split="train", streaming=True):
        yield image_caption_record(row, task, path.name)


def image_caption_record(row: Mapping[str, Any], task: str | None, source: str) -> Record | Dropped:
    """Turns a shard's sample into a record: its caption asks for its image.

    Args:
        row: The sample, by file endings: `jpg` (or another image), and `txt` or `json` with a `caption`.
        task: Its task.
        source: The set that it is from.

    Returns:
        The record, or why there is none.
    """
    image = next((row[key] for key in _IMAGE_KEYS if row.get(key) is not None), None)
    described = row.get("json")
    caption = row.get("txt") or (described.get("caption") if isinstance(described, Mapping) else None)
    if image is None or not caption:
        return Dropped("sample: no image" if image is None else "sample: no caption")
    return Record(_text(caption.strip()), [[{"type": "image", "image": image}]], task=task, source=source)


_READERS: dict[str, Callable[[Path, str, ImageFiles, str | None], Iterator[Record | Dropped]]] = {
    "beir": _beir,
    "sentence-transformers": _sentence_transformers,
    "vlm2vec": _vlm2vec,
    "ms-swift": _ms_swift,
    "webdataset": _webdataset,
}


def _json_lines(path: Path, keys: tuple[str, ...]) -> Iterator[Row]:
    if not path.is_file():
        raise LayoutError(f"{path.parent.name}: there is no {path.name} in it")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row: Row = json.loads(line)
                except ValueError as error:
                    raise LayoutError(f"{path.name} line {number}: no JSON ({error})") from error
                if missing := [key for key in keys if key not in row]:
                    raise LayoutError(f"{path.name} line {number}: {', '.join(map(repr, missing))} is missing")
                yield row


def _table(path: Path) -> Iterator[Row]:
    """Reads a Parquet, JSON, JSONL or CSV file, or a folder that `load_dataset` reads."""
    kinds = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}
    if path.is_dir():
        yield from load_dataset(str(path), split="train", streaming=True)
    elif path.suffix in kinds:
        yield from load_dataset(kinds[path.suffix], data_files=str(path), split="train", streaming=True)
    else:
        raise LayoutError(f"{path.name}: found {path.suffix or 'no ending'}, expected one of {', '.join(kinds)}")


def _cell(value: Any) -> list[Row]:
    """Turns a cell into parts: a text, an image, or a dict of both."""
    if isinstance(value, Mapping) and ("text" in value or "image" in value):
        image = [] if value.get("image") is None else [{"type": "image", "image": value["image"]}]
        return [*image, *(_text(value["text"]) if value.get("text") else [])]
    return _text(value) if isinstance(value, str) else [{"type": "image", "image": value}]


def _chats(row: Row, side: str, images: ImageFiles) -> list[list[Row]]:
    messages, pictures = row.get(f"{side}_messages") or [], row.get(f"{side}_images") or []
    return [
        _chat(one, pictures[number] if number < len(pictures) else None, images) for number, one in enumerate(messages)
    ]


def _chat(messages: list[Row], paths: Any, images: ImageFiles) -> list[Row]:
    """Turns one message's text into parts, each `<image>` the next of the images."""
    text = "\n".join(str(message["content"]) for message in messages if message.get("role") != "system")
    remaining = [paths] if isinstance(paths, str) else list(paths or [])
    parts: list[Row] = []
    for number, piece in enumerate(re.split(r"<image>\s?", text)):
        if number:
            if not remaining:
                raise ValueError("row: image tag without an image")
            file = images.read(remaining.pop(0))
            if file is None:
                raise ValueError("row: image file is missing")
            parts.append({"type": "image", "image": file})
        if piece.strip():
            parts.append({"type": "text", "text": piece.strip()})
    return parts


def _beir_text(row: Row) -> list[Row]:
    return _text("\n".join(part for part in (row.get("title"), row["text"]) if part and part.strip()))


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]
