"""Datasets written in others' layouts: BEIR, MTEB, VLM2Vec, ms-swift and sentence-transformers."""

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import Dataset, Features, Image, Value

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.schema import Row, matching_split

_TEXT: dict[str, Any] = {"id": Value("string"), "text": Value("string")}
_IMAGE: dict[str, Any] = {"image": Image()}
_INSTRUCTION: dict[str, Any] = {"instruction": Value("string")}
_JUDGEMENT = Features({"query-id": Value("string"), "corpus-id": Value("string"), "score": Value("int32")})


class ExportError(ValueError):
    """Content that a layout cannot express."""


def export_dataset(dataset: str | Path, layout: str, out: str | Path, revision: str | None = None) -> dict[str, int]:
    """Writes a dataset in another layout; images become files in `images`.

    Args:
        dataset: A dataset folder or a Hub dataset.
        layout: `beir`, `mteb`, `vlm2vec`, `ms-swift` or `sentence-transformers`.
        out: The folder to make.
        revision: The Hub's branch, tag or commit.

    Returns:
        Rows written by split.

    Raises:
        ExportError: If a content cannot be expressed in the layout; nothing is left behind.
        FileExistsError: If `out` is there.
        ValueError: If there is no such dataset or layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"found the layout {layout!r}, expected one of {', '.join(LAYOUTS)}")
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"found something at {out}, expected nothing: choose a new folder")
    tables = load_tables(dataset, ("corpus", "queries", "triplets"), revision)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        counts, images = {}, _Images(draft)
        for split in tables["triplets"]:
            counts[split] = LAYOUTS[layout](_Joined(tables, split, images), split, draft)
        draft.rename(out)
    return counts


@dataclass
class _Images:
    """Writes each image once, and gives its place."""

    root: Path
    _places: dict[str, str] = field(default_factory=dict)

    def place(self, file: bytes) -> str:
        key = hashlib.sha256(file).hexdigest()
        if key not in self._places:
            kind = "png" if file.startswith(b"\x89PNG") else "jpg" if file.startswith(b"\xff\xd8") else "webp"
            name = f"images/{len(self._places):07d}.{kind}"
            (self.root / "images").mkdir(exist_ok=True)
            (self.root / name).write_bytes(file)
            self._places[key] = name
        return self._places[key]


class _Joined:
    """One split's triplets with the rows that they name, images encoded.

    Attributes:
        tables: All tables, by config and split.
        names: The split's name by config: a corpus or queries may be shared by all.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Dataset]], split: str, images: _Images) -> None:
        self.tables = tables
        self.names = {config: matching_split(config, table, split) for config, table in tables.items()}
        self.corpus, self.queries, self.links = (tables[config][name] for config, name in self.names.items())
        self.images = images
        self._documents = {name: number for number, name in enumerate(self.corpus["id"])}
        self._asked = {name: number for number, name in enumerate(self.queries["id"])}

    def __iter__(self) -> Iterator[tuple[Row, Row]]:
        for link in stored_rows(self.links):
            yield link, _row(self.queries, self._asked[link["query_id"]])

    def document(self, name: str) -> Sequence[Row]:
        content: Sequence[Row] = _row(self.corpus, self._documents[name])["content"]
        return content


def _row(table: Dataset, number: int) -> Row:
    [row] = table.with_format("arrow")[number : number + 1].to_pylist()
    return dict(row)


