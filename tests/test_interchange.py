"""Datasets go out in others' layouts and come back the same; what a layout cannot say is an error."""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset, load_dataset
from test_mining import facts, mixed
from test_public_sets import card, parquet, picture
from typer.testing import CliRunner

from nyx_hf import TripletDataset
from nyx_hf.cli import app
from nyx_hf.data_builders.exporting import LAYOUTS, export_dataset
from nyx_hf.data_builders.writing import write_dataset
from tests.pictures import noise_image


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


def texts(folder: Path) -> Path:
    """A dataset of texts."""
    corpus = [{"id": f"d{n}", "content": text(f"Document {n} about things.")} for n in range(6)]
    queries = [{"id": f"q{n}", "content": text(f"Where is thing {n}?"), "task": "find"} for n in range(3)]
    links = [
        {"query_id": f"q{n}", "positive_ids": [f"d{n}"], "negative_ids": [f"d{n + 1}", f"d{n + 2}"][: 2 - n % 2]}
        for n in range(3)
    ]
    return write_dataset(folder, {"all_of": corpus}, {"all_of": queries}, {"train": links}, facts())


def pictures(folder: Path) -> Path:
    """A dataset of one image a side."""
    corpus = [
        {"id": f"d{n}", "content": [{"type": "image", "image": noise_image(20, 20, n)}, *text(f"Picture {n}.")]}
        for n in range(4)
    ]
    queries = [
        {"id": f"q{n}", "content": [*text(f"Like {n}, but "), {"type": "image", "image": noise_image(20, 20, n)}],
         "instruction": "Find it."}
        for n in range(2)
    ]  # fmt: skip
    links = [{"query_id": f"q{n}", "positive_ids": [f"d{n}"], "negative_ids": [f"d{n + 2}"]} for n in range(2)]
    return write_dataset(folder, {"train": corpus}, {"train": queries}, {"train": links}, facts())


def run(*words: object) -> Any:
    return CliRunner().invoke(app, list(map(str, words)))


def rows(folder: Path, split: str = "train", negatives: int = 9) -> list[tuple[Any, Any, Any]]:
    """Each triplet as what it holds."""

    def shown(item: dict[str, Any]) -> list[Any]:
        parts = [
            part["text"].strip() if part["type"] == "text" else part["image"].tobytes() for part in item["content"]
        ]
        return [part for part in parts if part]

    joined = TripletDataset.load(folder, split, negatives_per_query=negatives)
    return [
        (shown(row["query"]), shown(row["positives"][0]), [shown(one) for one in row["negatives"]])
        for row in (joined[number] for number in range(len(joined)))
    ]


@pytest.mark.parametrize("layout", ["beir", "sentence-transformers", "vlm2vec", "ms-swift"])
def test_texts_go_out_and_come_back(tmp_path: Path, layout: str) -> None:
    source = texts(tmp_path / "source")
    done = run("export", source, layout, "--out", tmp_path / "out")
    assert done.exit_code == 0 and "3 rows of train" in done.output, done.output
    place = {"beir": tmp_path / "out", "sentence-transformers": tmp_path / "out" / "train.parquet"}
    path = place.get(layout, tmp_path / "out" / "train.jsonl")
    done = run("build", "import", "--layout", layout, "--path", path, "--license", "mit", "--out", tmp_path / "back")
    assert done.exit_code == 0, done.output
    kept = {"beir": 0, "vlm2vec": 1, "sentence-transformers": 1}.get(layout, 9)  # negatives that the layout keeps
    wanted = [(query, right, wrong[:kept]) for query, right, wrong in rows(source)]
    assert rows(tmp_path / "back") == wanted


