"""The handwritten records: who may know what, and what is drawn from where."""

import io
import re

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from sklearn.datasets import load_digits

from nyx_hf.data_builders.digits import TASKS, DigitsBuilder, DigitsConfig, build_digits, make_digits
from nyx_hf.data_builders.digits_text import WORDS, draw_person
from nyx_hf.data_builders.preview import tagged_text
from nyx_hf.data_builders.triplets import TripletDataset

CONFIG = DigitsConfig(name="corpus", train_documents=600, test_documents=350)


@pytest.fixture(scope="module")
def made():
    return make_digits(CONFIG)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def images(row):
    return [part["image"]["bytes"] for part in row["content"] if part["type"] == "image"]


@pytest.fixture(scope="module")
def digit_of():
    """The digit that a stored scan shows, by its bytes; scans that look alike show the same digit."""
    shown = {}
    source = load_digits()
    for ink, digit in zip(source.images, source.target, strict=True):
        grey = np.round(255 - ink * (255 / 16)).astype(np.uint8)
        png = io.BytesIO()
        Image.fromarray(grey).resize((28, 28), Image.Resampling.LANCZOS).convert("RGB").save(png, format="PNG")
        assert shown.setdefault(png.getvalue(), int(digit)) == digit
    return shown


def code(row, digit_of):
    return tuple(digit_of[image] for image in images(row))


def test_counts_ids_and_tasks(made):
    for split, count in (("train", 600), ("test", 350)):
        assert len(made["corpus"][split]) == count
        assert len(made["queries"][split]) == len(made["triplets"][split]) == 3 * count
        assert [row["task"] for row in made["queries"][split][:3]] == list(TASKS)
        for config, key in (("corpus", "id"), ("queries", "id"), ("triplets", "query_id")):
            assert len({row[key] for row in made[config][split]}) == len(made[config][split])


def test_the_splits_share_no_scan(made):
    seen = {
        split: {image for config in ("corpus", "queries") for row in made[config][split] for image in images(row)}
        for split in ("train", "test")
    }
    assert len(seen["test"]) > 250 and len(seen["train"]) > 1000
    assert not seen["train"] & seen["test"]


