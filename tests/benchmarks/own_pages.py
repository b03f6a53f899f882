"""Trains a small retriever from scratch on a NyxQA of real pages, and compares it with BM25 and TF-IDF on unseen ones.

nyx-hf build nyxqa --source html:/usr/share/gimp/2.0/help --license gfdl --public --out gimp-qa
python tests/benchmarks/own_pages.py gimp-qa --minutes 12 --out docs/benchmarks/own_pages.json
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from tabulate import tabulate
from transformers import TrainerCallback, set_seed

from nyx_hf import NyxModel, NyxTrainer, NyxTrainingArguments, TripletDataset
from nyx_hf.data_builders.judging import ask, judge
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.ranking import Ranking, rank, stored_rows
from nyx_hf.data_builders.searching import DenseSearcher, Item, LexicalSearcher, Searcher, SearchIndex
from nyx_hf.data_builders.significance import bootstrap_interval, mcnemar
from nyx_hf.retrievers import NyxEncoder
from nyx_hf.trainer.tiny import make_tiny_vlm

DEPTH = 50


class TfidfSearcher:
    """Ranks by cosine of TF-IDF vectors over words: scikit-learn's, as it comes."""

    name = "tf-idf"

    def index(self, queries: Any, corpus: Any) -> SearchIndex:
        vectors = TfidfVectorizer(stop_words="english")
        documents = vectors.fit_transform(_texts(corpus()))
        return _TfidfIndex(vectors.transform(_texts(queries())) @ documents.T)


