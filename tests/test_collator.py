"""Triplet rows to batches, and rows of several datasets joined."""

from typing import Any

import pytest
import torch
from PIL import Image

from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.collator import RetrievalCollator, document_id
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.loss_batch import PADDING_ID
from nyx_hf.trainer.training_rows import JoinedRows


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def row(number: int, images: list[Image.Image], **changes: Any) -> dict[str, Any]:
    """A row with `number` hard negatives; its positive is a text with a picture."""
    return {
        "query": text(f"query {number}"),
        "instruction": None,
        "positives": [{"content": [*text("a picture:")["content"], {"type": "image", "image": images[number]}]}],
        "negatives": [text(f"negative {number} {n}") for n in range(number)],
        "query_id": f"q{number}",
        "positive_ids": [f"p{number}"],
        "negative_ids": [f"n{number}{n}" for n in range(number)],
        "dataset": "d",
        "task": None,
        **changes,
    }


@pytest.fixture()
def rows(images: list[Image.Image]) -> list[dict[str, Any]]:
    return [
        row(0, images, positive_ids=["p0", "also right"]),
        row(2, images, instruction="Find it."),
        row(1, images, instruction=""),
    ]


def test_layout(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    batch = RetrievalCollator(tiny_model.processor)(rows)
    assert batch["negative_owner"].tolist() == [1, 1, 2]
    assert batch["positive_owner"].tolist() == [0, 1, 2]
    for side, names in (("positive", ["p0", "p2", "p1"]), ("negative", ["n20", "n21", "n10"])):
        assert batch[f"{side}_ids"].tolist() == [document_id("d", name) for name in names]
    assert batch["rows"] == [("d", "q0"), ("d", "q2"), ("d", "q1")]
    assert batch["known_ids"].tolist() == [
        [document_id("d", "p0"), document_id("d", "also right")],
        [document_id("d", "p2"), PADDING_ID],
        [document_id("d", "p1"), PADDING_ID],
    ]
    assert all(
        batch[name].dtype == torch.int64
        for name in ("positive_owner", "negative_owner", "positive_ids", "negative_ids", "known_ids")
    )
    assert len(batch["query"]["input_ids"]) == 3 and len(batch["document"]["input_ids"]) == 6
    assert len(batch["document"]["image_grid_thw"]) == 3 and "pixel_values" not in batch["query"]


def test_embeds_what_encode_embeds(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    """Queries get the row's instruction or the model's own prompt; documents stay in order."""
    batch = RetrievalCollator(tiny_model.processor, query_prompt="By default:\n")(rows)
    with torch.no_grad():
        queries = tiny_model(**batch["query"]).embeddings
        documents = tiny_model(**batch["document"]).embeddings

    def encode(item: Any, prompt: str | None = None) -> torch.Tensor:
        kwargs = {"prompt": prompt, "normalize_embeddings": False, "convert_to_tensor": True}
        return tiny_model.encode([item], **kwargs)[0]

    for found, each, prompt in zip(queries, rows, ("By default:\n", "Find it.", ""), strict=True):
        torch.testing.assert_close(found, encode(each["query"], prompt), rtol=0, atol=1e-5)
        assert (found - encode(each["query"], "Something else.")).abs().max() > 1e-3
    contents = [each["positives"][0] for each in rows] + [item for each in rows for item in each["negatives"]]
    for found, item in zip(documents, contents, strict=True):
        torch.testing.assert_close(found, encode(item), rtol=0, atol=1e-5)


def test_negatives_per_query(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    one = RetrievalCollator(tiny_model.processor, negatives_per_query=1)(rows)
    assert one["negative_owner"].tolist() == [1, 2]
    assert one["negative_ids"].tolist() == [document_id("d", "n20"), document_id("d", "n10")]
    none = RetrievalCollator(tiny_model.processor, negatives_per_query=0)(rows)
    assert none["negative_owner"].shape == (0,) and none["negative_owner"].dtype == torch.int64
    assert len(none["document"]["input_ids"]) == 3


def test_several_positives(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    rows[0]["positives"].append(text("also right"))
    batch = RetrievalCollator(tiny_model.processor)(rows)
    assert batch["positive_owner"].tolist() == [0, 0, 1, 2] and batch["negative_owner"].tolist() == [1, 1, 2]
    assert batch["positive_ids"].tolist() == [document_id("d", name) for name in ("p0", "also right", "p2", "p1")]
    assert len(batch["document"]["input_ids"]) == 7
    assert batch["known_ids"][0].tolist() == batch["positive_ids"][:2].tolist()


class TestScoresAndTasks:
    @pytest.fixture()
    def scored(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for number, one in enumerate(rows):
            count = len(one["negatives"])
            one |= {"positive_scores": [1.0 - number / 10], "negative_scores": [0.1 * n for n in range(count)]}
            one |= {"positive_recall_scores": [0.5], "negative_recall_scores": [0.4] * count}
        return rows

    def test_scores(self, tiny_model: NyxModel, scored: list[dict[str, Any]]) -> None:
        batch = RetrievalCollator(tiny_model.processor, scores=True, negatives_per_query=1)(scored)
        assert batch["positive_scores"].tolist() == pytest.approx([1.0, 0.9, 0.8])
        assert batch["negative_scores"].tolist() == pytest.approx([0.0, 0.0])
        fused = RetrievalCollator(tiny_model.processor, scores=True, alpha=0.25)(scored)
        assert fused["positive_scores"].tolist() == pytest.approx([0.25 * 0.5 + 0.75 * s for s in (1.0, 0.9, 0.8)])
        assert fused["negative_scores"].tolist() == pytest.approx([0.25 * 0.4 + 0.75 * s for s in (0.0, 0.1, 0.0)])
        assert "positive_scores" not in RetrievalCollator(tiny_model.processor)(scored)

    def test_missing_ones_name_the_row(self, tiny_model: NyxModel, scored: list[dict[str, Any]]) -> None:
        scored[1]["negative_scores"] = [0.1]
        with pytest.raises(ValueError, match="dataset 'd', query 'q2' has 1 negative_scores for 2 documents"):
            RetrievalCollator(tiny_model.processor, scores=True)(scored)
        del scored[2]["positive_recall_scores"]
        scored[1]["negative_scores"] = [0.1, 0.2]
        with pytest.raises(ValueError, match="query 'q1' has 0 positive_recall_scores for 1 documents"):
            RetrievalCollator(tiny_model.processor, scores=True, alpha=0.5)(scored)

    def test_tasks(self, tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
        for one, task in zip(rows, ("vqa", "retrieval", "vqa"), strict=True):
            one["task"] = task
        collator = RetrievalCollator(tiny_model.processor, tasks=("retrieval", "vqa"))
        assert collator(rows)["task"].tolist() == [1, 0, 1]
        rows[1]["task"] = None
        with pytest.raises(
            ValueError, match="query 'q2' has the task None; those with a temperature are retrieval, vqa"
        ):
            collator(rows)


def test_a_bad_content_names_its_row(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    collator = RetrievalCollator(tiny_model.processor)
    rows[2]["negatives"] = [{"content": [{"type": "sound"}]}]
    with pytest.raises(ValueError, match=r"dataset 'd', query 'q1': .*sound"):
        collator(rows)
    rows[1]["query"] = {"content": [{"type": "image", "image": b"no image"}]}
    with pytest.raises(ValueError, match="dataset 'd', query 'q2': "):
        collator(rows)


def test_document_ids_tell_datasets_apart() -> None:
    ids = {document_id(dataset, name) for dataset in "ab" for name in ("1", "2", "11")}
    assert len(ids) == 6 and min(ids) >= 0 and max(ids) < 2**63
    assert document_id("a", "1") == document_id("a", "1")
    assert document_id("ab", "c") != document_id("a", "bc")


class Named:
    def __init__(self, name: str, rows: int) -> None:
        self.name, self.rows = name, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"dataset": self.name, "row": index}

    def positives(self) -> Ragged:
        return Ragged.of_ids([[index] for index in range(self.rows)])


class TestJoinedRows:
    def test_rows_in_order(self) -> None:
        joined = JoinedRows([Named("a", 2), Named("empty", 0), Named("b", 3)])
        assert len(joined) == 5
        found = [(joined[i]["dataset"], joined[i]["row"]) for i in range(5)]
        assert found == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
        assert [rows.tolist() for rows in joined.positives()] == [[0], [1], [2], [3], [4]]
        assert [(source.name, source.rows) for source in joined.sources()] == [
            ("a", range(2)),
            ("empty", range(2, 2)),
            ("b", range(2, 5)),
        ]

    def test_specs(self) -> None:
        specs = [DatasetSpec("a", weight=2.0, task="vqa"), DatasetSpec("b", cap=1, group="g")]
        joined = JoinedRows([Named("a", 2), Named("b", 3)], specs)
        assert joined[1]["task"] == "vqa" and "task" not in joined[2]
        first, second = joined.sources()
        assert (first.weight, first.cap, first.group) == (2.0, None, None)
        assert (second.weight, second.cap, second.group) == (1.0, 1, "g")

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match="name one or more, each once"):
            JoinedRows([])
        with pytest.raises(ValueError, match="each once"):
            JoinedRows([Named("a", 1), Named("a", 2)])
        for index in (-1, 1):
            with pytest.raises(IndexError, match="of 1"):
                JoinedRows([Named("a", 1)])[index]


class TestDatasetSpec:
    def test_words(self) -> None:
        assert DatasetSpec.parse("owner/name@v2") == DatasetSpec("owner/name@v2")
        spec = DatasetSpec.parse('{"name": "owner/name@v2", "weight": 0.5, "cap": 10, "task": "vqa"}')
        assert (spec.folder_or_repo, spec.revision, spec.weight, spec.cap) == ("owner/name", "v2", 0.5, 10)
        assert DatasetSpec.parse("build:digits").builder == "digits" and DatasetSpec.parse("x").builder is None

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ('{"name": "a", "wieght": 1}', "unknown keys wieght; the keys are name, split, weight"),
            ('{"weight": 1}', "has no name"),
            ("", "a dataset has no name"),
        ],
    )
    def test_refusals(self, word: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            DatasetSpec.parse(word)
