"""The main job in minutes: real data, a small retriever from scratch, saved, checked, and shown at work.

Everything comes from scikit-learn's handwritten digits and random weights, so it needs no network. Stages leave their
results on disk; a run that was stopped goes on after the last finished one.
"""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from rich.console import Console
from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.quickstart_report import Scores, score, show_table, write_report
from nyx_hf.saved_model_check import check_saved_model
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.tiny import make_tiny_vlm
from nyx_hf.trainer.trainer import NyxTrainer

STEPS = 450
DIMS, WEIGHTS = (128, 32, 16, 8), (1.0, 1.0, 0.2, 0.2)  # Nyx §5.4's weights, at tiny widths
CHECKED = 12  # queries that the saved model is compared on
DATASET = "handwritten-records"
LICENCE = "cc-by-4.0"  # of the scans; the weights are made from nothing else


class QuickstartError(RuntimeError):
    """A folder that this run may not go on in."""


@dataclass(frozen=True)
class _Run:
    """A run's folder and what decides it."""

    out: Path
    seed: int
    steps: int
    console: Console

    def stage(self, number: int, what: str) -> None:
        self.console.print(f"[bold cyan]\\[{number}/5][/] {what}")


def run_quickstart(out: Path, seed: int = 0, steps: int | None = None) -> None:
    """Builds data, trains a small retriever, saves and checks it, and shows what it finds.

    Args:
        out: Folder to work in; a finished one is only shown, an unfinished one is gone on with.
        seed: Seed of everything random.
        steps: Training steps, or None for the built-in number.

    Raises:
        QuickstartError: The folder holds another run or something else, or the saved model disagrees with itself.
    """
    run = _Run(Path(out), seed, STEPS if steps is None else steps, Console())
    _claim(run)
    if (run.out / "report.json").exists():
        show_table(run.out, run.console)
        return
    _quieten()
    set_seed(seed)

    run.stage(1, "Building the dataset: records whose code is written by hand, from 1,797 scanned digits")
    dataset = run.out / "dataset"
    if not dataset.exists():
        build_digits(dataset, seed=seed)
    rows = TripletDataset.load(dataset, "train", negatives_per_query=0)
    unseen = replace(RetrievalSet.load(dataset, "test"), name=DATASET)
    run.console.print(f"      {len(rows):,} training queries; {len(unseen.corpus)} unseen documents to search")

    run.stage(2, f"Training a small Qwen2.5-VL from random weights, {run.steps} steps")
    model = _untrained(run, rows)
    untrained = _scored(run, "untrained", lambda: score(model, unseen, DIMS, "untrained"))
    trainer = _trained(run, model, rows, unseen)

    run.stage(3, "Saving it, and loading it in a fresh process where nyx_hf cannot be imported")
    saved = run.out / "model"
    if not saved.exists():
        beside = run.out / "model.tmp"
        trainer.evaluate()  # for the card
        trainer.save_model(str(beside))
        beside.rename(saved)
    check = check_saved_model(saved, dataset, [unseen.queries[at] for at in range(CHECKED)], model)
    if not check.agree:
        raise QuickstartError(f"the saved model disagrees with itself: {check.as_text()}")
    run.console.print(f"      {check.as_text()}")

    run.stage(4, f"Searching {len(unseen.corpus)} unseen documents")
    trained = _scored(run, "trained", lambda: score(model, unseen, DIMS, "trained"))

    run.stage(5, "Writing the report")
    history = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    write_report(run.out, run.seed, run.steps, [untrained, trained], history, unseen, check)
    show_table(run.out, run.console)


def _claim(run: _Run) -> None:
    """Marks the folder as this run's, or refuses another's."""
    mark = run.out / "quickstart.json"
    mine = {"seed": run.seed, "steps": run.steps}
    if mark.exists():
        theirs = json.loads(mark.read_text(encoding="utf-8"))
        if theirs != mine:
            raise QuickstartError(
                f"{run.out} holds a run with seed {theirs['seed']} and {theirs['steps']} steps, asked for are seed "
                f"{run.seed} and {run.steps} steps: choose another folder with --out, or remove this one"
            )
        return
    if run.out.exists() and (not run.out.is_dir() or any(run.out.iterdir())):
        raise QuickstartError(f"{run.out} exists and is no quickstart folder: choose another with --out")
    run.out.mkdir(parents=True, exist_ok=True)
    beside = mark.with_suffix(".tmp")
    beside.write_text(json.dumps(mine) + "\n", encoding="utf-8")
    beside.rename(mark)


def _quieten() -> None:
    """Our own bars and lines tell what happens; the libraries' would drown them."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)


def _untrained(run: _Run, rows: TripletDataset) -> NyxModel:
    """A retriever with random weights and a tokenizer trained on the training texts."""
    texts = [
        part["text"]
        for index in range(0, len(rows), 20)
        for row in (rows[index]["query"], *rows[index]["positives"])
        for part in row["content"]
        if part["type"] == "text"
    ]
    folder = make_tiny_vlm(
        run.out / "backbone",
        seed=run.seed,
        hidden_size=DIMS[0],
        layers=2,
        heads=8,
        vision_hidden_size=96,
        vision_layers=1,
        vocab_size=1200,
        texts=texts,
        initializer_range=0.06,
    )
    return NyxModel.from_backbone(
        folder, "nyx", matryoshka_dims=DIMS, matryoshka_weights=WEIGHTS, prompts={"query": "", "document": ""}
    )


def _trained(run: _Run, model: NyxModel, rows: TripletDataset, unseen: RetrievalSet) -> NyxTrainer:
    """Trains the model in place, going on from the last checkpoint."""
    folder = run.out / "training"
    args = NyxTrainingArguments(
        output_dir=str(folder),
        seed=run.seed,
        max_steps=run.steps,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=64,
        learning_rate=3e-3,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        warmup_steps=min(20, run.steps // 2),
        weight_decay=3.0,  # strong, as there are few scans to learn to read from
        temperature=0.05,
        negatives_per_query=0,
        logging_steps=max(1, run.steps // 45),
        save_steps=max(1, run.steps // 3),
        save_total_limit=1,
        dataloader_num_workers=1,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=[],
    )
    card = {
        "name": "nyx-handwriting",
        "summary": "A small Qwen2.5-VL, trained from random weights to find records by their handwritten code.",
        "datasets": [DataSource(DATASET, None, License(LICENCE, None, None))],
        "command": f"nyx-hf quickstart --seed {run.seed} --steps {run.steps}",
    }
    trainer = NyxTrainer(model, args, train_dataset=rows, eval_dataset=unseen, card=card, callbacks=[_Bar()])
    for theirs in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(theirs)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - args.dataloader_num_workers))  # a core for the loader: both wait less
    try:
        trainer.train(resume_from_checkpoint=last)
    finally:
        torch.set_num_threads(threads)
    return trainer


def _scored(run: _Run, name: str, measure: Callable[[], Scores]) -> Scores:
    """A stage's scores, measured once."""
    path = run.out / "stages" / f"{name}.json"
    if path.exists():
        return Scores.read(path)
    scores = measure()
    scores.write(path)
    return scores


class _Bar(TrainerCallback):
    """One bar for the training, with the loss beside it."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="Training", unit="step")

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        loss = (kwargs.get("logs") or {}).get("loss")
        if self.bar is not None and loss is not None:
            self.bar.set_postfix(loss=f"{float(loss):.3f}")

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
