"""The Nyx authors' own released sets: NyxQA, text triplets, and their cleaned copies of mmE5's."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles, repository_images
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.mme5 import HardNegativesBuilder, SyntheticBuilder
from nyx_hf.data_builders.pair_columns import TRAIN_COLUMNS, UnusableRowError, tagged_content, train_record
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import LayoutError, Upstream

_TAG = "<|image|>"
_FILES = {"train": ("train_hardneg.json", "train.json"), "validation": ("dev.json",), "test": ("test.json",)}
_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "choices", "right_choice")


class NyxSyntheticBuilder(SyntheticBuilder):
    """mmE5's synthetic triplets, without empty documents and needless tags."""

    NAME = "nyx-mme5"
    SUMMARY = "mmE5's synthetic triplets as the Nyx authors cleaned them (SnowNation/Nyx-mmE5-Synthetic)."
    PRETTY_NAME = "mmE5, synthetic, cleaned for Nyx"
    LICENCE = None
    CITATIONS = ("nyx", "mme5")
    HUB_NAME = "SnowNation/Nyx-mmE5-Synthetic"


class NyxMMEBBuilder(HardNegativesBuilder):
    """MMEB's sets with mmE5's hard negatives, without empty documents and needless tags."""

    NAME = "nyx-mmeb"
    SUMMARY = "MMEB with mmE5's hard negatives as the Nyx authors cleaned it (SnowNation/Nyx-mmE5-MMEB)."
    PRETTY_NAME = "MMEB with hard negatives, cleaned for Nyx"
    CITATIONS = ("nyx", "mme5", "mmeb")
    HUB_NAME = "SnowNation/Nyx-mmE5-MMEB"


@dataclass
class NyxTextConfig(PublicSettings, datasets.BuilderConfig):
    """Which of the authors' text sets to build."""

    subset: Literal["hotpotqa", "2wikimultihopqa", "musique", "bamboogle"] = option("hotpotqa", "The set.")


class NyxTextBuilder(PublicBuilder):
    """Triplets of multi-hop questions and Wikipedia passages."""

    NAME = "nyx-text"
    SUMMARY = "The Nyx authors' text triplets (SnowNation/Nyx-T2T-Data): multi-hop questions, retrieved passages."
    PRETTY_NAME = "Text triplets of Nyx"
    CITATIONS = ("nyx",)
    BUILDER_CONFIG_CLASS = NyxTextConfig
    BUILDER_CONFIGS = builder_configs(NyxTextConfig)

    @property
    def repository(self) -> str:
        """The authors' repository."""
        return "SnowNation/Nyx-T2T-Data"

    def splits(self) -> tuple[str, ...]:
        """Gives `train` and `test`; of bamboogle, which has no other, `test`."""
        return ("test",) if self.config.subset == "bamboogle" else ("train", "test")

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one set."""
        images = ImageFiles([])
        for row in upstream.rows(self.repository, self.config.subset, split, TRAIN_COLUMNS):
            yield train_record(row, images, task="text retrieval", source=self.config.subset)


@dataclass
class NyxQuestionsConfig(PublicSettings, datasets.BuilderConfig):
    """How to read the authors' NyxQA."""

    images: str | None = option(None, "Folder or archive of the images; the repository's own if left out.")
    whole_pool: bool = option(False, "Also keep chunks that no question names; evaluation needs them.")


class NyxQuestionsBuilder(PublicBuilder):
    """The authors' NyxQA: the same kind of dataset as `nyxqa` makes, from the files that their code writes.

    Their choices and their answers were aligned by place after some were left out. A row whose images do not fit its
    chunk shows it, and is dropped; the right answer is the option that the row points at.
    """

    NAME = "nyx-nyxqa"
    SUMMARY = "The Nyx authors' NyxQA (SnowNation/NyxQA, or --local): multiple-choice questions, chunks of OBELICS."
    PRETTY_NAME = "NyxQA of the Nyx authors"
    CITATIONS = ("nyx",)
    BUILDER_CONFIG_CLASS = NyxQuestionsConfig
    BUILDER_CONFIGS = builder_configs(NyxQuestionsConfig)

    @property
    def repository(self) -> str:
        """The authors' repository."""
        return "SnowNation/NyxQA"

    def splits(self) -> tuple[str, ...]:
        """Gives the authors' three."""
        return tuple(_FILES)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one split's questions, with the hard negatives where the file has them."""
        images = self._images(upstream)
        for row in self._rows(upstream, _FILES[split], _COLUMNS):
            yield _question(row, images)

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row] | Dropped]:
        """Reads every chunk, if they are asked for."""
        images = self._images(upstream)
        for row in self._rows(upstream, ("corpus.json",), ("text", "images")) if self.config.whole_pool else ():
            try:
                yield _tagged(row["text"], row["images"], images)
            except UnusableRowError as reason:
                yield Dropped(f"chunk: {str(reason).removeprefix('row: ')}")

    def _images(self, upstream: Upstream) -> ImageFiles:
        return repository_images(self.config.images, upstream, self.repository, "images.zip")

    def _rows(self, upstream: Upstream, names: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Reads the first of some files that there is."""
        path = _first_file(upstream, self.repository, names)
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for row in rows[:1]:
            upstream.check_columns(self.repository, list(row), columns, path.name)
        return rows


def _first_file(upstream: Upstream, repository: str, names: Sequence[str]) -> Path:
    *others, last = names
    for name in others:
        try:
            return upstream.file(repository, name)
        except LayoutError:
            continue
    return upstream.file(repository, last)


def _question(row: Row, images: ImageFiles) -> Record | Dropped:
    choices, right = list(row["choices"]), row["right_choice"]
    if not 0 <= right < len(choices):
        return Dropped("row: the right choice is none of them")
    negatives = zip(row.get("neg_text") or (), row.get("neg_image_path") or (), strict=False)
    try:
        return Record(
            _tagged(row["qry"], row["qry_image_path"], images),
            [_tagged(row["pos_text"], row["pos_image_path"], images)],
            [_tagged(text, paths, images) for text, paths in negatives],
            instruction=ANSWER,
            answers=[choices[right]],
            options=choices,
            task="NyxQA",
            source="NyxQA",
        )
    except UnusableRowError as reason:
        return Dropped(str(reason))


def _tagged(text: str, paths: Sequence[str], images: ImageFiles) -> list[Row]:
    """Puts images in the place of their tags, which have no numbers here."""
    first, *pieces = text.split(_TAG)
    if len(pieces) != len(paths):
        raise UnusableRowError("row: image tags and images do not match")
    numbered = "".join(f"<|image_{number}|>{piece}" for number, piece in enumerate(pieces, start=1))
    return tagged_content(first + numbered, paths, images)
