"""Training steps of a small vision-language model on large batches, beside SentenceTransformerTrainer.

    python tests/benchmarks/chunks.py [--rows 24] [--chunk 8] [--rounds 3]

A batch of `rows` queries with a positive and a hard negative each: from 8 to 128 words, every other document with a
picture. Both sides make the same step (tests/test_st_losses.py); here is what it takes, preparing the rows included.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from measuring import in_processes, peak_mib, table, write
from PIL import Image
from transformers import TrainerCallback

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.samplers import Source
from nyx_hf.trainer.tiny import make_tiny_vlm

CASES = (
    "nyx_hf, gradient cache",
    "nyx_hf, whole batch",
    "nyx_hf, whole batch, gradient checkpointing",
    "sentence-transformers, CachedMultipleNegativesRankingLoss",
    "sentence-transformers, MultipleNegativesRankingLoss",
)
STEPS = 4
WORDS = ("please find the record whose picture shows " * 20).split()


class Rows:
    """Queries in words, documents with a picture."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        noise = np.random.default_rng(0).integers(0, 256, (2 * rows, 8, 8, 3), dtype=np.uint8)
        self.pictures = [Image.fromarray(one).resize((140, 140)) for one in noise]

    def __len__(self) -> int:
        return self.rows * STEPS

    def __getitem__(self, index: int) -> dict[str, Any]:
        at = index % self.rows

        def words(number: int) -> dict[str, str]:
            count = 8 + 37 * number % 121
            return {"type": "text", "text": " ".join([str(number), *WORDS[: count - 1]])}

        def document(number: int) -> dict[str, Any]:
            picture = [{"type": "image", "image": self.pictures[number]}] if number % 2 else []
            return {"content": [words(number), *picture]}

        return {
            "query": {"content": [words(index)]},
            "instruction": None,
            "positives": [document(at)],
            "negatives": [document(at + self.rows)],
            "query_id": f"q{index}",
            "positive_ids": [f"d{index}"],
            "negative_ids": [f"n{index}"],
            "dataset": "rows",
            "task": None,
        }

    def positives(self) -> Ragged:
        return Ragged.of_ids([[f"d{index}"] for index in range(len(self))])

    def sources(self) -> list[Source]:
        return [Source("rows", range(len(self)))]


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def run_case(case: str, rows: int, chunk: int) -> dict[str, Any]:
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp())
    sizes = {"hidden_size": 256, "layers": 6, "vision_hidden_size": 128, "vision_layers": 4}
    make_tiny_vlm(folder / "vlm", "qwen2_5_vl", **sizes)
    model = NyxModel.from_backbone(folder / "vlm", "nyx", prompts={"query": "", "document": ""})
    clock = Clock()
    train = theirs if case.startswith("sentence") else ours
    before = peak_mib()
    loss = train(case, model, Rows(rows), chunk, folder, clock)
    seconds = [end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]
    return {"value": loss, "seconds": seconds, "peak_mib": peak_mib() - before}


def common(rows: int) -> dict[str, Any]:
    return {
        "max_steps": STEPS,
        "per_device_train_batch_size": rows // STEPS,
        "learning_rate": 1e-6,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": [],
        "logging_steps": STEPS,
    }


def ours(case: str, model: NyxModel, rows: Rows, chunk: int, folder: Path, clock: Clock) -> float:
    from nyx_hf.trainer.arguments import NyxTrainingArguments
    from nyx_hf.trainer.trainer import NyxTrainer

    args = NyxTrainingArguments(
        str(folder / "run"),
        **common(len(rows)),
        temperature=0.05,
        shared_negatives=True,
        matryoshka_dims=[],
        chunk_rows=chunk if "cache" in case else None,
        gradient_checkpointing="checkpointing" in case,
    )
    return float(NyxTrainer(model, args, train_dataset=rows, callbacks=[clock]).train().training_loss)


def theirs(case: str, model: NyxModel, rows: Rows, chunk: int, folder: Path, clock: Clock) -> float:
    import sentence_transformers.sentence_transformer.losses as losses
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    model.save_pretrained(folder / "retriever")
    retriever = SentenceTransformer(str(folder / "retriever"), trust_remote_code=True, device="cpu")

    def cells(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        picked = [rows[index] for index in batch["anchor"]]
        contents = {
            "anchor": [row["query"] for row in picked],
            "positive": [row["positives"][0] for row in picked],
            "negative": [row["negatives"][0] for row in picked],
        }
        return {
            name: [[{"role": "user", "content": one["content"]}] for one in found] for name, found in contents.items()
        }

    columns = Dataset.from_dict({name: list(range(len(rows))) for name in ("anchor", "positive", "negative")})
    columns.set_transform(cells)
    loss = (
        losses.CachedMultipleNegativesRankingLoss(retriever, scale=20.0, mini_batch_size=chunk)
        if "Cached" in case
        else losses.MultipleNegativesRankingLoss(retriever, scale=20.0)
    )
    args = SentenceTransformerTrainingArguments(str(folder / "run"), **common(len(rows)))
    trainer = SentenceTransformerTrainer(retriever, args, train_dataset=columns, loss=loss, callbacks=[clock])
    return float(trainer.train().training_loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/chunks.json"))
    parser.add_argument("--case")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(run_case(args.case, args.rows, args.chunk)))
        return
    results = in_processes(__file__, CASES, args.rounds, {"rows": args.rows, "chunk": args.chunk})
    values = [result["value"] for result in results.values()]
    assert max(values) - min(values) < 0.1 * max(values), values  # rows are drawn in other orders
    command = f"python tests/benchmarks/chunks.py --rows {args.rows} --chunk {args.chunk} --rounds {args.rounds}"
    write(args.out, command, {"rows": args.rows, "chunk": args.chunk, "documents": 2 * args.rows}, results)
    print(table(results, CASES[0]))


if __name__ == "__main__":
    main()