def test_test_codes_are_unique_and_positives_share_their_code(made, digit_of):
    codes = {row["id"]: code(row, digit_of) for rows in made["corpus"].values() for row in rows}
    test = [codes[row["id"]] for row in made["corpus"]["test"]]
    assert len(set(test)) == len(test) == 350
    for split in ("train", "test"):
        same = {}
        for row in made["corpus"][split]:
            same.setdefault(codes[row["id"]], set()).add(row["id"])
        assert split == "test" or max(map(len, same.values())) > 1  # codes do repeat in training
        for number, triplet in enumerate(made["triplets"][split]):
            wanted = codes[triplet["positive_ids"][0]]
            assert triplet["positive_ids"][0] == made["corpus"][split][number // 3]["id"]
            assert set(triplet["positive_ids"]) == same[wanted]
            assert len(triplet["negative_ids"]) == 2
            for negative, score in zip(triplet["negative_ids"], triplet["negative_scores"], strict=True):
                different = sum(a != b for a, b in zip(codes[negative], wanted, strict=True))
                assert different == 1 and score == pytest.approx(2 / 3)
            assert triplet["positive_scores"] == [1.0] * len(triplet["positive_ids"])


def test_queries_ask_for_their_positive_in_other_scans(made, digit_of):
    names = {word: str(digit) for digit, word in enumerate(WORDS)}
    for split in ("train", "test"):
        documents = {row["id"]: row for row in made["corpus"][split]}
        for query, triplet in zip(made["queries"][split], made["triplets"][split], strict=True):
            kinds = {part["type"] for part in query["content"]}
            assert kinds == dict(zip(TASKS, ({"text"}, {"image"}, {"text", "image"}), strict=True))[query["task"]]
            asked = "".join(
                part["text"] if part["type"] == "text" else str(digit_of[part["image"]["bytes"]])
                for part in query["content"]
            )
            digits = [names.get(word, word) for word in re.findall("|".join([*WORDS, r"\d"]), asked)]
            assert tuple(map(int, digits)) == code(documents[triplet["positive_ids"][0]], digit_of)
            shown = {image for one in triplet["positive_ids"] for image in images(documents[one])}
            assert not shown & set(images(query))
            assert all(
                name in tagged_text(documents[one]["content"])
                for name, one in zip(query["answers"][:1], triplet["positive_ids"][:1], strict=True)
            )


def test_people_tell_nothing_about_codes(made):
    """No word of a document stands for a digit, and queries name nobody."""
    for rows in made["corpus"].values():
        for row in rows:
            words = re.sub("<image .>", "", tagged_text(row["content"])).lower()
            assert not re.search(rf"\d|\b({'|'.join(WORDS)})\b", words)
    asked = {tagged_text(row["content"]) for row in made["queries"]["test"] if row["task"] == TASKS[0]}
    assert all(
        re.fullmatch(r"(Whose code is|Find the record with code|Which person has the code) .*[.?]", one)
        for one in asked
    )


def test_equal_seeds_give_equal_rows_and_others_do_not(made):
    assert make_digits(CONFIG) == made
    other = make_digits(DigitsConfig(name="corpus", train_documents=600, test_documents=350, seed=1))
    assert other["corpus"]["test"] != made["corpus"]["test"]


def test_scans_are_dark_on_light_of_the_asked_size():
    rows = make_digits(DigitsConfig(name="corpus", train_documents=3, test_documents=3, image_size=16))
    picture = Image.open(io.BytesIO(images(rows["corpus"]["test"][0])[0]))
    pixels = np.asarray(picture)
    assert picture.mode == "RGB" and picture.size == (16, 16)
    assert pixels.max() == 255 and pixels.min() < 60 and np.median(pixels) > 128


def test_a_small_corpus_still_has_negatives_of_other_codes():
    rows = make_digits(DigitsConfig(name="corpus", train_documents=5, test_documents=2))
    for triplet in rows["triplets"]["test"]:
        assert len(triplet["negative_ids"]) == 1 and triplet["negative_ids"] != triplet["positive_ids"]


def test_the_folder_is_read_by_load_dataset(tmp_path):
    folder = build_digits(tmp_path / "digits", train_documents=40, test_documents=20)
    assert {split: len(rows) for split, rows in load_dataset(str(folder), "queries").items()} == {
        "train": 120,
        "test": 60,
    }
    row = TripletDataset.load(folder, "test", negatives_per_query=2)[2]
    assert row["task"] == TASKS[2] and row["dataset"] == "digits" and len(row["negatives"]) == 2
    assert [part["image"].size for part in row["positives"][0]["content"] if part["type"] == "image"] == [(28, 28)] * 3
    card = (folder / "README.md").read_text()
    assert (
        "license: cc-by-4.0" in card
        and "nyx-hf build digits --out digits --seed 0 --train-documents 40 --test-documents 20" in card
    )
    first = next(iter(load_dataset(str(folder), "preview", split="train", streaming=True)))
    assert first["query_image"] is None and first["positive_image"].size == (28 * 3 + 16, 28)


def test_the_builder_makes_the_same_rows(tmp_path):
    builder = DigitsBuilder(
        cache_dir=str(tmp_path), config_name="triplets", train_documents=30, test_documents=10, seed=4
    )
    builder.download_and_prepare()
    expected = make_digits(DigitsConfig(name="x", train_documents=30, test_documents=10, seed=4))["triplets"]["test"]
    read = builder.as_dataset(split="test")
    assert read["query_id"][:] == [row["query_id"] for row in expected]
    assert read["negative_ids"][:] == [row["negative_ids"] for row in expected]
    corpus = DigitsBuilder(cache_dir=str(tmp_path), config_name="corpus", train_documents=30, test_documents=10)
    corpus.download_and_prepare()
    assert corpus.as_dataset(split="train")[0]["content"][1]["image"].size == (28, 28)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("train_documents", 0), ("test_documents", 1001), ("image_size", 4), ("test_scans", 1797), ("negatives", -1)],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"found {setting}={value}, expected"):
        DigitsConfig(name="corpus", **{setting: value})


def test_people_vary():
    import random

    rng = random.Random(0)
    assert len({draw_person(rng)["name"] for _ in range(200)}) > 100
