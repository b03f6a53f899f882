"""What `nyx-hf evaluate` does with what was typed."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nyx_hf.build import add_options, shown_command
from nyx_hf.card_results import add_to_card, check_card
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.leaderboard import check_metadata, unfilled, write_submission
from nyx_hf.registered_results import write_registered
from nyx_hf.results import SuiteReport
from nyx_hf.results_picture import results_picture
from nyx_hf.results_text import report_markdown, report_text
from nyx_hf.retrievers import load_searcher
from nyx_hf.suite_ranking import width_of
from nyx_hf.suites import Evaluation, OwnData, Suite, find_suite, listed_suites

JSON_FILE, PAGE, PICTURE = "results.json", "results.md", "results.png"


@dataclass(frozen=True)
class Wanted:
    """What becomes of the results.

    Attributes:
        out: Folder for results.json, results.md and results.png.
        card: A model's folder, whose card gets them.
        submission: Whether to write the leaderboard's files into `out`.
        about: What the leaderboard's report says of the model.
        overwrite: Whether results that stand there may be replaced.
    """

    out: Path | None = None
    card: Path | None = None
    submission: bool = False
    about: Mapping[str, str] | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Evaluated:
    """An evaluation that is done: the report, and the files that were written."""

    report: SuiteReport
    files: tuple[Path, ...]
    open_fields: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**self.report.as_json(), "files": [str(path) for path in self.files]}

    def as_text(self) -> str:
        """Gives it for a screen."""
        blocks = [report_text(self.report)]
        if self.files:
            blocks.append("wrote " + ", ".join(map(str, self.files)))
        if self.open_fields:
            blocks.append(f"before you submit, fill in {', '.join(self.open_fields)} (or pass --about NAME=VALUE)")
        return "\n\n".join(blocks)


def run_evaluate(
    name: str,
    words: Sequence[str],
    opened: Mapping[str, Any],
    how: Mapping[str, Any],
    wanted: Wanted,
    command: Sequence[str],
) -> Evaluated:
    """Evaluates as the command line asks.

    Args:
        name: The suite.
        words: Its own options, as typed.
        opened: How the retriever is opened: arguments of `load_searcher`.
        how: Further arguments of `Evaluation`.
        wanted: What becomes of the results.
        command: The words typed, for the report.

    Returns:
        The report, and what was written.

    Raises:
        FileExistsError: If results stand in `out` and may not be replaced.
        ValueError: If something was misspelt, is missing, or does not go together; SubmissionError among them, after
            the results were written, where they may not be submitted.
    """
    suite = find_suite(name)
    options = parse_options(suite, words)
    _check(wanted, how, options)
    searcher = load_searcher(**opened)
    width = check_dims(searcher, how["dims"])
    evaluation = Evaluation(searcher=searcher, options=options, out=wanted.out, command=shown_command(command), **how)
    report = suite.run(evaluation)
    files = [] if wanted.out is None else write_results(report, wanted.out)
    if wanted.card is not None:
        files.append(add_to_card(report, wanted.card))
        registered = write_registered(report, wanted.card)
        files += [] if registered is None else [registered]
    if wanted.submission and wanted.out is not None:
        files.append(write_submission(report, wanted.out / "submission", wanted.about or {}, width))
        return Evaluated(report, tuple(files), tuple(unfilled(files[-1])))
    return Evaluated(report, tuple(files))


def write_results(report: SuiteReport, out: Path) -> list[Path]:
    """Writes results.md, results.png, pictures of the suite's own and, last, results.json.

    Args:
        report: What a suite found.
        out: The folder.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    picture = results_picture(report, out / PICTURE)
    drawn = {one.key: one.draw(out / f"{one.key}.png") for one in report.sections if one.draw is not None}
    names = {key: path.name for key, path in drawn.items()}
    _write(out / PAGE, report_markdown(report, None if picture is None else PICTURE, names))
    _write(out / JSON_FILE, json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
    return [out / JSON_FILE, out / PAGE, *([] if picture is None else [picture]), *drawn.values()]


def parse_options(suite: Suite, words: Sequence[str]) -> Any:
    """Reads a suite's own options.

    Args:
        suite: The suite.
        words: What was typed.

    Returns:
        An object of its `options`.

    Raises:
        SystemExit: With code 2, after a line that says why, if an option is unknown or has a bad value.
    """
    return suite.options(**vars(options_parser(suite).parse_args(list(words))))


def options_parser(suite: Suite) -> argparse.ArgumentParser:
    """Makes the parser of a suite's own options."""
    parser = argparse.ArgumentParser(
        prog=f"nyx-hf evaluate {suite.name}",
        usage=f"nyx-hf evaluate {suite.name} --model MODEL [OPTIONS]",
        description=suite.summary,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    add_options(parser, suite.options)
    return parser


def options_help(name: str) -> str:
    """Shows a suite's own options; empty where it has none."""
    suite = find_suite(name)
    return options_parser(suite).format_help() if fields(suite.options) else ""


def list_suites(*, as_json: bool) -> str:
    """Gives the table of what can be evaluated, or the same as JSON."""
    listed = listed_suites()
    return json.dumps(listed) if as_json else tabulate(list(listed.items()), ("name", "what it measures"))


def parse_names(text: str | None) -> tuple[str, ...]:
    """Reads names with commas between."""
    return tuple(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


def parse_dims(text: str | None) -> tuple[int, ...]:
    """Reads `--dims 2048,1024`: the widest first, each once.

    Raises:
        ValueError: If it is not a list of whole numbers above 0.
    """
    words = parse_names(text)
    if not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(f"found --dims {text}, expected whole numbers above 0 with commas between, such as 2048,1024")
    return tuple(sorted({int(word) for word in words}, reverse=True))


def parse_about(pairs: Sequence[str]) -> dict[str, str]:
    """Reads `--about NAME=VALUE`.

    Raises:
        ValueError: If one has no `=`, or a name that the leaderboard's report does not know.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"found --about {pair}, expected NAME=VALUE, such as model_size=3.75B")
    about = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    check_metadata(about)
    return about


def check_dims(searcher: Searcher, dims: Sequence[int]) -> int | None:
    """Finds how wide a model's vectors are, and that no wider ones are asked for.

    Args:
        searcher: The retriever.
        dims: Embedding widths.

    Returns:
        The full width; None for a retriever without vectors.

    Raises:
        ValueError: If a width is above the model's, or the retriever has no vectors.
    """
    width = width_of(searcher)
    if dims and width is None:
        raise ValueError(f"found --dims for {searcher.name}, which ranks by words; leave --dims out")
    if dims and width is not None and max(dims) > width:
        raise ValueError(f"found --dims {max(dims)}, expected at most {width}: {searcher.name} has no more dimensions")
    return width


def _check(wanted: Wanted, how: Mapping[str, Any], options: Any) -> None:
    """Refuses what cannot end well, before a model is loaded."""
    data: Path = how["data"]
    elsewhere = isinstance(options, OwnData) and options.own_data
    if not data.is_dir() and not how["build"] and not elsewhere:
        raise ValueError(
            f"found no folder {data}, expected the folder of datasets, DATA/BUILDER/SET each; name it with "
            "--data, or pass --build to build what is missing into it"
        )
    if wanted.submission and (wanted.out is None or how["limit"] is not None):
        why = "--out, the folder to write it in" if wanted.out is None else "all queries: --limit makes a sample"
        raise ValueError(f"a submission needs {why}")
    if wanted.card is not None:
        check_card(wanted.card)
    if wanted.out is not None and (wanted.out / JSON_FILE).exists() and not wanted.overwrite:
        raise FileExistsError(f"found {wanted.out / JSON_FILE}, expected a new folder; pass --overwrite to replace it")


def _write(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
