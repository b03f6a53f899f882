"""docs/evaluation.md and docs/adapt.md: suites are those of the code, commands parse."""

import re

import pytest
from doc_pages import Page, check_command, help_of

from nyx_hf.suites import listed_suites

PAGE = Page("evaluation.md")


def test_the_suites_are_the_ones_there_are() -> None:
    assert {row[0].strip("`"): row[1] for row in PAGE.table("suite")} == listed_suites()


@pytest.mark.parametrize("line", [*PAGE.commands(), *Page("adapt.md").commands()])
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_every_option_that_is_named_is_one() -> None:
    known = "".join(help_of(["evaluate", suite]) for suite in listed_suites())
    named = set(re.findall(r"(?<!\w)--[a-z][\w-]+", PAGE.text))
    assert named and named <= set(re.findall(r"--[\w-]+", known)), named
