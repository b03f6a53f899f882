"""Checking rows, and writing and reading dataset folders."""

import io
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset
from PIL import Image

from nyx_hf.data_builders import writing
from nyx_hf.data_builders.checks import checked_rows, stored_image
from nyx_hf.data_builders.preview import sheet, tagged_text
from nyx_hf.data_builders.schema import FEATURES, SchemaError, matching_split, present_parts
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def picture(color, size=(6, 5)):
    return Image.new("RGB", size, color)


def text(words):
    return {"type": "text", "text": words}


def image(color, size=(6, 5)):
    return {"type": "image", "image": picture(color, size)}


def facts(**changes):
    return DatasetFacts(
        name="pairs",
        pretty_name="Pairs",
        summary="Pairs.",
        license="mit",
        configs={},
        default_config="preview",
        **changes,
    )


def small_dataset():
    corpus = {
        "train": [
            {"id": "d0", "content": [text("red "), image("red"), text(" end")]},
            {"id": "d1", "content": [text("only words")]},
        ],
        "test": [
            {"id": "d0", "content": [{"type": "video", "video": [picture("blue"), picture("green")]}]},
            {"id": "d9", "content": [image("white"), image("black")]},
        ],
    }
    queries = {
        "train": [{"id": "q0", "content": [text("which is red?")], "answers": ["d0"], "task": "colour"}],
        "test": [{"id": "q0", "content": [image("blue"), text("like this?")], "instruction": "Find it."}],
    }
    triplets = {
        "train": [
            {
                "query_id": "q0",
                "positive_ids": ["d0"],
                "negative_ids": ["d1"],
                "negative_scores": [0.25],
                "scorer": "s",
            }
        ],
        "test": [{"query_id": "q0", "positive_ids": ["d0", "d9"]}],
    }
    return corpus, queries, triplets


def check(config, *rows):
    return list(checked_rows(config, "train", rows))


@pytest.mark.parametrize(
    ("config", "row", "message"),
    [
        ("corpus", "x", "found a str, expected a mapping"),
        ("corpus", {"id": 3, "content": [text("a")]}, "found id 3"),
        ("corpus", {"id": "", "content": [text("a")]}, "found id ''"),
        ("corpus", {"id": "x", "text": "a"}, "the column 'text', expected only id, content"),
        ("corpus", {"id": "x", "content": "a"}, "content of type str, expected a list of parts"),
        ("corpus", {"id": "x"}, "content of type NoneType"),
        ("corpus", {"id": "x", "content": []}, "empty content"),
        ("corpus", {"id": "x", "content": [text("  \n")]}, "empty content"),
        ("corpus", {"id": "x", "content": ["a"]}, "a str in part 0"),
        (
            "corpus",
            {"id": "x", "content": [text("a"), {"type": "audio"}]},
            "type 'audio' in part 1, expected a dict whose",
        ),
        ("corpus", {"id": "x", "content": [{"type": "text", "text": "a", "image": 1}]}, "the key 'image' in part 0"),
        (
            "corpus",
            {"id": "x", "content": [{"type": "image", "text": None}]},
            "part 0 of type 'image' without 'image'",
        ),
        ("corpus", {"id": "x", "content": [{"type": "image", "image": b"no"}]}, "cannot be read"),
        ("corpus", {"id": "x", "content": [{"type": "image", "image": "http://a/b.png"}]}, "cannot be read"),
        ("corpus", {"id": "x", "content": [{"type": "video", "video": []}]}, "without frames in part 0"),
        ("corpus", {"id": "x", "content": [text(5)]}, "text of part 0 of type int"),
        ("corpus", {"id": "x", "content": [text("a\ud800")]}, "lone surrogate"),
        ("queries", {"id": "x", "content": [text("a")], "answers": "yes"}, "answers of type str, expected a list"),
        ("queries", {"id": "x", "content": [text("a")], "task": 1}, "task of type int"),
        ("triplets", {"query_id": "x", "positive_ids": []}, "no positive_ids"),
        ("triplets", {"query_id": "x", "positive_ids": "d0"}, "positive_ids of type str"),
        (
            "triplets",
            {"query_id": "x", "positive_ids": ["a"], "positive_scores": [1.0, 2.0]},
            "2 positive_scores for 1",
        ),
        ("triplets", {"query_id": "x", "positive_ids": ["a"], "negative_scores": [1.0]}, "1 negative_scores for 0"),
        (
            "triplets",
            {"query_id": "x", "positive_ids": ["a"], "positive_scores": [math.nan]},
            "nan in positive_scores",
        ),
        ("triplets", {"query_id": "x", "positive_ids": ["a"], "negative_ids": ["a"]}, "'a' named twice"),
    ],
)
def test_a_bad_row_is_named(config, row, message):
    first = {"triplets": {"query_id": "q", "positive_ids": ["d"]}}.get(config, {"id": "first", "content": [text("a")]})
    with pytest.raises(SchemaError) as caught:
        check(config, first, row)
    error = caught.value
    assert message in str(error)
    assert (error.config, error.split, error.row) == (config, "train", 1)
    assert str(error).startswith(f"{config}/train row 1")
    if isinstance(row, dict) and "x" in row.values():
        assert error.row_id == "x" and "(id 'x')" in str(error)


