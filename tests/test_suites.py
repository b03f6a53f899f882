"""Evaluation suites: official metrics, own candidates and whole corpora, averages that say what they are over."""

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from datasets import Dataset, Features, Image, Value
from huggingface_hub import ModelCard
from suite_cases import Told, likes_yes, write_mmeb, write_set, write_task
from test_public_sets import card, parquet, picture
from typer.testing import CliRunner

from nyx_hf import evaluate_command, suite_data, suites
from nyx_hf.cli import app
from nyx_hf.data_builders.builder import option
from nyx_hf.data_builders.mbeir import MBEIRBuilder
from nyx_hf.data_builders.mmeb_sets import GROUPS
from nyx_hf.data_builders.records import GRADES
from nyx_hf.data_builders.searching import DenseIndex
from nyx_hf.data_builders.visual_documents import repository_of
from nyx_hf.mmeb_metrics import CUTS, mmeb_metrics
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.results import Mean, Prediction, SuiteReport
from nyx_hf.results_text import cell
from nyx_hf.suite_mbeir import SUITE as MBEIR
from nyx_hf.suite_mbeir import MBEIROptions
from nyx_hf.suite_mmeb import V1, V2, expected_queries, ranks_own_candidates
from nyx_hf.suites import Evaluation


def run(*words: object, model: str = "told") -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, words), "--model", model])