@pytest.mark.parametrize("layout", ["vlm2vec", "ms-swift"])
def test_pictures_go_out_and_come_back(tmp_path: Path, layout: str) -> None:
    source = pictures(tmp_path / "source")
    assert export_dataset(source, layout, tmp_path / "out") == {"train": 2}
    assert len(list((tmp_path / "out" / "images").iterdir())) == 4  # each once
    done = run(
        "build", "import", "--layout", layout, "--path", tmp_path / "out" / "train.jsonl", "--out", tmp_path / "back"
    )
    assert done.exit_code == 0, done.output
    for (query, right, wrong), (asked, positive, negatives) in zip(rows(tmp_path / "back"), rows(source), strict=True):
        assert right == positive and wrong == negatives
        assert query[-1] == asked[-1] and "".join(query[:-1]) == "Find it.\n" + "".join(asked[:-1])


def test_mteb_s_layout_goes_out_and_comes_back(tmp_path: Path) -> None:
    for name, source in (("texts", texts(tmp_path / "source")), ("pictures", pictures(tmp_path / "pictures"))):
        done = run("export", source, "mteb", "--out", tmp_path / f"mteb-{name}")
        assert done.exit_code == 0, done.output
        configs = {one: load_dataset(str(tmp_path / f"mteb-{name}"), one, cache_dir=str(tmp_path / "hf")) for one in
                   ("default", "corpus", "queries")}  # fmt: skip
        assert set(next(iter(configs["default"].values())).features) == {"query-id", "corpus-id", "score"}
        assert ("image" in next(iter(configs["corpus"].values())).features) == (name == "pictures")
        words = ("--local", tmp_path, "--repo", f"mteb-{name}", "--split", "train", "--out", tmp_path / f"back-{name}")
        done = run("build", "mteb", *words)
        assert done.exit_code == 0, done.output
        # negatives are no part of the layout, and an image stands before its text
        wanted = [(sorted(query, key=str), sorted(right, key=str)) for query, right, _ in rows(source)]
        back = [
            (sorted(query, key=str), sorted(right, key=str)) for query, right, _ in rows(tmp_path / f"back-{name}")
        ]
        assert back == wanted
    queries = load_dataset(str(tmp_path / "back-pictures"), "queries", split="train", cache_dir=str(tmp_path / "hf"))
    assert queries["instruction"][0] == "Find it."
    assert set(configs["queries"]["train"].features) == {"id", "text", "image", "instruction"}
    assert (
        len(load_dataset(str(tmp_path / "back-texts"), "corpus", split="train", cache_dir=str(tmp_path / "hf"))) == 6
    )


def test_mteb_s_configs_have_the_same_columns_in_every_split_and_no_nulls_but_images(tmp_path: Path) -> None:
    picture_of = {"type": "image", "image": noise_image(20, 20, 1)}
    corpus = {"train": [{"id": "d0", "content": text("Words.")}], "test": [{"id": "d1", "content": [picture_of]}]}
    queries = {
        "train": [
            {"id": "q0", "content": text("One?")},
            {"id": "q1", "content": text("Two?"), "instruction": "Find."},
        ],
        "test": [{"id": "q2", "content": text("Three?")}],
    }
    links = {
        "train": [{"query_id": f"q{n}", "positive_ids": ["d0"], "negative_ids": []} for n in range(2)],
        "test": [{"query_id": "q2", "positive_ids": ["d1"], "negative_ids": []}],
    }
    export_dataset(
        write_dataset(tmp_path / "splits", corpus, queries, links, facts()), "mteb", tmp_path / "mteb-splits"
    )
    read = {name: load_dataset(str(tmp_path / "mteb-splits"), name, cache_dir=str(tmp_path / "hf")) for name in
            ("corpus", "queries")}  # fmt: skip
    assert {tuple(one.features) for one in read["corpus"].values()} == {("id", "text", "image")}
    assert read["corpus"]["train"][0]["image"] is None and read["corpus"]["test"][0]["text"] == ""
    assert list(read["queries"]["train"]["instruction"]) == ["", "Find."]
    assert list(read["queries"]["test"]["instruction"]) == [""]