def test_a_repeated_id_is_named():
    row = {"id": "a", "content": [text("a")]}
    with pytest.raises(SchemaError, match=r"corpus/train row 1 \(id 'a'\): found the id 'a' a second time"):
        check("corpus", row, row)


def test_checked_rows_have_every_column():
    (row,) = check("triplets", {"query_id": "q", "positive_ids": ["d"], "positive_scores": [np.float32(0.5)]})
    assert set(row) == set(FEATURES["triplets"])
    assert row["negative_ids"] == [] and row["negative_scores"] is None and row["positive_scores"] == [0.5]
    (row,) = check("queries", {"id": "q", "content": [text("a")]})
    assert set(row) == set(FEATURES["queries"])


def test_image_files_keep_their_bytes_and_pixels_become_png(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8))
    jpeg, bmp = io.BytesIO(), io.BytesIO()
    noise.save(jpeg, "JPEG")
    noise.save(bmp, "BMP")
    (tmp_path / "a.jpg").write_bytes(jpeg.getvalue())
    for source in (jpeg.getvalue(), tmp_path / "a.jpg", {"bytes": None, "path": str(tmp_path / "a.jpg")}):
        assert stored_image(source) == {"bytes": jpeg.getvalue(), "path": None}
    for source in (noise, bmp.getvalue(), np.asarray(noise)):
        stored = Image.open(io.BytesIO(stored_image(source)["bytes"]))
        assert stored.format == "PNG" and np.array_equal(np.asarray(stored), np.asarray(noise))


def test_present_parts_drop_empty_keys():
    (row,) = check("corpus", {"id": "d", "content": [text("a"), image("red")]})
    assert set(row["content"][0]) == {"type", "text", "image", "video"}
    first, second = present_parts(row["content"])
    assert first == {"type": "text", "text": "a"} and set(second) == {"type", "image"}


def test_matching_split():
    assert matching_split("corpus", ["train", "test"], "test") == "test"
    assert matching_split("corpus", ["all"], "test") == "all"
    with pytest.raises(ValueError, match="'dev' as in the triplets"):
        matching_split("corpus", ["train", "test"], "dev")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_written_dataset_is_read_by_load_dataset(tmp_path, streaming):
    corpus, queries, triplets = small_dataset()
    folder = write_dataset(tmp_path / "pairs", corpus, queries, triplets, facts())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pairs"]
    assert (folder / "data/corpus/test-00000-of-00001.parquet").is_file()

    rows = list(load_dataset(str(folder), "corpus", split="train", streaming=streaming))
    assert [row["id"] for row in rows] == ["d0", "d1"]
    part = rows[0]["content"][1]
    assert part["image"].getpixel((0, 0)) == (255, 0, 0) and part["image"].size == (6, 5)
    video = next(iter(load_dataset(str(folder), "corpus", split="test", streaming=streaming)))["content"][0]["video"]
    assert [frame.getpixel((0, 0)) for frame in video] == [(0, 0, 255), (0, 128, 0)]
    query = next(iter(load_dataset(str(folder), "queries", split="test", streaming=streaming)))
    assert query["instruction"] == "Find it." and query["task"] is None
    (triplet,) = load_dataset(str(folder), "triplets", split="train", streaming=streaming)
    assert triplet["negative_scores"] == [0.25] and triplet["positive_scores"] is None
    shown = next(iter(load_dataset(str(folder), split="test", streaming=streaming)))  # the preview is the default
    assert shown["query"] == "<image 1> like this?" and shown["query_image"].getpixel((0, 0)) == (0, 0, 255)
    assert shown["positive"] == "<video 1>" and shown["positive_image"].size == (6, 5)


