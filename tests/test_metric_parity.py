"""The table of our metrics beside other libraries': what stands in docs/evaluation.md was measured."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doc_pages import ROOT, Page

FILE = ROOT / "docs" / "benchmarks" / "metric_parity.json"


@pytest.fixture()
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import metric_parity

    return metric_parity


def alike(rows: list[dict[str, Any]]) -> bool:
    """No value differs, and none of the comparisons is of constants."""
    return all(row["difference"] < 1e-12 and 0 < row["mean"] < 20 and row["values"] >= 20 for row in rows)


def test_the_page_shows_what_was_measured(script: ModuleType) -> None:
    measured, page = json.loads(FILE.read_text(encoding="utf-8")), Page("evaluation.md").text
    assert script.table(measured["results"]) in page and f"{measured['settings']['queries']:,} queries" in page
    assert alike(measured["results"])


def test_the_script_compares_and_writes(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["metric_parity.py", "--queries", "40", "--seed", "1", "--out", str(out)])
    script.main()
    rows = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert alike(rows) and script.table(rows) in capsys.readouterr().out
    assert [row["metric"] for row in rows] == [row["metric"] for row in json.loads(FILE.read_text())["results"]]


def test_a_wrong_metric_shows(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = script.ranking_metrics

    def shifted(rankings: Any, relevant: Any, ks: tuple[int, ...]) -> dict[str, np.ndarray]:
        return right([ranking[1:] for ranking in rankings], relevant, ks)

    monkeypatch.setattr(script, "ranking_metrics", shifted)
    rows = script.beside_trec_eval(*script.drawn_rankings(np.random.default_rng(0), 30))
    assert len(rows) == 5 and all(row["difference"] > 0.1 for row in rows)
