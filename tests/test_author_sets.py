"""mmE5's sets and the Nyx authors' own: rows as their code writes them become datasets."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from test_public_sets import build, card, parquet, picture, shape, table

from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.mme5 import HARD_NEGATIVE_SETS
from nyx_hf.data_builders.mmeb_sets import TASKS
from nyx_hf.data_builders.pair_columns import train_record
from nyx_hf.data_builders.records import Record


def test_synthetic_triplets_by_task(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "intfloat" / "mmE5-synthetic"
    for name in ("Classification", "Retrieval", "VQA"):
        row = {
            "qry": f"Find {name}.",
            "qry_image_path": "",
            "pos_text": f"{name} found",
            "pos_image_path": "LAION/1.jpg",
        }
        parquet(
            repo / name / "train.parquet",
            [{**row, "neg_text": "['another', '[x]']", "neg_image_path": "['', '']", "modality": "T2IT"}],
        )
    card(repo, {name: {"train": f"{name}/train.parquet"} for name in ("Classification", "Retrieval", "VQA")})
    (repo / "images" / "LAION").mkdir(parents=True)
    (repo / "images" / "LAION" / "1.jpg").write_bytes(picture(1))
    done = build(tmp_path, "mme5")
    assert done.exit_code == 0, done.output
    assert {row["task"] for row in table(tmp_path, "queries", "train")} <= set(TASKS)
    assert build(tmp_path, "mme5", "--subset", "VQA", out="one").exit_code == 0
    [row] = table(tmp_path, "queries", "train", "one")
    assert row["task"] == "image question answering"
    documents = {row["id"]: shape(row["content"]) for row in table(tmp_path, "corpus", "train", "one")}
    [link] = table(tmp_path, "triplets", "train", "one")
    assert documents[link["positive_ids"][0]] == ["(30, 20)", "VQA found"]
    assert [documents[one] for one in link["negative_ids"]] == [["another"], ["[x]"]]  # lists are written out as text


def test_the_nyx_authors_text_triplets(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "SnowNation" / "Nyx-T2T-Data"
    rows = [
        {
            "qry": f"Who built bridge {number}?",
            "qry_image_path": [],
            "pos_text": f"Bridge {number} was built by A.",
            "pos_image_path": [],
            "neg_text": [f"Bridge {number + 1} is old.", "Bridges cross rivers."],
            "neg_image_path": [],
            "ans": ["A"],
        }
        for number in range(3)
    ]
    parquet(repo / "musique" / "train.parquet", rows)
    parquet(repo / "musique" / "test.parquet", rows[:1])
    card(repo, {"musique": {"train": "musique/train.parquet", "test": "musique/test.parquet"}})
    assert build(tmp_path, "nyx-text", "--subset", "musique").exit_code == 0
    assert [row["answers"] for row in table(tmp_path, "queries", "train")] == [["A"]] * 3
    assert all(len(row["negative_ids"]) == 2 for row in table(tmp_path, "triplets", "train"))
    assert len(table(tmp_path, "queries", "test")) == 1


def contents(tmp_path: Path, split: str, out: str = "out") -> dict[str, list[str]]:
    return {row["id"]: shape(row["content"]) for row in table(tmp_path, "corpus", split, out)}


@pytest.mark.parametrize(
    ("texts", "paths", "wanted"),
    [
        ("", "", []),
        ("one", "", [["one"]]),
        ("['a', 'it\\'s b']", "['', '']", [["a"], ["it's b"]]),
        ('["a", "b"]', '["1.jpg"]', [["<image>", "a"], ["b"]]),
        (["", "b"], ["1.jpg", ""], [["<image>"], ["b"]]),  # places stay in line where a text is empty
        ("[1, 2] is a list", "", [["[1, 2] is a list"]]),
        ("[1, 2]", "", [["[1, 2]"]]),
        (["a"], [["1.jpg", "1.jpg"]], [["<image>", "<image>", "a"]]),
    ],
)
def test_negatives_come_as_values_lists_or_lists_written_out(
    texts: Any, paths: Any, wanted: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "1.jpg").write_bytes(picture(1))
    row = {"qry": "q", "qry_image_path": "", "pos_text": "p", "pos_image_path": ""}
    row |= {"neg_text": texts, "neg_image_path": paths}
    record = train_record(row, ImageFiles([tmp_path]), task=None, source="s")
    assert isinstance(record, Record)
    assert [[part.get("text", "<image>") for part in one] for one in record.negatives] == wanted


class TestHardNegativesOfMmE5:
    NAMES = ("CIRR", "TAT-DQA")

    def upstream(self, root: Path, owner: str = "intfloat/mmE5-MMEB-hardneg") -> None:
        """Two sets, one with MMEB's images and one with images of mmE5's own."""
        repo = root / "hub" / owner
        for name in self.NAMES:
            row = {
                "qry": "<|image_1|>\nMake it red." if name == "CIRR" else "What is the total?",
                "qry_image_path": f"images/{name}/q.jpg" if name == "CIRR" else "",
                "pos_text": "<|image_1|>\nThe page.",
                "pos_image_path": f"images/{name}/p.jpg",
                "neg_text": "['<|image_1|>\\nThe page.', '<|image_1|>\\nThe page.']",
                "neg_image_path": f"['images/{name}/n1.jpg', 'images/{name}/n2.jpg']",
            }
            parquet(repo / name / "train.parquet", [row])
        card(repo, {name: {"train": f"{name}/train.parquet"} for name in self.NAMES})
        mmeb = root / "hub" / "TIGER-Lab" / "MMEB-train" / "images_zip"
        mmeb.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(mmeb / "CIRR.zip", "w") as archive:
            for number, side in enumerate(("q", "p", "n1", "n2")):
                archive.writestr(f"CIRR/{side}.jpg", picture(number))
        own = root / "hub" / "intfloat" / "mmE5-MMEB-hardneg" / "supplement_images_zip"
        own.mkdir(parents=True, exist_ok=True)
        with tarfile.open(own / "TAT-DQA.tar.gz", "w:gz") as archive:
            for number, side in enumerate(("p", "n1", "n2"), start=4):
                member = tarfile.TarInfo(f"TAT-DQA/{side}.jpg")
                member.size = len(picture(number))
                archive.addfile(member, io.BytesIO(picture(number)))

    def test_24_sets_whose_tasks_are_rzenembed_s(self) -> None:
        assert len(HARD_NEGATIVE_SETS) == 24 and set(HARD_NEGATIVE_SETS.values()) <= set(TASKS)
        assert "ImageNet_1K" in HARD_NEGATIVE_SETS

    @pytest.mark.parametrize(
        ("builder", "owner"),
        [("mme5-mmeb", "intfloat/mmE5-MMEB-hardneg"), ("nyx-mmeb", "SnowNation/Nyx-mmE5-MMEB")],
    )
    def test_images_come_from_mmeb_or_the_supplement(self, builder: str, owner: str, tmp_path: Path) -> None:
        self.upstream(tmp_path, owner)
        for name in self.NAMES:
            done = build(tmp_path, builder, "--subset", name, out=name)
            assert done.exit_code == 0, done.output
            [query], [link] = table(tmp_path, "queries", "train", name), table(tmp_path, "triplets", "train", name)
            assert query["task"] == {"CIRR": "image retrieval", "TAT-DQA": "document retrieval"}[name]
            assert len(link["negative_ids"]) == 2 and len(contents(tmp_path, "train", name)) == 3
            assert owner in (tmp_path / name / "README.md").read_text()

    def test_infoseek_s_images_must_be_named(self, tmp_path: Path) -> None:
        self.upstream(tmp_path)
        done = build(tmp_path, "mme5-mmeb", "--subset", "InfoSeek_it2t")
        assert done.exit_code == 1 and "are those of TIGER-Lab/M-BEIR" in done.output and "--images" in done.output
        done = build(tmp_path, "mme5-mmeb", "--subset", "InfoSeek")
        assert done.exit_code == 1 and "found subset=InfoSeek, expected all, or one of ImageNet_1K" in done.output


class TestNyxQAOfTheAuthors:
    def upstream(self, root: Path, **changes: Any) -> None:
        """The files that the authors' code writes."""
        repo = root / "hub" / "SnowNation" / "NyxQA"
        (repo / "images").mkdir(parents=True)
        for number in range(4):
            (repo / "images" / f"{number}.jpg").write_bytes(picture(number))
        row = {
            "qry": "Which town is in <|image|>?",
            "ans": "Arles",
            "pos_text": "A bridge <|image|> and a town <|image|> in one.",
            "choices": ["Nice", "Arles", "Lyon", "Metz"],
            "right_choice": 1,
            "pos_image_path": ["0.jpg", "1.jpg"],
            "qry_image_path": ["1.jpg"],
            "img_num": 2,
        }
        hard = {"neg_text": ["Just text.", "Another <|image|>"], "neg_image_path": [[], ["2.jpg"]]}
        broken = {"pos_text": "No image stands in this one."}
        self.write(repo / "train_hardneg.json", [{**row, **hard, **changes}, {**row, **hard, **broken}])
        self.write(repo / "train.json", [row] * 3)
        self.write(repo / "dev.json", [row])
        self.write(repo / "test.json", [{**row, "right_choice": 2}])
        corpus = [
            ("Lonely <|image|>", ["3.jpg"]),
            ("Gone <|image|>", ["9.jpg"]),
            (row["pos_text"], row["pos_image_path"]),
        ]
        self.write(repo / "corpus.json", [{"text": text, "images": images} for text, images in corpus])

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        path.write_text(json.dumps(rows), encoding="utf-8")

    def test_questions_options_and_negatives(self, tmp_path: Path) -> None:
        self.upstream(tmp_path)
        done = build(tmp_path, "nyx-nyxqa")
        assert done.exit_code == 0, done.output
        assert "row: image tags and images do not match" in done.output
        [query] = table(tmp_path, "queries", "train")
        assert shape(query["content"]) == ["Which town is in", "(30, 20)", "?"]
        assert (query["answers"], query["options"][1], query["task"]) == (["Arles"], "Arles", "NyxQA")
        assert query["instruction"].startswith("Please retrieve the most relevant document")
        documents, [link] = contents(tmp_path, "train"), table(tmp_path, "triplets", "train")
        assert documents[link["positive_ids"][0]] == ["A bridge", "(30, 20)", "and a town", "(30, 20)", "in one."]
        assert [documents[one] for one in link["negative_ids"]] == [["Just text."], ["Another", "(30, 20)"]]
        assert table(tmp_path, "queries", "test")[0]["answers"] == ["Lyon"]  # the option, not a guess
        assert len(contents(tmp_path, "test")) == 1

    def test_the_whole_pool_for_evaluation(self, tmp_path: Path) -> None:
        self.upstream(tmp_path)
        assert build(tmp_path, "nyx-nyxqa", "--whole-pool").exit_code == 0
        found = sorted(contents(tmp_path, "test").values())
        assert found == [["A bridge", "(30, 20)", "and a town", "(30, 20)", "in one."], ["Lonely", "(30, 20)"]]

    def test_without_mined_negatives_the_plain_file_is_read(self, tmp_path: Path) -> None:
        self.upstream(tmp_path)
        (tmp_path / "hub" / "SnowNation" / "NyxQA" / "train_hardneg.json").unlink()
        assert build(tmp_path, "nyx-nyxqa").exit_code == 0
        assert [row["negative_ids"] for row in table(tmp_path, "triplets", "train")] == [[]] * 3

    def test_rows_that_are_none_are_counted_and_other_layouts_named(self, tmp_path: Path) -> None:
        self.upstream(tmp_path, right_choice=7)
        done = build(tmp_path, "nyx-nyxqa")
        assert done.exit_code == 0 and "row: the right choice is none of them" in done.output
        self.write(tmp_path / "hub" / "SnowNation" / "NyxQA" / "dev.json", [{"question": "x"}])
        done = build(tmp_path, "nyx-nyxqa", out="other")
        assert done.exit_code == 1 and "SnowNation/NyxQA at local folder, dev.json: the column 'qry'" in done.output
