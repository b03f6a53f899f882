"""`nyx-hf distill`: the teacher's scores and the retriever's, the control, the sample; a training step on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.distill import distill_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.pair_scoring import ScoreCache
from nyx_hf.reranker import NyxReranker
from nyx_hf.trainer.collator import RetrievalCollator
from tests.pictures import noise_image

COSINES = {"positive_scores": [0.5], "negative_scores": [0.6, 0.4, 0.2], "scorer": "finder@1"}


class Teacher:
    """Likes the document whose number is the query's, and counts what it is asked."""

    name = "teacher@2"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str | None]] = []

    def scores(self, query: Any, documents: Sequence[Any], instruction: str | None = None) -> np.ndarray:
        self.asked.append((query[0]["text"], len(documents), instruction))
        wanted = query[0]["text"].split()[-1]
        return np.array([0.9 if one[0]["text"].split()[-1] == wanted else 0.1 for one in documents], np.float32)


def words(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]


def mined(folder: Path, count: int = 20, **changes: Any) -> Path:
    corpus = [{"id": f"d{n}", "content": words(f"document {n}")} for n in range(count)]
    corpus[0]["content"].append({"type": "image", "image": noise_image(20, 20)})
    queries = [{"id": f"q{n}", "content": words(f"question {n}"), "instruction": "Find it."} for n in range(count)]
    triplets = [
        {
            "query_id": f"q{n}",
            "positive_ids": [f"d{n}"],
            "negative_ids": [f"d{(n + step) % count}" for step in (1, 2, 3)],
            **COSINES,
            **changes,
        }
        for n in range(count)
    ]
    facts = DatasetFacts(name="tiny", pretty_name="Tiny", summary="Tiny.", configs={}, default_config="preview")
    links = {"train": triplets, "test": triplets[:2]}
    return write_dataset(folder, {"train": corpus}, {"train": queries}, links, facts)


def triplets_of(folder: Path, split: str = "train") -> Dataset:
    return load_tables(folder, ("triplets",), None)["triplets"][split]


def test_teacher_and_retriever_stand_side_by_side(tmp_path: Path) -> None:
    teacher = Teacher()
    done = distill_dataset(mined(tmp_path / "hard"), teacher, tmp_path / "taught", fraction=0.25, negatives=2)
    assert done.queries == (5, 20) and done.pairs == 15 and done.teacher == "teacher@2"
    assert [count for _, count, _ in teacher.asked] == [3] * 5
    assert {instruction for _, _, instruction in teacher.asked} == {"Find it."}
    rows = triplets_of(tmp_path / "taught")
    for row in rows:
        assert row["positive_scores"] == pytest.approx([0.9]) and row["negative_scores"] == pytest.approx([0.1, 0.1])
        assert row["positive_recall_scores"] == [0.5] and row["negative_recall_scores"] == [0.6, 0.4]
        assert row["scorer"] == "teacher@2" and len(row["negative_ids"]) == 2
    assert done.agreement == {"retriever": 0.0, "teacher": 1.0}
    # the other split is as it was, and the corpus is whole
    assert triplets_of(tmp_path / "taught", "test")[0]["scorer"] == "finder@1"
    assert len(load_tables(tmp_path / "taught", ("corpus",), None)["corpus"]["train"]) == 20
    card = (tmp_path / "taught" / "README.md").read_text()
    assert "teacher@2" in card and "5 of its 20 triplets (seed 0)" in card


def test_the_objective_joins_both(tmp_path: Path, tiny_model: Any) -> None:
    distill_dataset(mined(tmp_path / "hard"), Teacher(), tmp_path / "taught", fraction=0.2)
    rows = TripletDataset.load(tmp_path / "taught", negatives_per_query=2)
    collator = RetrievalCollator(tiny_model.processor, scores=True, alpha=0.25, negatives_per_query=2)
    batch = collator([rows[0], rows[1]])
    assert batch["positive_scores"].tolist() == pytest.approx([0.25 * 0.5 + 0.75 * 0.9] * 2)
    assert batch["negative_scores"].tolist() == pytest.approx([0.25 * s + 0.75 * 0.1 for s in (0.6, 0.4)] * 2)


