"""What every builder is: a `datasets` builder with three configs that can also write its dataset as a folder."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import datasets

from nyx_hf.data_builders.checks import checked_rows
from nyx_hf.data_builders.schema import FEATURES, Row
from nyx_hf.data_builders.writing import check_replaceable, write_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts

Splits = Mapping[str, Iterable[Mapping[str, Any]]]
CONFIGS = ("corpus", "queries", "triplets")


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
    keeps: object = None


def option(default: Any, help_text: str) -> Any:
    """Makes a field of a builder's config that is an option of `nyx-hf build NAME`.

    Args:
        default: Its default.
        help_text: What the help page says of it.

    Returns:
        The dataclass field.
    """
    return field(default=default, metadata={"help": help_text})


@dataclass
class BuildSettings:
    """What nearly every builder takes: a base for its config, before `datasets.BuilderConfig`."""

    limit: int | None = option(None, "Make at most this many queries of each split: a small true sample.")
    seed: int = option(0, "Decides everything that is drawn.")


def builder_configs(config_class: type[datasets.BuilderConfig]) -> tuple[datasets.BuilderConfig, ...]:
    """Gives a builder's three configs: `corpus`, `queries` and `triplets`."""
    return tuple(config_class(name=name) for name in CONFIGS)


def options_of(config_class: type[datasets.BuilderConfig]) -> tuple[Any, ...]:
    """Gives the fields of a builder's config that are its own, not those of `datasets`."""
    of_datasets = {one.name for one in fields(datasets.BuilderConfig)}
    return tuple(one for one in fields(config_class) if one.name not in of_datasets)


class RetrievalBuilder(datasets.GeneratorBasedBuilder):
    """The base of all builders: `Builder(config_name="corpus", seed=1).download_and_prepare()`, or `write(folder)`.

    A subclass sets `NAME`, `SUMMARY`, `BUILDER_CONFIG_CLASS` (a dataclass of its settings) and `BUILDER_CONFIGS`, and
    gives `make` and, where they are not `train` alone, `splits`.
    """

    NAME: ClassVar[str]
    SUMMARY: ClassVar[str]
    VERSION = datasets.Version("1.0.0")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config: Any = replace(self.config)  # datasets sets a config's fields one by one, past its checks
        self.dropped: Mapping[str, int] = {}
        # opens a retriever by name, for builders that search: the command line gives one that knows every model
        self.load_searcher: Callable[[str], Any] | None = None

    @abstractmethod
    def make(self) -> Made:
        """Makes all rows, or readies what yields them."""

    def plan(self) -> dict[str, Any]:
        """Says what a build would read, ask and write, before anything is spent."""
        return {"builder": self.NAME, "makes": self.SUMMARY, **self.settings()}

    def splits(self) -> tuple[str, ...]:
        """Gives the splits that these settings make."""
        return ("train",)

    def write(self, out_dir: str | Path, command: str | None = None, *, overwrite: bool = False) -> Path:
        """Writes the dataset as a folder that plain `load_dataset` reads.

        Args:
            out_dir: The folder to make.
            command: What was typed to make it, for the card; the facts' own where it is None.
            overwrite: Whether a dataset that stands there may be replaced.

        Returns:
            The folder. What was left out, by reason, is in `dropped` then.

        Raises:
            FileExistsError: If `out_dir` holds something that may not be replaced.
        """
        check_replaceable(Path(out_dir), overwrite)  # before hours of work, not after
        made = self.make()
        facts = made.facts if command is None else replace(made.facts, command=command)
        self.dropped = made.facts.dropped
        return write_dataset(out_dir, made.corpus, made.queries, made.triplets, facts, overwrite=overwrite)

    def settings(self) -> dict[str, Any]:
        """Gives the settings that are this builder's own, by name."""
        return {one.name: getattr(self.config, one.name) for one in options_of(type(self.config))}

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES[self.config.name])

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in self.splits()]

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Row]]:
        made = self.make()
        by_split: Splits = getattr(made, self.config.name)
        yield from enumerate(checked_rows(self.config.name, split, by_split.get(split, ())))
