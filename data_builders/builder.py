"""What every builder is: a `datasets` builder with three configs that can also write its dataset as a folder."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import datasets

from nyx_hf.data_builders.checks import checked_rows
from nyx_hf.data_builders.schema import FEATURES, Row
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts

Splits = Mapping[str, Iterable[Mapping[str, Any]]]


@dataclass
class Made:
    """A dataset's rows and what its card says.

    Attributes:
        corpus: Documents by split. Each split is iterated over once when it is written, so a generator will do.
        queries: Queries by split.
        triplets: Triplets by split; they look in the split of the same name, or in the only one.
        facts: What the card says; `configs` is filled when the dataset is written. It is read after all rows went by,
            so that counts may be filled as rows are made.
    """

    corpus: Splits
    queries: Splits
    triplets: Splits
    facts: DatasetFacts


@dataclass
class BuildSettings:
    """What every builder takes. Each field is an option of `nyx-hf build NAME`, with the help in its metadata."""

    limit: int | None = field(default=None, metadata={"help": "Make at most this many queries: a small true sample."})
    seed: int = field(default=0, metadata={"help": "Decides everything that is drawn."})


class RetrievalBuilder(datasets.GeneratorBasedBuilder):
    """The base of all builders: `Builder(config_name="corpus", seed=1).download_and_prepare()`, or `write(folder)`.

    A subclass sets `NAME`, `SUMMARY`, `BUILDER_CONFIG_CLASS` (a dataclass of its settings and
    `datasets.BuilderConfig`), and `SPLITS`, and gives `make`.
    """

    NAME: ClassVar[str]
    SUMMARY: ClassVar[str]
    SPLITS: ClassVar[tuple[str, ...]] = ("train",)
    VERSION = datasets.Version("1.0.0")

    @abstractmethod
    def make(self) -> Made:
        """Makes all rows, or readies what yields them."""

    def splits(self) -> tuple[str, ...]:
        """The splits that these settings make."""
        return self.SPLITS

    def write(self, out_dir: str | Path, command: str | None = None, *, overwrite: bool = False) -> Path:
        """Writes the dataset as a folder that plain `load_dataset` reads.

        Args:
            out_dir: The folder to make.
            command: What was typed to make it, for the card.
            overwrite: Whether a dataset that stands there may be replaced.

        Returns:
            The folder.
        """
        made = self.make()
        facts = made.facts if command is None else _with_command(made.facts, command)
        return write_dataset(out_dir, made.corpus, made.queries, made.triplets, facts, overwrite=overwrite)

    def settings(self) -> dict[str, Any]:
        """Gives the settings that are this builder's own, by name."""
        of_datasets = {one.name for one in fields(datasets.BuilderConfig)}
        return {one.name: getattr(self.config, one.name) for one in fields(self.config) if one.name not in of_datasets}

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES[self.config.name])

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in self.splits()]

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Row]]:
        rows = {"corpus": (made := self.make()).corpus, "queries": made.queries, "triplets": made.triplets}
        by_split = rows[self.config.name]
        yield from enumerate(checked_rows(self.config.name, split, by_split.get(split, ())))


def _with_command(facts: DatasetFacts, command: str) -> DatasetFacts:
    from dataclasses import replace

    return replace(facts, command=command)
