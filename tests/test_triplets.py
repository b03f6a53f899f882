"""Joining triplets with their contents, for our trainer and for sentence-transformers."""

import pickle

import jinja2
import numpy as np
import pytest
from datasets import Dataset
from PIL import Image
from sentence_transformers.base.data_collator import BaseDataCollator
from sentence_transformers.base.modality import InputFormatter

from nyx_hf.data_builders.checks import checked_rows
from nyx_hf.data_builders.schema import FEATURES, SchemaError
from nyx_hf.data_builders.triplets import TripletDataset, to_sentence_transformers
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.modeling.content_nyx import parse_content

COLORS = ("red", "lime", "blue", "white", "black")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def text(words):
    return {"type": "text", "text": words}


def image(color):
    return {"type": "image", "image": Image.new("RGB", (4, 4), color)}


def rows():
    corpus = [{"id": f"d{n}", "content": [text(f"{c} is "), image(c), text("!")]} for n, c in enumerate(COLORS)]
    corpus.append(
        {"id": "d5", "content": [{"type": "video", "video": [image("red")["image"], image("blue")["image"]]}]}
    )
    queries = [
        {"id": "q0", "content": [text("what is red?")], "task": "colour", "instruction": "Find the colour."},
        {"id": "q1", "content": [image("blue"), text("?")]},
        {"id": "q2", "content": [image("white"), text(" then "), image("black")]},
    ]
    triplets = [
        {"query_id": "q1", "positive_ids": ["d2", "d5"], "negative_ids": ["d3"]},
        {"query_id": "q0", "positive_ids": ["d0"], "negative_ids": ["d4", "d1", "d2"]},
        {"query_id": "q2", "positive_ids": ["d3"]},
    ]
    return corpus, queries, triplets


def table(config, content):
    return Dataset.from_list(list(checked_rows(config, "train", content)), features=FEATURES[config])


def tables():
    return [table(config, content) for config, content in zip(("corpus", "queries", "triplets"), rows(), strict=True)]


def joined(**options):
    return TripletDataset(*tables(), name="colours", **options)


def color_of(picture):
    return picture.convert("RGB").getpixel((0, 0))


def test_a_row_joins_query_positive_and_negatives():
    dataset = joined(negatives_per_query=2)
    assert len(dataset) == 3
    row = dataset[1]
    assert row["query"] == {"content": [text("what is red?")]}
    assert [part["type"] for part in row["positives"][0]["content"]] == ["text", "image", "text"]
    assert set(row["positives"][0]["content"][1]) == {"type", "image"}
    assert color_of(row["positives"][0]["content"][1]["image"]) == (255, 0, 0)
    assert [item["content"][0]["text"] for item in row["negatives"]] == ["black is ", "lime is "]
    assert row["negative_ids"] == ["d4", "d1"] and row["positive_ids"] == ["d0"] and row["query_id"] == "q0"
    assert row["instruction"] == "Find the colour." and row["task"] == "colour" and row["dataset"] == "colours"
    assert dataset[0]["positive_ids"] == ["d2", "d5"] and dataset[0]["task"] is None


def test_negatives_are_ragged_and_the_first_ones():
    counts = {
        n: [len(row["negatives"]) for row in map(joined(negatives_per_query=n).__getitem__, range(3))]
        for n in (0, 1, 9)
    }
    assert counts == {0: [0, 0, 0], 1: [1, 1, 0], 9: [1, 3, 0]}
    assert joined()[2]["negative_ids"] == [] and joined()[1]["negative_ids"] == ["d4"]
    assert joined().negative_counts().tolist() == [1, 3, 0]


def test_contents_are_what_the_model_parses():
    for row in map(joined(negatives_per_query=3).__getitem__, range(3)):
        for item in (row["query"], *row["positives"], *row["negatives"]):
            assert [part.type for part in parse_content(item).parts] == [part["type"] for part in item["content"]]


def test_several_positives():
    first, all_of_them = joined()[0], joined(positives_per_query=9)[0]
    assert len(first["positives"]) == 1 and len(all_of_them["positives"]) == 2
    assert all_of_them["positives"][0]["content"][0] == first["positives"][0]["content"][0]
    assert first["positive_ids"] == all_of_them["positive_ids"] == ["d2", "d5"]
    with pytest.raises(ValueError, match="positives_per_query=0"):
        joined(positives_per_query=0)