class _TfidfIndex:
    def __init__(self, similarities: Any) -> None:
        self.similarities = similarities

    def top_k(self, queries: np.ndarray, k: int, within: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        scores = self.similarities[queries].toarray().astype(np.float32)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, rows, 1), rows

    def scores(self, query: int, documents: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.similarities[query].toarray()[0][documents]
        return found


def _texts(items: Iterable[Item]) -> list[str]:
    return [" ".join(part["text"] for part in item.content if part["type"] == "text") for item in items]


def by_kind(kinds: np.ndarray, of_text: list[Ranking], of_images: list[Ranking]) -> list[Ranking]:
    """Takes one retriever's ranking for questions of words alone, and another's for those that show images."""
    both = zip(kinds, of_text, of_images, strict=True)
    return [text if kind == "text" else image for kind, text, image in both]


def words_of(tables: dict[str, Any]) -> Iterator[str]:
    for table in (tables["corpus"]["corpus"], tables["queries"]["train"]):
        for row in stored_rows(table):
            yield " ".join(part["text"] for part in row["content"] if part["type"] == "text")


class Deadline(TrainerCallback):
    """Ends the training when its time is over; the schedule knows the time, too."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop |= time.monotonic() > self.end


def train(dataset: Path, tables: dict[str, Any], out: Path, options: argparse.Namespace) -> NyxModel:
    set_seed(options.seed)
    backbone = make_tiny_vlm(
        out / "backbone",
        seed=options.seed,
        hidden_size=128,
        layers=2,
        heads=8,
        vision_hidden_size=64,
        vision_layers=1,
        vocab_size=4000,
        texts=list(words_of(tables)),
        max_pixels=options.pixels,
        initializer_range=0.06,
    )
    model = NyxModel.from_backbone(
        backbone,
        "nyx",
        max_length=192,
        matryoshka_dims=(128, 32),
        matryoshka_weights=(1.0, 0.2),
        prompts={"query": "", "document": ""},
    )
    args = NyxTrainingArguments(
        output_dir=str(out / "training"),
        seed=options.seed,
        max_steps=options.steps,
        per_device_train_batch_size=64,
        learning_rate=2e-3,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        weight_decay=0.1,
        temperature=0.05,
        negatives_per_query=0,
        logging_steps=20,
        save_strategy="no",
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        report_to=[],
    )
    rows = TripletDataset.load(dataset, "train", negatives_per_query=0)
    NyxTrainer(model, args, train_dataset=rows, callbacks=[Deadline(60 * options.minutes)]).train()
    return model.eval()


def kinds_of(queries: Dataset) -> np.ndarray:
    """Tells questions of words alone from those that show images."""
    found = ["text" if all(p["type"] == "text" for p in row["content"]) else "images" for row in stored_rows(queries)]
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--minutes", type=float, default=12, help="of training, at most")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--pixels", type=int, default=28 * 28 * 16, help="of an image, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/own-pages"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    tables = load_tables(options.dataset, ("corpus", "queries", "triplets"))
    corpus, queries = tables["corpus"]["corpus"], tables["queries"]["test"]
    links = {row["query_id"]: row["positive_ids"] for row in tables["triplets"]["test"]}
    right = [links[name] for name in queries["id"]]
    kinds = kinds_of(queries)

    start = time.monotonic()
    model = train(options.dataset, tables, options.work, options)
    seconds = time.monotonic() - start
    dense = DenseSearcher(NyxEncoder("trained", f"{time.time_ns()}", model), options.work / "vectors", 32)
    untrained = NyxModel.from_backbone(
        options.work / "backbone", "nyx", max_length=192, prompts={"query": "", "document": ""}
    )
    random = DenseSearcher(NyxEncoder("untrained", f"{time.time_ns()}", untrained), options.work / "vectors", 32)
    searchers: dict[str, Searcher] = {
        "untrained": random, "tf-idf": TfidfSearcher(), "bm25": LexicalSearcher(), "trained": dense,
    }  # fmt: skip
    rankings = {name: rank(searcher, queries, corpus, DEPTH) for name, searcher in searchers.items()}
    rankings["bm25 for words, trained for images"] = by_kind(kinds, rankings["bm25"], rankings["trained"])

    answerer = open_answerer("extractive", cache_dir=options.work / "answers")
    report: dict[str, Any] = {
        "seconds": seconds,
        "questions": {k: int((kinds == k).sum()) for k in sorted(set(kinds))},
    }
    hits, accuracies = {}, {}
    for name, found in rankings.items():
        metrics = ranking_metrics([one.ids for one in found], right, (1, 5, 10))
        hits[name] = metrics["recall@1"] > 0
        accuracies[name] = judge(ask(answerer, queries, corpus, found, 1), queries).scores["accuracy"]
        report[name] = {
            **aggregate(metrics),
            "interval of recall@1": bootstrap_interval(metrics["recall@1"]),
            "answers": float(accuracies[name].mean()),
            "by kind": {
                kind: {
                    "recall@1": float(metrics["recall@1"][kinds == kind].mean()),
                    "recall@10": float(metrics["recall@10"][kinds == kind].mean()),
                    "answers": float(accuracies[name][kinds == kind].mean()),
                }
                for kind in sorted(set(kinds))
            },
        }
    pairs = (("bm25", "trained"), ("bm25", "bm25 for words, trained for images"))
    report["mcnemar of recall@1"] = {f"{a} | {b}": mcnemar(hits[a], hits[b]).p_exact for a, b in pairs}
    report["mcnemar of answers"] = {f"{a} | {b}": mcnemar(accuracies[a], accuracies[b]).p_exact for a, b in pairs}
    report["torch"] = torch.__version__
    print(tabulate(
        [[name, *(f"{100 * report[name][m]:.1f}" for m in ("recall@1", "recall@10", "ndcg@10", "answers")),
          *(f"{100 * report[name]['by kind'][k]['recall@1']:.1f}" for k in sorted(set(kinds)))] for name in rankings],
        ("retriever", "recall@1", "recall@10", "nDCG@10", "answers", *(f"recall@1, {k}" for k in sorted(set(kinds)))),
    ))  # fmt: skip
    print(json.dumps({key: value for key, value in report.items() if key not in rankings}, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
