"""U-MARVEL's unseen sets: each upstream layout becomes queries with their candidates, and is scored as LamRA does."""

import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from suite_cases import Told, write_set
from test_public_sets import build, table
from test_video_sets import made
from typer.testing import CliRunner
from zero_shot_cases import expected, put, upstream

from nyx_hf.cli import app
from nyx_hf.data_builders.zero_shot_sets import LAYOUTS
from nyx_hf.data_builders.zero_shot_tasks import LAMRA, MATCHING, TASKS, task_named
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.published import published
from nyx_hf.results import SuiteReport
from nyx_hf.suite_zero_shot import IMAGES, NAMES, SUITE
from nyx_hf.suites import Evaluation

_CONFIGS = ("corpus", "queries", "triplets")
SCORED = (
    *("flickr30k-i2t", "circo", "genecis-change-attribute", "genecis-focus-attribute"),
    *("fashioniq-rounds", "cc-neg", "msvd"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tasks, built from downloaded repositories, where `nyx-hf evaluate` looks."""
    root = tmp_path_factory.mktemp("unseen")
    upstream(root)
    for task in TASKS:
        done = build(root, "zero-shot", "--task", task.name, out=f"data/zero-shot/{task.name}")
        assert done.exit_code == 0, done.output
    return root


class TestBuilder:
    def test_the_tasks_are_those_of_the_paper(self) -> None:
        assert len(set(NAMES)) == len(TASKS) == 23
        assert {task.layout for task in TASKS} == set(LAYOUTS)
        shown = [name for names in IMAGES.values() for name in names]
        assert sorted([*shown, "msr-vtt", "msvd"]) == sorted(NAMES)
        assert {task.name: task.metric for task in TASKS if task.metric != "hit@1"} == {
            "circo": "map@5",
            "fashioniq-rounds": "hit@5",
        }
        assert {task.layout for task in TASKS if task.own} == {"genecis", "cc-neg", "sugarcrepe"}
        assert len([task for task in TASKS if task.kind == MATCHING]) == 8

    @pytest.mark.parametrize("task", NAMES)
    def test_rows_become_queries_with_their_candidates(self, built: Path, task: str) -> None:
        asked, corpus, _ = made(built, f"data/zero-shot/{task}")
        assert (asked, len(corpus)) == expected(task)

    def test_a_limit_keeps_all_candidates(self, built: Path) -> None:
        for task, documents in {"flickr30k-t2i": 2, "flickr30k-i2t": 10, "circo": 12, "cc-neg": 2}.items():
            done = build(built, "zero-shot", "--task", task, "--limit", 1, out=f"limited/{task}")
            assert done.exit_code == 0, done.output
            asked, corpus, _ = made(built, f"limited/{task}")
            assert len(asked) == 1 and len(corpus) == documents, task

    def test_what_is_missing_is_counted(self, tmp_path: Path) -> None:
        repo = upstream(tmp_path) / LAMRA
        (repo / "Urban1k/caption/2.txt").unlink()
        done = build(tmp_path, "zero-shot", "--task", "urban1k-t2i")
        assert done.exit_code == 0 and "row: a text is missing" in done.output, done.output
        (repo / "circo/images/unlabeled2017" / f"{7:012d}.jpg").unlink()
        (repo / "circo/images/unlabeled2017" / f"{4:012d}.jpg").unlink()
        done = build(tmp_path, "zero-shot", "--task", "circo", out="circo")
        assert done.exit_code == 0 and "candidate, image: file is missing" in done.output
        asked, corpus, _ = made(tmp_path, "circo")
        assert len(asked) == 3 and len(corpus) == 10
        rows = {"0": {"filename": "0.jpg", "caption": "Same.", "negative_caption": "Same."}}
        put(repo / "sugar-crepe/data/swap_obj.json", rows)
        done = build(tmp_path, "zero-shot", "--task", "sugarcrepe-swap-obj", out="crepe")
        assert done.exit_code == 1 and "row: the wrong candidates are the right one" in done.output

    def test_other_layouts_and_wrong_settings_are_one_line(self, tmp_path: Path) -> None:
        repo = upstream(tmp_path) / LAMRA
        put(repo / "sugar-crepe/data/add_obj.json", {"0": {"filename": "0.jpg", "caption": "x"}})
        done = build(tmp_path, "zero-shot", "--task", "sugarcrepe-add-obj")
        assert done.exit_code == 1 and (
            f"{LAMRA} at local folder, sugar-crepe/data/add_obj.json row 0: the column 'negative_caption' is missing"
        ) in " ".join(done.output.split())
        torch.save({"annotations": [Path("x")], "image_paths": ["x"]}, repo / "ccneg/ccneg_preprocessed.pt")
        done = build(tmp_path, "zero-shot", "--task", "cc-neg")
        assert done.exit_code == 1 and "found more than plain values, which are not loaded" in done.output
        done = build(tmp_path, "zero-shot", "--task", "flickr30-t2i")
        assert done.exit_code == 1 and (
            "there is no zero-shot task 'flickr30-t2i' (did you mean 'flickr30k-t2i'?)" in done.output
        )
        done = build(tmp_path, "zero-shot", "--task", "circo", "--images", tmp_path / "nowhere")
        assert done.exit_code == 1 and "the images of circo are not at hand" in done.output
        done = build(tmp_path, "zero-shot", "--task", "msvd", "--images", tmp_path / "nowhere")
        assert done.exit_code == 1 and "the videos of msvd are not at hand" in done.output

    def test_images_may_lie_in_an_archive(self, built: Path, tmp_path: Path) -> None:
        archive = shutil.make_archive(str(tmp_path / "flickr"), "zip", built / "hub" / LAMRA / "flickr" / "images")
        done = build(built, "zero-shot", "--task", "flickr30k-t2i", "--images", archive, out="zipped")
        assert done.exit_code == 0, done.output
        assert made(built, "zipped")[0] == expected("flickr30k-t2i")[0]


def run(data: Path, score: Any, **how: Any) -> SuiteReport:
    return SUITE.run(Evaluation(searcher=Told(score), data=data, **how))


def write_task(data: Path, name: str, queries: dict[str, tuple[dict[str, float], list[str]]], more: Any = ()) -> None:
    documents = dict.fromkeys([*(one for right, wrong in queries.values() for one in (*right, *wrong)), *more])
    task = task_named(name)
    write_set(data / "zero-shot" / name, list(documents), queries, source=name, task=task.kind)


class TestSuite:
    @pytest.mark.e2e
    def test_it_scores_as_lamra_does(self, built: Path, tiny_folder: Path, tmp_path: Path) -> None:
        """From embeddings, worked out query by query as LamRA's evaluation does."""
        data = tmp_path / "data" / "zero-shot"
        for name in SCORED:
            shutil.copytree(built / "data" / "zero-shot" / name, data / name)
        words = ["zero-shot", "--model", tiny_folder, "--data", tmp_path / "data", "--cache", tmp_path / "cache"]
        done = CliRunner().invoke(app, ["evaluate", *map(str, words), "--json"])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        values = {one["name"]: one["value"] for one in report["sets"]}
        assert set(values) == set(SCORED) and len(report["missing"]) == len(NAMES) - len(SCORED)
        model = NyxModel.from_pretrained(tiny_folder)
        for name in SCORED:
            assert values[name] == pytest.approx(by_the_book(model, data / name)), name
        assert len({round(value, 6) for value in values.values()}) > 2 and 0 < values["circo"] < 1
        ours = report["tables"][0]["lines"][0]["values"]
        attributes = [values[name] for name in SCORED if name.startswith("genecis")]
        assert ours["GeneCIS"] == {"value": pytest.approx(100 * fmean(attributes)), "counted": 2, "of": 4, "short": 0}
        assert report["tables"][1]["lines"][0]["values"]["MSVD R@10"]["value"] == 100.0  # of one video
        [circo] = [one for one in report["sets"] if one["name"] == "circo"]
        assert circo["partial"] == ["4 queries, the benchmark has 800"] and circo["documents"] == 12

    def test_missing_tasks_are_listed_with_what_builds_them(self, tmp_path: Path) -> None:
        write_task(tmp_path, "visdial", {"a": ({"a1": 1.0}, [])}, ["b1"])
        report = run(tmp_path, lambda query, document: float(document.startswith(query)))
        [score] = report.scores
        assert score.value == 1.0 and score.documents == 2 and len(report.missing) == 22
        assert report.missing[0].command == ("nyx-hf build zero-shot --task sharegpt4v-t2i --out sharegpt4v-t2i")
        with pytest.raises(ValueError, match="none of the 23 tasks of zero-shot .* sharegpt4v-t2i is not built"):
            run(tmp_path / "nowhere", lambda query, document: 0.0)

    def test_what_is_missing_is_built_from_downloaded_repositories(self, built: Path, tmp_path: Path) -> None:
        visdial = Path(LAMRA) / "visdial"
        shutil.copytree(built / "hub" / visdial, tmp_path / "hub" / visdial)
        report = run(tmp_path / "data", lambda query, document: 0.0, build=True, local=tmp_path / "hub")
        [score] = report.scores
        assert score.name == "visdial" and score.queries == 2 and score.revisions[LAMRA] == "local folder"
        reasons = {one.name: one.reason for one in report.missing}
        assert "there is no circo/annotations/val.json" in reasons["circo"] and len(reasons) == 22

    def test_equal_scores_are_wrong_where_two_texts_compete(self, tmp_path: Path) -> None:
        for name in ("cc-neg", "sugarcrepe-add-att"):
            write_task(tmp_path, name, {"a": ({"a1": 1.0}, ["x"]), "b": ({"b1": 1.0}, ["y"])})
        report = run(tmp_path, lambda query, document: 1.0)
        assert [score.value for score in report.scores] == [0.0, 0.0]
        report = run(tmp_path, lambda query, document: 1.0 + (document == "a1"))
        assert [score.value for score in report.scores] == [0.5, 0.5]
        assert report.tables[0].metrics["CC-Neg"] == "accuracy"

    def test_map_is_over_at_most_five_right_documents(self, tmp_path: Path) -> None:
        right = {f"r{number}": 1.0 for number in range(7)}
        write_task(tmp_path, "circo", {"a": (right, [])}, ["x0", "x1"])
        order = ["r0", "x0", "r1", "r2", "x1"]
        [score] = run(tmp_path, lambda query, document: -float(([*order, document]).index(document))).scores
        assert score.value == pytest.approx((1 + 2 / 3 + 3 / 4) / 5)
        assert run(tmp_path, lambda query, document: 0.0).tables[0].metrics["CIRCO"] == "map@5"

    def test_held_out_tasks_stand_apart_and_a_misspelt_one_suggests_the_nearest(self, tmp_path: Path) -> None:
        write_task(tmp_path, "visdial", {"a": ({"a1": 1.0}, [])}, ["b1"])
        report = run(tmp_path, lambda query, document: float(document == "a1"), held_out=("visdial",))
        assert [table.key for table in report.tables] == ["zero-shot", "videos", "held-out"]
        assert report.tables[2].metrics == {"visdial": "recall@1"}
        with pytest.raises(ValueError, match=r"there is no set 'visdail' in zero-shot \(did you mean 'visdial'\?\)"):
            run(tmp_path, lambda query, document: 0.0, held_out=("visdail",))

    def test_published_figures(self) -> None:
        images, videos = published("zero-shot"), published("zero-shot", "videos")
        assert len(images) == 10 and len(videos) == 9
        by_model = {row.model: row.figures for row in images}
        assert set(by_model["U-MARVEL"]) == set(IMAGES)
        assert by_model["U-MARVEL"]["CIRCO"] == 36.2 and by_model["U-MARVEL⁺, reranked"]["Visual Dialog"] == 77.6
        assert "CIRCO" not in by_model["UniME"] and by_model["MagicLens-L"]["Urban-1K i → t"] == 24.2
        assert {row.model: row.figures for row in videos}["LLaVE-7B"] == {
            "MSR-VTT R@1": 46.8, "MSR-VTT R@5": 71.1, "MSR-VTT R@10": 80.0,
            "MSVD R@1": 52.9, "MSVD R@5": 80.1, "MSVD R@10": 87.0,
        }  # fmt: skip
        assert all(
            row.figures[f"{name} R@1"] < row.figures[f"{name} R@5"] < row.figures[f"{name} R@10"]
            for row in videos if row.model != "ViCLIP" for name in ("MSR-VTT", "MSVD")
        )  # fmt: skip
        best = {"ShareGPT4V t → i": "UniME", "Urban-1K t → i": "U-MARVEL", "SugarCrepe": "U-MARVEL"}  # printed bold
        for figure, model in best.items():
            single = {row.model: row.figures.get(figure, 0.0) for row in images if "reranked" not in row.model}
            assert max(single, key=lambda one: single[one]) == model


def by_the_book(model: NyxModel, folder: Path) -> float:
    """A task's metric by LamRA's own steps: cosines, the first k, and for CIRCO precision at each right one."""
    corpus, asked, links = (table(folder.parent, config, "test", folder.name) for config in _CONFIGS)
    task = task_named(folder.name)
    names = [row["id"] for row in corpus]
    how = {"show_progress_bar": False}
    documents = model.encode_document([{"content": row["content"]} for row in corpus], **how)
    queries = model.encode_query([{"content": row["content"]} for row in asked], prompt=task.instruction, **how)
    values = []
    for query, link in zip(queries, links, strict=True):
        scores = dict(zip(names, (documents @ query).tolist(), strict=True))
        right, wrong = link["positive_ids"], link["negative_ids"]
        if task.kind == MATCHING:
            values.append(float(scores[right[0]] > scores[wrong[0]]))
            continue
        ranking = sorted([*right, *wrong] if task.own else names, key=lambda one: -scores[one])
        found = [one in right for one in ranking[:5]]
        if task.metric == "map@5":
            precisions = [sum(found[: rank + 1]) / (rank + 1) for rank in range(len(found)) if found[rank]]
            values.append(sum(precisions) / min(len(right), 5))
        else:
            values.append(float(any(found[: int(task.metric.split("@")[1])])))
    return fmean(values)