@pytest.mark.e2e
def test_the_recipe_trains_on_it(tmp_path: Path) -> None:
    distill_dataset(mined(tmp_path / "hard"), Teacher(), tmp_path / "taught", fraction=1.0)
    words = [f"datasets={tmp_path / 'taught'}", "distillation_alpha=0.25", "eval_dataset=null", "smoke=true"]
    done = CliRunner().invoke(
        app, ["train", "u_marvel_3_distillation", *words, f"output_dir={tmp_path / 'student'}"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "student" / "model.safetensors").is_file()


def test_the_control_takes_the_same_triplets(tmp_path: Path) -> None:
    hard = mined(tmp_path / "hard")
    distill_dataset(hard, Teacher(), tmp_path / "taught", fraction=0.3, seed=5)
    off = distill_dataset(hard, None, tmp_path / "control", fraction=0.3, seed=5)
    other = distill_dataset(hard, None, tmp_path / "other", fraction=0.3, seed=6)
    asked = [triplets_of(tmp_path / name)["query_id"][:] for name in ("taught", "control", "other")]
    assert asked[0] == asked[1] != asked[2] and off.pairs == 0 and other.queries == (6, 20)
    [row, *_] = triplets_of(tmp_path / "control")
    assert row["positive_scores"] == [0.5] and row["positive_recall_scores"] is None and row["scorer"] == "finder@1"


def test_a_larger_share_holds_the_smaller_one(tmp_path: Path) -> None:
    hard = mined(tmp_path / "hard")
    found = []
    for share in (0.1, 0.5, 1.0):
        distill_dataset(hard, None, tmp_path / str(share), fraction=share)
        found.append(set(triplets_of(tmp_path / str(share))["query_id"]))
    assert found[0] < found[1] < found[2] and len(found[2]) == 20


@pytest.mark.parametrize(
    ("changes", "how", "line"),
    [
        ({"negative_ids": [], "negative_scores": []}, {}, "lack negatives with scores in row 0.*nyx-hf mine"),
        ({"negative_scores": None}, {}, "lack negatives with scores in row 0"),
        ({"negative_scores": [12.5, 3, 1], "scorer": "bm25"}, {}, "lack cosines in row 0, whose scores are of bm25"),
        ({"positive_recall_scores": [0.5]}, {}, "lack a retriever's own scores in row 0, which finder@1 scored"),
        ({}, {"fraction": 0.0}, "found fraction=0.0"),
        ({}, {"negatives": 0}, "negatives=0, expected"),
        ({}, {"split": "test"}, "found the split 'test', expected one to train on"),
        ({}, {"split": "nowhere"}, "expected 'nowhere'; name the one to train on with --split"),
    ],
)
def test_bad_input(tmp_path: Path, changes: dict[str, Any], how: dict[str, Any], line: str) -> None:
    hard = mined(tmp_path / "hard", **changes)
    with pytest.raises(ValueError, match=line):
        distill_dataset(hard, Teacher(), tmp_path / "taught", **how)
    assert not (tmp_path / "taught").exists()


class TestCommand:
    def test_a_real_reranker_scores_and_nothing_is_asked_twice(
        self, tmp_path: Path, tiny_backbones: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        plain = NyxReranker.scores

        def counted(self: NyxReranker, query: Any, documents: Sequence[Any], instruction: str | None = None) -> Any:
            asked.append(len(documents))
            return plain(self, query, documents, instruction)

        monkeypatch.setattr(NyxReranker, "scores", counted)
        monkeypatch.setattr(ScoreCache.__init__, "__defaults__", (tmp_path / "scores",))
        hard, words = mined(tmp_path / "hard"), ["--reranker", str(tiny_backbones["qwen2_vl"]), "--fraction", "0.2"]
        for out in ("first", "again"):
            done = CliRunner().invoke(app, ["distill", str(hard), "--out", str(tmp_path / out), "--json", *words])
            assert done.exit_code == 0, done.output
        assert asked == [4] * 4  # the second run found all scores
        rows = [triplets_of(tmp_path / out)[:] for out in ("first", "again")]
        assert rows[0] == rows[1]
        spread = [score for scores in rows[0]["negative_scores"] for score in scores]
        assert 0 < min(spread) < max(spread) < 1

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ([], "name the teacher, or say --teacher off"),
            (["--teacher", "off", "--reranker", "x"], "name the teacher, or say --teacher off"),
            (["--teacher", "maybe"], "found 'maybe', expected on or off"),
        ],
    )
    def test_words_that_do_not_fit(self, tmp_path: Path, words: list[str], line: str) -> None:
        done = CliRunner().invoke(app, ["distill", "nowhere", "--out", str(tmp_path / "out"), *words])
        assert done.exit_code == 2 and line in " ".join(done.output.replace("│", " ").split())
