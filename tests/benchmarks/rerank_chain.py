"""Retrieve, rerank, distil: U-MARVEL's Table 6 on the handwritten records, from random weights, over several seeds.

    python tests/benchmarks/rerank_chain.py --kept runs/rerank_chain --out docs/benchmarks/rerank_chain.json

A small model does not learn to compare codes of three digits from pairs alone. The reranker has the retriever's two
layers below two new ones and learns in three steps: whether two single digits are the same, then records far down the
retriever's ranking, then the mined ones.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, set_seed

from nyx_hf.data_builders.digits import FEEDBACK, DigitsConfig, build_digits, draw_scans
from nyx_hf.data_builders.digits_text import WORDS
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.mining import MiningRules
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.searching import DenseSearcher
from nyx_hf.data_builders.significance import paired_difference
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.distill import distill_dataset
from nyx_hf.fusion import tune
from nyx_hf.mine import mine_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.pair_scoring import ScoreCache
from nyx_hf.quickstart import FIRST
from nyx_hf.quickstart_training import LICENCE, Stage, train_stage, untrained_model
from nyx_hf.rerank import RerankSettings, find
from nyx_hf.reranker import NyxReranker
from nyx_hf.retrievers import load_encoder
from nyx_hf.trainer.reranker_arguments import parse_reranker_run
from nyx_hf.trainer.reranker_training import TrainedReranker, train_reranker
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet

SYSTEMS = ("baseline", "+ reranker", "distilled", "continue-hard")
SHOWN = ("recall@1", "recall@5", "mrr@10")
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Size:
    """How much is made and trained.

    Attributes:
        documents: Records to train on.
        steps: Steps of the first stage.
        hard: Steps on hard negatives: the baseline's second stage.
        digits: Single digits that the reranker compares first, two pairs each.
        pairs: Steps of the reranker: on single digits, on easy negatives, on hard ones.
        taught: Steps of distillation, and of its control.
        top_k: Candidates that are reranked.
        queries: Test queries, at most, and half as many to find alpha on.
        fraction: Share of the training queries that are distilled from.
    """

    documents: int = 2000
    steps: int = 200
    hard: int = 60
    digits: int = 6000
    pairs: tuple[int, int, int] = (300, 400, 300)
    taught: int = 60
    top_k: int = 10
    queries: int = 600
    fraction: float = 0.1


SMOKE = Size(150, steps=2, hard=1, digits=40, pairs=(1, 1, 1), taught=1, top_k=4, queries=6, fraction=0.2)
HARD = {"learning_rate": 1e-3, "weight_decay": 3.0, "negatives_per_query": 2}
# short, and the query ends as the retriever's contents do: its last token is what the retriever pools
WORDING = {"system": "", "query_label": "", "document_label": "<|im_end|>", "question": ""}
TAUGHT = {"learning_rate": 5e-4, "weight_decay": 3.0, "negatives_per_query": 10, "per_device_train_batch_size": 16}


def chain(work: Path, seed: int, size: Size) -> tuple[dict[str, Values], dict[str, Any]]:
    """Runs all of it once.

    Args:
        work: An empty folder.
        seed: Seed of everything.
        size: How much.

    Returns:
        Metrics of each query by system, and what else is to be told.
    """
    set_seed(seed)
    data = build_digits(
        work / "records", seed=seed, train_documents=size.documents, feedback_documents=max(30, size.documents // 10)
    )
    unseen = RetrievalSet.load(data, "test")
    rows = TripletDataset.load(data, "train", negatives_per_query=0)
    model = untrained_model(work / "backbone", seed, rows)
    first = _train(work, "first", model, rows, unseen, size.steps, seed, FIRST)

    hard = mine_dataset(data, _searcher(first), work / "hard", MiningRules(negatives=10)).folder
    mined = TripletDataset.load(hard, "train", negatives_per_query=10)
    baseline = _train(work, "baseline", NyxModel.from_pretrained(first), mined, unseen, size.hard, seed, HARD)
    mined_anew = mine_dataset(hard, _searcher(baseline), work / "anew", MiningRules(negatives=10)).folder

    trained = _reranker(work, data, mined_anew, baseline, size, seed)
    reranker = ScoreCache(NyxReranker.from_pretrained(trained.folder), work / "scores")

    tables = load_tables(data, ("corpus", "queries", "triplets"))
    apart = RerankSettings(top_k=size.top_k, limit=max(1, size.queries // 2), seed=seed)
    chosen = tune(find(tables, _searcher(baseline), reranker, apart, FEEDBACK), "mrr@10", FEEDBACK)
    settings = RerankSettings(top_k=size.top_k, limit=size.queries, seed=seed)
    found = find(tables, _searcher(baseline), reranker, settings, "test")

    stages = {}
    for name, teacher, how in (
        ("distilled", reranker, {"loss": "distillation", "distillation_alpha": chosen.alpha}),
        ("continue-hard", None, {}),
    ):
        folder = distill_dataset(mined_anew, teacher, work / f"data-{name}", fraction=size.fraction, seed=seed).folder
        taught = TripletDataset.load(folder, "train", negatives_per_query=10)
        student = NyxModel.from_pretrained(baseline)
        stages[name] = _train(work, name, student, taught, unseen, size.taught, seed, {**TAUGHT, **how})

    relevant = [one.relevant for one in found]
    rankings = {
        "baseline": [list(one.ids) for one in found],
        "+ reranker": [one.ranking(chosen.alpha) for one in found],
    }
    for name, folder in stages.items():
        again = find(tables, _searcher(folder), _Silent(), settings, "test")
        assert [one.query_id for one in again] == [one.query_id for one in found]
        rankings[name] = [list(one.ids) for one in again]
    metrics = {name: ranking_metrics(rankings[name], relevant, (1, 5, 10)) for name in SYSTEMS}
    return metrics, {"alpha": chosen.alpha, "reranker_loss": trained.loss, "queries": len(found)}


class _Silent:
    """Scores nothing, where only what is found counts."""

    name = "none"

    def scores(self, query: Any, documents: Any, instruction: str | None = None) -> np.ndarray:
        return np.zeros(len(documents), np.float32)


def _searcher(model: Path) -> DenseSearcher:
    return DenseSearcher(load_encoder(str(model)), model.parent / "vectors", 64)


def _train(
    work: Path,
    name: str,
    model: NyxModel,
    rows: TripletDataset,
    unseen: RetrievalSet,
    steps: int,
    seed: int,
    settings: dict[str, Any],
) -> Path:
    stage = Stage(name, work / f"training-{name}", work / name, work / f"{name}.json", steps, seed, "", settings)
    train_stage(stage, model, rows, unseen)
    return stage.model


def _reranker(work: Path, data: Path, mined: Path, retriever: Path, size: Size, seed: int) -> TrainedReranker:
    """Trains the reranker in three steps of growing difficulty."""
    far = MiningRules(negatives=10, range_min=size.documents // 20, range_max=size.documents // 2)
    easy = mine_dataset(data, _searcher(retriever), work / "easy", far).folder
    digits = _single_digits(work / "digits", size.digits, seed)
    base = _deeper(work / "backbone", retriever, work / "base")
    words = ["use_peft=false", "dtype=float32", "bf16=false", "use_cpu=true", "gradient_checkpointing=false"]
    words += ["dataloader_num_workers=0", "weight_decay=0.1", "save_strategy=no", "warmup_steps=20", f"seed={seed}"]
    words += ["negatives=1", "global_batch_size=null", f"wording='{json.dumps(WORDING)}'", "logging_steps=50"]
    for name, rows, steps, pairs, rate in (
        ("digits", digits, size.pairs[0], 128, 2e-3),
        ("easy", easy, size.pairs[1], 64, 1e-3),
        ("hard", mined, size.pairs[2], 64, 1e-3),
    ):
        own = [f"max_steps={steps}", f"per_device_train_batch_size={pairs}", f"global_batch_size={pairs}"]
        run = parse_reranker_run(
            str(rows), str(base), work / f"reranker-{name}", [*words, *own, f"learning_rate={rate}"]
        )
        trained = train_reranker(run)
        base = trained.folder
    return trained


def _single_digits(out: Path, count: int, seed: int) -> Path:
    """Digits, written or as scans, each with a scan of it and one of another: of the training scans alone."""
    scans = draw_scans(DigitsConfig(seed=seed, feedback_documents=1))["train"]
    draw = random.Random(seed)
    corpus, queries, links = [], [], []
    for number in range(count):
        digit = draw.randrange(10)
        other = draw.choice([one for one in range(10) if one != digit])
        forms: list[Row] = [{"type": "text", "text": str(digit)}, {"type": "text", "text": WORDS[digit]}]
        forms.append({"type": "image", "image": draw.choice(scans[digit]).image})
        queries.append({"id": f"q{number}", "content": [draw.choice(forms)]})
        for name, shown in (("same", digit), ("other", other)):
            picture = {"type": "image", "image": draw.choice(scans[shown]).image}
            corpus.append({"id": f"{name}{number}", "content": [picture]})
        right, wrong = [f"same{number}"], [f"other{number}"]
        links.append({"query_id": f"q{number}", "positive_ids": right, "negative_ids": wrong})
    told = {"name": "single-digits", "pretty_name": "Single digits", "summary": "Scans of digits.", "license": LICENCE}
    facts = DatasetFacts(**told, configs={}, default_config="preview")
    return write_dataset(out, {"train": corpus}, {"train": queries}, {"train": links}, facts)


def _deeper(backbone: Path, retriever: Path, out: Path) -> Path:
    """Puts two new layers and a language head on the retriever: comparing what it has read takes more than reading."""
    shutil.copytree(backbone, out)
    below = AutoModel.from_pretrained(retriever)
    config = AutoConfig.from_pretrained(backbone)
    text = config.get_text_config()
    text.num_hidden_layers += 2
    if text.layer_types is not None:
        text.layer_types = [*text.layer_types, *text.layer_types[-1:] * 2]
    whole = AutoModelForImageTextToText.from_config(config)
    loaded = whole.model.load_state_dict(below.state_dict(), strict=False)
    assert not loaded.unexpected_keys and all(".layers." in key for key in loaded.missing_keys)
    whole.save_pretrained(out)
    return out


def report(runs: dict[int, tuple[dict[str, Values], dict[str, Any]]]) -> dict[str, Any]:
    """Joins seeds: means, their spread, and each system against the baseline over all queries.

    Args:
        runs: What `chain` gave, by seed.

    Returns:
        JSON values.
    """
    means: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name in SYSTEMS:
        for metric in SHOWN:
            means[name][metric] = [float(metrics[name][metric].mean()) for metrics, _ in runs.values()]
    against: dict[str, Any] = {}
    for name, other in [*((one, "baseline") for one in SYSTEMS[1:]), ("distilled", "continue-hard")]:
        left, right = (
            np.concatenate([metrics[one]["mrr@10"] for metrics, _ in runs.values()]) for one in (other, name)
        )
        change = paired_difference(left, right)
        against[f"{name} against {other}"] = {"mrr@10": change.mean, "low": change.low, "high": change.high}
    return {"seeds": {str(seed): told for seed, (_, told) in runs.items()}, "means": means, "differences": against}


def table(result: dict[str, Any]) -> str:
    """Gives the table of the docs."""
    rows = [
        (name, *(f"{100 * np.mean(one[m]):.1f} ({', '.join(f'{100 * v:.1f}' for v in one[m])})" for m in SHOWN))
        for name, one in result["means"].items()
    ]
    return tabulate(rows, ("", *SHOWN), tablefmt="github")


def _kept(folder: Path | None, seed: int, size: Size) -> tuple[dict[str, Values], dict[str, Any]]:
    """Runs the chain, or reads what it gave before."""
    file = None if folder is None else folder / f"seed-{seed}.json"
    if file is not None and file.is_file():
        found = json.loads(file.read_text())
        assert found["size"] == json.loads(json.dumps(vars(size))), f"{file} is of another size: remove it"
        values = {name: {one: np.array(of) for one, of in each.items()} for name, each in found["metrics"].items()}
        return values, found["told"]
    with tempfile.TemporaryDirectory() as work:
        metrics, told = chain(Path(work), seed, size)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        values = {name: {one: of.tolist() for one, of in each.items()} for name, each in metrics.items()}
        file.write_text(json.dumps({"size": vars(size), "metrics": values, "told": told}) + "\n")
    return metrics, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--smoke", action="store_true", help="a few steps: does it run?")
    parser.add_argument("--kept", type=Path, help="folder in which seeds that are done are kept")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    size, runs = SMOKE if args.smoke else Size(), {}
    for seed in args.seeds:
        runs[seed] = _kept(args.kept, seed, size)
        print(f"seed {seed}: {runs[seed][1]}", flush=True)
        print(table(report({seed: runs[seed]})), flush=True)
    result = {"size": vars(size), **report(runs)}
    print(table(result))
    for name, change in result["differences"].items():
        print(f"{name}: mrr@10 {change['mrr@10']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]")
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