def scored(**columns):
    corpus, queries, triplets = tables()
    defaults = {
        "positive_scores": [[1.0, 0.5], [0.9], [0.8]],
        "negative_scores": [[0.1], [0.3, 0.2, 0.1], []],
    }
    for name, values in {**defaults, **columns}.items():
        triplets = triplets.remove_columns([name]) if name in triplets.column_names else triplets
        triplets = triplets if values is None else triplets.add_column(name, values)
    return TripletDataset(corpus, queries, triplets, negatives_per_query=2, positives_per_query=2)


def test_scores_come_with_the_documents_given():
    dataset = scored(
        positive_recall_scores=[[0.7, 0.6], [0.5], [0.4]], negative_recall_scores=[[0.0], [0.1, 0.2, 0.3], []]
    )
    dataset.check_scores()
    dataset.check_scores("_recall_scores")
    assert dataset[0]["positive_scores"] == [1.0, 0.5] and dataset[1]["negative_scores"] == [0.3, 0.2]
    assert dataset[1]["negative_recall_scores"] == [0.1, 0.2] and "negative_scores" not in dataset[2]
    assert "positive_scores" not in joined()[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"positive_scores": None}, "triplets: found the columns .* expected 'positive_scores'; score the documents"),
        (
            {"negative_scores": [[0.1], [0.3], []]},
            r"triplets row 1 \(id 'q0'\): found 1 negative_scores for 3 documents",
        ),
        ({"positive_scores": [None, [0.9], [0.8]]}, r"row 0 .* found 0 positive_scores for 2 documents"),
    ],
)
def test_missing_scores_are_named(columns, message):
    with pytest.raises(SchemaError, match=message):
        scored(**columns).check_scores()


def test_positive_ids_decode_no_image(monkeypatch):
    dataset = joined()
    dataset[0]

    def refuse(*_args, **_kwargs):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr("datasets.features.image.Image.decode_example", refuse)
    assert [dataset.corpus["id"][row] for rows in dataset.positives() for row in rows] == ["d2", "d5", "d0", "d3"]
    assert dataset.positives().lengths().tolist() == [2, 1, 1] and dataset.tasks() == {None, "colour"}
    with pytest.raises(AssertionError, match="decoded"):
        dataset[0]


def test_rows_are_counted_from_both_ends_and_not_beyond():
    dataset = joined()
    assert dataset[-1]["query_id"] == dataset[2]["query_id"] == "q2"
    for index in (3, -4):
        with pytest.raises(IndexError, match="3 triplets"):
            dataset[index]


def test_selected_and_shuffled_tables_join_rightly():
    corpus, queries, triplets = tables()
    dataset = TripletDataset(corpus.shuffle(seed=3), queries.select([2, 0, 1]), triplets.select([2, 1]))
    assert [dataset[index]["query_id"] for index in range(2)] == ["q2", "q0"]
    assert color_of(dataset[0]["query"]["content"][0]["image"]) == (255, 255, 255)
    assert dataset[1]["positives"][0]["content"][0]["text"] == "red is "


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (
            "triplets",
            {"query_id": "gone"},
            r"triplets row 1 \(id 'gone'\): found query_id naming 'gone', which the queries",
        ),
        (
            "triplets",
            {"positive_ids": ["d0", "gone"]},
            r"triplets row 1 \(id 'q0'\): found positive_ids naming 'gone'",
        ),
        ("triplets", {"negative_ids": ["gone"]}, r"triplets row 1 \(id 'q0'\): found negative_ids naming 'gone'"),
        ("triplets", {"positive_ids": []}, r"triplets row 1 \(id 'q0'\): found no positive_ids"),
        ("triplets", {"positive_ids": None}, r"triplets row 1 \(id 'q0'\): found no positive_ids"),
    ],
)
def test_a_bad_row_is_named(config, change, message):
    corpus, queries, triplets = tables()
    content = triplets.to_list()
    content[1] |= change
    with pytest.raises(SchemaError, match=message):
        TripletDataset(corpus, queries, Dataset.from_list(content, features=FEATURES[config]))


@pytest.mark.parametrize(("place", "column"), [(0, "content"), (1, "id"), (2, "positive_ids"), (2, "negative_ids")])
def test_a_missing_column_is_named(place, column):
    content = tables()
    content[place] = content[place].remove_columns(column)
    with pytest.raises(
        SchemaError, match=f"{('corpus', 'queries', 'triplets')[place]}: found the columns.*'{column}'"
    ):
        TripletDataset(*content)


