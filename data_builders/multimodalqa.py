"""MultimodalQA: questions over one corpus of texts, tables and images (Nyx §4.1, appendix C)."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.html_tables import table_text
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import LayoutError, Upstream
from nyx_hf.model_cards.dataset_card import Source

_FILES = {"train": "MMQA_train.jsonl", "validation": "MMQA_dev.jsonl"}
_KEYS = ("qid", "question", "answers", "metadata", "supporting_context")


@dataclass
class MultimodalQAConfig(PublicSettings, datasets.BuilderConfig):
    """Where its files are."""

    path: str = option("", "Folder of MMQA_*.jsonl(.gz), as the authors' repository has them.")
    images: str | None = option(None, "Folder or archive of the images; final_dataset_images there if left out.")
    whole_pool: bool = option(False, "Also keep documents that no question names: the paper's corpus of 285,370.")


class MultimodalQABuilder(PublicBuilder):
    """MultimodalQA as `datasets` builds it: `MultimodalQABuilder(config_name="corpus", path="multimodalqa")`.

    A question's positives are its supporting documents, its negatives the distractors that its authors gave it.
    """

    NAME = "multimodalqa"
    SUMMARY = "MultimodalQA (allenai/multimodalqa on GitHub): questions over texts, tables and images in one corpus."
    PRETTY_NAME = "MultimodalQA"
    LICENCE = "mit"
    BUILDER_CONFIG_CLASS = MultimodalQAConfig
    BUILDER_CONFIGS = builder_configs(MultimodalQAConfig)

    @property
    def repository(self) -> str:
        """The authors' repository."""
        return "allenai/multimodalqa"

    def sources(self) -> list[Source]:
        """Gives the authors' repository, which is not on the Hub."""
        return [Source(self.repository, f"https://github.com/{self.repository}", self.LICENCE)]

    def splits(self) -> tuple[str, ...]:
        """Gives `train` and, from upstream's `dev`, `validation`; the answers of its test split are not published."""
        return tuple(_FILES)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one split's questions."""
        corpus = _Corpus(self._folder(), self._images())
        for row in _rows(
            self._folder(), _FILES[split], ("qid", "question", "answers", "metadata", "supporting_context")
        ):
            right = list(dict.fromkeys(one["doc_id"] for one in row["supporting_context"]))
            meta = row["metadata"]
            given = [*meta.get("image_doc_ids", []), *meta.get("text_doc_ids", []), meta.get("table_id")]
            wrong = [one for one in given if one and one not in right]
            positives = [corpus.content(one) for one in right]
            if not right or any(content is None for content in positives):
                yield Dropped("question: a supporting document is missing")
                continue
            yield Record(
                _text(row["question"]),
                [content for content in positives if content is not None],
                [content for one in wrong if (content := corpus.content(one)) is not None],
                instruction=ANSWER,
                answers=[str(one["answer"]) for one in row["answers"]],
                task="multimodal question answering",
                source="MultimodalQA",
                id=row["qid"],
            )

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads all documents, where the whole pool is wanted."""
        if self.config.whole_pool:
            yield from _Corpus(self._folder(), self._images())

    def _folder(self) -> Path:
        if not self.config.path:
            raise ValueError("no folder is named: pass --path with the folder of MMQA_train.jsonl and the others")
        return Path(self.config.path).expanduser()

    def _images(self) -> ImageFiles:
        given = self.config.images
        return ImageFiles([Path(given).expanduser() if given else self._folder() / "final_dataset_images"])


class _Corpus:
    """Texts, tables and images by id; images are read when they are asked for."""

    def __init__(self, folder: Path, images: ImageFiles) -> None:
        self._images = images
        self._texts = {row["id"]: row for row in _rows(folder, "MMQA_texts.jsonl", ("id", "title", "text"))}
        self._tables = {row["id"]: row for row in _rows(folder, "MMQA_tables.jsonl", ("id", "title", "table"))}
        self._pictures = {row["id"]: row for row in _rows(folder, "MMQA_images.jsonl", ("id", "title", "path"))}

    def __iter__(self) -> Iterator[list[Row]]:
        for name in (*self._texts, *self._tables, *self._pictures):
            if (content := self.content(name)) is not None:
                yield content

    def content(self, name: str) -> list[Row] | None:
        """Gives a document's parts: its title before a text or a table, or behind an image."""
        if name in self._texts:
            return _text(f"{self._texts[name]['title']}\n{self._texts[name]['text']}")
        if name in self._tables:
            row = self._tables[name]
            return _text(f"{row['title']}\n{_table(row['table'])}")
        if name in self._pictures:
            row = self._pictures[name]
            file = self._images.read(row["path"])
            return None if file is None else [{"type": "image", "image": file}, *_text(row["title"])]
        return None


def _table(table: Row) -> str:
    """Writes a table with its name and its header as text."""
    header = [str(column["column_name"]) for column in table["header"]]
    rows = [[str(cell["text"]).replace("\n", " ") for cell in row] for row in table["table_rows"]]
    name = table.get("table_name") or ""
    return f"{name}\n{table_text(rows, header)}".strip()


def _rows(folder: Path, name: str, keys: tuple[str, ...]) -> Iterator[Row]:
    with _opened(folder, name) as lines:
        for number, line in enumerate(lines, start=1):
            row: Any = json.loads(line)
            if missing := [key for key in keys if key not in row]:
                raise LayoutError(f"{name} line {number}: {', '.join(map(repr, missing))} is missing")
            yield row


def _opened(folder: Path, name: str) -> TextIO:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    raise LayoutError(f"{folder.name}: there is neither {name} nor {name}.gz in it; check --path")


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text.strip()}]