def mteb_set(folder: Path, configs: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    for config, splits in configs.items():
        for split, found in splits.items():
            (folder / config).mkdir(parents=True, exist_ok=True)
            Dataset.from_list(found).to_parquet(folder / config / f"{split}.parquet")
    listed = [
        {"config_name": one, "data_files": [{"split": split, "path": f"{one}/{split}.parquet"} for split in splits]}
        for one, splits in configs.items()
    ]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': listed})}---\n")


def test_older_sets_of_mteb_and_those_that_are_none(tmp_path: Path) -> None:
    corpus = [{"_id": f"d{n}", "title": f"Title {n}", "text": f"Text {n}"} for n in range(3)]
    queries = [{"_id": f"q{n}", "text": f"Query {n}"} for n in range(3)]
    marks = [("q0", "d0", 2), ("q0", "d1", 0), ("q1", "d9", 1)]
    judged = [{"query-id": query, "corpus-id": document, "score": score} for query, document, score in marks]
    folder = tmp_path / "mteb" / "old"
    mteb_set(
        folder, {"corpus": {"corpus": corpus}, "query": {"queries": queries}, "qrels": {"test": judged, "dev": judged}}
    )
    words = ("build", "mteb", "--local", tmp_path, "--repo", "mteb/old")
    done = run(*words, "--out", tmp_path / "out")
    assert done.exit_code == 0 and re.search(r"query: no document is right +1", done.output), done.output
    joined = TripletDataset.load(tmp_path / "out", "test")
    assert len(joined) == 1
    [link] = load_dataset(str(tmp_path / "out"), "triplets", split="test", cache_dir=str(tmp_path / "hf"))
    corpus_rows = load_dataset(str(tmp_path / "out"), "corpus", split="test", cache_dir=str(tmp_path / "hf"))
    texts_of = {row["id"]: row["content"][0]["text"] for row in corpus_rows}
    assert [texts_of[one] for one in link["positive_ids"]] == ["Title 0\nText 0"]
    assert [texts_of[one] for one in link["negative_ids"]] == ["Title 1\nText 1"] and len(texts_of) == 3

    done = run(*words, "--split", "train", "--out", tmp_path / "no")
    assert done.exit_code == 1 and "qrels: found the splits test, dev; choose with --split" in done.output
    mteb_set(tmp_path / "mteb" / "other", {"corpus": {"corpus": corpus}})
    done = run("build", "mteb", "--local", tmp_path, "--repo", "mteb/other", "--out", tmp_path / "no")
    assert done.exit_code == 1 and "found the configs corpus, expected default or qrels" in done.output
    done = run("build", "mteb", "--out", tmp_path / "no")
    assert done.exit_code == 1 and "pass --repo with its repository" in done.output


def test_an_import_is_private_and_carries_the_licence_that_was_given(tmp_path: Path) -> None:
    export_dataset(texts(tmp_path / "source"), "beir", tmp_path / "out")
    words = ("build", "import", "--layout", "beir", "--path", tmp_path / "out", "--license", "mit")
    assert run(*words, "--out", tmp_path / "own").exit_code == 0
    own = (tmp_path / "own" / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in own and "own_pages: true" in own and "Sample rows" not in own
    assert "huggingface.co/datasets/beir" not in own and str(tmp_path) not in own
    assert run(*words, "--public", "--out", tmp_path / "public").exit_code == 0
    public = (tmp_path / "public" / "README.md").read_text(encoding="utf-8")
    assert "own_pages" not in public and "Sample rows" in public


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("beir", "holds an image or a video and beir keeps texts alone: export to ms-swift"),
        ("sentence-transformers", "sentence-transformers keeps texts alone"),
        ("vlm2vec", "has 2 images and VLM2Vec's rows have one a side"),
        ("mteb", "has 2 images and MTEB's rows have one: export to ms-swift"),
        ("coco", "expected one of beir, mteb, vlm2vec, ms-swift, sentence-transformers"),
    ],
)
def test_what_a_layout_cannot_say_is_one_line_and_leaves_nothing(tmp_path: Path, layout: str, line: str) -> None:
    done = run("export", mixed(tmp_path / "data"), layout, "--out", tmp_path / "out")
    assert done.exit_code == 1 and line in done.output.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_many_images_a_side_go_to_ms_swift(tmp_path: Path) -> None:
    source = mixed(tmp_path / "data")
    export_dataset(source, "ms-swift", tmp_path / "out")
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[1])
    assert first["positive_messages"][0][0]["content"] == "<image>Record 1 of the house.<image>"
    assert len(first["positive_images"][0]) == 2 and set(LAYOUTS) >= {"ms-swift"}
    with pytest.raises(FileExistsError, match="choose a new folder"):
        export_dataset(source, "ms-swift", tmp_path / "out")


