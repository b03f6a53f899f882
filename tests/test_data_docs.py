"""docs/data.md: its tables are those of the code, its commands parse, its code runs."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from doc_pages import Page, check_command
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.builder import options_of
from nyx_hf.data_builders.exporting import LAYOUTS
from nyx_hf.data_builders.importing import _READERS
from nyx_hf.data_builders.registry import BUILDERS, find_builder
from nyx_hf.data_builders.video_text import VideoTextBuilder
from nyx_hf.mine import PRESETS
from tests.pictures import noise_image

PAGE = Page("data.md")


def test_the_builders_are_the_ones_there_are() -> None:
    told = {row[0].strip("`"): row[1] for row in PAGE.table("builder")}
    assert told == {name: find_builder(name).SUMMARY for name in BUILDERS}


def test_layouts_are_the_ones_there_are() -> None:
    rows = {row[0].strip("`"): row[2] for row in PAGE.table("layout")}
    assert set(rows) == {*_READERS, "mteb"}  # that one is a builder of its own
    assert {name for name, out in rows.items() if out != "—"} == set(LAYOUTS)


def test_mining_presets_are_the_ones_there_are() -> None:
    [said] = [row[1] for row in PAGE.table("option") if "--preset" in row[0]]
    assert set(re.findall(r"`([a-z-]+)`:", said)) == set(PRESETS)


def test_every_option_that_is_named_is_one() -> None:
    """Of a builder, or of one of the commands."""
    known = {f"--{one.name.replace('_', '-')}" for name in BUILDERS for one in options_of_builder(name)}
    for command in ("build", "mine", "export"):
        known |= set(re.findall(r"--[\w-]+", CliRunner().invoke(app, [command, "--help"]).output))
    named = set(re.findall(r"(?<!\w)--[a-z][\w-]+", PAGE.text)) - {"--repo-type", "--local-dir"}
    assert named and named <= known, named - known


def options_of_builder(name: str) -> tuple[object, ...]:
    return options_of(find_builder(name).BUILDER_CONFIG_CLASS)


@pytest.mark.parametrize("line", PAGE.commands())
def test_every_command_is_one(line: str) -> None:
    """Known words and options; the README's own are run, tests/test_nyxqa.py and tests/test_mining.py run the rest."""
    check_command(line)


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    [code] = PAGE.code("python")
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "docs/data.md", "exec"), {})
    assert "'type': 'image'" in printed.getvalue() and "IterableDataset" in printed.getvalue()


def test_the_three_kinds_of_video_rows_are_read(tmp_path: Path) -> None:
    [code] = PAGE.code("json")
    rows = [json.loads(line) for line in code.splitlines()]
    for row in rows:
        frames = tmp_path / row["video"]
        frames.mkdir(exist_ok=True)
        for second in range(40):
            noise_image(8, 8, second).save(frames / f"{second:03d}.png")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for kind, texts in {
        "captions": [
            "A cat sleeps on a keyboard.",
            "On a keyboard.",  # an answer describes its video
            "A cat wakes up.",
            "It eats.",
        ],
        "questions": ["Where does the cat sleep?", "A cat wakes up.", "It eats."],
    }.items():
        builder = VideoTextBuilder(config_name="queries", path=str(tmp_path / "rows.jsonl"), kind=kind)
        made = builder.make()
        assert [
            [part["text"] for part in row["content"] if part["type"] == "text"] for row in made.queries["train"]
        ] == [[text] for text in texts]