@pytest.fixture()
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A searcher in the place of whatever model is named."""
    searcher = Told(likes_yes)
    monkeypatch.setattr(evaluate_command, "load_searcher", lambda name, **how: searcher)
    return searcher


def evaluated(suite: Any, data: Path, score: Callable[[str, str], float] = likes_yes, **how: Any) -> SuiteReport:
    report: SuiteReport = suite.run(Evaluation(searcher=Told(score), data=data, **how))
    return report


def figures(report: SuiteReport, key: str | None = None, line: int = 0) -> dict[str, Mean]:
    [table] = [table for table in report.tables if table.key == (key or report.suite)]
    return dict(table.lines[line].values)


def by_the_book(ranking: list[str], grades: dict[str, float], k: int) -> dict[str, float]:
    """One query's metrics, worked out document by document as the benchmark's code does."""
    top, right = ranking[:k], set(grades)
    found = [one in right for one in top]
    precision, recall = sum(found) / k, sum(found) / len(right)
    hits, total = 0, 0.0
    for rank, is_right in enumerate(found, 1):
        if is_right:
            hits += 1
            total += hits / rank

    def dcg(gains: list[float]) -> float:
        return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))

    best = sorted(grades.values(), reverse=True)[:k]
    got = [grades.get(one, 0.0) for one in top]
    return {
        "hit": float(any(found)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "map": total / min(len(right), k),
        "mrr": next((1 / rank for rank, is_right in enumerate(found, 1) if is_right), 0.0),
        "ndcg_linear": dcg(got) / dcg(best),
        "ndcg_exponential": dcg([2**gain - 1 for gain in got]) / dcg([2**gain - 1 for gain in best]),
    }


def drawn_predictions(count: int = 60) -> list[Prediction]:
    """Rankings of 3 to 40 documents, with 1 to 14 right ones graded 1 to 3, some of them not found."""
    rng = np.random.default_rng(0)
    predictions = []
    for _ in range(count):
        documents = [f"d{number}" for number in range(int(rng.integers(3, 41)))]
        right = rng.choice(
            [*documents, "gone", "lost"], size=min(len(documents), int(rng.integers(1, 15))), replace=False
        )
        ranking = [documents[place] for place in rng.permutation(len(documents))]
        predictions.append(Prediction(ranking, {str(one): float(rng.integers(1, 4)) for one in right}))
    return predictions


class TestMetrics:
    def test_they_are_the_benchmark_s(self) -> None:
        predictions = drawn_predictions()
        metrics = mmeb_metrics(predictions)
        assert len(metrics) == 8 * 3 and len({round(value, 9) for value in metrics.values()}) > 18
        for k in CUTS:
            booked = [by_the_book(list(one.ranking), dict(one.grades), k) for one in predictions]
            for name in booked[0]:
                assert metrics[f"{name}@{k}"] == pytest.approx(np.mean([one[name] for one in booked])), (name, k)

    def test_they_are_trec_eval_s_where_it_has_the_same(self) -> None:
        predictions = drawn_predictions()
        judged = {str(n): {one: int(g) for one, g in p.grades.items()} for n, p in enumerate(predictions)}
        runs = {str(n): {one: float(-place) for place, one in enumerate(p.ranking)} for n, p in enumerate(predictions)}
        names = {"ndcg_cut": "ndcg_linear", "recall": "recall", "P": "precision", "success": "hit"}
        found = pytrec_eval.RelevanceEvaluator(judged, {f"{name}.1,5,10" for name in names}).evaluate(runs)
        metrics = mmeb_metrics(predictions)
        for theirs, ours in names.items():
            for k in CUTS:
                mean = np.mean([values[f"{theirs}_{k}"] for values in found.values()])
                assert metrics[f"{ours}@{k}"] == pytest.approx(mean), (theirs, k)

    def test_no_query_and_no_right_document(self) -> None:
        with pytest.raises(ValueError, match="found no queries"):
            mmeb_metrics([])
        with pytest.raises(ValueError, match="found no right document for query 0"):
            mmeb_metrics([Prediction(["a"], {})])


class TestMMEB:
    def test_the_benchmark_s_numbers_of_sets_and_queries(self) -> None:
        assert {name: len(names) for name, names in V1.averages.items()} == {
            "classification": 10, "question answering": 10, "retrieval": 12, "visual grounding": 4,
            "IND": 20, "OOD": 16, "overall": 36,
        }  # fmt: skip
        sizes = {name: len(names) for name, names in V2.averages.items()}
        assert (sizes["image"], sizes["video"], sizes["document"], sizes["all"]) == (36, 18, 24, 78)
        assert sum(map(expected_queries, V2.sets)) == 36_000 + 34_940 + 12_590
        own = {name for group in GROUPS for name in group.sets if ranks_own_candidates(group, name)}
        assert {name for name in V2.averages["video"] if name in own} == {
            *("SmthSmthV2", "MVBench", "Video-MME", "NExTQA", "EgoSchema", "ActivityNetQA"),
            *("QVHighlight", "Charades-STA", "MomentSeeker"),
        }
        assert own >= set(V2.averages["image"]) and not own & set(V2.averages["document"])

    def test_each_query_ranks_its_own_candidates_and_the_first_of_equals_counts(self, tmp_path: Path) -> None:
        write_mmeb(tmp_path, "Country211", right=1, of=4)  # each query's `no` is another's no candidate
        report = evaluated(V1, tmp_path)
        [score] = report.scores
        assert score.metrics["hit@1"] == 0.25 and score.metrics["hit@5"] == 1.0 and score.notes == ()
        assert score.predictions[0].ranking[0] == "d-Country211 0 yes"
        assert all(len(one.ranking) == 2 for one in score.predictions) and score.documents == 8
        [tied] = evaluated(V1, tmp_path, lambda query, document: 1.0).scores
        assert tied.metrics["hit@1"] == 1.0  # as upstream: the first of the highest, and the right one stands first
        assert tied.notes == ("4 queries tie for the first place: the earliest candidate counts",)
        with pytest.raises(ValueError, match="found a score that is not finite for query 0"):
            evaluated(V1, tmp_path, lambda query, document: math.nan)

    def test_averages_count_sets_alike_and_say_over_how_many(self, tmp_path: Path) -> None:
        write_mmeb(tmp_path, "Country211", right=1, of=4)  # classification, out of distribution
        write_mmeb(tmp_path, "N24News", right=2, of=2)  # classification, in distribution
        write_mmeb(tmp_path, "CIRR", right=1, of=2)  # retrieval, in distribution
        report = evaluated(V1, tmp_path)
        values = figures(report)
        assert values["classification"] == Mean(62.5, 2, 10, 2) and values["retrieval"] == Mean(50.0, 1, 12, 1)
        assert values["visual grounding"] == Mean(None, 0, 4) and cell(values["visual grounding"]) == "–"
        assert values["IND"] == Mean(75.0, 2, 20, 2) and values["OOD"].value == 25.0
        assert values["overall"].value == pytest.approx(100 * (0.25 + 1.0 + 0.5) / 3)
        assert cell(values["classification"]) == "62.5* (2/10)" and not values["overall"].whole
        assert len(report.missing) == 33 and {one.reason for one in report.missing} == {"is not built"}
        assert report.missing[0].command == "nyx-hf build mmeb-eval --subset ImageNet-1K --out ImageNet-1K"  # no path
        assert report.partial[0] == "INCOMPLETE: 33 sets are missing" and "are not whole (N24News" in report.partial[1]

    def test_whole_corpora_and_grades(self, tmp_path: Path) -> None:
        documents = ["p1 yes", "p2 yes", "p3 no", "p4 no"]
        queries = {"a": ({"p1 yes": 1.0, "p3 no": 2.0}, []), "b": ({"p2 yes": 1.0}, [])}
        folder = tmp_path / "visual-documents" / "ViDoSeek-doc"
        write_set(folder, documents, queries, source="ViDoSeek-doc", task="document retrieval", graded=True)
        folder = tmp_path / "mmeb-video" / "MSR-VTT"
        write_set(folder, documents, {"a": ({"p2 yes": 1.0}, [])}, source="MSR-VTT", task="video retrieval")
        report = evaluated(V2, tmp_path)
        film, pages = report.scores
        assert film.part == "video" and film.documents == 4 and film.value == 0.0  # p1 comes before it, of equals
        first = (1 + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
        assert pages.part == "visdoc" and pages.metric == "ndcg_linear@5"
        assert pages.value == pytest.approx((first + 1 / math.log2(3)) / 2)
        assert figures(report)["video"] == Mean(0.0, 1, 18, 1) and figures(report)["all"].counted == 2
        assert figures(report)["document, out of domain"].value == pytest.approx(100 * pages.value)

    def test_scores_of_a_miner_are_no_grades(self) -> None:
        link = {"positive_ids": ["a", "b"], "positive_scores": [0.3, 0.9], "scorer": "model@1"}
        assert suite_data._grades(link) == {"a": 1.0, "b": 1.0}
        assert suite_data._grades({**link, "scorer": GRADES}) == {"a": 0.3, "b": 0.9}

    def test_held_out_sets_are_averaged_apart(self, tmp_path: Path) -> None:
        for name, right in {"Country211": 1, "N24News": 2, "CIRR": 0}.items():
            write_mmeb(tmp_path, name, right=right, of=2)
        report = evaluated(V1, tmp_path, held_out=("CIRR", "N24News"))
        assert {score.name: score.held_out for score in report.scores} == {
            "Country211": False, "N24News": True, "CIRR": True,
        }  # fmt: skip
        apart = figures(report, "held-out")
        assert list(apart) == ["N24News", "CIRR", "held out", "trained on"]
        assert apart["held out"].value == 50.0 and apart["trained on"] == Mean(50.0, 1, 34, 1)
        with pytest.raises(ValueError, match=r"there is no set 'CIR' in mmeb-v1 \(did you mean 'CIRR'\?\)"):
            evaluated(V1, tmp_path, held_out=("CIR",))

    def test_a_sample_is_drawn_by_seed_and_flagged_everywhere(self, tmp_path: Path, told: Told) -> None:
        write_mmeb(tmp_path / "data", "CIRR", right=5, of=40)
        asked = []
        for seed in (0, 0, 1):
            [score] = evaluated(V1, tmp_path / "data", limit=10, seed=seed).scores
            assert score.queries == 10 and "10 of 40 queries asked" in score.partial and score.documents == 20
            asked.append([next(iter(one.grades)) for one in score.predictions])
        assert asked[0] == asked[1] != asked[2]
        done = run("mmeb-v1", "--data", tmp_path / "data", "--limit", 10, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        warning = "SAMPLE: at most 10 queries a set (--limit), drawn with seed 0"
        assert f"!!! {warning}" in done.output and "told (SAMPLE)" in done.output
        assert f"**{warning}" in (tmp_path / "out" / "results.md").read_text()
        kept = json.loads((tmp_path / "out" / "results.json").read_text())
        assert kept["sample"] is True and kept["run"]["limit"] == 10 and warning in kept["partial"]
        assert kept["tables"][0]["lines"][0]["name"] == "told (SAMPLE)"
        assert (tmp_path / "out" / "results.png").read_bytes().startswith(b"\x89PNG")

    def test_a_dataset_built_with_a_limit_is_not_whole(self, tmp_path: Path) -> None:
        command = "nyx-hf build mmeb-eval --subset CIRR --limit 4 --out data"
        write_mmeb(tmp_path, "CIRR", command=command)
        [score] = evaluated(V1, tmp_path).scores
        assert score.partial == ("built with --limit", "4 queries, the benchmark has 1,000")
        assert score.revisions["owner/upstream"] == "c0ffee" and len(score.revisions["files"]) == 12

    def test_the_revision_of_the_data_follows_the_files(self, tmp_path: Path) -> None:
        for number, of in enumerate((4, 4, 5)):
            write_mmeb(tmp_path / str(number), "CIRR", of=of)
        first, same, other = (
            evaluated(V1, tmp_path / str(number)).scores[0].revisions["files"] for number in range(3)
        )
        assert first == same != other


class TestWidths:
    """An index cut to its first dimensions ranks as those vectors do, scaled to length 1."""

    def index(self) -> DenseIndex:
        rng = np.random.default_rng(0)
        queries, corpus = (rng.normal(size=(rows, 8)).astype(np.float32) for rows in (5, 40))
        return DenseIndex(queries / np.linalg.norm(queries, axis=1, keepdims=True), corpus)

    @pytest.mark.parametrize("dim", [2, 5, 8])
    def test_rankings_and_scores(self, dim: int) -> None:
        index = self.index()
        left, right = (vectors[:, :dim] for vectors in (index.queries, index.corpus))
        cosines = (left / np.linalg.norm(left, axis=1, keepdims=True)) @ (
            right / np.linalg.norm(right, axis=1, keepdims=True)
        ).T
        scores, rows = index.cut(dim).top_k(np.arange(5), 40)
        assert (rows == np.argsort(-cosines, axis=1, kind="stable")).all()
        np.testing.assert_allclose(scores, np.sort(cosines, axis=1)[:, ::-1], atol=1e-6)
        some = np.array([3, 1, 30])
        np.testing.assert_allclose(index.cut(dim).scores(2, some), cosines[2, some], atol=1e-6)
        assert (index.top_k(np.arange(5), 40)[1] != rows).any()  # whole vectors, not scaled, rank otherwise

    @pytest.mark.parametrize("dim", [0, 9])
    def test_widths_that_are_not_there(self, dim: int) -> None:
        with pytest.raises(ValueError, match=f"found {dim} dimensions, expected 1 to 8"):
            self.index().cut(dim)


class TestModel:
    def test_shorter_embeddings_are_those_of_the_model(self, tmp_path: Path, tiny_folder: Path) -> None:
        write_mmeb(tmp_path / "data", "N24News", right=4, of=8)
        words = ("mmeb-v1", "--data", tmp_path / "data", "--cache", tmp_path / "cache", "--json")
        done = CliRunner().invoke(
            app,
            [
                "evaluate",
                *map(str, words),
                "--model",
                str(tiny_folder),
                "--dims",
                "8,64",
                "--out",
                str(tmp_path / "o"),
            ],
        )
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert [one["dim"] for one in report["sets"]] == [64, 8]
        assert report["run"]["model"] == "tiny-nyx" and len(report["run"]["model_revision"]) == 12
        model = NyxModel.from_pretrained(tiny_folder)
        for one in report["sets"]:
            right = 0
            for number in range(8):
                sides = [f"N24News {number} yes", f"N24News {number} no"]
                good, bad = sides if number < 4 else sides[::-1]
                how = {"truncate_dim": one["dim"], "show_progress_bar": False}
                asked = model.encode_query([f"N24News {number}"], **how)[0]
                scores = model.encode_document([good, bad], **how) @ asked
                right += int(scores[0] >= scores[1])
            assert one["metrics"]["hit@1"] == pytest.approx(right / 8)

    def test_nothing_is_encoded_twice(self, tmp_path: Path, tiny_folder: Path) -> None:
        write_mmeb(tmp_path / "data", "N24News")
        words = [
            "evaluate",
            "mmeb-v1",
            "--data",
            tmp_path / "data",
            "--cache",
            tmp_path / "cache",
            "--model",
            tiny_folder,
        ]
        assert CliRunner().invoke(app, [*map(str, words)]).exit_code == 0
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
        assert kept and CliRunner().invoke(app, [*map(str, words), "--dims", "16"]).exit_code == 0
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == kept


def write_three_tasks(data: Path) -> None:
    write_task(data, "cirr_task7", {"a": ["i1"], "b": ["i2"]}, ["i1", "i2", "x0"])
    write_task(data, "webqa_task1", {"c": ["t1", "t2"]}, ["t1", "t2", "t3"])
    write_task(data, "fashioniq_task7", {"f": ["x9"]}, [f"x{number}" for number in range(12)])


def mbeir_scores(query: str, document: str) -> float:
    """`a` likes texts, `b` its own image, `c` its second text after a wrong one, `f` its own as the tenth."""
    table = {"a": {"t3": 3, "t1": 2, "i1": 1}, "b": {"i2": 9}, "c": {"t3": 2, "t2": 1}}
    if query == "f":
        return 20.0 - int(document[1:]) if document.startswith("x") else 0.0
    return float(table[query].get(document, 0.0))


class TestMBEIR:
    def test_local_and_global_candidates(self, tmp_path: Path) -> None:
        write_three_tasks(tmp_path)
        report = evaluated(MBEIR, tmp_path, mbeir_scores)
        local = {score.name: score for score in report.scores if score.part == "local"}
        apart = {score.name: score for score in report.scores if score.part == "global"}
        assert local["cirr_task7"].metrics["hit@1"] == 1.0 and apart["cirr_task7"].metrics["hit@1"] == 0.5
        assert local["cirr_task7"].documents == 3 and apart["cirr_task7"].documents == 17  # x0 is in two pools
        # one right document among the first five is enough, as UniIR counts
        assert local["webqa_task1"].value == 1.0 and local["webqa_task1"].metrics["recall@1"] == 0.0
        fashion = local["fashioniq_task7"]
        assert fashion.metric == "hit@10" and fashion.value == 1.0 and fashion.metrics["hit@5"] == 0.0
        assert (
            figures(report, "local")["average"] == Mean(100.0, 3, 16) and not figures(report, "local")["average"].whole
        )
        assert all(score.partial == ("the pool lacks the candidates of 13 tasks",) for score in apart.values())
        assert cell(figures(report, "global")["average"]) == "100.0* (3/16)"
        assert len(report.missing) == 13 and report.missing[0].command.startswith(
            "nyx-hf build m-beir --task visualnews_task0 --split test --whole-pool --out "
        )

    def test_documents_of_another_kind_are_counted(self, tmp_path: Path) -> None:
        write_three_tasks(tmp_path)
        report = evaluated(MBEIR, tmp_path, mbeir_scores)
        errors = figures(report, "modality errors")
        assert errors["cirr_task7"].value == 50.0 and errors["webqa_task1"].value == 0.0
        assert errors["average"] == Mean(pytest.approx(50 / 3), 3, 16, 3)
        [score] = [one for one in report.scores if (one.name, one.part) == ("cirr_task7", "global")]
        # a finds t3, t1, i1, and of equals t2 and x0; b finds i2, and of equals t1, t2, t3, x0
        assert score.metrics["wrong_modality@5"] == pytest.approx((3 + 3) / 10)
        assert "wrong_modality@1" not in next(one for one in report.scores if one.part == "local").metrics

    def test_one_pool_alone_and_published_tasks_held_out(self, tmp_path: Path) -> None:
        write_three_tasks(tmp_path)
        write_task(tmp_path, "nights_task4", {"n": ["y"]}, ["y", "z"])
        like = lambda query, document: float(document == "y")  # noqa: E731
        five = ("nights_task4", "oven_task6", "infoseek_task6", "oven_task8", "infoseek_task8")
        options = MBEIROptions(pool="local")
        report = evaluated(MBEIR, tmp_path, like, options=options, held_out=five)
        assert {score.part for score in report.scores} == {"local"}
        assert [table.key for table in report.tables] == ["local", "held-out"]
        apart = report.tables[1]
        assert apart.lines[0].values["held out"] == Mean(100.0, 1, 5)
        assert [line.name for line in apart.lines[1:]][2:4] == ["LamRA-Ret*", "U-MARVEL*"]
        assert apart.lines[4].source == "U-MARVEL, Table 15" and apart.lines[4].values["held out"].value == 48.0
        fewer = evaluated(MBEIR, tmp_path, like, options=options, held_out=five[:1]).tables[1]
        assert "held out" not in fewer.lines[4].values and fewer.lines[4].values["nights_task4"].value == 31.5

    def test_a_split_of_mscoco_has_its_own_pool(self, tmp_path: Path) -> None:
        for task, split, name in [
            ("mscoco_task0", "test", "mbeir_mscoco_task0_test_cand_pool.jsonl"),
            ("mscoco_task3", "val", "mbeir_mscoco_task3_val_cand_pool.jsonl"),
            ("cirr_task7", "test", "mbeir_cirr_task7_cand_pool.jsonl"),
        ]:
            builder = MBEIRBuilder(config_name="triplets", task=task, split=split, cache_dir=str(tmp_path))
            assert builder._pool_file() == f"cand_pool/local/{name}"


class TestBuilding:
    def test_missing_sets_are_built_from_downloaded_repositories(self, tmp_path: Path, told: Told) -> None:
        repo = tmp_path / "hub" / "TIGER-Lab" / "MMEB-eval"
        rows = [
            {
                "qry_text": "<|image_1|>\nIdentify the country.",
                "qry_img_path": f"Country211/{number}.jpg",
                "tgt_text": [f"land {number} yes", "land 7", "land 8"],
                "tgt_img_path": ["", "", ""],
            }
            for number in range(2)
        ]
        parquet(repo / "Country211" / "test-00000-of-00001.parquet", rows)
        card(repo, {"Country211": {"test": "Country211/test-*.parquet"}})
        with zipfile.ZipFile(repo / "images.zip", "w") as archive:
            for number in range(2):
                archive.writestr(f"images/Country211/{number}.jpg", picture(number))
        done = run("mmeb-v1", "--data", tmp_path / "data", "--local", tmp_path / "hub", "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        report = json.loads((tmp_path / "out" / "results.json").read_text())
        [score] = report["sets"]
        assert score["name"] == "Country211" and score["value"] == 1.0 and score["queries"] == 2
        assert score["revisions"]["TIGER-Lab/MMEB-eval"] == "local folder"
        assert len(report["missing"]) == 35 and report["missing"][0]["reason"].startswith("could not be built: ")
        assert (tmp_path / "data" / "mmeb-eval" / "Country211" / "README.md").is_file()

    def test_grades_come_with_the_pages(self, tmp_path: Path) -> None:
        name = "MMLongBench-doc"
        repo = tmp_path / "hub" / repository_of(name)
        pages = [{"corpus-id": number, "image": {"bytes": picture(number), "path": None}} for number in range(4)]
        features = Features({"corpus-id": Value("int64"), "image": Image()})
        (repo / "corpus").mkdir(parents=True)
        Dataset.from_list(pages, features=features).to_parquet(repo / "corpus" / "test.parquet")
        parquet(repo / "queries" / "test.parquet", [{"query-id": 0, "query": "What?"}])
        grades = [(0, 1), (2, 3), (2, 1), (3, 0)]  # a page judged twice has the higher grade; 0 is not right
        judged = [{"query-id": 0, "corpus-id": page, "score": grade} for page, grade in grades]
        parquet(repo / "qrels" / "test.parquet", judged)
        card(repo, {one: {"test": f"{one}/test.parquet"} for one in ("corpus", "queries", "qrels")})
        report = evaluated(V2, tmp_path / "data", lambda query, document: 0.0, build=True, local=tmp_path / "hub")
        [score] = report.scores
        assert sorted(score.predictions[0].grades.values()) == [1.0, 3.0] and score.documents == 4
        place = {document: rank for rank, document in enumerate(score.predictions[0].ranking, 1)}
        gained = sum(grade / math.log2(place[one] + 1) for one, grade in score.predictions[0].grades.items())
        assert score.value == pytest.approx(gained / (3 + 1 / math.log2(3)))


class TestCommand:
    def test_results_are_written_and_not_written_over(self, tmp_path: Path, told: Told) -> None:
        write_mmeb(tmp_path / "data", "CIRR")
        words = ("mmeb-v1", "--data", tmp_path / "data", "--out", tmp_path / "out")
        done = run(*words)
        assert done.exit_code == 0 and "results.png" in done.output, done.output
        report = json.loads((tmp_path / "out" / "results.json").read_text())
        assert set(report) >= {"suite", "title", "run", "sample", "partial", "tables", "sets", "missing", "notes"}
        assert report["run"]["model"] == "told" and report["run"]["model_revision"] == "r1"
        assert report["tables"][0]["lines"][0]["values"]["retrieval"] == {
            "value": 50.0, "counted": 1, "of": 12, "short": 1,
        }  # fmt: skip
        page = (tmp_path / "out" / "results.md").read_text()
        assert "Nyx, Table 2" in page and "| MMRet | Nyx, Table 2 | 47.2 |" in page and "c0ffee" in page
        assert "nyx-hf build mmeb-eval --subset N24News" in page and str(tmp_path) not in page
        assert "RzenEmbed, Table 1" in done.output and "MMRet" not in done.output  # a screen has the papers' own
        done = run(*words)
        assert done.exit_code == 1 and "pass --overwrite to replace it" in done.output
        assert run(*words, "--overwrite").exit_code == 0

    def test_the_card_s_index_gets_the_figures_and_only_the_newest(self, tmp_path: Path, told: Told) -> None:
        write_mmeb(tmp_path / "data", "CIRR")
        model = tmp_path / "my-model"
        model.mkdir()
        (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# My model\n\nIt embeds.\n")
        words = ("mmeb-v1", "--data", tmp_path / "data", "--card", model)
        assert run(*words).exit_code == 0
        made = ModelCard.load(model / "README.md")
        by_config = {result.dataset_config: result for result in made.data.eval_results}
        overall = by_config["mmeb-v1, overall (1 of 36 sets)"]
        assert (overall.metric_name, overall.metric_value, overall.dataset_type) == (
            "hit@1",
            0.5,
            "TIGER-Lab/MMEB-eval",
        )
        assert made.data.license == "apache-2.0" and made.data.model_name == "my-model"
        assert "It embeds." in made.text and "## Results: MMEB, version 1" in made.text
        assert run(*words, "--limit", 2).exit_code == 0
        again = ModelCard.load(model / "README.md")
        assert len(again.data.eval_results) == len(by_config)
        assert all("SAMPLE of 2 queries a set" in result.dataset_config for result in again.data.eval_results)
        assert again.text.count("## Results: MMEB, version 1") == 1 and "**SAMPLE: at most 2" in again.text

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("mmeb-v3",), "there is no suite 'mmeb-v3' (did you mean 'mmeb-v"),
            (("mbeir",), "there is no suite 'mbeir' (did you mean 'm-beir'?); there are mmeb-v1, mmeb-v2, m-beir"),
            (("mmeb-v1", "--data", "nowhere"), "found no folder nowhere, expected the folder of datasets"),
            (("mmeb-v1", "--data", "."), "none of the 36 sets of mmeb-v1 is in .: ImageNet-1K is not built; run: "),
            (("m-beir", "--data", "."), "none of the 16 tasks of m-beir is in .: visualnews_task0 is not built"),
            (("mmeb-v1", "--data", ".", "--dims", "a"), "found --dims a, expected whole numbers above 0"),
            (("mmeb-v1", "--data", ".", "--card", "."), "found no README.md in ., expected a model's folder"),
            (("m-beir", "--data", ".", "--held-out", "night_task4"), "(did you mean 'nights_task4'?)"),
        ],
    )
    def test_bad_input_is_one_line(self, work_dir: Path, told: Told, words: tuple[str, ...], said: str) -> None:
        done = run(*words)
        assert done.exit_code == 1 and said in done.output and done.output.count("error:") == 1, done.output

    def test_dims_above_the_model_s(self, tmp_path: Path, tiny_folder: Path) -> None:
        words = ["evaluate", "mmeb-v1", "--data", str(tmp_path), "--dims", "4096"]
        done = CliRunner().invoke(app, [*words, "--model", str(tiny_folder)])
        assert done.exit_code == 1 and "found --dims 4096, expected at most 64: tiny-nyx" in done.output
        done = CliRunner().invoke(app, [*words, "--model", "bm25"])
        assert done.exit_code == 1 and "found --dims for bm25, which ranks by words" in done.output

    def test_a_dataset_of_another_kind(self, work_dir: Path, told: Told) -> None:
        write_mmeb(work_dir / "data", "CIRR").rename(work_dir / "data" / "mmeb-eval" / "N24News")
        done = run("mmeb-v1")
        assert done.exit_code == 1 and "found queries whose source is CIRR in data/mmeb-eval/N24News" in done.output
        (work_dir / "data" / "mmeb-eval" / "N24News").rename(work_dir / "elsewhere")
        (work_dir / "data" / "mmeb-eval" / "CIRR").mkdir()
        done = run("mmeb-v1")
        assert "found no dataset of corpus, queries and triplets in data/mmeb-eval/CIRR" in done.output

    def test_lists_and_help(self) -> None:
        listed = CliRunner().invoke(app, ["evaluate", "--list"])
        assert listed.exit_code == 0 and "m-beir" in listed.output and "36 image sets" in listed.output
        assert set(json.loads(CliRunner().invoke(app, ["evaluate", "--list", "--json"]).output)) == set(suites.SUITES)
        shown = CliRunner().invoke(app, ["evaluate", "m-beir", "--help"])
        assert shown.exit_code == 0 and "--pool {local,global,both}" in shown.output and "--held-out" in shown.output
        wrong = CliRunner().invoke(app, ["evaluate", "m-beir", "--model", "bm25", "--pol", "local"])
        assert wrong.exit_code == 2


@dataclass
class OtherOptions:
    """What the suite below takes."""

    depth: int = option(1, "How deep.")


def test_another_suite_is_an_object_with_a_name(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the registry asks of a suite: name, summary, options, run."""
    write_mmeb(tmp_path, "CIRR")
    asked: list[Evaluation] = []

    def run_it(evaluation: Evaluation) -> SuiteReport:
        asked.append(evaluation)
        return evaluated(V1, tmp_path)

    other = SimpleNamespace(name="other", summary="Another.", options=OtherOptions, run=run_it)
    monkeypatch.setitem(suites.SUITES, "other", "suite_mmeb:OTHER")
    monkeypatch.setattr("nyx_hf.suite_mmeb.OTHER", other, raising=False)
    assert run("other", "--data", tmp_path, "--depth", 7, "--dims", "").exit_code == 0
    assert asked[0].options == OtherOptions(7) and asked[0].searcher is told
    assert "Another." in CliRunner().invoke(app, ["evaluate", "--list"]).output
