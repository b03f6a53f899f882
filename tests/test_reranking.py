"""Reranking a dataset: scores kept through kills, both scores joined, alpha tuned, results written."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from doc_pages import Page, check_command, help_of
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.searching import DenseSearcher, LexicalSearcher
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.fusion import GRID, Candidates, fuse, recall_scale, scaled, tune
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.pair_scoring import ScoreCache
from nyx_hf.rerank import RerankSettings, find, rerank_dataset
from nyx_hf.trainer.tiny import make_tiny_vlm

PAGE = Page("reranking.md")


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


@dataclass
class Oracle:
    """Scores by a rule, counts what it is asked, and dies when it has answered so many queries."""

    name: str = "oracle@1"
    dies_after: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0

    def scores(self, query: Any, documents: Sequence[Any], instruction: str | None = None) -> np.ndarray:
        if self.calls == self.dies_after:
            raise KeyboardInterrupt
        self.calls += 1
        wanted = query[0]["text"].rsplit(" ", 1)[-1]
        words = [document[0]["text"] for document in documents]
        self.asked += [(wanted, one) for one in words]
        return np.array([0.9 if one.endswith(f" {wanted}") else 0.1 for one in words], np.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that share their words with every query; what tells them apart is a number that is no word to BM25."""
    corpus = [{"id": f"d{n}", "content": text(f"record of a person {'very ' * (n % 3)}number {n}")} for n in range(8)]
    queries = [{"id": f"q{n}", "content": text(f"which record of a person has number {n}")} for n in range(8)]
    links = [{"query_id": f"q{n}", "positive_ids": [f"d{n}"], "negative_ids": []} for n in range(8)]
    facts = DatasetFacts(
        name="small", pretty_name="Small", summary="Small.", configs={}, default_config="preview", license="mit"
    )
    triplets = {"validation": links[:3], "test": links[3:]}
    folder = tmp_path_factory.mktemp("reranking") / "small"
    return write_dataset(folder, {"pages": corpus}, {"asked": queries}, triplets, facts)


class TestFusion:
    def test_formula(self) -> None:
        recall, rerank = np.array([0.8, -0.2], np.float32), np.array([0.1, 0.9], np.float32)
        np.testing.assert_allclose(fuse(recall, rerank, 0.25), [0.25 * 0.8 + 0.75 * 0.1, -0.25 * 0.2 + 0.75 * 0.9])
        np.testing.assert_array_equal(fuse(recall, rerank, 1.0), recall)
        np.testing.assert_array_equal(fuse(recall, rerank, 0.0), rerank)

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
    def test_alpha_out_of_range(self, alpha: float) -> None:
        with pytest.raises(ValueError, match="from 0 to 1"):
            fuse(np.ones(1), np.ones(1), alpha)
        with pytest.raises(ValueError, match="from 0 to 1"):
            RerankSettings(alpha=alpha)

    def test_lengths(self) -> None:
        with pytest.raises(ValueError):
            fuse(np.ones(2), np.ones(3), 0.5)

    def test_cosines_stay_and_counts_are_stretched(self, tmp_path: Path) -> None:
        assert recall_scale(LexicalSearcher()) == "min-max"
        encoder: Any = None
        assert recall_scale(DenseSearcher(encoder, tmp_path)) == "cosine"
        values = np.array([7.0, 3.0, 5.0])
        np.testing.assert_allclose(scaled(values, "min-max"), [1.0, 0.0, 0.5])
        np.testing.assert_array_equal(scaled(values, "cosine"), values)
        np.testing.assert_array_equal(scaled(np.array([2.0, 2.0]), "min-max"), [0, 0])

    @given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=8), st.sampled_from(GRID))
    def test_ranking_is_a_permutation_by_fused_score(self, pairs: list[tuple[float, float]], alpha: float) -> None:
        ids = [str(number) for number in range(len(pairs))]
        one = Candidates("q", ids, np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]), {"0"})
        ranking = one.ranking(alpha)
        fused = [float(one.fused(alpha)[int(name)]) for name in ranking]
        assert sorted(ranking) == sorted(ids) and fused == sorted(fused, reverse=True)


