"""Training rows: triplets joined by id with the queries and documents they name, lazily."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.data_builders.schema import SCORES, Row, SchemaError, matching_split, present_parts

_REQUIRED = {
    "corpus": ("id", "content"),
    "queries": ("id", "content"),
    "triplets": ("query_id", "positive_ids", "negative_ids"),
}


class TripletDataset(torch.utils.data.Dataset[Row]):
    """Rows of a query, a positive document and hard negatives, joined when a row is read.

    All ids are looked up once, when the dataset is made; images are decoded only for the rows that are read.

    Args:
        corpus: Documents (`id`, `content`).
        queries: Queries (`id`, `content`, and, where they have them, `instruction` and `task`).
        triplets: `query_id`, `positive_ids`, `negative_ids`.
        negatives_per_query: A row gives its first negatives, at most this many, in their order.
        name: The dataset's name, given with each row.
        positives_per_query: A row gives its first positives, at most this many, in their order.

    Raises:
        SchemaError: If a column is missing, a row has no positive, or an id is not there.
        ValueError: If `negatives_per_query` is below 0 or `positives_per_query` below 1.
    """

    def __init__(
        self,
        corpus: Dataset,
        queries: Dataset,
        triplets: Dataset,
        negatives_per_query: int = 1,
        name: str = "dataset",
        positives_per_query: int = 1,
    ) -> None:
        if negatives_per_query < 0 or positives_per_query < 1:
            raise ValueError(
                f"found negatives_per_query={negatives_per_query} and positives_per_query={positives_per_query}, "
                "expected 0 or more and 1 or more; pass 0 for no negatives"
            )
        for config, dataset in (("corpus", corpus), ("queries", queries), ("triplets", triplets)):
            _check_columns(config, dataset.column_names)
        self.corpus, self.queries, self.triplets = corpus, queries, triplets
        self.negatives_per_query, self.name = negatives_per_query, name
        self.positives_per_query = positives_per_query

        query_ids, documents = _column(triplets, "query_id"), _column(corpus, "id")
        owners = np.arange(len(query_ids))
        self._query_rows = _rows_of(query_ids, _column(queries, "id"), "queries", "query_id", owners, query_ids)
        sides = [_column(triplets, "positive_ids"), _column(triplets, "negative_ids")]
        self._positives = _linked(sides[0], documents, "positive_ids", query_ids)
        self._negatives = _linked(sides[1], documents, "negative_ids", query_ids)
        if (bare := np.flatnonzero(self._positives.lengths() == 0)).size:
            row = int(bare[0])
            advice = "drop the row or name its positive document"
            raise SchemaError("no positive_ids", "at least one", advice).at(
                "triplets", None, row, query_ids[row].as_py()
            )

    @classmethod
    def load(
        cls,
        path_or_repo: str | Path,
        split: str = "train",
        revision: str | None = None,
        name: str | None = None,
        negatives_per_query: int = 1,
        positives_per_query: int = 1,
    ) -> "TripletDataset":
        """Reads a dataset folder or a Hub dataset with `load_dataset`.

        Args:
            path_or_repo: Folder or `owner/name`, with the configs `corpus`, `queries` and `triplets`.
            split: The triplets' split. Corpus and queries give the split of the same name, or their only one.
            revision: The Hub's branch, tag or commit.
            name: The dataset's name; the last part of `path_or_repo` where it is None.
            negatives_per_query: See the class.
            positives_per_query: See the class.

        Returns:
            The joined dataset.

        Raises:
            SchemaError: If a column or an id is missing, or a row has no positive.
            ValueError: If there is no such config or split.
        """
        tables = load_tables(path_or_repo, _REQUIRED, revision)
        if split not in tables["triplets"]:
            raise ValueError(
                f"found the splits {sorted(tables['triplets'])} in the triplets of {path_or_repo}, expected "
                f"{split!r}; choose one of them"
            )
        corpus, queries = (
            tables[config][matching_split(config, tables[config], split)] for config in ("corpus", "queries")
        )
        name = name or Path(path_or_repo).resolve().name
        return cls(corpus, queries, tables["triplets"][split], negatives_per_query, name, positives_per_query)

    def __len__(self) -> int:
        return len(self._query_rows)

    def __getitem__(self, index: int) -> Row:
        """Joins one row.

        Args:
            index: The triplet's number; negative ones count from the end.

        Returns:
            `query`, and each of `positives` and `negatives`, as content: `{"content": [parts]}`; `instruction`,
            `task`, `dataset`, `query_id`, all `positive_ids`, and `negative_ids` of the negatives given. Where the
            triplets have scores, those of the documents given: `positive_scores`, `negative_scores`, and
            `positive_recall_scores`, `negative_recall_scores`.

        Raises:
            IndexError: If there is no such row.
        """
        index = self._checked_index(index)
        link, query = self.triplets[index], self.queries[int(self._query_rows[index])]
        given = {"positive": slice(self.positives_per_query), "negative": slice(self.negatives_per_query)}
        scores = {
            f"{side}{kind}": link[f"{side}{kind}"][some]
            for side, some in given.items()
            for kind in SCORES
            if link.get(f"{side}{kind}")
        }
        return {
            "query": _item(query),
            "instruction": query.get("instruction"),
            "positives": [self.document(int(row)) for row in self._positives[index][given["positive"]]],
            "negatives": [self.document(int(row)) for row in self._negatives[index][given["negative"]]],
            "query_id": link["query_id"],
            "positive_ids": link["positive_ids"],
            "negative_ids": (link["negative_ids"] or [])[given["negative"]],
            "dataset": self.name,
            "task": query.get("task"),
            **scores,
        }

    def positives(self) -> Ragged:
        """Gives the positives of every row: their rows in the corpus, without decoding an image."""
        return self._positives

    def tasks(self) -> set[str | None]:
        """Gives the tasks that the rows' queries have."""
        if "task" not in self.queries.column_names:
            return {None}
        return set(pc.unique(_column(self.queries, "task").take(pa.array(self._query_rows))).to_pylist())

    def check_scores(self, kind: str = SCORES[0]) -> None:
        """Refuses triplets whose documents have no scores.

        Args:
            kind: One of `SCORES`: the scores of the `scorer`, or those of recall.

        Raises:
            SchemaError: If a column is missing, or a row has not one score for each document.
        """
        for side, documents in (("positive", self._positives), ("negative", self._negatives)):
            name = f"{side}{kind}"
            if name not in self.triplets.column_names:
                advice = "score the documents, or train with a loss that needs no scores"
                raise SchemaError(f"the columns {', '.join(self.triplets.column_names)}", f"{name!r}", advice).at(
                    "triplets"
                )
            counts = pc.fill_null(pc.list_value_length(_column(self.triplets, name)), 0).to_numpy(zero_copy_only=False)
            if (short := np.flatnonzero(counts != documents.lengths())).size:
                row = int(short[0])
                found = f"{int(counts[row])} {name} for {int(documents.lengths()[row])} documents"
                raise SchemaError(found, "one score a document", "score all documents of the row, or drop it").at(
                    "triplets", None, row, self.triplets[row]["query_id"]
                )

    def query(self, index: int) -> Row:
        """Gives a row's query, decoded, with all columns that the queries have."""
        row: Row = self.queries[int(self._query_rows[self._checked_index(index)])]
        return row

    def document(self, row: int) -> Row:
        """Gives the content of a row of the corpus, decoded."""
        return _item(self.corpus[row])

    def document_rows(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Gives where a row's documents stand in the corpus.

        Args:
            index: The triplet's number.

        Returns:
            Rows of all positives and of all negatives, int64, in order.
        """
        index = self._checked_index(index)
        return self._positives[index], self._negatives[index]

    def negative_counts(self) -> np.ndarray:
        """Counts each row's negatives, whether given or not: int64 (rows,)."""
        return self._negatives.lengths()

    def _checked_index(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"found row {index}, expected one of the {len(self)} triplets")
        return index % len(self)


def to_sentence_transformers(
    dataset: TripletDataset | str | Path, split: str = "train", negatives: int = 1, revision: str | None = None
) -> Dataset:
    """Turns triplets into the columns that SentenceTransformerTrainer reads, any mix of text and images included.

    A cell is a list of chat messages, `[{"role": "user", "content": [{"type": "text", "text": "…"}, …]}]`, made when a
    row is read. A query's instruction stands before it as a system message, where sentence-transformers puts prompts.
    The returned dataset can be selected, shuffled and split; `map` would write the cells to Arrow, which gives every
    part its empty keys back, and with them tokens of images that are not there. Where several such datasets go into
    one trainer as a dict, sentence-transformers 6.2 looks for strings to show on its card and fails; give it one
    before: `model.model_card_data.widget = [{"text": "…"}]`.

    Args:
        dataset: Triplets, or a dataset folder or repository to load them from.
        split: The split to load; unused for a `TripletDataset`.
        negatives: Columns `negative_1`, `negative_2`, … to give: the first negatives of each row.
        revision: The Hub's branch, tag or commit to load; unused for a `TripletDataset`.

    Returns:
        A dataset with the columns `anchor`, `positive` and `negative_1` … `negative_n`.

    Raises:
        ValueError: If a row has fewer negatives than are asked for.
    """
    triplets = dataset if isinstance(dataset, TripletDataset) else TripletDataset.load(dataset, split, revision)
    short = np.flatnonzero(triplets.negative_counts() < negatives)
    if short.size:
        row, count = int(short[0]), int(triplets.negative_counts()[short[0]])
        raise ValueError(
            f"found {count} negatives in row {row} of the triplets, expected at least {negatives} in every row; ask "
            "for fewer or leave such rows out"
        )
    rows = [triplets.document_rows(index) for index in range(len(triplets))]
    columns = {"anchor": list(range(len(triplets))), "positive": [int(positives[0]) for positives, _ in rows]}
    for number in range(negatives):
        columns[f"negative_{number + 1}"] = [int(others[number]) for _, others in rows]
    table = Dataset.from_dict(columns)
    table.set_transform(_Messages(triplets))
    return table


@dataclass(frozen=True)
class _Messages:
    """Turns row numbers (of triplets for `anchor`, of the corpus for the others) into chat messages."""

    triplets: TripletDataset

    def __call__(self, batch: Mapping[str, list[int]]) -> dict[str, list[list[Row]]]:
        return {name: [self._cell(name, row) for row in rows] for name, rows in batch.items()}

    def _cell(self, column: str, row: int) -> list[Row]:
        if column != "anchor":
            return [{"role": "user", **self.triplets.document(row)}]
        query = self.triplets.query(row)
        messages = [{"role": "user", **_item(query)}]
        if query.get("instruction"):
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": query["instruction"]}]})
        return messages


def _linked(column: pa.ListArray, documents: pa.Array, name: str, query_ids: pa.Array) -> Ragged:
    """Looks up the documents that each triplet names: their rows in the corpus."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return Ragged.of_lengths(_rows_of(pc.list_flatten(column), documents, "corpus", name, owners, query_ids), lengths)


def _item(row: Mapping[str, Any]) -> Row:
    """Gives a row's content in the form that the model takes."""
    return {"content": present_parts(row["content"])}


def _check_columns(config: str, columns: list[str]) -> None:
    for column in _REQUIRED[config]:
        if column not in columns:
            advice = "rename or add that column"
            raise SchemaError(f"the columns {', '.join(columns)}", f"one named {column!r}", advice).at(config)


def _column(dataset: Dataset, name: str) -> pa.Array:
    """Reads one column as Arrow, in the dataset's order, without decoding any other."""
    column = dataset.select_columns([name]).with_format("arrow")[:][name]
    return column.combine_chunks()


def _rows_of(
    ids: pa.Array, known: pa.Array, config: str, column: str, owners: np.ndarray, query_ids: pa.Array
) -> np.ndarray:
    """Looks ids up.

    Args:
        ids: The ids to look up, string (n,).
        known: The ids of the config looked into, in row order.
        config: That config's name, for the error.
        column: The triplets' column that the ids come from, for the error.
        owners: Which triplet each id belongs to, int64 (n,), for the error.
        query_ids: The triplets' query ids, for the error.

    Returns:
        The row of each id, int64 (n,).

    Raises:
        SchemaError: If an id is not among the known ones.
    """
    rows = pc.index_in(ids, value_set=known)
    if rows.null_count:
        at = int(np.flatnonzero(rows.is_null().to_numpy(zero_copy_only=False))[0])
        row = int(owners[at])
        raise SchemaError(
            f"{column} naming {ids[at].as_py()!r}, which the {config} lack",
            f"an id among the {len(known)} of the {config}",
            f"add that row to the {config} or drop it here",
        ).at("triplets", None, row, query_ids[row].as_py())
    found: np.ndarray = rows.to_numpy(zero_copy_only=False).astype(np.int64)
    return found