def _beir(joined: _Joined, split: str, out: Path) -> int:
    """Writes corpus, queries and judgements; a corpus or queries that splits share are written once."""
    for name, table in (("corpus", joined.corpus), ("queries", joined.queries)):
        path = out / f"{name}.jsonl"
        written = {json.loads(line)["_id"] for line in path.open(encoding="utf-8")} if path.is_file() else set()
        with path.open("a", encoding="utf-8") as file:
            for row in stored_rows(table):
                if row["id"] not in written:
                    line = {"_id": row["id"], "title": "", "text": _only_text(row["content"], row["id"], "beir")}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    (out / "qrels").mkdir(exist_ok=True)
    count = 0
    with (out / "qrels" / f"{split}.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("query-id", "corpus-id", "score"))
        for link, _ in joined:
            count += 1
            writer.writerows((link["query_id"], one, 1) for one in link["positive_ids"])
    return count


def _mteb(joined: _Joined, split: str, out: Path) -> int:
    """Writes configs `corpus`, `queries` and judgements (`default`); an image's place in its text is not kept."""
    for config in ("corpus", "queries"):
        splits, name = joined.tables[config], joined.names[config]
        path = out / config / f"{name}.parquet"
        if not path.is_file():
            _parquet(path, _mteb_features(splits), (_mteb_row(row) for row in stored_rows(splits[name])))
    judged = [(link["query_id"], link["positive_ids"]) for link, _ in joined]
    rows = ({"query-id": query, "corpus-id": one, "score": 1} for query, right in judged for one in right)
    _parquet(out / "default" / f"{split}.parquet", _JUDGEMENT, rows)
    configs = {config: sorted((out / config).glob("*.parquet")) for config in ("default", "corpus", "queries")}
    listed = [
        {"config_name": name, "data_files": [{"split": one.stem, "path": f"{name}/{one.name}"} for one in files]}
        for name, files in configs.items()
    ]
    (out / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': listed}, sort_keys=False)}---\n", "utf-8")
    return len(judged)


def _mteb_features(splits: Mapping[str, Dataset]) -> Features:
    """Gives the columns that some row of some split fills: a config has the same in all of its splits."""
    features = dict(_TEXT)
    for row in (row for table in splits.values() for row in stored_rows(table)):
        if any(part["type"] != "text" for part in row["content"]):
            features |= _IMAGE
        if row.get("instruction"):
            features |= _INSTRUCTION
    return Features(features)


def _mteb_row(row: Row) -> Row:
    """Lays out a row; mteb reads no null but that of an image, so texts that are not there are empty."""
    images = [_image(part, row["id"], "mteb") for part in row["content"] if part["type"] != "text"]
    if len(images) > 1:
        raise ExportError(f"{row['id']} has {len(images)} images and MTEB's rows have one: export to ms-swift")
    text = "\n\n".join(part["text"].strip() for part in row["content"] if part["type"] == "text")
    image = {"bytes": images[0], "path": None} if images else None
    return {"id": row["id"], "text": text, "image": image, "instruction": row.get("instruction") or ""}


def _vlm2vec(joined: _Joined, split: str, out: Path) -> int:
    """Writes rows of `qry`, `pos_text`, `neg_text` and image paths, one image a side."""

    def side(content: Sequence[Row], name: str) -> tuple[str, str]:
        text, paths = "", []
        for part in content:
            if part["type"] == "text":
                text += part["text"]
            else:
                paths.append(joined.images.place(_image(part, name, "vlm2vec")))
                text += "<|image_1|>\n"
        if len(paths) > 1:
            raise ExportError(f"{name} has {len(paths)} images and VLM2Vec's rows have one a side: export to ms-swift")
        return text, paths[0] if paths else ""

    def rows() -> Iterator[Row]:
        for link, query in joined:
            text, path = side(query["content"], query["id"])
            instruction = f"{query['instruction'].strip()}\n" if query.get("instruction") else ""
            asked = {"qry": f"{instruction}{text}", "qry_image_path": path}
            right = side(joined.document(link["positive_ids"][0]), link["positive_ids"][0])
            wrong = [side(joined.document(one), one) for one in (link["negative_ids"] or [])[:1]]
            yield {
                **asked,
                **dict(zip(("pos_text", "pos_image_path"), right, strict=True)),
                **dict(zip(("neg_text", "neg_image_path"), wrong[0] if wrong else ("", ""), strict=True)),
            }

    return _json_lines(out / f"{split}.jsonl", rows())


def _ms_swift(joined: _Joined, split: str, out: Path) -> int:
    """Writes chat messages with `<image>` tags: any number of images, one positive, all negatives."""

    def chat(content: Sequence[Row], name: str, before: str = "") -> tuple[list[Row], list[str]]:
        text, paths = before, []
        for part in content:
            if part["type"] == "text":
                text += part["text"]
            else:
                paths.append(joined.images.place(_image(part, name, "ms-swift")))
                text += "<image>"
        return [{"role": "user", "content": text}], paths

    def rows() -> Iterator[Row]:
        for link, query in joined:
            instruction = f"{query['instruction'].strip()}\n" if query.get("instruction") else ""
            messages, paths = chat(query["content"], query["id"], instruction)
            right = [chat(joined.document(one), one) for one in link["positive_ids"][:1]]
            wrong = [chat(joined.document(one), one) for one in link["negative_ids"] or []]
            yield {
                "messages": messages,
                "images": paths,
                "positive_messages": [one for one, _ in right],
                "positive_images": [one for _, one in right],
                "negative_messages": [one for one, _ in wrong],
                "negative_images": [one for _, one in wrong],
            }

    return _json_lines(out / f"{split}.jsonl", rows())


def _sentence_transformers(joined: _Joined, split: str, out: Path) -> int:
    """Writes texts as columns anchor, positive and as many negatives as every row has."""
    rows = []
    for link, query in joined:
        row = {"anchor": _only_text(query["content"], query["id"], "sentence-transformers")}
        names = [link["positive_ids"][0], *(link["negative_ids"] or [])]
        texts = [_only_text(joined.document(one), one, "sentence-transformers") for one in names]
        row |= {"positive": texts[0], **{f"negative_{n}": text for n, text in enumerate(texts[1:], start=1)}}
        rows.append(row)
    shared = min((list(row) for row in rows), key=len, default=[])
    pq.write_table(
        pa.Table.from_pylist([{name: row[name] for name in shared} for row in rows]), out / f"{split}.parquet"
    )
    return len(rows)


LAYOUTS: Mapping[str, Callable[[_Joined, str, Path], int]] = {
    "beir": _beir,
    "mteb": _mteb,
    "vlm2vec": _vlm2vec,
    "ms-swift": _ms_swift,
    "sentence-transformers": _sentence_transformers,
}
"""Layouts that can be written, by name."""


def _only_text(content: Sequence[Row], name: str, layout: str) -> str:
    if any(part["type"] != "text" for part in content):
        raise ExportError(f"{name} holds an image or a video and {layout} keeps texts alone: export to ms-swift")
    return "\n\n".join(part["text"] for part in content)


def _image(part: Row, name: str, layout: str) -> bytes:
    if part["type"] == "video":
        raise ExportError(f"{name} holds a video, which is not written to {layout}: keep it as it is")
    file: bytes = part["image"]["bytes"]
    return file


def _parquet(path: Path, features: Features, rows: Iterator[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    with pq.ParquetWriter(path, features.arrow_schema) as writer:
        while batch := list(islice(rows, 256)):
            writer.write_table(pa.Table.from_pylist(batch, features.arrow_schema))


def _json_lines(path: Path, rows: Iterator[Any]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
