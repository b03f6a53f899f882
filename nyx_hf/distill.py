"""`nyx-hf distill`: a share of the training queries, their candidates scored by a teacher for the student to learn."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tabulate import tabulate
from tqdm.auto import tqdm

from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.schema import Row, matching_split
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.data_builders.writing import Splits, check_replaceable, write_dataset
from nyx_hf.derived import inherited_facts, known_columns, training_tables
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.pair_scoring import PairScorer


@dataclass
class DistilledDataset:
    """What scoring a dataset came to.

    Attributes:
        folder: The dataset that was written.
        split: The split whose triplets were sampled and scored.
        queries: Triplets written, and those there were.
        pairs: Pairs of query and candidate that the teacher scored.
        teacher: The teacher; None where it was off.
        agreement: Share of the queries whose positive comes before all negatives: by the retriever, by the teacher.
    """

    folder: Path
    split: str
    queries: tuple[int, int]
    pairs: int
    teacher: str | None
    agreement: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**vars(self), "folder": str(self.folder)}

    def as_text(self) -> str:
        """Gives it as tables."""
        scored, there = self.queries
        rows: list[tuple[str, str]] = [
            ("triplets taken", f"{scored:,} of {there:,}"),
            ("pairs scored by the teacher", f"{self.pairs:,}"),
            *((f"positive first, by the {who}", f"{share:.1%}") for who, share in self.agreement.items()),
        ]
        return f"{tabulate(rows, colalign=('left', 'right'))}\n\nwrote {self.folder}"


def distill_dataset(
    dataset: str | Path,
    teacher: PairScorer | None,
    out: str | Path,
    *,
    fraction: float = 0.1,
    negatives: int = 50,
    split: str = "train",
    seed: int = 0,
    revision: str | None = None,
    command: str | None = None,
    overwrite: bool = False,
) -> DistilledDataset:
    """Samples mined training triplets and lets a teacher score their candidates, beside the retriever's own scores.

    The triplets get the teacher's scores as `positive_scores` and `negative_scores`, and the retriever's as
    `positive_recall_scores` and `negative_recall_scores`; the objective joins them (`distillation_alpha`). Without a
    teacher the same triplets keep the retriever's scores: `continue-hard`, the control that trains on as much of the
    same data with hard negatives alone. Corpus, queries and other splits' triplets stay as they are.

    Args:
        dataset: A dataset folder or a Hub dataset, out of `nyx-hf mine`.
        teacher: The reranker; None for the control.
        out: The folder to write.
        fraction: Share of the split's triplets to take.
        negatives: A query's first negatives that are kept, at most.
        split: The split of the triplets.
        seed: Decides which triplets are taken.
        revision: The Hub's branch, tag or commit.
        command: What was typed, for the card.
        overwrite: Whether a dataset that stands there may be replaced.

    Returns:
        What came of it.

    Raises:
        FileExistsError: If `out` may not be written to.
        ValueError: If there is no such dataset or split, models are tested by it, it was not mined by a retriever, or
            a number is out of range.

    References:
        U-MARVEL, §3.3, Finding 6 and Table 6: 10 % of the data.
    """
    if not 0 < fraction <= 1 or negatives < 1:
        raise ValueError(
            f"found fraction={fraction} and negatives={negatives}, expected more than 0 and at most 1, and at least 1"
        )
    check_replaceable(Path(out), overwrite)
    tables = training_tables(dataset, split, revision)
    links = tables["triplets"][split]
    _check_mined(links, str(dataset))
    taken = _sample(len(links), fraction, seed)
    corpus, queries = (tables[name][matching_split(name, tables[name], split)] for name in ("corpus", "queries"))
    some = TripletDataset(corpus, queries, links.select(taken), name=str(dataset))
    rows = list(_scored(some, teacher, negatives))
    retriever = str(links[taken[0]]["scorer"])
    facts = _facts(inherited_facts(str(dataset), revision), retriever, teacher, (len(rows), len(links)), seed)
    triplets: Splits = {**known_columns("triplets", tables["triplets"]), split: rows}
    facts = replace(facts, command=command)
    folder = write_dataset(out, tables["corpus"], tables["queries"], triplets, facts, overwrite=overwrite)
    pairs = 0 if teacher is None else sum(len(row["positive_ids"]) + len(row["negative_ids"]) for row in rows)
    named = None if teacher is None else teacher.name
    return DistilledDataset(folder, split, (len(rows), len(links)), pairs, named, _agreement(rows, teacher is None))


def _check_mined(links: Dataset, dataset: str) -> None:
    """Refuses triplets without negatives or without the cosines of a retriever."""
    columns = ("negative_ids", "positive_scores", "negative_scores", "scorer")
    missing = [name for name in columns if name not in links.column_names]
    if not missing:
        taught = "positive_recall_scores"
        table = links.select_columns([*columns, *({taught} & set(links.column_names))])
        for number, row in enumerate(table):
            scores = [*(row["positive_scores"] or []), *(row["negative_scores"] or [])]
            if not row["negative_ids"] or len(row["negative_scores"] or []) != len(row["negative_ids"]):
                missing = [f"negatives with scores in row {number}"]
            elif row.get(taught):
                missing = [f"a retriever's own scores in row {number}, which {row['scorer']} scored"]
            elif any(abs(score) > 1.001 for score in scores):
                missing = [f"cosines in row {number}, whose scores are of {row['scorer']}"]
            if missing:
                break
    if missing:
        raise ValueError(
            f"the triplets of {dataset} lack {', '.join(missing)}; let a retriever find and score negatives first: "
            f"nyx-hf mine {dataset} --model MODEL --negatives 50 --out FOLDER"
        )


def _sample(rows: int, fraction: float, seed: int) -> list[int]:
    """Chooses rows; a larger share holds a smaller one of the same seed."""
    order = list(range(rows))
    random.Random(seed).shuffle(order)
    return sorted(order[: max(1, round(rows * fraction))])


def _scored(triplets: TripletDataset, teacher: PairScorer | None, negatives: int) -> Iterator[Row]:
    """Gives the triplets with the teacher's scores beside the retriever's."""
    places = {name: row for row, name in enumerate(triplets.queries["id"])}
    for number in tqdm(range(len(triplets)), desc="scoring", unit="query", disable=teacher is None):
        link = triplets.triplets[number]
        kept: Row = {
            "query_id": link["query_id"],
            "positive_ids": link["positive_ids"],
            "negative_ids": link["negative_ids"][:negatives],
            "positive_scores": link["positive_scores"],
            "negative_scores": link["negative_scores"][:negatives],
            "scorer": link["scorer"],
        }
        if teacher is not None:
            right, wrong = triplets.document_rows(number)
            documents = stored_rows(triplets.corpus.select([*right, *wrong[:negatives]]))
            [query] = stored_rows(triplets.queries.select([places[link["query_id"]]]))
            contents = [document["content"] for document in documents]
            scores = teacher.scores(query["content"], contents, query.get("instruction")).tolist()
            kept |= {
                "positive_scores": scores[: len(right)],
                "negative_scores": scores[len(right) :],
                "scorer": teacher.name,
                "positive_recall_scores": kept["positive_scores"],
                "negative_recall_scores": kept["negative_scores"],
            }
        yield kept


def _agreement(rows: Sequence[Mapping[str, Any]], off: bool) -> dict[str, float]:
    """Says how often a positive comes first."""

    def first(kind: str) -> float:
        return float(np.mean([max(row[f"positive{kind}"]) > max(row[f"negative{kind}"]) for row in rows]))

    return (
        {"retriever": first("_scores")} if off else {"retriever": first("_recall_scores"), "teacher": first("_scores")}
    )


def _facts(
    old: DatasetFacts, retriever: str, teacher: PairScorer | None, counts: tuple[int, int], seed: int
) -> DatasetFacts:
    """Says on the new card what the old one said, and who scored which share."""
    shared = f"{counts[0]:,} of its {counts[1]:,} triplets (seed {seed})"
    if teacher is None:
        told = f"{shared}, with the scores of `{retriever}`: the control of a distillation (`continue-hard`)."
        return replace(
            old, name=f"{old.name}-continue-hard", pretty_name=f"{old.pretty_name}, continued", summary=told
        )
    return replace(
        old,
        name=f"{old.name}-taught",
        pretty_name=f"{old.pretty_name}, scored by a teacher",
        summary=f"{old.pretty_name}: {shared}, their candidates scored by the reranker `{teacher.name}` (P(YES)); the "
        f"scores of `{retriever}`, which found them, stand beside (`positive_recall_scores`, "
        "`negative_recall_scores`). To distil a retriever from (U-MARVEL §3.3).",
        revisions={"teacher": teacher.name, "retriever": retriever, **old.revisions},
        citations=["u-marvel"],
    )
