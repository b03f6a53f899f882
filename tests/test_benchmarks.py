"""The benchmarks work: each at a small size, whose times mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "losses": ["--rows", "32", "--width", "16", "--rounds", "1"],
    "chunks": ["--rows", "4", "--chunk", "2", "--rounds", "1"],
}


@pytest.mark.long
@pytest.mark.parametrize("name", list(SMALL))
def test_it_prints_both_sides_and_writes_json(name: str, tmp_path: Path) -> None:
    script, out = ROOT / "tests" / "benchmarks" / f"{name}.py", tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, str(script), *SMALL[name], "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(out.read_text())["results"]
    assert any("sentence-transformers" in case for case in results) and any("nyx_hf" in case for case in results)
    for case in results:
        assert f"| {case} |" in done.stdout


def test_the_page_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    from page import page

    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page()