def test_equal_input_gives_equal_bytes(tmp_path):
    def content_of(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = write_dataset(tmp_path / "a", *small_dataset(), facts())
    second = write_dataset(tmp_path / "b", *small_dataset(), facts())
    assert len(content_of(first)) == 12 and content_of(first) == content_of(second)
    corpus, queries, triplets = small_dataset()
    corpus["train"][0]["content"][0]["text"] = "Red "
    assert content_of(write_dataset(tmp_path / "c", corpus, queries, triplets, facts())) != content_of(first)


def test_a_dataset_is_accepted_and_its_images_stay_the_bytes_they_are(tmp_path):
    folder = write_dataset(tmp_path / "a", *small_dataset(), facts())
    read = {
        config: {split: load_dataset(str(folder), config, split=split) for split in ("train", "test")}
        for config in ("corpus", "queries", "triplets")
    }
    again = write_dataset(tmp_path / "b", read["corpus"], read["queries"], read["triplets"], facts())
    for path in (folder / "data").rglob("*.parquet"):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes()


def test_the_card_counts_what_was_written(tmp_path):
    card = (write_dataset(tmp_path / "a", *small_dataset(), facts()) / "README.md").read_text()
    assert "path: data/triplets/test-*.parquet" in card and "| `corpus` | train | 2 |" in card
    assert "which is red?" in card  # a sample row


def test_a_failing_run_leaves_nothing(tmp_path):
    corpus, queries, triplets = small_dataset()
    triplets["test"][0]["positive_ids"] = ["d7"]
    with pytest.raises(SchemaError, match=r"triplets/test row 0 \(id 'q0'\): found positive_ids naming 'd7'"):
        write_dataset(tmp_path / "a", corpus, queries, triplets, facts())
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize("column", ["query_id", "negative_ids"])
def test_unknown_ids_are_named(tmp_path, column):
    corpus, queries, triplets = small_dataset()
    triplets["train"][0][column] = "gone" if column == "query_id" else ["gone"]
    with pytest.raises(SchemaError, match=f"triplets/train row 0.*{column} naming 'gone'"):
        write_dataset(tmp_path / "a", corpus, queries, triplets, facts())


def test_only_a_written_dataset_is_replaced_and_only_when_asked(tmp_path):
    folder = write_dataset(tmp_path / "a", *small_dataset(), facts())
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        write_dataset(folder, *small_dataset(), facts())
    corpus, queries, triplets = small_dataset()
    corpus["train"].append({"id": "d2", "content": [text("new")]})
    write_dataset(folder, corpus, queries, triplets, facts(), overwrite=True)
    assert pq.read_table(folder / "data/corpus/train-00000-of-00001.parquet").num_rows == 3

    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"thesis.txt"):
        write_dataset(folder, *small_dataset(), facts(), overwrite=True)
    assert (folder / "thesis.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="found a file"):
        write_dataset(tmp_path / "file", *small_dataset(), facts(), overwrite=True)


def test_a_failed_replacement_leaves_the_old_dataset(tmp_path):
    folder = write_dataset(tmp_path / "a", *small_dataset(), facts())
    before = (folder / "README.md").read_bytes()
    corpus, queries, _ = small_dataset()
    with pytest.raises(SchemaError):
        write_dataset(folder, corpus, queries, {"train": [{"query_id": "q0"}]}, facts(), overwrite=True)
    assert (folder / "README.md").read_bytes() == before and load_dataset(str(folder), "corpus")["train"].num_rows == 2


def test_empty_configs_and_splits_are_refused(tmp_path):
    corpus, queries, triplets = small_dataset()
    with pytest.raises(ValueError, match="no split in the queries"):
        write_dataset(tmp_path / "a", corpus, {}, triplets, facts())
    with pytest.raises(ValueError, match="no rows in corpus/test"):
        write_dataset(tmp_path / "a", {**corpus, "test": []}, queries, triplets, facts())


@pytest.mark.parametrize("split", ["all", "train-1", ""])
def test_split_names_that_load_dataset_refuses_are_refused(tmp_path, split):
    corpus, queries, triplets = small_dataset()
    with pytest.raises(ValueError, match=f"split name {split!r} in the corpus"):
        write_dataset(tmp_path / "a", {split: corpus["train"]}, queries, triplets, facts())


def test_row_groups_and_shards_are_cut_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_ROW_GROUP_BYTES", 4_000)
    monkeypatch.setattr(writing, "_SHARD_BYTES", 20_000)
    noise = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    corpus = {"train": ({"id": str(i), "content": [{"type": "image", "image": noise[i]}]} for i in range(40))}
    queries = {"train": [{"id": "q", "content": [text("a")]}]}
    folder = write_dataset(
        tmp_path / "a", corpus, queries, {"train": [{"query_id": "q", "positive_ids": ["0"]}]}, facts()
    )
    shards = sorted((folder / "data" / "corpus").iterdir())
    assert len(shards) > 1
    assert [path.name for path in shards] == [
        f"train-{i:05d}-of-{len(shards):05d}.parquet" for i in range(len(shards))
    ]
    for shard in shards:
        meta = pq.ParquetFile(shard).metadata
        sizes = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
        assert len(sizes) > 1 and max(sizes) < 8_000
    ids = load_dataset(str(folder), "corpus", split="train")["id"]
    assert list(ids) == [str(i) for i in range(40)]

    monkeypatch.setattr(writing, "_LARGEST_ROW", 500)
    with pytest.raises(ValueError, match="corpus/train row 0: found 0 MB"):
        big = {"train": [{"id": "0", "content": [{"type": "image", "image": noise[0]}]}]}
        write_dataset(tmp_path / "b", big, queries, {"train": [{"query_id": "q", "positive_ids": ["0"]}]}, facts())


def test_one_corpus_split_serves_all_triplets(tmp_path):
    corpus, queries, triplets = small_dataset()
    documents = {"documents": [*corpus["train"], corpus["test"][1]]}
    folder = write_dataset(tmp_path / "a", documents, queries, triplets, facts())
    assert load_dataset(str(folder), "preview")["test"][0]["positive"] == "red <image 1> end"


def test_tagged_text_spaces_tags_and_keeps_the_text():
    content = [text("code "), image("red"), image("red"), text(". End"), {"type": "video", "video": []}, text("x")]
    assert tagged_text(content) == "code <image 1> <image 2>. End <video 1> x"


def test_a_sheet_shows_all_images_in_order():
    stored = [stored_image(picture(color, size)) for color, size in (("red", (10, 20)), ("blue", (40, 40)))]
    assert sheet([]) is None and sheet(stored[:1]) is stored[0]
    laid = Image.open(io.BytesIO(sheet(stored)["bytes"]))
    assert laid.size == (20 + 8 + 40, 40)
    assert laid.getpixel((5, 20)) == (255, 0, 0) and laid.getpixel((60, 20)) == (0, 0, 255)


def test_written_files_carry_the_features(tmp_path):
    folder = write_dataset(tmp_path / "a", *small_dataset(), facts())
    for config, features in FEATURES.items():
        file = next((Path(folder) / "data" / config).iterdir())
        assert Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache")).features == features
