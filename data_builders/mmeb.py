"""MMEB's training and evaluation sets, mmE5's synthetic ones, and those that the Nyx authors made of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.mmeb_sets import V1_GROUPS, group_of, train_name
from nyx_hf.data_builders.pair_columns import EVAL_COLUMNS, TRAIN_COLUMNS, candidates_record, train_record
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.upstream import LayoutError, Upstream

ALL, CLASSIFICATION = "all", "classification"
_SYNTHETIC_TASKS = {
    "Classification": "image classification",
    "Retrieval": "image retrieval",
    "VQA": "image question answering",
}


@dataclass
class MMEBConfig(PublicSettings, datasets.BuilderConfig):
    """What of MMEB's training data to build."""

    subset: str = option(
        ALL,
        "One of the 20 sets, `all` of them, or `classification`: the five of images and labels, merged (RzenEmbed).",
    )
    most: int = option(100_000, "Rows of one set, at most (RzenEmbed §3.4.2).")
    instructions: Literal["original", "diverse_instruction"] = option("original", "Which wording of instructions.")
    images: str | None = option(None, "Folder or archive of the images; the repository's own archives if left out.")


class MMEBBuilder(PublicBuilder):
    """MMEB's training sets: `MMEBBuilder(config_name="triplets", subset="CIRR")`."""

    NAME = "mmeb"
    SUMMARY = "MMEB's training sets (TIGER-Lab/MMEB-train): one of the 20, all, or the classification sets merged."
    PRETTY_NAME = "MMEB, training"
    CITATIONS = ("mmeb",)
    BUILDER_CONFIG_CLASS = MMEBConfig
    BUILDER_CONFIGS = builder_configs(MMEBConfig)

    @property
    def repository(self) -> str:
        """MMEB's training data."""
        return "TIGER-Lab/MMEB-train"

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the chosen sets, one after the other."""
        for name in self._chosen():
            images = _images(self.config.images, upstream, self.repository, f"images_zip/{train_name(name)}.zip")
            rows = upstream.rows(self.repository, train_name(name), self.config.instructions, TRAIN_COLUMNS)
            task = group_of(name).task
            for _, row in zip(range(self.config.most), rows, strict=False):
                yield train_record(row, images, task=task, source=name)

    def _chosen(self) -> tuple[str, ...]:
        wanted = self.config.subset
        trained = tuple(name for group in V1_GROUPS for name in group.trained)
        if wanted in (ALL, CLASSIFICATION):
            return trained if wanted == ALL else V1_GROUPS[0].trained
        if wanted not in (*trained, "ImageNet_1K"):
            raise ValueError(f"found subset={wanted}, expected all, classification, or one of {', '.join(trained)}")
        return ("ImageNet-1K" if wanted == "ImageNet_1K" else wanted,)


@dataclass
class MMEBEvalConfig(PublicSettings, datasets.BuilderConfig):
    """What of MMEB's evaluation data to build."""

    subset: str = option("MSCOCO_t2i", "One of the 36 sets.")
    images: str | None = option(None, "Folder or archive of the images; the repository's images.zip if left out.")


class MMEBEvalBuilder(PublicBuilder):
    """MMEB's evaluation sets: a query's candidates are its positive and, in their order, its negatives."""

    NAME = "mmeb-eval"
    SUMMARY = "MMEB's evaluation sets (TIGER-Lab/MMEB-eval): each query with its own candidates."
    PRETTY_NAME = "MMEB, evaluation"
    CITATIONS = ("mmeb",)
    BUILDER_CONFIG_CLASS = MMEBEvalConfig
    BUILDER_CONFIGS = builder_configs(MMEBEvalConfig)

    @property
    def repository(self) -> str:
        """MMEB's evaluation data."""
        return "TIGER-Lab/MMEB-eval"

    def splits(self) -> tuple[str, ...]:
        """Gives `test`."""
        return ("test",)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one set."""
        name = self.config.subset
        task = group_of(name).task
        images = _images(self.config.images, upstream, self.repository, "images.zip")
        for row in upstream.rows(self.repository, name, "test", EVAL_COLUMNS):
            yield candidates_record(row, images, task=task, source=name)


@dataclass
class SyntheticConfig(PublicSettings, datasets.BuilderConfig):
    """Which of mmE5's synthetic sets to build."""

    subset: Literal["all", "Classification", "Retrieval", "VQA"] = option("all", "One task's set, or all three.")
    images: str | None = option(None, "Folder or archive of the images; the repository's own if left out.")
    archive: str = option("LAION_Synthetic.tar.gz", "The repository's archive of images.")


class SyntheticBuilder(PublicBuilder):
    """mmE5's synthetic triplets, by task."""

    NAME = "mme5"
    SUMMARY = "mmE5's synthetic triplets (intfloat/mmE5-synthetic): classification, retrieval, question answering."
    PRETTY_NAME = "mmE5, synthetic"
    LICENCE: ClassVar[str | None] = "mit"
    CITATIONS: ClassVar[tuple[str, ...]] = ("mme5",)
    BUILDER_CONFIG_CLASS = SyntheticConfig
    BUILDER_CONFIGS = builder_configs(SyntheticConfig)
    HUB_NAME: ClassVar[str] = "intfloat/mmE5-synthetic"

    @property
    def repository(self) -> str:
        """The set's repository."""
        return self.HUB_NAME

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one task's rows, or all."""
        images = _images(self.config.images, upstream, self.repository, self.config.archive)
        for name, task in _SYNTHETIC_TASKS.items():
            if self.config.subset in (ALL, name):
                for row in upstream.rows(self.repository, name, "train", TRAIN_COLUMNS):
                    yield train_record(row, images, task=task, source=f"mmE5 {name}")


class NyxSyntheticBuilder(SyntheticBuilder):
    """The Nyx authors' cleaned copy of the same."""

    NAME = "nyx-mme5"
    SUMMARY = "mmE5's synthetic triplets as the Nyx authors cleaned them (SnowNation/Nyx-mmE5-Synthetic)."
    PRETTY_NAME = "mmE5, synthetic, cleaned for Nyx"
    LICENCE = None
    CITATIONS = ("nyx", "mme5")
    HUB_NAME = "SnowNation/Nyx-mmE5-Synthetic"


@dataclass
class NyxTextConfig(PublicSettings, datasets.BuilderConfig):
    """Which of the Nyx authors' text sets to build."""

    subset: Literal["hotpotqa", "2wikimultihopqa", "musique", "bamboogle"] = option("hotpotqa", "The set.")


class NyxTextBuilder(PublicBuilder):
    """The Nyx authors' own triplets of multi-hop questions and Wikipedia passages."""

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
        """Gives `train`, or `test` for the one set that has no other."""
        return ("test",) if self.config.subset == "bamboogle" else ("train",)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one set."""
        images = ImageFiles([])
        for row in upstream.rows(self.repository, self.config.subset, split, TRAIN_COLUMNS):
            yield train_record(row, images, task="text retrieval", source=self.config.subset)


def _images(given: str | None, upstream: Upstream, repository: str, archive: str) -> ImageFiles:
    """Opens the images: where the settings say, else the repository's archive or its unpacked folder."""
    if given is not None:
        return ImageFiles([Path(given).expanduser()])
    try:
        return ImageFiles([upstream.file(repository, archive)])
    except LayoutError:
        unpacked = None if upstream.local is None else upstream.local / repository
        if unpacked is None or not (unpacked / "images").is_dir():
            raise
        return ImageFiles([unpacked / "images", unpacked])
