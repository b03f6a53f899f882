"""CC3M: captions and their images (U-MARVEL §3.1.3, stage 1b)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets

from nyx_hf.data_builders.builder import builder_configs
from nyx_hf.data_builders.image_text import improved
from nyx_hf.data_builders.importing import image_caption_record
from nyx_hf.data_builders.public_builder import ImageTextSettings, PublicBuilder
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.upstream import Upstream


@dataclass
class CC3MConfig(ImageTextSettings, datasets.BuilderConfig):
    """How much of it to build."""


class CC3MBuilder(PublicBuilder):
    """Conceptual Captions, as WebDataset shards: the caption asks for the image."""

    NAME = "cc3m"
    SUMMARY = "Conceptual Captions 3M (pixparse/cc3m-wds) for U-MARVEL's second stage: captions ask for images."
    PRETTY_NAME = "Conceptual Captions 3M"
    BUILDER_CONFIG_CLASS = CC3MConfig
    BUILDER_CONFIGS = builder_configs(CC3MConfig)

    @property
    def repository(self) -> str:
        """The shards' repository."""
        return "pixparse/cc3m-wds"

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the shards, streaming."""
        config = self.config
        rows = upstream.rows(self.repository, None, split, ("jpg",))
        records = (image_caption_record(row, "image retrieval", "CC3M") for row in rows)
        cache = Path(config.cache).expanduser()
        return improved(records, clean=config.clean, recaption=config.recaption, cache_dir=cache)