def test_shards_of_images_and_captions_come_in(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"{shard:04d}.tar", "w") as archive:
            for number in range(3):
                files = {"jpg": picture(10 * shard + number), "txt": f"caption {shard} {number}".encode()}
                for kind, data in {**files, "json": json.dumps({"width": 30}).encode()}.items():
                    member = tarfile.TarInfo(f"{shard}{number}.{kind}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    done = run("build", "import", "--layout", "webdataset", "--path", tmp_path / "shards", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / "out")
    assert len(found) == 6 and found[0][0] == ["caption 0 0"] and len(found[0][1]) == 1


def test_cc3m_is_read_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "pixparse" / "cc3m-wds"
    repo.mkdir(parents=True)
    with tarfile.open(repo / "cc3m-train-0000.tar", "w") as archive:
        for number in range(3):
            for kind, data in {"jpg": picture(number), "txt": f"a caption {number}".encode()}.items():
                member = tarfile.TarInfo(f"{number:05d}.{kind}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    done = run("build", "cc3m", "--local", tmp_path / "hub", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [query for query, _, _ in rows(tmp_path / "out")] == [["a caption 0"], ["a caption 1"], ["a caption 2"]]


def test_columns_of_images_come_in(tmp_path: Path) -> None:
    image = {"bytes": picture(1), "path": None}
    features = {"anchor": "cat", "positive": image, "negative": {"bytes": picture(2), "path": None}}
    parquet(tmp_path / "set" / "data" / "train.parquet", [features])
    card(tmp_path / "set", {"default": {"train": "data/train.parquet"}})
    table = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "hf"))
    from datasets import Image

    table.cast_column("positive", Image()).cast_column("negative", Image()).to_parquet(tmp_path / "images.parquet")
    path = tmp_path / "images.parquet"
    done = run("build", "import", "--layout", "sentence-transformers", "--path", path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    [(query, right, wrong)] = rows(tmp_path / "out")
    assert query == ["cat"] and len(right) == len(wrong) == 1 and right != wrong[0]


@pytest.mark.parametrize(
    ("layout", "files", "line"),
    [
        ("beir", {}, "there is no corpus.jsonl in it"),
        ("beir", {"corpus.jsonl": '{"_id": "1"}'}, "corpus.jsonl line 1: 'text' is missing"),
        ("beir", {"corpus.jsonl": "{"}, "corpus.jsonl line 1: no JSON"),
        ("webdataset", {}, "there is no .tar shard in it"),
    ],
)
def test_other_layouts_are_named(tmp_path: Path, layout: str, files: dict[str, str], line: str) -> None:
    (tmp_path / "set").mkdir()
    for name, content in files.items():
        (tmp_path / "set" / name).write_text(content)
    done = run("build", "import", "--layout", layout, "--path", tmp_path / "set", "--out", tmp_path / "out")
    assert done.exit_code == 1 and line in done.output.splitlines()[-1]


def test_wrong_columns_and_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "1", "b": "2"}\n')
    words = ("build", "import", "--layout", "sentence-transformers", "--out", tmp_path / "out")
    done = run(*words, "--path", tmp_path / "x.jsonl")
    assert done.exit_code == 1 and "found the columns a, b, expected `anchor` and `positive`" in done.output
    assert "nothing to read is named: pass --path" in run(*words).output
    assert "there is no such folder or file" in run(*words, "--path", tmp_path / "y.jsonl").output
    (tmp_path / "x.txt").write_text("x")
    assert "found .txt, expected one of .parquet" in run(*words, "--path", tmp_path / "x.txt").output
