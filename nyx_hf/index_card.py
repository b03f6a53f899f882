"""The card of an index folder, and what it was made from: with it the index goes to the Hub as a dataset."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.schema import PART_TYPES
from nyx_hf.derived import inherited_facts
from nyx_hf.index_files import CARD, rows_file
from nyx_hf.model_cards.blocks import code_block, shown_repo_id
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source, dataset_card
from nyx_hf.model_cards.licences import License
from nyx_hf.segments import open_segments
from nyx_hf.vector_store import StoreProperties

SOURCES = "sources.json"


@dataclass(frozen=True)
class Origin:
    """A dataset whose documents are in an index.

    Attributes:
        dataset: Its Hub name, or the bare name of its folder.
        revision: Its commit.
        title: What its card calls it.
        url: Where it is found; empty for a folder.
        license: Its licence: id, name and link.
        language: Language codes.
        own_pages: Whether it is made from its maker's own pages.
    """

    dataset: str
    revision: str | None
    title: str
    url: str
    license: Mapping[str, str | None]
    language: Sequence[str]
    own_pages: bool

    @classmethod
    def of(cls, dataset: str, revision: str | None) -> "Origin":
        """Reads a dataset's card."""
        facts = inherited_facts(dataset, revision)
        [source] = facts.sources
        name = Path(dataset).resolve().name if Path(dataset).is_dir() else dataset
        licence = asdict(License.of(source.license))
        return cls(name, revision, source.name, source.url, licence, facts.language, facts.own_pages)


def read_origins(folder: Path) -> list[Origin]:
    """Reads what an index was made from."""
    path = folder / SOURCES
    return [Origin(**one) for one in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def write_card(folder: Path, origins: Iterable[Origin], command: str | None) -> None:
    """Writes an index's card and sources.

    Args:
        folder: The index folder.
        origins: What it was made from.
        command: The command that made or changed it.
    """
    segments = open_segments(folder)
    properties = StoreProperties(**segments.manifest["properties"])
    counts = dict(Counter(segments.scalars["modality"].to_pylist()).most_common())
    kept = list({(origin.dataset, origin.revision): origin for origin in origins}.values())
    _write(folder / SOURCES, json.dumps([asdict(origin) for origin in kept], indent=2) + "\n")
    name = folder.resolve().name
    facts = DatasetFacts(
        name=name,
        pretty_name=f"{' and '.join(origin.title for origin in kept)}, indexed",
        summary=_summary(name, properties, counts),
        configs={"corpus": {"train": sum(counts.values())}},
        default_config="corpus",
        sources=[Source(origin.title, origin.url, License(**_licence(origin))) for origin in kept],
        modalities=[kind for kind in PART_TYPES if kind in counts or ("mixed" in counts and kind != "video")],
        tags=["nyx_hf-index"],
        command=command,
        revisions={
            "model": properties.shown_model,
            **{origin.dataset: origin.revision for origin in kept if origin.revision is not None},
        },
        counts={f"documents: {kind}": count for kind, count in counts.items()},
        own_pages=any(origin.own_pages for origin in kept),
        language=list(dict.fromkeys(code for origin in kept for code in origin.language)) or ["en"],
    )
    card = dataset_card(facts)
    data: Any = card.data  # its keys are those of the YAML block
    # file by file: a folder may hold segments, too, that a later write will delete
    files = [{"split": "train", "path": [rows_file(name) for name in segments.names]}]
    data.configs = [{"config_name": "corpus", "data_files": files, "default": True}]
    _write(folder / CARD, str(card))


def _summary(name: str, properties: StoreProperties, counts: Mapping[str, int]) -> str:
    repo = shown_repo_id(name)
    search = properties.options.get("search", "exact")
    return "\n\n".join(
        [
            f"A search index of {sum(counts.values()):,} documents: their vectors of {properties.dims} dimensions by "
            f"`{properties.shown_model}`, and the documents with their pictures made small. Queries must be "
            f"encoded by the same revision of the model. Search: {search}.",
            code_block(f'nyx-hf search {repo} "what is sought" --image photo.png -k 10', "bash"),
            code_block(
                f'from nyx_hf import SearchIndex\n\nindex = SearchIndex.open("{repo}")\n'
                'for found in index.search("what is sought", k=10):\n    print(found.id, found.score)',
                "python",
            ),
        ]
    )


def _licence(origin: Origin) -> dict[str, Any]:
    return dict(origin.license)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
