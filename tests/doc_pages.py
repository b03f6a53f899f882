"""What tests of documentation pages share: their code blocks, tables and commands."""

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.registry import BUILDERS
from nyx_hf.suites import SUITES

ROOT = Path(__file__).resolve().parent.parent
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


class Page:
    """A page of docs/."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        self.blocks = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.M | re.S)

    def code(self, language: str) -> list[str]:
        return [code for kind, code in self.blocks if kind == language]

    def commands(self) -> list[str]:
        return [line for code in self.code("bash") for line in code.splitlines()]

    def table(self, head: str) -> list[list[str]]:
        """Rows of the table whose first column is so called."""
        found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", self.text, re.M)
        assert found is not None, head
        return [[cell.strip(" |") for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def help_of(words: list[str]) -> str:
    """The help page of a command, or of a builder or suite where that has options of its own."""
    command, *rest = words
    own = [rest[0]] if rest and rest[0] in {"build": [*BUILDERS], "evaluate": [*SUITES]}.get(command, []) else []
    return CliRunner().invoke(app, [command, "--help"]).output + (
        CliRunner().invoke(app, [command, *own, "--help"]).output if own else ""
    )


def check_command(line: str) -> None:
    """A command's name and options are known ones."""
    program, *words = shlex.split(line)
    assert program == "nyx-hf"
    given = {word for word in words[1:] if word.startswith("-")} - {"--help", "-k"}
    known = help_of(words)
    assert "Usage" in known and given <= set(_OPTION.findall(known)), line