def test_load_takes_the_split_and_names_the_dataset(tmp_path):
    facts = DatasetFacts(
        name="c", pretty_name="C", summary="C.", license="mit", configs={}, default_config="corpus", tags=["t"]
    )
    corpus, queries, triplets = rows()
    folder = write_dataset(
        tmp_path / "colours",
        {"documents": corpus},
        {"documents": queries},
        {"train": triplets, "test": triplets[1:]},
        facts,
    )
    dataset = TripletDataset.load(folder, "test", negatives_per_query=3)
    assert len(dataset) == 2 and dataset[0]["dataset"] == "colours" and len(dataset[0]["negatives"]) == 3
    assert color_of(dataset[0]["positives"][0]["content"][1]["image"]) == (255, 0, 0)
    assert TripletDataset.load(str(folder), name="mine")[0]["dataset"] == "mine"
    with pytest.raises(ValueError, match=r"splits \['test', 'train'\].*expected 'dev'"):
        TripletDataset.load(folder, "dev")


def test_a_dataset_survives_pickling():
    dataset = pickle.loads(pickle.dumps(joined()))
    assert dataset[0]["query_id"] == "q1" and len(dataset) == 3


# how the stock Qwen-VL templates tell an image: a key that is there, even if it holds None, makes an image's tokens
TEMPLATE = jinja2.Template(
    "{% for m in messages %}{% for c in m.content %}"
    "{% if c.type == 'image' or 'image' in c %}<|image_pad|>"
    "{% elif c.type == 'video' or 'video' in c %}<|video_pad|>"
    "{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}"
)


def preprocess(inputs, prompt=None, task=None):
    """What sentence-transformers' Transformer module does before its processor: parse, then render the template."""
    modality, parsed, _ = InputFormatter(model_type="qwen2_5_vl", message_format="structured").parse_inputs(inputs)
    return {"modality": modality, "rendered": [TEMPLATE.render(messages=item) for item in parsed["message"]]}


def test_sentence_transformers_columns_render_without_phantom_images():
    columns = to_sentence_transformers(joined(), negatives=0)
    assert columns.column_names == ["anchor", "positive"]
    batch = BaseDataCollator(preprocess)([columns[index] for index in range(3)])
    assert batch["anchor_modality"] == batch["positive_modality"] == "message"
    assert batch["anchor_rendered"] == [
        "<|image_pad|>?",
        "Find the colour.what is red?",
        "<|image_pad|> then <|image_pad|>",
    ]
    assert batch["positive_rendered"] == ["blue is <|image_pad|>!", "red is <|image_pad|>!", "white is <|image_pad|>!"]

    # the trap that the columns avoid: the same messages, once through Arrow
    messages = [{"role": "user", "content": [text("a"), image("red")]}]
    through_arrow = Dataset.from_list([{"anchor": messages}])[0]["anchor"]
    assert preprocess([messages])["rendered"] == ["a<|image_pad|>"]
    assert preprocess([through_arrow])["rendered"] == ["<|image_pad|><|image_pad|>"]


def test_sentence_transformers_columns_have_no_none_keys_and_true_images():
    columns = to_sentence_transformers(TripletDataset(*(tables()[:2]), tables()[2].select([0, 1])), negatives=1)
    assert columns.column_names == ["anchor", "positive", "negative_1"] and len(columns) == 2
    for row in (columns[0], columns[1], *columns.select([1]), *columns.shuffle(seed=0)):
        assert list(row) == ["anchor", "positive", "negative_1"]
        for messages in row.values():
            parts = [part for message in messages for part in message["content"]]
            assert parts and all(set(part) == {"type", part["type"]} for part in parts)
            assert all(isinstance(part["image"], Image.Image) for part in parts if part["type"] == "image")
    assert columns[1]["anchor"][0] == {"role": "system", "content": [text("Find the colour.")]}
    assert columns[1]["negative_1"][0]["content"][0] == text("black is ")
    assert columns[0]["anchor"][0]["content"][0]["type"] == "image"  # order is kept
    assert [row["positive"][0]["content"][0]["text"] for row in columns.select([1, 0])] == ["red is ", "blue is "]
    assert pickle.loads(pickle.dumps(columns))[1]["negative_1"][0]["content"][2] == text("!")


def test_sentence_transformers_columns_need_enough_negatives():
    with pytest.raises(ValueError, match=r"0 negatives in row 2.*at least 1"):
        to_sentence_transformers(joined())


def test_negatives_per_query_is_checked():
    with pytest.raises(ValueError, match="negatives_per_query=-1"):
        joined(negatives_per_query=-1)


def test_document_rows_point_into_the_corpus():
    positives, negatives = joined().document_rows(0)
    assert positives.tolist() == [2, 5] and negatives.tolist() == [3] and positives.dtype == np.int64
