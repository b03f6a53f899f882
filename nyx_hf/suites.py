"""Evaluation suites by name. A suite is a small object: a name, a summary, options of its own, and `run`."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from nyx_hf.data_builders.searching import Searcher
from nyx_hf.results import Run, SuiteReport
from nyx_hf.suite_ranking import Dim

SUITES = {
    "mmeb-v1": "suite_mmeb:V1",
    "mmeb-v2": "suite_mmeb:V2",
    "m-beir": "suite_mbeir:SUITE",
    "zero-shot": "suite_zero_shot:SUITE",
    "urag": "suite_urag:SUITE",
    "mteb": "suite_mteb:SUITE",
}
"""Module and object of each suite; imported when it is asked for."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a suite is run with.

    Attributes:
        searcher: The retriever.
        data: The folder of datasets, `DATA/BUILDER/SET` each.
        dims: Embedding widths, the widest first; the full one where none is named.
        limit: Queries of each set, at most: a sample.
        seed: Decides which queries a sample asks.
        held_out: Sets that the model was not trained on.
        build: Whether to build sets that are missing.
        local: Folder of downloaded repositories that builders read; the Hub where it is None.
        out: Folder of the results, for suites that write files of their own.
        options: The suite's own options: an object of its `options` class.
        command: What was typed.
    """

    searcher: Searcher
    data: Path
    dims: tuple[int, ...] = ()
    limit: int | None = None
    seed: int = 0
    held_out: tuple[str, ...] = ()
    build: bool = False
    local: Path | None = None
    out: Path | None = None
    options: Any = None
    command: str | None = None

    @property
    def widths(self) -> tuple[Dim, ...]:
        """The widths to score at; None is the full one."""
        return self.dims or (None,)

    def run_facts(self) -> Run:
        """Says how results are made, as of now."""
        model, _, revision = self.searcher.name.partition("@")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Run(
            model=model,
            model_revision=revision or None,
            date=now,
            seed=self.seed,
            limit=self.limit,
            command=self.command,
        )


@dataclass
class NoOptions:
    """What a suite without options of its own takes."""


class OwnData:
    """A base of options that may name datasets outside of --data, which then need not be there."""

    @property
    def own_data(self) -> bool:
        """Whether they name all that is read."""
        return False


class Suite(Protocol):
    """An evaluation.

    Attributes:
        name: Its name on the command line.
        summary: What it measures, in one line.
        options: A dataclass of its own options, whose fields `nyx_hf.data_builders.builder.option` makes.
    """

    name: str
    summary: str
    options: type[Any]

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Evaluates a retriever."""
        ...


def find_suite(name: str) -> Suite:
    """Gives a suite.

    Args:
        name: One of `SUITES`.

    Returns:
        The suite.

    Raises:
        ValueError: If there is none of that name; the nearest one is suggested.
    """
    if name not in SUITES:
        raise ValueError(f"there is no suite {name!r}{nearest(name, SUITES)}; there are {', '.join(SUITES)}")
    module, attribute = SUITES[name].split(":")
    suite: Suite = getattr(import_module(f"nyx_hf.{module}"), attribute)
    return suite


def listed_suites() -> dict[str, str]:
    """Gives what can be evaluated: names and what each measures."""
    return {name: find_suite(name).summary for name in SUITES}


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggests what a misspelt name may mean, as the middle of a sentence; empty where nothing is near."""
    by_spelling = {one.lower(): one for one in names}
    near = difflib.get_close_matches(name.lower(), by_spelling, n=1)
    return f" (did you mean {by_spelling[near[0]]!r}?)" if near else ""


def checked_names(names: Collection[str], known: Collection[str], suite: str) -> tuple[str, ...]:
    """Checks names of sets that were typed.

    Args:
        names: What was typed.
        known: The suite's sets.
        suite: The suite's name, for the error.

    Returns:
        The names, in the suite's order.

    Raises:
        ValueError: If one is not a set of the suite; the nearest one is suggested.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"there is no set {name!r} in {suite}{nearest(name, known)}; it has {', '.join(known)}")
    return tuple(one for one in known if one in names)