class TestTuning:
    @staticmethod
    def query(recall: Sequence[float], rerank: Sequence[float]) -> Candidates:
        return Candidates("q", ["right", "wrong"], np.array(recall), np.array(rerank), {"right"})

    def test_the_best_weight_is_found(self) -> None:
        # fused right - wrong: 0.6 α - 0.4 (1 - α), above 0 from α = 0.4 on; and 0.9 (1 - α) - 0.6 α, until α = 0.6
        candidates = [self.query([0.6, 0.0], [0.5, 0.9]), self.query([0.2, 0.8], [0.95, 0.05])]
        found = tune(candidates, "recall@1", "validation")
        assert found.curve[0.5] == 1.0 and found.curve[0.0] == found.curve[1.0] == 0.5
        assert 0.4 <= found.alpha <= 0.45  # of equals the smallest; at 0.4 itself both are as good
        assert found.alpha == min(alpha for alpha, value in found.curve.items() if value == 1.0)
        assert (found.metric, found.split, len(found.curve)) == ("recall@1", "validation", 21)

    @pytest.mark.parametrize("metric", ["recall", "recall@0", "accuracy@1"])
    def test_unknown_metric(self, metric: str) -> None:
        with pytest.raises(ValueError, match="found the metric"):
            RerankSettings(metric=metric)

    def test_no_queries_and_the_split_that_is_reported(self) -> None:
        with pytest.raises(ValueError, match="found no query"):
            tune([], "recall@1", "validation")
        with pytest.raises(ValueError, match="expected two"):
            RerankSettings(split="test", tune_split="test")


class TestCache:
    def test_asks_once(self, tmp_path: Path) -> None:
        oracle = Oracle()
        cache = ScoreCache(oracle, tmp_path)
        docs = [text("number 1"), text("number 2"), text("number 1")]
        first = cache.scores(text("number 1"), docs)
        np.testing.assert_array_equal(first, np.array([0.9, 0.1, 0.9], np.float32))
        assert cache.asked == 2 and cache.name == "oracle@1"
        again = ScoreCache(Oracle(), tmp_path)
        stored = [{"type": "text", "text": "number 1", "image": None, "video": None}]  # as Arrow gives it back
        np.testing.assert_array_equal(again.scores(stored, docs), first)
        assert again.asked == 0
        again.scores(text("number 1"), docs, "instruction")
        assert again.asked == 2
        other = ScoreCache(Oracle(name="oracle@2"), tmp_path)
        other.scores(text("number 1"), docs)
        assert other.asked == 2

    def test_a_line_that_was_cut_off_is_not_read(self, tmp_path: Path) -> None:
        cache = ScoreCache(Oracle(), tmp_path)
        cache.scores(text("number 1"), [text("number 1")])
        cache.scores(text("number 1"), [text("number 2")])
        [file] = tmp_path.glob("*/*.jsonl")
        file.write_bytes(file.read_bytes()[:-9])
        again = ScoreCache(Oracle(), tmp_path)
        np.testing.assert_allclose(again.scores(text("number 1"), [text("number 1"), text("number 2")]), [0.9, 0.1])
        assert again.asked == 1


