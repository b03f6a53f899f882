"""ShareGPT4V: long descriptions and their images (RzenEmbed §3.4.1, T → VD).

The paper writes VD out as "Video Description"; what it names, ShareGPT4V, describes images: a description asks for its
image here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.upstream import LayoutError, Upstream

ALL = "all"
FILES = {
    "ShareGPT4V": "sharegpt4v_instruct_gpt4-vision_cap100k.json",
    "ShareGPT4V-PT": "share-captioner_coco_lcs_sam_1246k_1107.json",
}
"""The repository's files, by its own names for them: descriptions by GPT-4V, and by a captioner trained on those."""

_KEYS = ("image", "conversations")


@dataclass
class ShareGPT4VConfig(PublicSettings, datasets.BuilderConfig):
    """Which descriptions to read, and where their images are."""

    subset: Literal["all", "ShareGPT4V", "ShareGPT4V-PT"] = option(
        ALL, "The 100,000 descriptions by GPT-4V, the 1.2 million by its captioner (PT), or all."
    )
    images: str = option("", "Folder or archive of the images, which holds coco/train2017, sam/images and so on.")
    most: int = option(250_000, "Pairs, at most, drawn by the seed among those with an image (RzenEmbed §3.4.1).")


class ShareGPT4VBuilder(PublicBuilder):
    """ShareGPT4V: `ShareGPT4VBuilder(config_name="triplets", images="ShareGPT4V/data")`.

    Nothing is put before the queries: in this stage the paper avoids instructions.
    """

    NAME = "sharegpt4v"
    SUMMARY = "ShareGPT4V (Lin-Chen/ShareGPT4V) for RzenEmbed's first stage: long descriptions ask for images."
    PRETTY_NAME = "ShareGPT4V"
    LICENCE = "cc-by-nc-4.0"
    CITATIONS = ("rzenembed",)
    BUILDER_CONFIG_CLASS = ShareGPT4VConfig
    BUILDER_CONFIGS = builder_configs(ShareGPT4VConfig)

    @property
    def repository(self) -> str:
        """The descriptions' repository."""
        return "Lin-Chen/ShareGPT4V"

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Goes through all rows in a seeded order, until there are enough.

        Args:
            split: `train`.
            upstream: Reads the repository.

        Yields:
            The drawn pairs, and why rows before the last of them could not be drawn.

        Raises:
            ValueError: If no images are named, or they are not there.
            LayoutError: If a file or one of its keys is missing.
        """
        config = self.config
        if not config.images:
            raise ValueError("no images are named: pass --images with the folder or archive that holds them")
        images = ImageFiles([Path(config.images).expanduser()])
        names = [name for name in FILES if config.subset in (ALL, name)]
        rows = [row for name in names for row in _rows(upstream, self.repository, name)]
        taken = 0
        for name, path, caption in sorted(rows, key=lambda row: seeded_fraction("\n".join(row), config.seed)):
            if taken >= config.most:
                return
            image = images.read(path)
            if image is None or not caption:
                yield Dropped("row: image file is missing" if image is None else "row: no description")
                continue
            taken += 1
            query, positive = {"type": "text", "text": caption}, {"type": "image", "image": image}
            yield Record([query], [[positive]], task="image retrieval", source=name)


def _rows(upstream: Upstream, repository: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Reads a file, one JSON list that has to be read whole: of each row its name, image path and description."""
    rows = json.loads(upstream.file(repository, FILES[name]).read_bytes())
    if not isinstance(rows, list):
        raise LayoutError(f"{FILES[name]}: found {type(rows).__name__}, expected a list of rows")
    for number, row in enumerate(rows):
        upstream.check_columns(repository, list(row), _KEYS, f"{FILES[name]} row {number}")
        yield name, row["image"], _description(row["conversations"])


def _description(turns: Sequence[Mapping[str, str]]) -> str:
    """Gives the first answer; the question before it, one of a few fixed sentences, says nothing of the image."""
    return next((turn["value"].strip() for turn in turns if turn["from"] == "gpt"), "")
