"""Retrieval quality while training: encode a corpus and its queries, rank, score."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from datasets import Dataset
from torch import Tensor

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.neighbours import top_k
from nyx_hf.data_builders.schema import Row, matching_split, present_parts
from nyx_hf.trainer.distributed import gather_rows, process_index, world_size

Rows: TypeAlias = Sequence[Row] | Dataset

_SHOWN = ("recall", "ndcg", "mrr")
_BATCHES_READ = 16  # batches whose rows are decoded at once


class Encoder(Protocol):
    """What encodes: a `NyxModel`."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    def encode_query(self, inputs: list[Any], **kwargs: Any) -> Any:
        """Embeds queries (N) as (N, D)."""

    def encode_document(self, inputs: list[Any], **kwargs: Any) -> Any:
        """Embeds documents (N) as (N, D)."""


@dataclass(frozen=True)
class RetrievalSet:
    """Queries, the corpus they are asked of, and which documents are right.

    Args:
        corpus: rows with `id` and `content`.
        queries: rows with `id`, `content` and, where they have one, `instruction`.
        relevant: ids of the right documents of each query, by query id.
        name: what to call it.
    """

    corpus: Rows
    queries: Rows
    relevant: Mapping[str, Collection[str]]
    name: str = "dataset"

    @classmethod
    def load(
        cls, path_or_repo: str | Path, split: str = "test", *, revision: str | None = None, limit: int | None = None
    ) -> "RetrievalSet":
        """Reads a dataset folder or a Hub dataset.

        Args:
            path_or_repo: folder or `owner/name`, with the configs `corpus`, `queries` and `triplets`.
            split: the triplets' split.
            revision: the Hub's branch, tag or commit.
            limit: only the first so many queries; the corpus stays whole.

        Returns:
            The queries that have triplets, in the triplets' order.

        Raises:
            ValueError: there is no such config or split.
        """
        tables = load_tables(path_or_repo, ("corpus", "queries", "triplets"), revision)
        if split not in tables["triplets"]:
            raise ValueError(
                f"{path_or_repo} has the splits {sorted(tables['triplets'])} and no {split!r}; choose one of them"
            )
        triplets = tables["triplets"][split].select_columns(["query_id", "positive_ids"])
        triplets = triplets.select(range(len(triplets) if limit is None else min(limit, len(triplets))))
        relevant = dict(zip(triplets["query_id"], triplets["positive_ids"], strict=True))
        queries = tables["queries"][matching_split("queries", tables["queries"], split)]
        row = {query_id: number for number, query_id in enumerate(queries["id"])}
        return cls(
            corpus=tables["corpus"][matching_split("corpus", tables["corpus"], split)],
            queries=queries.select([row[query_id] for query_id in relevant]),
            relevant=relevant,
            name=Path(path_or_repo).name,
        )


def evaluate_retrieval(
    model: Encoder,
    dataset: RetrievalSet,
    *,
    dims: Sequence[int] = (),
    ks: Sequence[int] = (1, 5, 10),
    batch_size: int = 32,
    share: bool = True,
) -> dict[str, float]:
    """Scores a model on a retrieval set.

    Args:
        model: encodes queries and documents.
        dataset: what to search, for what.
        dims: embedding prefixes to score besides the full embedding.
        ks: cut-offs.
        batch_size: contents a forward pass.
        share: every process encodes its part; else each encodes everything.

    Returns:
        `recall@k`, `ndcg@k` and `mrr@k` at full width, and `dim_<d>_recall@k`, … of each prefix, averaged over the
        queries; the same on every process.

    Raises:
        ValueError: a query has no relevant document.
    """
    how: dict[str, Any] = {"batch_size": batch_size, "convert_to_tensor": True, "show_progress_bar": False}
    encode = partial(_encode, batch_size=batch_size, device=model.device, share=share)
    documents = encode(partial(model.encode_document, **how), dataset.corpus)  # (N, D)
    queries = encode(partial(model.encode_query, **how), dataset.queries)  # (Q, D)
    ids = _ids(dataset.corpus)
    relevant = [dataset.relevant.get(query_id, ()) for query_id in _ids(dataset.queries)]
    width = documents.shape[1]
    scores: dict[str, float] = {}
    for dim in (width, *(dim for dim in dims if dim < width)):
        _, found = top_k(queries, documents, max(ks), dim=dim)
        rankings = [[ids[index] for index in row] for row in found]
        means = aggregate(ranking_metrics(rankings, relevant, ks))
        shown = {name: value for name, value in means.items() if name.startswith(_SHOWN)}
        scores |= {name if dim == width else f"dim_{dim}_{name}": value for name, value in shown.items()}
    return scores


def _encode(
    encode: Callable[..., Tensor], rows: Rows, *, batch_size: int, device: torch.device, share: bool
) -> Tensor:
    """Encodes rows, each process its share, and gathers them all: float32 (rows, D).

    Rows are read a few batches at a time: decoded images of a whole corpus would not fit in memory.
    """
    own = _share(len(rows)) if share else range(len(rows))
    parts = [encode([])]  # (0, D): there may be fewer rows than processes
    for start in range(own.start, own.stop, _BATCHES_READ * batch_size):
        chunk = [rows[number] for number in range(start, min(start + _BATCHES_READ * batch_size, own.stop))]
        by_instruction: dict[str | None, list[int]] = {}
        for number, row in enumerate(chunk):
            by_instruction.setdefault(row.get("instruction"), []).append(number)
        order = [number for numbers in by_instruction.values() for number in numbers]
        encoded = torch.cat(
            [
                encode([_item(chunk[number]) for number in numbers], **_prompt(instruction))
                for instruction, numbers in by_instruction.items()
            ]
        )
        parts.append(encoded[torch.tensor(order).argsort()])  # back in the chunk's order
    encoded = torch.cat(parts).to(device)
    return gather_rows(encoded) if share else encoded


def _share(rows: int) -> range:
    """The consecutive rows that this process encodes."""
    each = -(-rows // world_size())
    return range(min(rows, each * process_index()), min(rows, each * (process_index() + 1)))


def _item(row: Row) -> Row:
    return {"content": present_parts(row["content"])}


def _prompt(instruction: str | None) -> dict[str, str]:
    return {} if instruction is None else {"prompt": instruction}


def _ids(rows: Rows) -> list[str]:
    """All ids, without decoding what else a dataset holds."""
    return list(rows["id"]) if isinstance(rows, Dataset) else [row["id"] for row in rows]
