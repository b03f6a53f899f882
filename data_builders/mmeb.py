"""MMEB's training and evaluation sets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import repository_images
from nyx_hf.data_builders.mmeb_sets import V1_GROUPS, group_of, train_name
from nyx_hf.data_builders.pair_columns import EVAL_COLUMNS, TRAIN_COLUMNS, candidates_record, train_record
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.upstream import Upstream

ALL, CLASSIFICATION = "all", "classification"


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
            images = repository_images(
                self.config.images, upstream, self.repository, f"images_zip/{train_name(name)}.zip"
            )
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
        images = repository_images(self.config.images, upstream, self.repository, "images.zip")
        for row in upstream.rows(self.repository, name, "test", EVAL_COLUMNS):
            yield candidates_record(row, images, task=task, source=name)
