"""Text pairs of seven public sets, mixed: questions, claims and sentences with their texts (RzenEmbed §3.4.1, T → T).

"MS-MARCO, NQ, HotpotQA, TriviaQA, SQuAD, FEVER, and AllNLI for SimCSE, totaling approximately 300,000 entries." How
many of each the paper does not say: here each set gives as many.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.model_cards.dataset_card import Source

ALL = "all"


@dataclass(frozen=True)
class PairSet:
    """Where a set of pairs is, and how its columns are called. A cell holds a text, or a list of texts.

    Attributes:
        repository: On the Hub.
        config: The repository's config.
        query: The column of the query.
        positive: The column of what answers it; each of several texts does.
        negative: The column of hard negatives, of which the first is taken; None where there are none.
        split: Upstream's split.
    """

    repository: str
    config: str
    query: str
    positive: str
    negative: str | None = None
    split: str = "train"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.query, self.positive, *(() if self.negative is None else (self.negative,)))


# the smallest first: what a set lacks of its share, those behind it give
SETS = {
    "triviaqa": PairSet("sentence-transformers/trivia-qa-triplet", "triplet", "anchor", "positive", "negative"),
    "fever": PairSet("BeastyZ/E5-R", "fever", "query", "positive", "negative"),  # these two columns hold lists
    "hotpotqa": PairSet("sentence-transformers/hotpotqa", "triplet", "anchor", "positive", "negative"),
    "squad": PairSet("sentence-transformers/squad", "pair", "question", "answer"),
    "nq": PairSet("sentence-transformers/natural-questions", "pair", "query", "answer"),
    "msmarco": PairSet("sentence-transformers/msmarco-bm25", "triplet", "query", "positive", "negative"),
    "allnli": PairSet("sentence-transformers/all-nli", "triplet", "anchor", "positive", "negative"),
}
"""The sets by name, from about 60,000 rows to 560,000."""


@dataclass
class TextPairsConfig(PublicSettings, datasets.BuilderConfig):
    """Which sets to read, and how much of them."""

    subset: str = option(ALL, f"One of {', '.join(SETS)}, or `all`: the mix, as many of each.")
    most: int = option(300_000, "Pairs in all, at most, drawn by the seed (RzenEmbed §3.4.1).")


class TextPairsBuilder(PublicBuilder):
    """The mix, or one of its sets: `TextPairsBuilder(config_name="triplets", subset="squad")`.

    Nothing is put before the queries: in this stage the paper avoids instructions.
    """

    NAME = "text-pairs"
    SUMMARY = (
        "MS MARCO, NQ, HotpotQA, TriviaQA, SQuAD, FEVER and AllNLI, mixed: text pairs for RzenEmbed's first stage."
    )
    PRETTY_NAME = "Text pairs"
    CITATIONS = ("rzenembed", "hotpotqa", "nli")
    BUILDER_CONFIG_CLASS = TextPairsConfig
    BUILDER_CONFIGS = builder_configs(TextPairsConfig)

    @property
    def repository(self) -> str:
        """The chosen set's repository; those of the mix, in order."""
        return ", ".join(one.repository for one in self._chosen().values())

    def sources(self) -> list[Source]:
        """Gives each chosen set's repository, for the card."""
        names = [one.repository for one in self._chosen().values()]
        return [Source(name, f"https://huggingface.co/datasets/{name}", self.LICENCE) for name in names]

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Draws from the chosen sets, one after the other.

        Args:
            split: `train`.
            upstream: Reads the repositories.

        Yields:
            The drawn pairs, and why rows could not be drawn.

        Raises:
            ValueError: If there is no such set, or a revision is given for several repositories.
            LayoutError: If a column is missing.
        """
        sets, config = self._chosen(), self.config
        if config.revision is not None and len(sets) > 1:
            raise ValueError(f"found revision={config.revision} for {len(sets)} repositories; pass --subset, too")
        # under a limit the whole mix is made smaller, so that it stays a mix
        left: int = config.most if config.limit is None else min(config.most, config.limit)
        for number, (name, pairs) in enumerate(sets.items()):
            share = -(-left // (len(sets) - number))
            for record in drawn(pair_records(upstream, name, pairs), share, config.seed):
                left -= isinstance(record, Record)
                yield record

    def _chosen(self) -> dict[str, PairSet]:
        wanted = self.config.subset
        if wanted not in (ALL, *SETS):
            raise ValueError(f"found subset={wanted}, expected all, or one of {', '.join(SETS)}")
        return SETS if wanted == ALL else {wanted: SETS[wanted]}


def pair_records(upstream: Upstream, name: str, pairs: PairSet) -> Iterator[Record | Dropped]:
    """Reads a set, streaming.

    Args:
        upstream: Reads its repository.
        name: Its name, for the records.
        pairs: Where it is.

    Yields:
        Its rows as records; those without a query or a positive are dropped.

    Raises:
        LayoutError: If a column is missing.
    """
    for row in upstream.rows(pairs.repository, pairs.config, pairs.split, pairs.columns):
        query, positives = _contents(row[pairs.query]), _contents(row[pairs.positive])
        negatives = [] if pairs.negative is None else _contents(row[pairs.negative])
        if query and positives:
            yield Record(query[0], positives, negatives[:1], task="text retrieval", source=name)
        else:
            yield Dropped("row: no query or no positive")


def drawn(records: Iterable[Record | Dropped], count: int, seed: int) -> Iterator[Record | Dropped]:
    """Draws those records whose seeded hash is lowest, in one pass: whatever their order, the same are drawn.

    Args:
        records: Records of texts, and what their reader left out.
        count: Records to draw; all where there are no more.
        seed: Seed of the draw.

    Yields:
        The drawn records, and all that was left out.
    """
    lost: list[Dropped] = []

    def whole() -> Iterator[Record]:
        for record in records:
            if isinstance(record, Record):
                yield record
            else:
                lost.append(record)

    yield from nsmallest(count, whole(), key=lambda record: seeded_fraction(_name(record), seed))
    yield from lost


def _name(record: Record) -> str:
    """Names a record by all its texts."""
    contents = (record.query, *record.positives, *record.negatives)
    return "\n".join(part["text"] for content in contents for part in content)


def _contents(cell: str | Sequence[str] | None) -> list[list[Row]]:
    """Turns a cell into contents, one of each text that is not blank."""
    texts = [cell] if isinstance(cell, str) else cell or ()
    return [[{"type": "text", "text": text.strip()}] for text in texts if text and text.strip()]
