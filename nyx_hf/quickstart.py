"""The main job in minutes: real data, a small retriever from scratch in Nyx's two stages, checked, and shown at work.

Everything comes from scikit-learn's handwritten digits and random weights, so it needs no network. What answers is a
reader of digits that has seen the training digits alone. Stages leave their results on disk; a run that was stopped
goes on after the last finished one.
"""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import transformers
from rich.console import Console
from transformers import set_seed

from nyx_hf.data_builders.digit_reader import DigitReader
from nyx_hf.data_builders.digits import FEEDBACK, build_digits
from nyx_hf.data_builders.feedback import FeedbackRules
from nyx_hf.data_builders.searching import DenseSearcher
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.feedback import feedback_dataset
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.quickstart_report import Scores, score, show_table, write_report
from nyx_hf.quickstart_training import DATASET, DIMS, Stage, train_stage, untrained_model
from nyx_hf.retrievers import load_encoder
from nyx_hf.saved_model_check import check_saved_model
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.training_rows import JoinedRows

STEPS = 450  # of the first stage; the second takes a quarter
FEEDBACK_DOCUMENTS = 600
CHECKED = 12  # queries that the saved model is compared on
RULES = FeedbackRules.of("paper", k=10)
FIRST: dict[str, Any] = {
    "learning_rate": 3e-3,
    "weight_decay": 3.0,  # strong, as there are few scans to learn to read from
    "negatives_per_query": 0,
}
SECOND: dict[str, Any] = {
    "loss": "feedback",
    "feedback_right": None,  # as in Nyx: the remaining documents are negatives
    "learning_rate": 1e-3,
    "weight_decay": 3.0,
    "negatives_per_query": 2,
}


class QuickstartError(RuntimeError):
    """A folder that this run may not go on in."""


@dataclass(frozen=True)
class _Run:
    """A run's folder and what decides it."""

    out: Path
    seed: int
    steps: int
    console: Console

    @property
    def command(self) -> str:
        """What makes this run."""
        return f"nyx-hf quickstart --seed {self.seed} --steps {self.steps}"

    def stages(self) -> tuple[Stage, Stage]:
        """The two stages of training."""
        names, steps = ("pretrained", "model"), (self.steps, max(1, self.steps // 4))
        first, second = (
            Stage(
                f"stage {number}",
                self.out / f"training-{number}",
                self.out / names[number - 1],
                self.out / "stages" / f"losses-{number}.json",
                steps[number - 1],
                self.seed,
                self.command,
                settings,
            )
            for number, settings in ((1, FIRST), (2, SECOND))
        )
        return first, second

    def stage(self, number: int, what: str) -> None:
        self.console.print(f"[bold cyan]\\[{number}/6][/] {what}")


def run_quickstart(out: Path, seed: int = 0, steps: int | None = None) -> None:
    """Builds data, trains a small retriever in two stages, saves and checks it, and shows what it finds.

    Args:
        out: Folder to work in; a finished one is only shown, an unfinished one is gone on with.
        seed: Seed of everything random.
        steps: Training steps of the first stage, or None for the built-in number.

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
        build_digits(dataset, seed=seed, feedback_documents=FEEDBACK_DOCUMENTS)
    rows = TripletDataset.load(dataset, "train", negatives_per_query=0)
    unseen = replace(RetrievalSet.load(dataset, "test"), name=DATASET)
    run.console.print(f"      {len(rows):,} training queries; {len(unseen.corpus)} unseen documents to search")
    reader = DigitReader(seed)
    measured = partial(score, unseen=unseen, dims=DIMS, answerer=reader)

    run.stage(2, f"Stage 1: a small Qwen2.5-VL from random weights, {run.steps} steps")
    first, second = run.stages()
    model = untrained_model(run.out / "backbone", seed, rows)
    scores = [_scored(run, "untrained", partial(measured, model, stage="untrained"))]
    history = [train_stage(first, model, rows, unseen)]
    model = NyxModel.from_pretrained(first.model)
    scores.append(_scored(run, first.name, partial(measured, model, stage=first.name)))

    run.stage(3, "Feedback: which documents lead a reader of digits to the right answer")
    told = _feedback(run, dataset, first.model, reader)

    run.stage(4, f"Stage 2: training on the feedback, {second.steps} steps")
    history.append(train_stage(second, model, told, unseen))
    model = NyxModel.from_pretrained(second.model)

    run.stage(5, "Loading the saved model in a fresh process where nyx_hf cannot be imported")
    check = check_saved_model(second.model, dataset, [unseen.queries[at] for at in range(CHECKED)], model)
    if not check.agree:
        raise QuickstartError(f"the saved model disagrees with itself: {check.as_text()}")
    run.console.print(f"      {check.as_text()}")

    run.stage(6, f"Searching {len(unseen.corpus)} unseen documents, answering, writing the report")
    scores.append(_scored(run, second.name, partial(measured, model, stage=second.name)))
    write_report(run.out, run.seed, run.steps, scores, history, unseen, check)
    show_table(run.out, run.console)


def _feedback(run: _Run, dataset: Path, model: Path, reader: DigitReader) -> JoinedRows:
    """Asks what the first stage finds for queries that it was not trained on.

    Returns:
        The triplets that come of it, with the first stage's beside them, as in Nyx's code: alone they are so few that
        what was learned before is forgotten.
    """
    folder = run.out / "feedback"
    if not folder.exists():
        searcher = DenseSearcher(load_encoder(str(model)), run.out / "vectors", 64)
        feedback_dataset(dataset, searcher, reader, folder, RULES, split=FEEDBACK, command=run.command)
    negatives = SECOND["negatives_per_query"]
    told = TripletDataset.load(folder, FEEDBACK, negatives_per_query=negatives)
    run.console.print(f"      {len(told):,} queries with a document that answers them")
    return JoinedRows([TripletDataset.load(dataset, "train", negatives_per_query=negatives), told])


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


def _scored(run: _Run, name: str, measure: Callable[[], Scores]) -> Scores:
    """A stage's scores, measured once."""
    path = run.out / "stages" / f"{name}.json"
    if path.exists():
        return Scores.read(path)
    scores = measure()
    scores.write(path)
    return scores
