"""docs/import.md: its table is that of the code, its commands parse, its Python runs."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from doc_pages import ROOT, Page, check_command, help_of

from nyx_hf.checkpoint_layouts import LAYOUTS
from nyx_hf.import_checkpoint import import_checkpoint

PAGE = Page("import.md")


def test_the_projects_are_the_ones_there_are() -> None:
    rows = {row[0].strip("`"): row[1:] for row in PAGE.table("project")}
    assert list(rows) == list(LAYOUTS)
    families = {"Qwen2-VL": "qwen2_vl", "Qwen2.5-VL": "qwen2_5_vl", "Qwen3-VL": "qwen3_vl"}
    for name, (recognised, habits, _) in rows.items():
        layout = LAYOUTS[name]
        family, named = recognised.split(", ", 1)
        assert (families[family],) == layout.model_types
        [example] = re.findall(r"`([\w.-]+?)…?`", named)
        assert re.search(layout.pattern, example)
        said = rows["lamra"][1] + habits if "as `lamra`" in habits else habits
        if "3-D" not in habits:
            assert ("sequential" in said) == (layout.habits.positions == "sequential")
        assert ("mean" in habits, "bidirectional" in habits) == (
            layout.habits.pooling == "mean",
            layout.habits.attention == "bidirectional",
        )
        assert "1e-5" in PAGE.text and (ROOT / "tests" / "checkpoint_cases.py").is_file()


@pytest.mark.parametrize("line", PAGE.commands())
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_every_option_that_is_named_is_one() -> None:
    named = set(re.findall(r"(?<!\w)--[a-z][\w-]+", PAGE.text))
    assert named and named <= set(re.findall(r"--[\w-]+", help_of(["import"])))


def test_the_code_runs(tiny_backbones: dict[str, Path], work_dir: Path) -> None:
    import_checkpoint(str(tiny_backbones["qwen2_vl"]), work_dir / "models" / "lamra", layout="lamra")
    [code] = PAGE.code("python")
    values: dict[str, object] = {}
    with redirect_stdout(StringIO()):
        exec(compile(code, "docs/import.md", "exec"), values)
    assert values["queries"].shape == (1, 64)  # type: ignore[attr-defined]
