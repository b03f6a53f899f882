"""Triplet rows to batches, and rows of several datasets joined."""

from typing import Any

import pytest
import torch
from PIL import Image

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.collator import RetrievalCollator, document_id
from nyx_hf.trainer.losses import PADDING_ID
from nyx_hf.trainer.training_rows import JoinedRows


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def row(number: int, images: list[Image.Image], **changes: Any) -> dict[str, Any]:
    """A row with `number` hard negatives; its positive is a text with a picture."""
    return {
        "query": text(f"query {number}"),
        "instruction": None,
        "positive": {"content": [*text("a picture:")["content"], {"type": "image", "image": images[number]}]},
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
    names = ["p0", "p2", "p1", "n20", "n21", "n10"]
    assert batch["document_ids"].tolist() == [document_id("d", name) for name in names]
    assert batch["known_ids"].tolist() == [
        [document_id("d", "p0"), document_id("d", "also right")],
        [document_id("d", "p2"), PADDING_ID],
        [document_id("d", "p1"), PADDING_ID],
    ]
    assert all(batch[name].dtype == torch.int64 for name in ("negative_owner", "document_ids", "known_ids"))
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
    contents = [each["positive"] for each in rows] + [item for each in rows for item in each["negatives"]]
    for found, item in zip(documents, contents, strict=True):
        torch.testing.assert_close(found, encode(item), rtol=0, atol=1e-5)


def test_negatives_per_query(tiny_model: NyxModel, rows: list[dict[str, Any]]) -> None:
    one = RetrievalCollator(tiny_model.processor, negatives_per_query=1)(rows)
    assert one["negative_owner"].tolist() == [1, 2]
    assert one["document_ids"][3:].tolist() == [document_id("d", "n20"), document_id("d", "n10")]
    none = RetrievalCollator(tiny_model.processor, negatives_per_query=0)(rows)
    assert none["negative_owner"].shape == (0,) and none["negative_owner"].dtype == torch.int64
    assert len(none["document"]["input_ids"]) == 3


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

    def positive_ids(self, index: int) -> list[str]:
        return [f"p{index}"]


class TestJoinedRows:
    def test_rows_in_order(self) -> None:
        joined = JoinedRows([Named("a", 2), Named("empty", 0), Named("b", 3)])
        assert len(joined) == 5
        found = [(joined[i]["dataset"], joined[i]["row"]) for i in range(5)]
        assert found == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
        assert [joined.positive_ids(i) for i in (1, 3)] == [["a/p1"], ["b/p1"]]

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match="name one or more, each once"):
            JoinedRows([])
        with pytest.raises(ValueError, match="each once"):
            JoinedRows([Named("a", 1), Named("a", 2)])
        for index in (-1, 1):
            with pytest.raises(IndexError, match="of 1"):
                JoinedRows([Named("a", 1)])[index]
