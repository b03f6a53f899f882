"""`nyx-hf rerank`: what a retriever finds, ordered again by a reranker, and what that brought."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.ranking import rank, stored_rows
from nyx_hf.data_builders.schema import matching_split
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.fusion import Candidates, Tuned, check_alpha, check_metric, recall_scale, scaled, tune
from nyx_hf.pair_scoring import PairScorer
from nyx_hf.rerank_report import RerankReport, compare
from nyx_hf.suite_data import draw_sample

RANKING, REPORT = "ranking.parquet", "rerank.json"
_CONFIGS = ("corpus", "queries", "triplets")


@dataclass(frozen=True)
class RerankSettings:
    """How candidates are found and reordered.

    Attributes:
        split: Split of the triplets whose queries are asked.
        top_k: Candidates a query.
        alpha: Weight of recall, from 0 to 1; not looked at where it is tuned.
        tune_split: Split to find alpha on; None does not tune.
        metric: What alpha is chosen by.
        limit: Queries of each split, at most.
        seed: Seed of the sample and the intervals.
    """

    split: str = "test"
    top_k: int = 50
    alpha: float = 0.5
    tune_split: str | None = None
    metric: str = "ndcg@10"
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values out of range.

        Raises:
            ValueError: If there is one.
        """
        check_alpha(self.alpha)
        check_metric(self.metric)
        if self.top_k < 1:
            raise ValueError(f"found top_k {self.top_k}, expected at least 1 candidate a query")
        if self.tune_split == self.split:
            raise ValueError(f"found the split {self.split} to tune and to report on, expected two; choose another")


def rerank_dataset(
    dataset: str | Path,
    searcher: Searcher,
    scorer: PairScorer,
    out: str | Path,
    settings: RerankSettings,
    *,
    revision: str | None = None,
    overwrite: bool = False,
) -> RerankReport:
    """Retrieves, reranks, joins both scores, measures, and writes `ranking.parquet` and `rerank.json`.

    Args:
        dataset: A dataset folder or a Hub dataset.
        searcher: The retriever.
        scorer: The reranker; a `ScoreCache` around it makes a run that was killed go on where it stopped.
        out: The folder to write.
        settings: How.
        revision: The Hub's branch, tag or commit of the dataset.
        overwrite: Whether results that stand there may be replaced.

    Returns:
        What came of it.

    Raises:
        FileExistsError: If results stand in `out` and may not be replaced.
        ValueError: If there is no such split, or a setting cannot be used.
    """
    folder = Path(out)
    check_free(folder, overwrite)
    tables = load_tables(dataset, _CONFIGS, revision)
    for split in filter(None, (settings.split, settings.tune_split)):
        if split not in tables["triplets"]:
            raise ValueError(
                f"found the splits {', '.join(tables['triplets'])} in the triplets of {dataset}, expected {split}; "
                "choose one of them"
            )
    tuned = None
    if settings.tune_split is not None:
        apart = find(tables, searcher, scorer, settings, settings.tune_split)
        tuned = tune(apart, settings.metric, settings.tune_split)
    candidates = find(tables, searcher, scorer, settings, settings.split)
    alpha = settings.alpha if tuned is None else tuned.alpha
    report = _report(str(dataset), searcher, scorer, settings, candidates, alpha, tuned, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_ranking(candidates, alpha, folder / RANKING)
    _write(folder / REPORT, report.as_file().encode())
    return report


def find(
    tables: Mapping[str, DatasetDict],
    searcher: Searcher,
    scorer: PairScorer,
    settings: RerankSettings,
    split: str,
) -> list[Candidates]:
    """Finds each query's candidates and scores them twice.

    Args:
        tables: Corpus, queries and triplets, by split.
        searcher: The retriever.
        scorer: The reranker.
        settings: How many candidates and queries.
        split: Split of the triplets.

    Returns:
        The candidates of each query.
    """
    relevant: dict[str, set[str]] = defaultdict(set)
    for link in stored_rows(tables["triplets"][split].select_columns(["query_id", "positive_ids"])):
        relevant[link["query_id"]] |= set(link["positive_ids"])
    corpus, queries = (tables[name][matching_split(name, tables[name], split)] for name in ("corpus", "queries"))
    names = list(relevant)
    places = {name: row for row, name in enumerate(queries["id"])}
    asked = queries.select([places[names[at]] for at in draw_sample(names, settings.limit, settings.seed)])
    rankings = rank(searcher, asked, corpus, settings.top_k)
    scale = recall_scale(searcher)
    rows = {name: row for row, name in enumerate(corpus["id"])}
    found = []
    together = zip(stored_rows(asked), rankings, strict=True)
    for query, ranking in tqdm(together, total=len(rankings), desc=f"rerank {split}", unit="query"):
        documents = list(_contents(corpus, [rows[name] for name in ranking.ids]))
        scores = scorer.scores(query["content"], documents, query.get("instruction"))
        recall = scaled(ranking.scores, scale)
        found.append(Candidates(query["id"], ranking.ids, recall, scores, relevant[query["id"]]))
    return found


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses to write over results.

    Args:
        folder: The folder to write.
        overwrite: Whether results that stand there may be replaced.

    Raises:
        FileExistsError: If results stand there and may not be replaced.
    """
    if (folder / REPORT).exists() and not overwrite:
        raise FileExistsError(f"found {folder / REPORT}, expected a new folder; pass --overwrite to replace it")


def _contents(corpus: Dataset, rows: Sequence[int]) -> Iterator[Any]:
    return (row["content"] for row in stored_rows(corpus.select(rows)))


def _report(
    dataset: str,
    searcher: Searcher,
    scorer: PairScorer,
    settings: RerankSettings,
    candidates: Sequence[Candidates],
    alpha: float,
    tuned: Tuned | None,
    folder: Path,
) -> RerankReport:
    if not candidates:
        raise ValueError(f"found no query in the split {settings.split} of {dataset}, expected some")
    systems = {
        "retriever": [list(one.ids) for one in candidates],
        "reranker": [one.ranking(0.0) for one in candidates],
        "fused": [one.ranking(alpha) for one in candidates],
    }
    metrics, differences = compare(systems, [one.relevant for one in candidates], settings.seed)
    return RerankReport(
        folder=folder,
        dataset=Path(dataset).resolve().name if Path(dataset).is_dir() else dataset,
        split=settings.split,
        queries=len(candidates),
        top_k=settings.top_k,
        retriever=searcher.name,
        reranker=scorer.name,
        recall_scale=recall_scale(searcher),
        alpha=alpha,
        tuned=tuned,
        metrics=metrics,
        differences=differences,
    )


def _write_ranking(candidates: Sequence[Candidates], alpha: float, path: Path) -> None:
    """Writes each query's documents in their new order, with all scores."""
    columns: dict[str, list[Any]] = defaultdict(list)
    for one in candidates:
        fused = one.fused(alpha)
        order = (-fused).argsort(kind="stable")
        columns["query_id"].append(one.query_id)
        columns["document_ids"].append([one.ids[at] for at in order])
        for name, values in (("scores", fused), ("recall_scores", one.recall), ("rerank_scores", one.rerank)):
            columns[name].append([float(value) for value in values[order]])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    _write(path, sink.getvalue().to_pybytes())


def _write(path: Path, data: bytes) -> None:
    """Writes a file beside its place and renames it."""
    handle, beside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(beside).replace(path)
