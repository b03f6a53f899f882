"""The leaderboard's files: the benchmark's layout, names and metrics, and nothing that is not whole."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from suite_cases import Told, likes_yes, text, write_mmeb
from typer.testing import CliRunner

from nyx_hf import evaluate_command, suite_mmeb
from nyx_hf.cli import app
from nyx_hf.data_builders.schema import FEATURES
from nyx_hf.leaderboard import SubmissionError, unfilled, write_submission
from nyx_hf.results import Missing, SuiteReport
from nyx_hf.suite_data import SetData, SetPlace
from nyx_hf.suite_mmeb import V1, V2
from nyx_hf.suites import Evaluation

# as VLM2Vec's own results have them (experiments/public/all_scores)
KEYS = [
    f"{metric}@{k}"
    for metric in ("hit", "ndcg_linear", "ndcg_exponential", "precision", "recall", "f1", "map", "mrr")
    for k in (1, 5, 10)
]
SIZES = {"image": 36, "video": 18, "visdoc": 24}


def tiny_set(place: SetPlace, evaluation: Evaluation) -> SetData:
    """Three queries, of which a searcher that likes `yes` answers the first two; it lies nowhere on disk."""
    documents = [f"{place.name} {number} {kind}" for number in range(3) for kind in ("yes", "no")]
    right = [documents[0], documents[2], documents[5]]
    wrong = [documents[1], documents[3], documents[4]]
    corpus = [{"id": one, "content": [{**text(one)[0], "image": None, "video": None}]} for one in documents]
    queries = [{**row, "id": f"q{n}", "instruction": None} for n, row in enumerate(corpus[::2])]
    for row in queries:
        row |= {"answers": None, "options": None, "task": None, "source": place.name}
        row["content"] = [{**row["content"][0], "text": row["content"][0]["text"].rsplit(" ", 1)[0]}]
    return SetData(
        Dataset.from_list(corpus, features=FEATURES["corpus"]),
        Dataset.from_list(queries, features=FEATURES["queries"]),
        [{one: 1.0} for one in right],
        [[one] for one in wrong],
        3,
        False,
        {"owner/upstream": "c0ffee"},
    )


@pytest.fixture()
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sets are there, and have as many queries as the benchmark."""
    monkeypatch.setattr(suite_mmeb, "open_set", tiny_set)
    monkeypatch.setattr(suite_mmeb, "expected_queries", lambda name: 3)


def report_of(suite: Any, data: Path, **how: Any) -> SuiteReport:
    report: SuiteReport = suite.run(Evaluation(searcher=Told(likes_yes, "owner/my-model@r1"), data=data, **how))
    return report


def gathered(folder: Path) -> dict[str, dict[str, Any]]:
    """Gathers a folder's scores as the benchmark's script says it does: by part, then by set."""
    metrics: dict[str, dict[str, Any]] = {}
    for part, groups in (("image", "image"), ("video", "video"), ("visdoc", "document")):
        names = [name for group in suite_mmeb.GROUPS if group.modality == groups for name in group.sets]
        there = folder / part
        metrics[part] = {
            name: json.loads((there / f"{name}_score.json").read_text()) if there.is_dir() else "DIR_N/A"
            for name in names
        }
    pages = metrics["visdoc"]
    fixed = ("MMLongBench-page", "ViDoSeek-page")
    metrics["visdoc"] = {f"{name}-fixed" if name in fixed else name: value for name, value in pages.items()}
    return metrics


