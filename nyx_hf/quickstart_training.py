"""The quickstart's two stages of training (Nyx §3.3): a small retriever from random weights, then feedback."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.tiny import make_tiny_vlm
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_rows import JoinedRows

DIMS, WEIGHTS = (128, 32, 16, 8), (1.0, 1.0, 0.2, 0.2)  # Nyx §5.4's weights, at tiny widths
DATASET = "handwritten-records"
LICENCE = "cc-by-4.0"  # of the scans; the weights are made from nothing else


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Attributes:
        name: What it is called in the report.
        folder: Where its checkpoints go.
        model: Where its finished model goes.
        losses: File of its training losses.
        steps: Its steps.
        seed: Its seed.
        command: What was typed, for the card.
        settings: Training arguments that are the stage's own.
    """

    name: str
    folder: Path
    model: Path
    losses: Path
    steps: int
    seed: int
    command: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def untrained_model(folder: Path, seed: int, rows: TripletDataset) -> NyxModel:
    """Makes a retriever with random weights and a tokenizer trained on the training texts."""
    texts = [text for index in range(0, len(rows), 20) for text in _texts(rows[index])]
    make_tiny_vlm(
        folder,
        seed=seed,
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


def train_stage(
    stage: Stage, model: NyxModel, rows: TripletDataset | JoinedRows, unseen: RetrievalSet
) -> list[tuple[int, float]]:
    """Trains a model in place and saves it, going on from the last checkpoint; a finished stage is only read.

    Args:
        stage: The stage.
        model: The retriever; of a finished stage it stays as it is.
        rows: What to train on.
        unseen: What the saved model's card is measured on.

    Returns:
        Steps and training losses.
    """
    if not stage.model.exists():
        trainer = _trainer(stage, model, rows, unseen)
        last = get_last_checkpoint(str(stage.folder)) if stage.folder.is_dir() else None
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads - trainer.args.dataloader_num_workers))  # both wait less with a core each
        try:
            trainer.train(resume_from_checkpoint=last)
        finally:
            torch.set_num_threads(threads)
        trainer.evaluate()  # for the card
        beside = stage.model.with_name(f"{stage.model.name}.tmp")
        trainer.save_model(str(beside))
        history = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
        stage.losses.parent.mkdir(parents=True, exist_ok=True)
        stage.losses.write_text(json.dumps(history), encoding="utf-8")
        beside.rename(stage.model)  # last: it marks the stage as finished
    return [(step, loss) for step, loss in json.loads(stage.losses.read_text(encoding="utf-8"))]


def _trainer(stage: Stage, model: NyxModel, rows: TripletDataset | JoinedRows, unseen: RetrievalSet) -> NyxTrainer:
    settings: dict[str, Any] = {
        "max_steps": stage.steps,
        "per_device_train_batch_size": 64,
        "per_device_eval_batch_size": 64,
        "adam_beta2": 0.98,
        "lr_scheduler_type": "cosine",
        "warmup_steps": min(20, stage.steps // 2),
        "temperature": 0.05,
        "logging_steps": max(1, stage.steps // 45),
        "save_steps": max(1, stage.steps // 3),
        "save_total_limit": 1,
        "dataloader_num_workers": 1,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": [],
        **stage.settings,
    }
    args = NyxTrainingArguments(output_dir=str(stage.folder), seed=stage.seed, **settings)
    card = {
        "name": "nyx-handwriting",
        "summary": f"A small Qwen2.5-VL, trained from random weights to find records by their handwritten code: "
        f"{stage.name}.",
        "datasets": [DataSource(DATASET, None, License(LICENCE, None, None))],
        "command": stage.command,
    }
    trainer = NyxTrainer(model, args, train_dataset=rows, eval_dataset=unseen, card=card, callbacks=[_Bar(stage.name)])
    for theirs in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(theirs)
    return trainer


def _texts(row: Row) -> list[str]:
    contents = [one["content"] for one in (row["query"], *row["positives"])]
    return [part["text"] for content in contents for part in content if part["type"] == "text"]


class _Bar(TrainerCallback):
    """One bar for the training, with the loss beside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.name, unit="step")

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
