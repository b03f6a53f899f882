"""What a dataset hands down to one that is made from it: title, licence, language, privacy, tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from huggingface_hub import DatasetCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from nyx_hf.data_builders.held_out import is_held_out
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.schema import FEATURES
from nyx_hf.model_cards.dataset_card import OWN_PAGES, DatasetFacts, Source
from nyx_hf.model_cards.licences import License


def inherited_facts(dataset: str, revision: str | None = None) -> DatasetFacts:
    """Reads a dataset's card.

    Args:
        dataset: A dataset folder or a Hub dataset.
        revision: The Hub's branch, tag or commit.

    Returns:
        Facts of a dataset made from it, under its own name and title still; `configs` are left to who writes it.
    """
    card = _card(dataset, revision)
    name = Path(dataset).resolve().name if Path(dataset).is_dir() else dataset.rsplit("/", 1)[-1]
    licence = License(str(card.get("license") or "unknown"), card.get("license_name"), card.get("license_link"))
    url = "" if Path(dataset).is_dir() else f"https://huggingface.co/datasets/{dataset}"
    title = str(card.get("pretty_name") or name)
    return DatasetFacts(
        name=name,
        pretty_name=title,
        summary=title,
        configs={},
        default_config="preview",
        sources=[Source(title, url, licence)],
        revisions={} if revision is None else {dataset: revision},
        language=_listed(card.get("language")) or ["en"],
        aliases={"mcqa": "queries"} if "mcqa" in _configs(card) else {},
        own_pages=bool(card.get(OWN_PAGES)),
    )


def training_tables(dataset: str | Path, split: str, revision: str | None = None) -> dict[str, DatasetDict]:
    """Reads a dataset to make new triplets of a training split.

    Args:
        dataset: A dataset folder or a Hub dataset.
        split: The split of the triplets.
        revision: The Hub's branch, tag or commit.

    Returns:
        Corpus, queries and triplets, by config and split.

    Raises:
        ValueError: If there is no such dataset or split, or models are tested by it.
    """
    if is_held_out(split):
        raise ValueError(
            f"found the split {split!r}, expected one to train on: models are tested by this one, and training on it "
            "would spoil it"
        )
    tables = load_tables(dataset, ("corpus", "queries", "triplets"), revision)
    if split not in tables["triplets"]:
        raise ValueError(
            f"found the splits {', '.join(tables['triplets'])} in the triplets of {dataset}, expected {split!r}; name "
            "the one to train on with --split"
        )
    return tables


def known_columns(config: str, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Takes tables without columns that the schema does not have.

    Args:
        config: `corpus`, `queries` or `triplets`.
        tables: Its splits.

    Returns:
        The splits, to be written again.
    """
    known = FEATURES[config]
    return {
        split: table.select_columns([name for name in table.column_names if name in known])
        for split, table in tables.items()
    }


def _card(dataset: str, revision: str | None) -> dict[str, Any]:
    """Reads the metadata of a dataset's card; empty where it has none."""
    path = Path(dataset) / "README.md"
    if not Path(dataset).is_dir():
        try:
            path = Path(hf_hub_download(dataset, "README.md", repo_type="dataset", revision=revision))
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return {}
    return DatasetCard.load(path).data.to_dict() if path.is_file() else {}


def _configs(card: Mapping[str, Any]) -> set[Any]:
    return {config.get("config_name") for config in card.get("configs") or [] if isinstance(config, Mapping)}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
