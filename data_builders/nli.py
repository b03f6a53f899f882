"""NLI as triplets: a sentence, one that follows from it, and one that contradicts it (U-MARVEL §3.1.3, stage 1a)."""

from collections.abc import Iterator
from dataclasses import dataclass

import datasets

from nyx_hf.data_builders.builder import builder_configs
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream


@dataclass
class NLIConfig(PublicSettings, datasets.BuilderConfig):
    """How much of it to build."""


class NLIBuilder(PublicBuilder):
    """SNLI and MultiNLI, as sentence-transformers publishes their triplets."""

    NAME = "nli"
    SUMMARY = "SNLI and MultiNLI triplets (sentence-transformers/all-nli) for U-MARVEL's first stage."
    PRETTY_NAME = "NLI triplets"
    CITATIONS = ("nli",)
    BUILDER_CONFIG_CLASS = NLIConfig
    BUILDER_CONFIGS = builder_configs(NLIConfig)

    @property
    def repository(self) -> str:
        """The triplets' repository."""
        return "sentence-transformers/all-nli"

    def splits(self) -> tuple[str, ...]:
        """Gives `train` and, from upstream's `dev`, `validation`."""
        return ("train", "validation")

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one split."""
        name = "dev" if split == "validation" else split
        for row in upstream.rows(self.repository, "triplet", name, ("anchor", "positive", "negative")):
            anchor, positive, negative = (_text(row[column]) for column in ("anchor", "positive", "negative"))
            yield Record(anchor, [positive], [negative], task="text retrieval", source="NLI")


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]
