"""docs/answers.md: its tables are those of the code, its commands parse, its code runs."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from doc_pages import Page, check_command
from test_readme import quickstart  # noqa: F401

from nyx_hf.data_builders.context_budget import ContextBudget
from nyx_hf.data_builders.feedback import PRESETS, FeedbackRules
from nyx_hf.data_builders.open_answerer import KINDS

PAGE = Page("answers.md")


@pytest.mark.parametrize("line", PAGE.commands())
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_presets_and_answerers_are_the_ones_there_are() -> None:
    assert [row[0].strip("`") for row in PAGE.table("`--preset`")] == list(PRESETS)
    told = {name.partition(":")[0] for row in PAGE.table("answerer") for name in re.findall(r"`([^`]+)`", row[0])}
    assert told == {one.partition(":")[0] for one in re.findall(r"[a-z]+(?::[A-Z#]+)?", KINDS) if one != "or"} & told
    assert told == {"endpoint", "transformers", "vllm", "extractive", "digits"}


def test_defaults_are_those_of_the_code() -> None:
    budget, rules = ContextBudget(), FeedbackRules()
    assert f"cut at {budget.tokens:,} tokens, images at {budget.images} of {budget.pixels:,} pixels" in PAGE.text
    assert f"{rules.k} and {rules.window} are its authors' code's, the half is ours" in PAGE.text
    assert rules.threshold == 0.5


def test_the_code_runs(quickstart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(quickstart / "runs", target_is_directory=True)
    asked, measured = PAGE.code("python")
    with redirect_stdout(StringIO()) as printed:
        exec(compile(asked, "docs/answers.md", "exec"), {})
        exec(compile(measured, "docs/answers.md", "exec"), {})
    person, numbers = printed.getvalue().strip().splitlines()
    assert re.fullmatch(r"\w+ \w+ test-d\d{5}", person), person
    assert "'em': 1.0" in numbers
