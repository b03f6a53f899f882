"""mmE5's sets: synthetic triplets, and MMEB's training sets with hard negatives that it mined."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles, repository_images
from nyx_hf.data_builders.mmeb_sets import V1_GROUPS, train_name
from nyx_hf.data_builders.pair_columns import TRAIN_COLUMNS, train_record
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.upstream import Upstream

ALL = "all"
_SYNTHETIC_TASKS = {
    "Classification": "image classification",
    "Retrieval": "image retrieval",
    "VQA": "image question answering",
}
_SUPPLEMENT = {
    "TAT-DQA": "document retrieval",
    "ArxivQA": "document retrieval",
    "InfoSeek_it2t": "image retrieval",
    "InfoSeek_it2it": "image retrieval",
}
_MMEB = {train_name(name): group.task for group in V1_GROUPS for name in group.trained}
HARD_NEGATIVE_SETS = {**_MMEB, **_SUPPLEMENT}
"""Task of each of the 24 sets with hard negatives: MMEB's 20, and four that mmE5 adds."""


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
        images = repository_images(self.config.images, upstream, self.repository, self.config.archive)
        for name, task in _SYNTHETIC_TASKS.items():
            if self.config.subset in (ALL, name):
                for row in upstream.rows(self.repository, name, "train", TRAIN_COLUMNS):
                    yield train_record(row, images, task=task, source=f"mmE5 {name}")


@dataclass
class HardNegativesConfig(PublicSettings, datasets.BuilderConfig):
    """Which of MMEB's sets with hard negatives to build."""

    subset: str = option(ALL, f"One of {', '.join(HARD_NEGATIVE_SETS)}, or `all`.")
    most: int = option(100_000, "Rows of one set, at most.")
    images: str | None = option(
        None, "Folder of all images, unpacked; the archives of MMEB-train and of the repository if left out."
    )


class HardNegativesBuilder(PublicBuilder):
    """MMEB's training sets with mmE5's hard negatives."""

    NAME = "mme5-mmeb"
    SUMMARY = "MMEB's training sets and four more with mmE5's hard negatives (intfloat/mmE5-MMEB-hardneg)."
    PRETTY_NAME = "MMEB with hard negatives of mmE5"
    LICENCE: ClassVar[str | None] = None
    CITATIONS: ClassVar[tuple[str, ...]] = ("mme5", "mmeb")
    BUILDER_CONFIG_CLASS = HardNegativesConfig
    BUILDER_CONFIGS = builder_configs(HardNegativesConfig)
    HUB_NAME: ClassVar[str] = "intfloat/mmE5-MMEB-hardneg"

    @property
    def repository(self) -> str:
        """The sets' repository."""
        return self.HUB_NAME

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the chosen sets, one after the other."""
        chosen = self.config.subset
        if chosen != ALL and chosen not in HARD_NEGATIVE_SETS:
            raise ValueError(f"found subset={chosen}, expected all, or one of {', '.join(HARD_NEGATIVE_SETS)}")
        for name in HARD_NEGATIVE_SETS if chosen == ALL else (chosen,):
            images = self._images(name, upstream)
            rows = upstream.rows(self.repository, name, "train", TRAIN_COLUMNS)
            for _, row in zip(range(self.config.most), rows, strict=False):
                yield train_record(row, images, task=HARD_NEGATIVE_SETS[name], source=name)

    def _images(self, name: str, upstream: Upstream) -> ImageFiles:
        """Opens a set's images: MMEB's are in its own repository, InfoSeek's in M-BEIR's, as parts of one archive."""
        given = self.config.images
        if name in _MMEB:
            return repository_images(given, upstream, "TIGER-Lab/MMEB-train", f"images_zip/{name}.zip")
        if given is None and name.startswith("InfoSeek"):
            raise ValueError(
                f"{name}: its images are those of TIGER-Lab/M-BEIR, one archive in parts; join and unpack them, and "
                "name the folder with --images, or choose another --subset"
            )
        archive = f"supplement_images_zip/{name}.tar.gz"
        return repository_images(given, upstream, HardNegativesBuilder.HUB_NAME, archive)
