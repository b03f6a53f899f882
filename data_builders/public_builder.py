"""What builders of public sets share: repositories read in one pass, rows counted, documents stored once."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import constants

from nyx_hf.data_builders.builder import BuildSettings, Made, RetrievalBuilder, option
from nyx_hf.data_builders.records import Dropped, Record, Spool
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source


@dataclass
class PublicSettings(BuildSettings):
    """What every builder of a public set takes."""

    local: str | None = option(
        None, "Folder of downloaded repositories, each at LOCAL/OWNER/NAME; what it lacks is read from the Hub."
    )
    revision: str | None = option(None, "Branch, tag or commit of the repository.")


@dataclass
class ImageTextSettings(PublicSettings):
    """What builders of image–caption pairs take besides (RzenEmbed §3.4.1)."""

    clean: bool = option(False, "Leave out broken, tiny, blurred and one-coloured images.")
    recaption: str | None = option(
        None, "Describe each image anew, and keep both captions: transformers:MODEL, vllm:MODEL, endpoint:URL#MODEL."
    )
    cache: str = option(str(Path(constants.HF_HOME) / "nyx_hf" / "captions"), "Folder of the descriptions.")


class PublicBuilder(RetrievalBuilder):
    """The base of builders of public sets: a subclass says which repository, and gives records of each split.

    It sets `PRETTY_NAME`, `LICENCE` (a Hub licence id, or None for one that is not stated), and `CITATIONS`.
    """

    PRETTY_NAME: ClassVar[str]
    LICENCE: ClassVar[str | None] = None
    CITATIONS: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def repository(self) -> str:
        """The repository on the Hub, `owner/name`."""

    @abstractmethod
    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one split."""

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row] | Dropped]:
        """Reads documents that no record names, where there are such."""
        return iter(())

    def make(self) -> Made:
        """Reads all splits."""
        config = self.config
        pins = {} if config.revision is None else {self.repository: config.revision}
        upstream = Upstream(None if config.local is None else Path(config.local).expanduser(), pins)
        spool = Spool(self.NAME).open()
        for split in self.splits():
            spool.fill(split, self.records(split, upstream), config.limit)
            spool.pool(split, self.documents(split, upstream))
        if not spool.splits("triplets"):
            raise ValueError(f"{self.repository}: no row is left ({dict(spool.dropped) or 'there was none'})")
        return Made(
            spool.splits("corpus"),
            spool.splits("queries"),
            spool.splits("triplets"),
            self._facts(spool, upstream),
            spool,
        )

    def plan(self) -> dict[str, Any]:
        """Says what would be read."""
        return {**super().plan(), "reads": self.repository}

    def sources(self) -> list[Source]:
        """Gives where the rows come from, for the card."""
        url = f"https://huggingface.co/datasets/{self.repository}"
        return [Source(self.repository, url, self.LICENCE)]

    def _facts(self, spool: Spool, upstream: Upstream) -> DatasetFacts:
        sources = self.sources()
        named = ", ".join(f"[{one.name}]({one.url})" if one.url else f"`{one.name}`" for one in sources)
        return DatasetFacts(
            name=self.NAME,
            pretty_name=self.PRETTY_NAME,
            summary=f"{self.SUMMARY}\n\nConverted from {named}: each document is stored once.",
            configs={},
            default_config="preview",
            sources=sources,
            seed=self.config.seed,
            revisions=upstream.revisions,
            counts=spool.counts,
            dropped=spool.dropped,
            citations=list(self.CITATIONS),
        )


@dataclass
class OwnSettings(PublicSettings):
    """What builders of a user's own files take besides."""

    license: str | None = option(None, "Licence of the data, as the Hub names it.")
    public: bool = option(False, "These data may be shown to anybody: sample rows on the card.")


class OwnBuilder(PublicBuilder):
    """The base of builders that read a user's own files: they stay private unless told otherwise."""

    def sources(self) -> list[Source]:
        """Gives the files' name, and the licence that the user gave."""
        return [Source(self.repository, "", self.config.license)]

    def _facts(self, spool: Spool, upstream: Upstream) -> DatasetFacts:
        return replace(super()._facts(spool, upstream), own_pages=not self.config.public)