class TestFiles:
    def test_the_second_version(self, tmp_path: Path, whole: None) -> None:
        report = report_of(V2, tmp_path)
        assert report.partial == [] and report.tables[0].lines[0].values["all"].whole
        path = write_submission(report, tmp_path / "sent", {"url": "https://example.org", "model_size": "3.75B"}, 64)
        assert path == tmp_path / "sent" / "my-model.json"
        written = json.loads(path.read_text())
        metadata = written["metadata"]
        assert list(metadata) == [
            *("model_name", "model_backbone", "model_size", "embedding_dimension", "max_length_tokens"),
            *("model_release_date", "data_source", "url", "report_generated_date"),
        ]
        assert (metadata["model_name"], metadata["embedding_dimension"], metadata["url"]) == (
            *("my-model", 64, "https://example.org"),
        )
        assert unfilled(path) == ["model_backbone", "max_length_tokens", "model_release_date"]
        assert {part: len(sets) for part, sets in written["metrics"].items()} == SIZES
        assert written["metrics"] == gathered(tmp_path / "sent")
        assert {"ViDoSeek-page-fixed", "ViDoSeek-doc", "MMLongBench-page-fixed"} <= set(written["metrics"]["visdoc"])
        for part, sets in written["metrics"].items():
            for name, values in sets.items():
                assert sorted(values) == sorted([*KEYS, "num_pred", "num_data"]), (part, name)
                assert values["num_pred"] == values["num_data"] == 3
        assert written["metrics"]["image"]["CIRR"]["hit@1"] == pytest.approx(2 / 3)

    def test_predictions_name_documents_and_grades(self, tmp_path: Path, whole: None) -> None:
        write_submission(report_of(V2, tmp_path), tmp_path, {}, 64)
        lines = (tmp_path / "image" / "CIRR_pred.jsonl").read_text().splitlines()
        first = json.loads(lines[0])
        assert len(lines) == 3 and first == {
            "prediction": ["CIRR 0 yes", "CIRR 0 no"], "label": ["CIRR 0 yes"], "rel_scores": None,
        }  # fmt: skip
        page = json.loads((tmp_path / "visdoc" / "ViDoRe_docvqa_pred.jsonl").read_text().splitlines()[0])
        assert page["rel_scores"] == [1.0] and len(page["prediction"]) == 6
        for part, size in SIZES.items():
            assert len(list((tmp_path / part).glob("*_score.json"))) == size
            assert len(list((tmp_path / part).glob("*_pred.jsonl"))) == size

    def test_the_first_version_has_images_alone(self, tmp_path: Path, whole: None) -> None:
        path = write_submission(report_of(V1, tmp_path), tmp_path / "sent", {"model_name": "Mine"}, 64)
        metrics = json.loads(path.read_text())["metrics"]
        assert path.name == "Mine.json" and metrics == gathered(tmp_path / "sent")
        assert set(metrics["video"].values()) == {"DIR_N/A"} and len(metrics["image"]) == 36

    def test_of_several_widths_the_widest_is_sent(self, tmp_path: Path, whole: None) -> None:
        report = report_of(V1, tmp_path)
        narrow = [replace(one, dim=8, metrics={**one.metrics, "hit@1": 0.0}) for one in report.scores]
        wide = [replace(one, dim=64) for one in report.scores]
        path = write_submission(replace(report, scores=[*wide, *narrow]), tmp_path, {}, 128)
        written = json.loads(path.read_text())
        assert written["metadata"]["embedding_dimension"] == 64
        assert written["metrics"]["image"]["CIRR"]["hit@1"] == pytest.approx(2 / 3)


class TestRefused:
    def test_samples_and_what_is_not_whole(self, tmp_path: Path, whole: None) -> None:
        report = report_of(V1, tmp_path)
        missing = [Missing("CIRR", "retrieval", "is not built", "nyx-hf build")]
        short = [replace(report.scores[0], partial=("built with --limit",)), *report.scores[1:]]
        for refused, why in [
            (replace(report, run=replace(report.run, limit=5)), "SAMPLE: at most 5 queries a set"),
            (replace(report, missing=missing), "INCOMPLETE: 1 sets are missing"),
            (replace(report, scores=short), "INCOMPLETE: 1 sets are not whole (ImageNet-1K)"),
            (replace(report, suite="m-beir"), "m-beir has no leaderboard that is known here"),
        ]:
            with pytest.raises(SubmissionError, match=re.escape(why)):
                write_submission(refused, tmp_path / "sent", {}, 64)
            assert not (tmp_path / "sent").exists()

    def test_words_that_the_report_has_no_place_for(self, tmp_path: Path, whole: None) -> None:
        why = re.escape("--about modelsize=… (did you mean 'model_size'?), expected one of")
        with pytest.raises(SubmissionError, match=why):
            write_submission(report_of(V1, tmp_path), tmp_path / "sent", {"modelsize": "1B"}, 64)
        assert not (tmp_path / "sent").exists()

    def test_on_the_command_line(self, work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(evaluate_command, "load_searcher", lambda name, **how: Told(likes_yes))
        write_mmeb(work_dir / "data", "CIRR")

        def run(*words: str) -> Any:
            return CliRunner().invoke(app, ["evaluate", "mmeb-v1", "--model", "told", "--submission", *words])

        assert "a submission needs --out, the folder to write it in" in run().output
        assert "a submission needs all queries: --limit makes a sample" in run("--limit", "2", "--out", "out").output
        assert "found --about url, expected NAME=VALUE" in run("--about", "url").output
        done = run("--out", "out")
        assert done.exit_code == 1 and "no submission was written: INCOMPLETE: 35 sets are missing" in done.output
        assert (work_dir / "out" / "results.json").is_file() and not (work_dir / "out" / "submission").exists()

    def test_a_whole_run_on_the_command_line(
        self, work_dir: Path, monkeypatch: pytest.MonkeyPatch, whole: None
    ) -> None:
        monkeypatch.setattr(evaluate_command, "load_searcher", lambda name, **how: Told(likes_yes))
        (work_dir / "data").mkdir()
        words = ["--model", "told", "--submission", "--out", "out", "--about", "model_size=1B", "--about", "url=x"]
        done = CliRunner().invoke(app, ["evaluate", "mmeb-v1", *words])
        assert done.exit_code == 0, done.output
        assert "before you submit, fill in model_backbone, embedding_dimension, max_length_tokens" in done.output
        assert json.loads((work_dir / "out" / "submission" / "told.json").read_text())["metadata"]["url"] == "x"
        assert "!!!" not in done.output and "66.7" in done.output
