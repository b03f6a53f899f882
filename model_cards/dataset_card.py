"""The card of a retrieval dataset, made from facts that its builder knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from nyx_hf.model_cards.blocks import TEMPLATES, code_block, facts_table, quoted, shown_repo_id, table
from nyx_hf.model_cards.citations import bibtex
from nyx_hf.model_cards.licences import License, inherit

OWN_PAGES = "own_pages"
"""Key of a card's metadata that keeps the dataset private unless a push says otherwise."""

_CONFIG_NOTES = {
    "corpus": "documents: `id`, `content`",
    "queries": "queries: `id`, `content`, `instruction`, `answers`, `options`, `task`, `source`",
    "triplets": (
        "training rows by id: `query_id`, `positive_ids`, `negative_ids`, `positive_scores`, `negative_scores`, "
        "`scorer`; where a reranker scored them, the retriever's scores too: `positive_recall_scores`, "
        "`negative_recall_scores`"
    ),
    "preview": "for the viewer: the query's text, the positive's text, and their images as columns",
}
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
_SIZES += [(10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B")]
_SIZES += [(10**12, "100B<n<1T")]


@dataclass(frozen=True)
class Source:
    """One place that rows of a dataset come from.

    Attributes:
        name: What it is called.
        url: Where it is found; empty for what is nowhere but with its maker.
        license: Its licence: a Hub licence id (`cc-by-4.0`), a `License` for one of its own, or None if unknown.
    """

    name: str
    url: str
    license: License | str | None


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a dataset's card is made from.

    Attributes:
        name: Repository name, `owner/name` or bare `name` (shown behind `your-name/` until it is pushed).
        pretty_name: Title of the card.
        summary: What the dataset is, in a few sentences (Markdown).
        license: Wanted licence (a Hub licence id); None takes the strictest of the sources'.
        license_name: Name of a licence that the Hub has no id for (then `license` is `other`).
        license_link: Where that licence's text is found.
        sources: Where the rows come from, each with its licence.
        configs: Rows by config and split: `{"corpus": {"train": 1000}}`.
        default_config: The config that `load_dataset(repo)` gives when it is called without one.
        modalities: Kinds of parts that occur: `text`, `image`, `video`.
        task_categories: The Hub's task names, such as `text-retrieval` and `visual-document-retrieval`.
        tags: Further tags.
        command: The command that built it, exactly as it was typed.
        seed: The seed it was built with.
        revisions: Exact version of each input, model or package that shaped it.
        counts: How many of what (documents by modality, queries by kind), in the order to show.
        dropped: Rows left out, by reason.
        samples: A few rows, in Markdown.
        aliases: Further names for configs, by name: the config whose files they show.
        own_pages: Whether rows are made from its maker's own pages: then no rows are shown, and a push makes nothing
            public unless told so.
        citations: Keys of `nyx_hf.model_cards.citations.CITATIONS`.
        language: Language codes of the text (`en`).
    """

    name: str
    pretty_name: str
    summary: str
    configs: Mapping[str, Mapping[str, int]]
    default_config: str
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    sources: list[Source] = field(default_factory=list)
    modalities: list[str] = field(default_factory=lambda: ["text", "image"])
    task_categories: list[str] = field(default_factory=lambda: ["text-retrieval", "visual-document-retrieval"])
    tags: list[str] = field(default_factory=list)
    command: str | None = None
    seed: int | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    aliases: Mapping[str, str] = field(default_factory=dict)
    own_pages: bool = False
    citations: list[str] = field(default_factory=list)
    language: list[str] = field(default_factory=lambda: ["en"])


def dataset_card(facts: DatasetFacts) -> DatasetCard:
    """Makes the card of a dataset folder whose files are `data/<config>/<split>-*.parquet`.

    Args:
        facts: What the builder knows; nothing else is written.

    Returns:
        The card; `card.save(folder / "README.md")` writes it.

    Raises:
        ValueError: If there is no config or the default one is not among them, or a citation is unknown.
        LicenceError: If the wanted licence is laxer than a source's.
    """
    if facts.default_config not in facts.configs:
        raise ValueError(
            f"the default config {facts.default_config!r} is not among {sorted(facts.configs)}; name one of them"
        )
    licence = _licence(facts)
    snippets = usage_snippets(shown_repo_id(facts.name), facts)
    card: DatasetCard = DatasetCard.from_template(
        _metadata(facts, licence),
        template_path=str(TEMPLATES / "dataset.md"),
        title=facts.pretty_name,
        summary=facts.summary.strip(),
        snippets={name: code_block(code, "python") for name, code in snippets.items()},
        configs_table=table(
            ("config", "split", "rows", "what it holds"),
            [
                (f"`{config}`", split, rows, _CONFIG_NOTES.get(config))
                for config, splits in facts.configs.items()
                for split, rows in splits.items()
            ],
        ),
        counts_table=facts_table(("what", "how many"), facts.counts),
        dropped_table=facts_table(("reason", "rows"), facts.dropped),
        sources_table=table(
            ("source", "licence"),
            [
                (f"[{source.name}]({source.url})" if source.url else source.name, License.of(source.license).label)
                for source in facts.sources
            ],
        ),
        revisions_table=facts_table(("input", "revision"), facts.revisions),
        own_pages=facts.own_pages,
        samples=[] if facts.own_pages else [sample.strip() for sample in facts.samples],
        command=code_block(facts.command, "bash") if facts.command else "",
        seed=facts.seed,
        licence=licence.label,
        licence_link=licence.link,
        bibtex=code_block(bibtex(facts.citations), "bibtex") if facts.citations else "",
    )
    return card


def usage_snippets(repo_or_dir: str, facts: DatasetFacts) -> dict[str, str]:
    """Gives the code that the card shows, so that a test runs precisely that.

    Args:
        repo_or_dir: Hub name or folder of the dataset.
        facts: The dataset's facts (its configs and splits).

    Returns:
        Code by name: `datasets` (plain `load_dataset`) and, where there are triplets, `training`.
    """
    loads = [
        f'{config} = load_dataset({quoted(repo_or_dir)}, "{config}", split="{next(iter(splits))}")'
        for config, splits in facts.configs.items()
        if config != "preview"
    ]
    first = next(iter(facts.configs))
    snippets = {"datasets": "\n".join(["from datasets import load_dataset", "", *loads, f"print({first}[0])"])}
    if "triplets" in facts.configs:
        split = next(iter(facts.configs["triplets"]))
        snippets["training"] = (
            "from nyx_hf import TripletDataset, to_sentence_transformers\n\n"
            f'triplets = TripletDataset.load({quoted(repo_or_dir)}, split="{split}")\n'
            'print(triplets[0]["query"], triplets[0]["positives"])\n'
            "train_dataset = to_sentence_transformers(triplets)  # what SentenceTransformerTrainer takes"
        )
    return snippets


def size_category(rows: int) -> str:
    """Gives the Hub's size category of a number of rows, such as `1K<n<10K`."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def _metadata(facts: DatasetFacts, licence: License) -> DatasetCardData:
    own: dict[str, Any] = {OWN_PAGES: True} if facts.own_pages else {}
    return DatasetCardData(
        pretty_name=facts.pretty_name,
        language=facts.language,
        license=licence.id,
        license_name=licence.name,
        license_link=licence.link,
        size_categories=[size_category(sum(sum(splits.values()) for splits in facts.configs.values()))],
        task_categories=facts.task_categories,
        # the Hub reads a dataset's modalities from plain tags such as `image`
        tags=list(dict.fromkeys(["nyx_hf", "retrieval", "mixed-modal-retrieval", *facts.modalities, *facts.tags])),
        configs=_configs(facts),
        **own,
    )


def _configs(facts: DatasetFacts) -> list[dict[str, object]]:
    """Lists the configs as the Hub reads them: files by split, one config being the default."""
    configs: list[dict[str, object]] = []
    for config, source in {**{config: config for config in facts.configs}, **facts.aliases}.items():
        files = [{"split": split, "path": f"data/{source}/{split}-*.parquet"} for split in facts.configs[source]]
        configs.append({"config_name": config, "data_files": files})
        if config == facts.default_config:
            configs[-1]["default"] = True
    return configs


def _licence(facts: DatasetFacts) -> License:
    """Settles the dataset's licence: the wanted one if no source forbids it, else the strictest source's."""
    wanted = License(facts.license, facts.license_name, facts.license_link) if facts.license else None
    return inherit(None, {source.name: source.license for source in facts.sources}, wanted)
