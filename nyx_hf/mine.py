"""`nyx-hf mine`: a dataset's triplets made anew with hard negatives of a retriever's finding."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from tabulate import tabulate

from nyx_hf.data_builders.held_out import document_of, held_out_documents
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.mining import Mined, MiningRules, mine
from nyx_hf.data_builders.near_duplicates import find_duplicates
from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.ranking import stored_items, stored_rows
from nyx_hf.data_builders.schema import Row, matching_split
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.data_builders.writing import check_replaceable, write_dataset
from nyx_hf.derived import inherited_facts
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.plots import score_histogram

Pool = Literal["global", "task", "source"]
PRESETS: dict[str, dict[str, Any]] = {
    "nyx": {"negatives": 5, "range_max": 10},
    "nyx-official": {"negatives": 5, "range_min": 10, "range_max": 20},
    "u-marvel": {"negatives": 5},
}
"""Nyx §3.2: five of the top 10; its authors' code: ranks 11 to 20. U-MARVEL §3.2.2 filters by a threshold without
giving its value: `max_score` must be said."""


@dataclass
class MinedDataset:
    """What mining a dataset came to.

    Attributes:
        folder: The dataset that was written.
        triplets: Triplets by split.
        dropped: Documents passed over and queries left out, by reason.
        looked_at: Documents that were looked at.
        scores: Mean scores of positives and negatives.
    """

    folder: Path
    triplets: dict[str, int]
    dropped: dict[str, int]
    looked_at: int
    scores: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**vars(self), "folder": str(self.folder)}

    def as_text(self) -> str:
        """Gives it as tables."""
        rows = [(split, f"{count:,}") for split, count in self.triplets.items()]
        lost = [(why, f"{count:,}", f"{count / max(1, self.looked_at):.1%}") for why, count in self.dropped.items()]
        means = [(side, f"{score:.4f}") for side, score in self.scores.items()]
        tables = [
            tabulate(rows, ("split", "triplets"), colalign=("left", "right")),
            tabulate(lost, ("passed over", "how many", "of those looked at"), colalign=("left", "right", "right")),
            tabulate(means, ("mean score", ""), colalign=("left", "right")),
        ]
        return "\n\n".join(
            [*(table for table in tables if table), f"wrote {self.folder} (images/scores.png: their scores)"]
        )


def mine_dataset(
    dataset: str | Path,
    searcher: Searcher,
    out: str | Path,
    rules: MiningRules,
    *,
    revision: str | None = None,
    pool: Pool = "global",
    near_duplicates: bool = False,
    command: str | None = None,
    overwrite: bool = False,
) -> MinedDataset:
    """Mines hard negatives for every split of a dataset's triplets, and writes it with them.

    Corpus and queries stay as they are, byte for byte. Vectors are kept on disk by content: a run that is killed goes
    on where it stopped. Where splits share one corpus, queries to train on do not get negatives from documents that
    answer other splits' queries, nor from other chunks of these (what an id says before `#`).

    Args:
        dataset: A dataset folder or a Hub dataset.
        searcher: What ranks the documents.
        out: The folder to write.
        rules: What becomes a negative.
        revision: The Hub's branch, tag or commit.
        pool: Which documents a query searches: all, or those that the triplets of its `task` or `source` name.
        near_duplicates: Pass over documents that nearly repeat a positive, too; equal ones always are.
        command: What was typed, for the card.
        overwrite: Whether a dataset that stands there may be replaced.

    Returns:
        What came of it.

    Raises:
        FileExistsError: If `out` may not be written to.
        ValueError: If there is no such dataset, or a query has no triplet to tell its pool by.
    """
    check_replaceable(Path(out), overwrite)
    tables = load_tables(dataset, ("corpus", "queries", "triplets"), revision)
    gathered = _Gathered()
    triplets: dict[str, list[Row]] = {}
    for split, links in tables["triplets"].items():
        corpus = tables["corpus"][matching_split("corpus", tables["corpus"], split)]
        queries = tables["queries"][matching_split("queries", tables["queries"], split)]
        shared = split == "train" and len(tables["corpus"]) == 1
        held_out = held_out_documents(tables["triplets"], split) if shared else set()
        found = _Split(corpus, queries, links, held_out)
        mined = found.mine(searcher, rules, pool, near_duplicates)
        gathered.add(mined)
        triplets[split] = list(found.rows(mined, rules, searcher.name, gathered.dropped))
    left = {split: rows for split, rows in triplets.items() if rows}
    if not left:
        raise ValueError(f"no triplet is left of {dataset}: {dict(gathered.dropped)}; loosen the rules")
    facts = _facts(str(dataset), revision, searcher, gathered.dropped, command)
    with tempfile.TemporaryDirectory() as scratch:
        picture = score_histogram(gathered.positives, gathered.negatives, searcher.name, Path(scratch) / "scores.png")
        pictures = {"scores.png": picture.read_bytes()}
        folder = write_dataset(
            out, tables["corpus"], tables["queries"], left, facts, pictures=pictures, overwrite=overwrite
        )
    counts = {split: len(rows) for split, rows in left.items()}
    return MinedDataset(folder, counts, dict(gathered.dropped), gathered.looked_at, gathered.means())


@dataclass
class _Gathered:
    """Scores and counts of all splits."""

    dropped: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0
    positives: list[float] = field(default_factory=list)
    negatives: list[float] = field(default_factory=list)

    def add(self, mined: Mined) -> None:
        self.dropped.update(mined.dropped)
        self.looked_at += mined.looked_at
        self.positives += [float(score) for scores in mined.positive_scores for score in scores]
        self.negatives += [float(score) for scores in mined.negative_scores for score in scores]

    def means(self) -> dict[str, float]:
        sides = {"positives": self.positives, "negatives": self.negatives}
        return {side: float(np.mean(scores)) for side, scores in sides.items() if scores}


class _Split:
    """One split's triplets, with the rows of corpus and queries that they name."""

    def __init__(self, corpus: Dataset, queries: Dataset, links: Dataset, held_out: set[str]) -> None:
        self._corpus, self._held_out = corpus, held_out
        self._links: list[Row] = list(stored_rows(links.select_columns(["query_id", "positive_ids", "negative_ids"])))
        self._numbers = {name: number for number, name in enumerate(corpus["id"])}
        query_rows = {name: number for number, name in enumerate(queries["id"])}
        self._asked = queries.select([query_rows[link["query_id"]] for link in self._links])
        positives: dict[str, list[str]] = defaultdict(list)
        for link in self._links:  # a query may have several triplets: all their positives are right
            positives[link["query_id"]] += link["positive_ids"]
        self._right = [
            np.array(sorted({self._numbers[one] for one in positives[link["query_id"]]})) for link in self._links
        ]

    def mine(self, searcher: Searcher, rules: MiningRules, pool: Pool, near_duplicates: bool) -> Mined:
        """Ranks and filters."""
        index = searcher.index(lambda: stored_items(self._asked), lambda: stored_items(self._corpus))
        twins, names = self._twins(near_duplicates), [link["query_id"] for link in self._links]
        return mine(index, self._right, rules, pools=self._pools(pool), twins=twins, names=names)

    def rows(self, mined: Mined, rules: MiningRules, scorer: str, dropped: Counter[str]) -> Iterator[Row]:
        """Gives the triplets; those with too few negatives only if the rules keep them."""
        ids = self._corpus["id"]
        for number, link in enumerate(self._links):
            negatives = [ids[int(row)] for row in mined.negatives[number]]
            if len(negatives) < rules.negatives and rules.too_few == "drop":
                dropped["query: left out for it"] += 1
                continue
            scores = dict(zip(self._right[number].tolist(), mined.positive_scores[number].tolist(), strict=True))
            yield {
                "query_id": link["query_id"],
                "positive_ids": link["positive_ids"],
                "negative_ids": negatives,
                "positive_scores": [scores[self._numbers[one]] for one in link["positive_ids"]],
                "negative_scores": mined.negative_scores[number].tolist(),
                "scorer": scorer,
            }

    def _twins(self, near: bool) -> list[np.ndarray]:
        """Finds, for each query, the documents that say the same as one of its positives."""
        groups: dict[Any, list[int]] = defaultdict(list)
        keys: list[Any] = [content_hash(row["content"]) for row in stored_rows(self._corpus)]
        if near:
            repeats = find_duplicates(_as_blocks(self._corpus))
            keys = [keys[self._numbers[repeats.get(name, name)]] for name in self._corpus["id"]]
        for number, key in enumerate(keys):
            groups[key].append(number)
        return [
            np.array(sorted({one for row in rows for one in groups[keys[int(row)]]} - set(rows.tolist())), np.int64)
            for rows in self._right
        ]

    def _pools(self, pool: Pool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Gives the queries that search the same documents, and these documents."""
        everything = np.arange(len(self._links))
        if pool == "global" and not self._held_out:
            return [(everything, None)]
        open_rows = {row for name, row in self._numbers.items() if document_of(name) not in self._held_out}
        if pool == "global":
            return [(everything, np.array(sorted(open_rows)))]
        asked: dict[Any, list[int]] = defaultdict(list)
        named: dict[Any, set[int]] = defaultdict(set)
        for number, (kind, link) in enumerate(zip(self._asked[pool], self._links, strict=True)):
            asked[kind].append(number)
            named[kind] |= {self._numbers[one] for one in [*link["positive_ids"], *(link["negative_ids"] or [])]}
        return [(np.array(numbers), np.array(sorted(named[kind] & open_rows))) for kind, numbers in asked.items()]


def _as_blocks(table: Dataset) -> Iterator[Mapping[str, Any]]:
    """Gives documents as the near-duplicate search reads them; a video counts by its first frame."""
    for row in stored_rows(table):
        parts: Iterable[Row] = row["content"]
        yield {"id": row["id"], "content": [_block(part) for part in parts]}


def _block(part: Row) -> Row:
    image = part["image"] or (part["video"] or [None])[0]
    return {"type": "text" if image is None else "image", "text": part["text"], "image": image and image["bytes"]}


def _facts(
    dataset: str, revision: str | None, searcher: Searcher, dropped: Counter[str], command: str | None
) -> DatasetFacts:
    """Says on the new card what the old one said, and how negatives were found."""
    old = inherited_facts(dataset, revision)
    return replace(
        old,
        name=f"{old.name}-hard",
        pretty_name=f"{old.pretty_name}, hard negatives",
        summary=f"{old.pretty_name}, with hard negatives found by `{searcher.name}`, whose scores are kept for "
        "distillation.\n\n![Scores of positives and negatives](images/scores.png)",
        revisions={"retriever": searcher.name, **old.revisions},
        dropped=dict(dropped.most_common()),
        command=command,
    )