class TestDataset:
    def test_a_run_that_was_killed_goes_on(self, dataset: Path, tmp_path: Path) -> None:
        dying = Oracle(dies_after=2)
        settings = RerankSettings(top_k=4)
        with pytest.raises(KeyboardInterrupt):
            rerank_dataset(
                dataset, LexicalSearcher(), ScoreCache(dying, tmp_path / "kept"), tmp_path / "out", settings
            )
        assert not (tmp_path / "out").exists() and len(dying.asked) == 2 * 4
        second = Oracle()
        rerank_dataset(dataset, LexicalSearcher(), ScoreCache(second, tmp_path / "kept"), tmp_path / "out", settings)
        assert len(second.asked) == 3 * 4 and not set(second.asked) & set(dying.asked)

    def test_results(self, dataset: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        settings = RerankSettings(top_k=8, alpha=0.25)
        report = rerank_dataset(dataset, LexicalSearcher(), Oracle(), out, settings)
        assert report.metrics["reranker"]["recall@1"]["value"] == 1.0
        assert report.metrics["fused"]["mrr@10"]["value"] == 1.0
        assert report.metrics["retriever"]["recall@1"]["value"] < 1.0  # or nothing would be compared
        assert report.differences["retriever"]["difference"].mean > 0
        written = json.loads((out / "rerank.json").read_text())
        assert (written["alpha"], written["recall_scale"], written["tuned"]) == (0.25, "min-max", None)
        assert written["reranker"] == "oracle@1" and str(tmp_path) not in (out / "rerank.json").read_text()
        rows = pq.read_table(out / "ranking.parquet").to_pylist()
        assert [row["query_id"] for row in rows] == [f"q{n}" for n in range(3, 8)]
        for row in rows:
            assert row["document_ids"][0] == row["query_id"].replace("q", "d") and len(row["document_ids"]) == 8
            joined = [0.25 * a + 0.75 * b for a, b in zip(row["recall_scores"], row["rerank_scores"], strict=True)]
            assert row["scores"] == pytest.approx(joined) and row["scores"] == sorted(row["scores"], reverse=True)
        for shown in ("retriever", "reranker", "fused", "recall@10", "mrr@10", "alpha 0.25"):
            assert shown in report.as_text()
        with pytest.raises(FileExistsError, match="--overwrite"):
            rerank_dataset(dataset, LexicalSearcher(), Oracle(), out, settings)

    def test_alpha_is_tuned_on_the_other_split(self, dataset: Path, tmp_path: Path) -> None:
        oracle = Oracle()
        settings = RerankSettings(top_k=8, tune_split="validation", metric="recall@1")
        report = rerank_dataset(dataset, LexicalSearcher(), oracle, tmp_path / "out", settings)
        assert report.tuned is not None and report.alpha == report.tuned.alpha == 0.0
        assert report.tuned.curve[0.0] == 1.0 > report.tuned.curve[1.0]
        assert len(oracle.asked) == 8 * 8 and report.queries == 5
        assert json.loads((tmp_path / "out" / "rerank.json").read_text())["tuned"]["split"] == "validation"
        assert "by recall@1 (1.0000) on validation" in report.as_text()

    def test_candidates_are_the_retriever_s(self, dataset: Path) -> None:
        from nyx_hf.data_builders.loading import load_tables

        tables = load_tables(dataset, ("corpus", "queries", "triplets"))
        found = find(tables, LexicalSearcher(), Oracle(), RerankSettings(top_k=3, limit=2), "test")
        assert len(found) == 2
        for one in found:
            assert len(one.ids) == 3 and one.recall.tolist() == sorted(one.recall.tolist(), reverse=True)
            assert one.relevant == {one.query_id.replace("q", "d")}

    def test_unknown_split(self, dataset: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="expected dev"):
            rerank_dataset(dataset, LexicalSearcher(), Oracle(), tmp_path / "out", RerankSettings(split="dev"))


class TestCommand:
    def test_reranks_with_a_plain_vlm(self, dataset: Path, tmp_path: Path) -> None:
        vlm = make_tiny_vlm(tmp_path / "vlm", "qwen2_vl", initializer_range=0.1)
        words = ["rerank", str(dataset), "--model", "bm25", "--reranker", str(vlm), "--out", str(tmp_path / "out")]
        words += ["--top-k", "3", "--device", "cpu", "--tune", "--json"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["queries"] == 5 and result["tuned"]["alpha"] == result["alpha"]
        assert result["reranker"].startswith("vlm@") and set(result["metrics"]) == {"retriever", "reranker", "fused"}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--alpha", "2"], "found alpha 2, expected the weight of recall"),
            (["--tune", "--tune-split", "test"], "expected two"),
            (["--metric", "speed"], "found the metric 'speed'"),
        ],
    )
    def test_bad_input_is_one_line(self, words: list[str], message: str, tmp_path: Path) -> None:
        start = ["rerank", "nowhere", "--model", "bm25", "--reranker", "nothing", "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(app, [*start, *words])
        assert done.exit_code == 1 and message in done.output and done.output.count("\n") == 1

    def test_alpha_and_tune(self, tmp_path: Path) -> None:
        words = ["rerank", "x", "--model", "bm25", "--reranker", "y", "--out", str(tmp_path), "--alpha", "1", "--tune"]
        assert CliRunner().invoke(app, words).exit_code == 2


class TestDocs:
    @pytest.mark.parametrize("line", [line for line in PAGE.commands() if line.startswith("nyx-hf ")])
    def test_every_command_is_one(self, line: str) -> None:
        check_command(line)

    def test_every_option_that_is_named_is_one(self) -> None:
        known = (
            "".join(help_of([name]) for name in ("rerank", "train-reranker", "mine", "distill")) + "--num_processes"
        )
        named = set(re.findall(r"(?<!\w)--[a-z][\w-]+", PAGE.text))
        assert named and named <= set(re.findall(r"--[\w-]+", known)), named

    def test_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(tmp_path)
        make_tiny_vlm(tmp_path / "runs" / "reranker", "qwen2_vl")
        for code in PAGE.code("python"):
            exec(compile(code, "docs/reranking.md", "exec"), {})
        assert "corpus_id" in capsys.readouterr().out
