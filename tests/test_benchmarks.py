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


@pytest.mark.long
def test_the_chain_runs_and_keeps_seeds_that_are_done(tmp_path: Path) -> None:
    script, out = ROOT / "tests" / "benchmarks" / "rerank_chain.py", tmp_path / "out.json"
    words = [sys.executable, str(script), "--smoke", "--kept", str(tmp_path / "kept"), "--out", str(out), "--seeds"]
    for seeds in (["0"], ["0", "1"]):
        done = subprocess.run([*words, *seeds], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(out.read_text())
    assert list(result["seeds"]) == ["0", "1"] and len(list((tmp_path / "kept").iterdir())) == 2
    assert all(len(values) == 2 for of in result["means"].values() for values in of.values())
    assert "distilled against continue-hard" in result["differences"]


def test_the_page_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    from page import page

    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page()
