"""From own pages to a retriever that is fitted to them, and what that brought, in one run that can be gone on with.

Stages leave their results on disk, written beside and renamed; a run that was stopped goes on after the last finished
one, training from its last checkpoint.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from nyx_hf.adapt_rankings import Questions, ranked, read_rankings
from nyx_hf.adapt_report import SYSTEMS, UNCHECKED, general_figures, own_figures, write_report
from nyx_hf.adapt_settings import AdaptError, AdaptSettings, claim
from nyx_hf.adapt_training import Training, release_memory
from nyx_hf.build import written_rows
from nyx_hf.data_builders.builder import Made
from nyx_hf.data_builders.mining import MiningRules
from nyx_hf.data_builders.nyxqa_stages import Pipeline
from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.searching import LexicalSearcher, Searcher
from nyx_hf.data_builders.sources import open_source
from nyx_hf.data_builders.splitting import SPLITS
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.mine import PRESETS, mine_dataset
from nyx_hf.query_log import QueryLog, add_logged, read_query_log

_STAGES = 5

Tell = Callable[[str], None]


def plan_adapt(settings: AdaptSettings, device: str | None = None) -> dict[str, Any]:
    """Says what a run takes; pages are read and cut, nothing is asked, trained or written to the run's folder.

    Args:
        settings: The run's.
        device: Where models compute; this machine's accelerator where it is None.

    Returns:
        NyxQA's plan, then the recipe's.

    Raises:
        ValueError: If there are no such pages, or the base cannot be trained.
    """
    plan = settings.training(device).plan()
    logged = {} if settings.queries is None else {"queries in the log": len(read_query_log(settings.queries))}
    questions = settings.builder().plan()
    return {
        **questions,
        **logged,
        "contents to encode, about": 2 * questions["chunks in the corpus"],
        "training starts from": plan.base,
        "parameters": plan.count.all,
        "parameters trained": plan.count.trained,
        "what is trained": plan.what,
        "queries a step, at most": plan.queries,
        "documents a query": plan.documents,
        "GiB on each GPU": round(plan.memory.sum / 2**30, 1),
    }


def run_adapt(
    settings: AdaptSettings,
    out: Path,
    *,
    general: str | None = None,
    general_split: str = "test",
    device: str | None = None,
    command: str | None = None,
    tell: Tell = print,
) -> dict[str, Any]:
    """Makes data of pages, fits a retriever to them, and measures what that brought.

    Args:
        settings: What decides data and model.
        out: The folder to work in; a finished one is only shown, an unfinished one is gone on with.
        general: A dataset folder or Hub name whose retrieval is measured before and after; it may be named later.
        general_split: Its split.
        device: Where models compute; this machine's accelerator where it is None.
        command: What was typed, for the cards.
        tell: Prints a line.

    Returns:
        The report.

    Raises:
        AdaptError: If the folder holds another run or something else, no question is left to train on or to test with,
            or training ended badly.
        ValueError: If there are no such pages, the base cannot be trained, or a dataset or log cannot be read.
    """
    log = None if settings.queries is None else read_query_log(settings.queries)
    open_source(settings.source)
    training = settings.training(device)
    training.plan()  # all that can be refused is refused before a folder is made
    others = None if general is None else _General.load(general, general_split)
    claim(out, settings.mark())
    report = _finished(out, others)
    if report is None:
        run = _Run(settings, out, training, others, command, tell)
        run.data(log)
        run.hard()
        release_memory()
        run.train()
        run.search()
        report = run.report()
    tell(report["verdict"])
    tell(UNCHECKED if report["general"] is None else report["general"]["verdict"])
    tell(f"to publish the model, privately: {report['push']}")
    return report


@dataclass(frozen=True)
class _General:
    """A dataset that nothing was fitted to."""

    name: str
    questions: Questions

    @classmethod
    def load(cls, dataset: str, split: str) -> "_General":
        name = Path(dataset).resolve().name if Path(dataset).is_dir() else dataset
        return cls(f"{name} ({split})", Questions.load(dataset, split))

    @property
    def place(self) -> str:
        """Where its rankings are kept: another dataset, or another state of it, gets another place."""
        said = [self.name, {name: list(right) for name, right in self.questions.relevant.items()}]
        return f"general-{content_hash(said)[:12]}"


@dataclass(frozen=True)
class _Run:
    """A run's folder and its stages, each of which does nothing where its result stands there."""

    settings: AdaptSettings
    out: Path
    training: Training
    general: _General | None
    command: str | None
    tell: Tell

    @property
    def push(self) -> str:
        return f"nyx-hf push {self.out / 'model'} your-name/{self.training.name}"

    @cached_property
    def questions(self) -> Questions:
        return Questions.load(self.out / "data", "test")

    def data(self, log: QueryLog | None) -> None:
        """Pages become questions and a corpus, in splits by document."""
        folder, missing = self.out / "data", not (self.out / "data").exists()
        if missing:
            made = self._made(log)
            facts = made.facts if self.command is None else replace(made.facts, command=self.command)
            write_dataset(folder, made.corpus, made.queries, made.triplets, facts)
        rows = written_rows(folder)
        asked = ", ".join(f"{rows['queries'][split]:,} {split}" for split in SPLITS if split in rows["queries"])
        self._told(1, f"data: {rows['corpus']['corpus']:,} documents, questions: {asked}", missing)

    def hard(self) -> None:
        """The base finds hard negatives and is measured; then its memory is training's."""
        folder, missing = self.out / "hard", not (self.out / "hard").exists()
        base = cache(lambda: self.training.base(self.out / "vectors"))
        if missing:
            rules = MiningRules(**PRESETS["nyx"], seed=self.settings.seed)
            mine_dataset(self.out / "data", base(), folder, rules, command=self.command)
        searched = self._search("base", base)
        count = written_rows(folder)["triplets"]["train"]
        self._told(2, f"hard negatives, found by the base: {count:,} triplets to train on", missing or searched)

    def train(self) -> None:
        """The recipe fits the base to them."""
        missing = not (self.out / "model").exists()
        if missing:
            code = self.training.train(self.out)
            if code != 0:
                raise AdaptError(
                    f"training ended with {code} and said why above; the same command goes on from its last checkpoint"
                )
        self._told(3, f"training: {self.training.name} is in {self.out / 'model'}", missing)

    def search(self) -> None:
        """What was trained, and BM25, search for the held-out questions."""
        searched = self._search("tuned", cache(lambda: self.training.tuned(self.out / "model", self.out / "vectors")))
        searched |= ranked(self._rankings / "bm25.jsonl", self.questions, LexicalSearcher)
        count, documents = len(self.questions.queries), len(self.questions.corpus)
        self._told(4, f"search: {count:,} held-out questions, all {documents:,} documents", searched)

    def report(self) -> dict[str, Any]:
        """Figures, verdict, page and pictures."""
        found = {name: read_rankings(self._rankings / f"{name}.jsonl") for name in SYSTEMS}
        seed, general = self.settings.seed, self.general
        report = own_figures(self.questions, found, seed)
        report |= {"general": None, "settings": self.settings.shown(), "push": self.push}
        if general is not None:
            place = self.out / "rankings" / general.place
            kept = {name: read_rankings(place / f"{name}.jsonl") for name in ("base", "tuned")}
            report["general"] = {
                **general_figures(general.name, general.questions, kept, seed),
                "place": general.place,
            }
        write_report(self.out, report, self.questions, found)
        for helped in ("vectors", "training"):  # on the way here
            shutil.rmtree(self.out / helped, ignore_errors=True)
        self._told(5, f"report: {self.out / 'report.md'}", True)
        return report

    @property
    def _rankings(self) -> Path:
        return self.out / "rankings" / "test"

    def _made(self, log: QueryLog | None) -> Made:
        builder = self.settings.builder()
        made = builder.make()
        if log is not None:
            made = add_logged(made, log, Pipeline(builder.config, open_source(self.settings.source)).corpus())
        for split, what in (("train", "train on"), ("test", "test with")):
            if not made.queries.get(split):
                counts = {name: len(list(rows)) for name, rows in made.queries.items()}
                raise AdaptError(
                    f"found no question to {what} (shares {self.settings.shares}, questions {counts}), expected some: "
                    "give more pages, or other --shares or --seed"
                )
        return made

    def _search(self, name: str, searcher: Callable[[], Searcher]) -> bool:
        """Lets a model search for the held-out questions and the general ones; tells whether it had to."""
        searched = ranked(self._rankings / f"{name}.jsonl", self.questions, searcher)
        if self.general is not None:
            path = self.out / "rankings" / self.general.place / f"{name}.jsonl"
            searched |= ranked(path, self.general.questions, searcher)
        return searched

    def _told(self, number: int, line: str, now: bool) -> None:
        self.tell(f"[{number}/{_STAGES}] {line}{'' if now else ' (done before)'}")


def _finished(out: Path, general: _General | None) -> dict[str, Any] | None:
    """Reads a finished run's report, if it says what is asked for."""
    if not (out / "report.json").is_file():
        return None
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    checked = report["general"] or {}
    return report if general is None or checked.get("place") == general.place else None
