"""Public sets: a handful of rows in each upstream layout becomes a dataset, and another layout is named."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, load_dataset
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.mbeir_tasks import TASKS as MBEIR_TASKS
from nyx_hf.data_builders.mmeb_sets import GROUPS, TASKS, V1_GROUPS, group_of
from nyx_hf.data_builders.pair_columns import tagged_content
from nyx_hf.data_builders.registry import BUILDERS, find_builder
from nyx_hf.data_builders.upstream import LayoutError, Upstream
from nyx_hf.data_builders.visual_documents import SETS as DOCUMENT_SETS
from nyx_hf.data_builders.visual_documents import repository_of
from tests.pictures import noise_image

TAG = "<|image_1|>"
RECIPE = Path(__file__).parent.parent / "trainer" / "recipes" / "rzenembed_2_finetune.yaml"


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    noise_image(30, 20, seed).save(file, format="JPEG")
    return file.getvalue()


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def card(repo: Path, configs: dict[str, dict[str, str]]) -> None:
    """The repository's own list of configs, which `load_dataset` reads on the Hub and on disk alike."""
    listed = [
        {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in files.items()]}
        for name, files in configs.items()
    ]
    repo.mkdir(parents=True, exist_ok=True)
    (repo / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': listed})}---\n")


def build(tmp_path: Path, name: str, *words: object, out: str = "out") -> Any:
    command = ["build", name, "--local", str(tmp_path / "hub"), "--out", str(tmp_path / out), *map(str, words)]
    return CliRunner().invoke(app, command)


def table(tmp_path: Path, config: str, split: str, out: str = "out") -> list[dict[str, Any]]:
    return list(load_dataset(str(tmp_path / out), config, split=split, cache_dir=str(tmp_path / f"hf-{out}")))


def shape(content: list[dict[str, Any]]) -> list[str]:
    return [part["text"] if part["type"] == "text" else f"{part['image'].size}" for part in content]


def mmeb_train(root: Path, **changes: Any) -> None:
    repo = root / "hub" / "TIGER-Lab" / "MMEB-train"
    sets = {"CIRR": 3, "VOC2007": 4, "HatefulMemes": 2}
    for name, count in sets.items():
        rows = [
            {
                "qry": "<|image_1|>\nGiven an image, find a similar one: make it red.\n",
                "qry_image_path": f"images/{name}/Train/q{number}.jpg",
                "pos_text": "<|image_1|>\nRepresent the given image.\n"
                if name == "CIRR"
                else ("cat", "dog")[number % 2],
                "pos_image_path": f"images/{name}/Train/p{number}.jpg" if name == "CIRR" else "",
                "neg_text": "",
                "neg_image_path": f"images/{name}/Train/n{number}.jpg" if name == "CIRR" else "",
                **changes,
            }
            for number in range(count)
        ]
        parquet(repo / name / "original-00000-of-00001.parquet", rows)
        (repo / "images_zip").mkdir(exist_ok=True)
        with zipfile.ZipFile(repo / "images_zip" / f"{name}.zip", "w") as archive:
            for number in range(count):
                for place, side in enumerate("qpn"):
                    archive.writestr(f"{name}/Train/{side}{number}.jpg", picture(10 * number + place))
    card(repo, {name: {"original": f"{name}/original-*.parquet"} for name in sets})


class TestMMEB:
    def test_there_are_36_sets_and_78_in_the_second_version(self) -> None:
        assert [len(group.sets) for group in V1_GROUPS] == [10, 10, 12, 4]
        assert sum(len(group.trained) for group in V1_GROUPS) == 20
        by_kind = {
            kind: [len(g.sets) for g in GROUPS if g.modality == kind] for kind in ("image", "video", "document")
        }
        assert {kind: sum(sizes) for kind, sizes in by_kind.items()} == {"image": 36, "video": 18, "document": 24}
        assert by_kind["video"] == [5, 5, 5, 3] and by_kind["document"] == [10, 4, 6, 4]
        names = [name for group in GROUPS for name in group.sets]
        assert len(names) == len(set(names)) == 78
        with pytest.raises(ValueError, match="there is no set 'MNIST' in MMEB"):
            group_of("MNIST")

    def test_tasks_are_the_seven_of_the_recipe(self) -> None:
        recipe = yaml.safe_load(RECIPE.read_text())
        assert set(TASKS) == set(recipe["temperature_tasks"]) and len(TASKS) == 7
        for named in recipe["datasets"]:
            if named["name"].startswith("data/mmeb/"):
                assert group_of(named["name"].removeprefix("data/mmeb/")).task == named["task"]

    def test_a_training_set_s_tags_become_images_and_its_negatives_stay(self, tmp_path: Path) -> None:
        mmeb_train(tmp_path)
        done = build(tmp_path, "mmeb", "--subset", "CIRR")
        assert done.exit_code == 0, done.output
        queries, corpus = table(tmp_path, "queries", "train"), table(tmp_path, "corpus", "train")
        assert shape(queries[0]["content"]) == ["(30, 20)", "Given an image, find a similar one: make it red."]
        assert {row["task"] for row in queries} == {"image retrieval"} and queries[0]["source"] == "CIRR"
        assert len(corpus) == 6 and shape(corpus[0]["content"]) == ["(30, 20)", "Represent the given image."]
        for row in table(tmp_path, "triplets", "train"):
            assert len(row["positive_ids"]) == len(row["negative_ids"]) == 1
        text = (tmp_path / "out" / "README.md").read_text()
        assert "TIGER-Lab/MMEB-train" in text and "images/train-1-query.jpeg" in text and "local folder" in text

    def test_classification_sets_are_merged_and_labels_stored_once(self, tmp_path: Path) -> None:
        mmeb_train(tmp_path)
        from nyx_hf.data_builders.mmeb import MMEBBuilder

        chosen = MMEBBuilder(config_name="corpus", subset="classification", cache_dir=str(tmp_path))
        assert chosen._chosen() == ("ImageNet-1K", "N24News", "HatefulMemes", "VOC2007", "SUN397")
        assert build(tmp_path, "mmeb", "--subset", "VOC2007").exit_code == 0
        corpus, queries = table(tmp_path, "corpus", "train"), table(tmp_path, "queries", "train")
        assert sorted(row["content"][0]["text"] for row in corpus) == ["cat", "dog"] and len(queries) == 4

    def test_a_limit_and_the_most_of_a_set(self, tmp_path: Path) -> None:
        mmeb_train(tmp_path)
        assert build(tmp_path, "mmeb", "--subset", "VOC2007", "--limit", 3, out="a").exit_code == 0
        assert build(tmp_path, "mmeb", "--subset", "VOC2007", "--most", 2, out="b").exit_code == 0
        assert (
            len(table(tmp_path, "queries", "train", "a")) == 3 and len(table(tmp_path, "queries", "train", "b")) == 2
        )

    def test_rows_that_lack_what_they_name_are_counted(self, tmp_path: Path) -> None:
        mmeb_train(tmp_path, pos_text="<|image_1|> <|image_2|>")
        done = build(tmp_path, "mmeb", "--subset", "CIRR")
        assert done.exit_code == 1 and "no row is left ({'row: image tag without an image': 3})" in done.output
        mmeb_train(tmp_path, qry_image_path="images/CIRR/Train/gone.jpg")
        done = build(tmp_path, "mmeb", "--subset", "CIRR")
        assert done.exit_code == 1 and "{'row: image file is missing': 3}" in done.output

    def test_another_layout_names_the_column_and_the_revision(self, tmp_path: Path) -> None:
        mmeb_train(tmp_path)
        repo = tmp_path / "hub" / "TIGER-Lab" / "MMEB-train"
        parquet(repo / "CIRR" / "original-00000-of-00001.parquet", [{"query": "x", "pos_text": "y"}])
        done = build(tmp_path, "mmeb", "--subset", "CIRR")
        assert done.exit_code == 1
        assert "TIGER-Lab/MMEB-train at local folder, CIRR/original: the column 'qry'" in done.output

    def test_a_set_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        done = build(tmp_path, "mmeb", "--subset", "RefCOCO")
        assert done.exit_code == 1 and "found subset=RefCOCO, expected all, classification, or one of" in done.output

    def test_an_evaluation_set_keeps_each_query_s_candidates_in_order(self, tmp_path: Path) -> None:
        repo = tmp_path / "hub" / "TIGER-Lab" / "MMEB-eval"
        rows = [
            {
                "qry_text": "<|image_1|>\nIdentify the country.",
                "qry_img_path": f"Country211/{number}.jpg",
                "tgt_text": [f"land {number}", "land 7", "land 8", "land 9"],
                "tgt_img_path": ["", "", "", ""],
            }
            for number in range(2)
        ]
        parquet(repo / "Country211" / "test-00000-of-00001.parquet", rows)
        card(repo, {"Country211": {"test": "Country211/test-*.parquet"}})
        with zipfile.ZipFile(repo / "images.zip", "w") as archive:
            for number in range(2):
                archive.writestr(f"images/Country211/{number}.jpg", picture(number))
        assert build(tmp_path, "mmeb-eval", "--subset", "Country211").exit_code == 0
        documents = {row["id"]: row["content"][0]["text"] for row in table(tmp_path, "corpus", "test")}
        for number, row in enumerate(table(tmp_path, "triplets", "test")):
            assert documents[row["positive_ids"][0]] == f"land {number}"
            assert [documents[one] for one in row["negative_ids"]] == ["land 7", "land 8", "land 9"]


def mbeir(root: Path) -> None:
    repo = root / "hub" / "TIGER-Lab" / "M-BEIR"
    header = "query_modality\tcand_modality\tdataset_name\tdataset_id\tprompt_1\tprompt_2\tprompt_3\tprompt_4"
    line = "image,text\timage\tcirr\t4\tFirst way.\tSecond way.\tThird way.\tFourth way."
    (repo / "instructions").mkdir(parents=True)
    (repo / "instructions" / "query_instructions.tsv").write_text(f"{header}\n{line}\n")
    pool = [
        {
            "txt": None,
            "img_path": f"mbeir_images/cirr_images/{n}.jpg",
            "modality": "image",
            "did": f"4:{n}",
            "src_content": None,
        }
        for n in range(30)
    ]
    queries = [
        {
            "qid": f"4:{n}",
            "query_txt": f"make it {n}",
            "query_img_path": f"mbeir_images/cirr_images/{n}.jpg",
            "query_modality": "image,text",
            "query_src_content": None,
            "pos_cand_list": [f"4:{n + 12}", "9:1"],
            "neg_cand_list": [f"4:{n + 1}"],
            "task_id": 7,
        }
        for n in range(12)
    ]
    files = {
        "cand_pool/local/mbeir_cirr_task7_cand_pool.jsonl": pool,
        "cand_pool/global/mbeir_union_test_cand_pool.jsonl": pool[:20],
        "query/train/mbeir_cirr_task7_train.jsonl": queries,
        "query/test/mbeir_cirr_task7_test.jsonl": queries,
    }
    for path, rows in files.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (repo / "mbeir_images" / "cirr_images").mkdir(parents=True)
    for number in range(30):
        (repo / "mbeir_images" / "cirr_images" / f"{number}.jpg").write_bytes(picture(number))


class TestMBEIR:
    def test_sixteen_tasks_of_eight_kinds(self) -> None:
        assert len(MBEIR_TASKS) == 16 and len({task.number for task in MBEIR_TASKS}) == 8
        assert len({task.dataset for task in MBEIR_TASKS}) == 10 and len({task.name for task in MBEIR_TASKS}) == 16
        assert {task.dataset for task in MBEIR_TASKS if task.recall_at == 10} == {"fashion200k", "fashioniq"}

    def test_training_queries_draw_their_instruction_and_test_ones_take_the_first(self, tmp_path: Path) -> None:
        mbeir(tmp_path)
        done = build(tmp_path, "m-beir", "--task", "cirr_task7")
        assert done.exit_code == 0, done.output
        queries = table(tmp_path, "queries", "train")
        assert len({row["instruction"] for row in queries}) == 4 and queries[0]["id"] == "4:0"
        assert shape(queries[0]["content"]) == ["(30, 20)", "make it 0"] and queries[0]["task"] == "image,text → image"
        assert all(len(row["negative_ids"]) == 1 for row in table(tmp_path, "triplets", "train"))
        assert build(tmp_path, "m-beir", "--task", "cirr_task7", "--split", "test", out="test").exit_code == 0
        assert {row["instruction"] for row in table(tmp_path, "queries", "test", "test")} == {"First way."}

    def test_pools(self, tmp_path: Path) -> None:
        mbeir(tmp_path)
        words = ("--task", "cirr_task7", "--split", "test")
        assert build(tmp_path, "m-beir", *words, "--whole-pool", out="local").exit_code == 0
        assert len(table(tmp_path, "corpus", "test", "local")) == 30
        done = build(tmp_path, "m-beir", *words, "--pool", "global", out="global")
        assert done.exit_code == 0 and "query: its positives are not among the candidates" in done.output
        assert len(table(tmp_path, "queries", "test", "global")) == 8

    def test_another_layout_and_wrong_settings_are_one_line(self, tmp_path: Path) -> None:
        mbeir(tmp_path)
        path = tmp_path / "hub/TIGER-Lab/M-BEIR/query/train/mbeir_cirr_task7_train.jsonl"
        path.write_text('{"qid": "4:0", "text": "x"}\n')
        done = build(tmp_path, "m-beir", "--task", "cirr_task7")
        assert done.exit_code == 1 and "the column 'query_txt', 'query_img_path'" in done.output
        done = build(tmp_path, "m-beir", "--task", "cirr_task9")
        assert done.exit_code == 1 and "there is no task 'cirr_task9' in M-BEIR" in done.output
        done = build(tmp_path, "m-beir", "--split", "test")
        assert done.exit_code == 1 and "union is to train on" in done.output
        done = build(tmp_path, "m-beir", "--task", "nights_task4")
        assert done.exit_code == 1 and "there is no cand_pool/local/mbeir_nights_task4" in done.output


def test_nli_triplets(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "sentence-transformers" / "all-nli"
    rows = [{"anchor": f"A {n}", "positive": f"P {n}", "negative": f"N {n}"} for n in range(3)]
    for split in ("train", "dev"):
        parquet(repo / "triplet" / f"{split}.parquet", rows)
    card(repo, {"triplet": {split: f"triplet/{split}.parquet" for split in ("train", "dev")}})
    assert build(tmp_path, "nli").exit_code == 0
    assert len(table(tmp_path, "triplets", "train")) == len(table(tmp_path, "triplets", "validation")) == 3


def scienceqa(root: Path) -> None:
    repo = root / "hub" / "derek-thomas" / "ScienceQA"
    for split in ("train", "validation", "test"):
        rows = [
            {
                "image": {"bytes": picture(number), "path": None} if number % 2 else None,
                "question": f"Which force acts on ball {number} ({split})?",
                "choices": ["push", "pull"],
                "answer": number % 2 if number < 4 else 5,
                "hint": "Look at the ball." if number else "",
                "lecture": f"A force is a push or a pull. Part {number % 2}." if number != 2 else "",
            }
            for number in range(5)
        ]
        parquet(repo / "data" / f"{split}.parquet", rows)
    card(repo, {"default": {split: f"data/{split}.parquet" for split in ("train", "validation", "test")}})


def test_science_questions_with_lectures_or_examples(tmp_path: Path) -> None:
    scienceqa(tmp_path)
    done = build(tmp_path, "scienceqa")
    assert done.exit_code == 0, done.output
    assert (
        "question: it has no lecture" in done.output and "question: its answer is none of the choices" in done.output
    )
    assert len(table(tmp_path, "corpus", "test")) == 2 and len(table(tmp_path, "queries", "test")) == 3
    query = table(tmp_path, "queries", "train")[1]
    assert query["options"] == ["push", "pull"] and query["answers"] == ["pull"] and query["content"][0]["image"]
    assert build(tmp_path, "scienceqa", "--corpus", "examples", out="examples").exit_code == 0
    corpus = table(tmp_path, "corpus", "train", "examples")
    assert len(corpus) == 4 and "Answer: push" in corpus[0]["content"][0]["text"]
    assert not list((tmp_path / "examples" / "data" / "corpus").glob("test*"))  # its answers would stand there
    assert len(table(tmp_path, "queries", "test", "examples")) == 4
    assert not list((tmp_path / "examples" / "data" / "triplets").glob("test*"))


RIVERS = """
    Rhine Danube Elbe Oder Main Neckar Weser Ems Isar Inn Spree Havel Saale Mosel Lahn
"""


def hotpot(root: Path) -> Path:
    repo, rivers = root / "hub" / "hotpotqa" / "hotpot_qa", RIVERS.split()
    train, test = [], [{"id": "x", "question": "where does the  Rhine rise", "answer": "hill 0"}]
    for number, name in enumerate(rivers):
        train.append({"id": f"t{number}", "question": f"Where does the {name} rise?", "answer": f"hill {number}"})
        test.append({"id": f"v{number}", "question": f"How long is the {name} river?", "answer": str(number)})
    parquet(repo / "fullwiki" / "train.parquet", train)
    parquet(repo / "fullwiki" / "validation.parquet", test)
    card(repo, {"fullwiki": {split: f"fullwiki/{split}.parquet" for split in ("train", "validation")}})
    passages = root / "wiki.jsonl"
    lines = [
        {"id": str(n), "contents": f"{name}\nThe {name} is a river that does rise at hill {n}. {words}"}
        for n, name in enumerate(rivers)
        for words in ("", "It flows past many towns of the country on its long way.")
    ]
    passages.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return passages


class TestMultiHop:
    def test_the_first_is_right_and_negatives_come_from_beyond_the_tenth(self, tmp_path: Path) -> None:
        passages = hotpot(tmp_path)
        words = ("--passages", passages, "--retriever", "bm25", "--held-out", 6, "--depth", 14)
        done = build(tmp_path, "hotpotqa", *words)
        assert done.exit_code == 0, done.output
        documents = {row["id"]: row["content"][0]["text"] for row in table(tmp_path, "corpus", "train")}
        triplets = table(tmp_path, "triplets", "train")
        queries = {row["id"]: row for row in table(tmp_path, "queries", "train")}
        for row in triplets:
            name = queries[row["query_id"]]["content"][0]["text"].split()[3]
            assert documents[row["positive_ids"][0]].startswith(f"{name}\n")
            assert 0 < len(row["negative_ids"]) <= 4 and all(name not in documents[one] for one in row["negative_ids"])
        assert len(documents) > 20 and len(table(tmp_path, "queries", "test")) == 6
        assert queries[triplets[0]["query_id"]]["answers"] == ["hill 0"] or len(queries) == 14

    def test_a_test_question_is_not_trained_on(self, tmp_path: Path) -> None:
        passages = hotpot(tmp_path)
        done = build(tmp_path, "hotpotqa", "--passages", passages, "--retriever", "bm25", "--depth", 12)
        assert done.exit_code == 0 and "question: in the test split, too" in done.output
        asked = [row["content"][0]["text"] for row in table(tmp_path, "queries", "train")]
        assert len(asked) == 14 and not any("Rhine" in text for text in asked)

    def test_what_is_missing_is_one_line(self, tmp_path: Path) -> None:
        passages = hotpot(tmp_path)
        done = build(tmp_path, "hotpotqa")
        assert done.exit_code == 1 and "no passages are named: pass --passages FILE" in done.output
        done = build(tmp_path, "hotpotqa", "--passages", tmp_path / "none.jsonl")
        assert done.exit_code == 1 and "none.jsonl: there is no such file of passages" in done.output
        passages.write_text('{"id": "1", "body": "x"}\n')
        done = build(tmp_path, "hotpotqa", "--passages", passages, "--retriever", "bm25")
        assert done.exit_code == 1 and "passage 1: found neither `contents` nor `title` and `text`" in done.output

    def test_titles_and_texts_are_passages_too(self, tmp_path: Path) -> None:
        hotpot(tmp_path)
        rows = [
            {"id": str(n), "title": f"Town {n}", "text": f"Town {n} lies on the Rhine, Elbe and Oder."}
            for n in range(30)
        ]
        (tmp_path / "titled.jsonl").write_text("\n".join(map(json.dumps, rows)))
        options = ("--passages", tmp_path / "titled.jsonl", "--retriever", "bm25", "--limit", 3)
        assert build(tmp_path, "hotpotqa", *options).exit_code == 0
        assert table(tmp_path, "corpus", "test")[0]["content"][0]["text"].startswith("Town ")


def mmqa(folder: Path) -> Path:
    (folder / "final_dataset_images").mkdir(parents=True)
    (folder / "final_dataset_images" / "cat.jpg").write_bytes(picture(1))
    table = {
        "header": [{"column_name": "Year", "metadata": {}}, {"column_name": "Film", "metadata": {}}],
        "table_rows": [[{"text": "1999", "links": []}, {"text": "Cats\nat home", "links": []}]],
        "table_name": "Films",
    }
    questions = [
        {
            "qid": f"q{number}",
            "question": f"Which film of {1999 + number} has a cat?",
            "answers": [{"answer": "Cats at home", "type": "string"}],
            "metadata": {"image_doc_ids": ["i1"], "text_doc_ids": ["t1", "t2"], "table_id": "b1", "type": "Compose"},
            "supporting_context": [
                {"doc_id": one, "doc_part": "text"} for one in ("b1", "i1" if number < 2 else "gone")
            ],
        }
        for number in range(3)
    ]
    files = {
        "MMQA_train.jsonl": questions,
        "MMQA_texts.jsonl": [
            {"id": f"t{n}", "title": f"Text {n}", "url": "", "text": f"Words {n}."} for n in range(4)
        ],
        "MMQA_tables.jsonl": [{"id": "b1", "title": "A director", "url": "", "table": table}],
        "MMQA_images.jsonl": [{"id": "i1", "title": "A cat", "url": "", "path": "cat.jpg"}],
    }
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(folder / "MMQA_dev.jsonl.gz", "wt") as file:
        file.write(json.dumps(questions[0]) + "\n")
    return folder


def test_texts_tables_and_images_in_one_corpus(tmp_path: Path) -> None:
    folder = mmqa(tmp_path / "multimodalqa")
    done = build(tmp_path, "multimodalqa", "--path", folder)
    assert done.exit_code == 0 and "question: a supporting document is missing" in done.output, done.output
    documents = {row["id"]: shape(row["content"]) for row in table(tmp_path, "corpus", "train")}
    assert ["A director\nFilms\n| Year | Film |\n|---|---|\n| 1999 | Cats at home |"] in documents.values()
    assert ["(30, 20)", "A cat"] in documents.values() and ["Text 1\nWords 1."] in documents.values()
    for row in table(tmp_path, "triplets", "train"):
        assert len(row["positive_ids"]) == len(row["negative_ids"]) == 2
    assert len(table(tmp_path, "queries", "validation")) == 1 and len(documents) == 4
    assert build(tmp_path, "multimodalqa", "--path", folder, "--whole-pool", out="whole").exit_code == 0
    assert len(table(tmp_path, "corpus", "train", "whole")) == 6
    (folder / "MMQA_tables.jsonl").write_text('{"id": "b1", "title": "x"}\n')
    done = build(tmp_path, "multimodalqa", "--path", folder, out="other")
    assert done.exit_code == 1 and "MMQA_tables.jsonl line 1: 'table' is missing" in done.output
    assert "check --path" in build(tmp_path, "multimodalqa", "--path", tmp_path, "--images", folder, out="none").output


def documents(root: Path, repository: str, split: str) -> None:
    repo = root / "hub" / repository
    corpus = [{"corpus-id": number, "image": {"bytes": picture(number), "path": None}} for number in range(5)]
    queries = [
        {"query-id": number, "query": f"What is on page {number}?", "language": "english"} for number in range(3)
    ]
    queries.append({"query-id": 3, "query": "Quoi?", "language": "french"})
    qrels = [{"query-id": n, "corpus-id": page, "score": grade} for n in range(4) for page, grade in ((n, 2), (4, 0))]
    for name, rows in {"corpus": corpus, "queries": queries, "qrels": qrels}.items():
        parquet(repo / name / f"{split}.parquet", rows)
    from datasets import Features, Image, Value

    features = Features({"corpus-id": Value("int64"), "image": Image()})
    Dataset.from_list(corpus, features=features).to_parquet(repo / "corpus" / f"{split}.parquet")
    card(repo, {name: {split: f"{name}/{split}.parquet"} for name in ("corpus", "queries", "qrels")})


class TestVisualDocuments:
    def test_every_set_has_a_repository(self) -> None:
        assert len(DOCUMENT_SETS) == 24 == len({repository_of(name) for name in DOCUMENT_SETS})
        assert repository_of("ViDoRe_docvqa") == "vidore/docvqa_test_subsampled_beir"
        assert repository_of("ViDoRe_tatdqa") == "vidore/tatdqa_test_beir"
        assert repository_of("VisRAG_SlideVQA") == "openbmb/VisRAG-Ret-Test-SlideVQA"
        with pytest.raises(ValueError, match="found subset=x, expected one of ViDoRe_arxivqa"):
            repository_of("x")

    @pytest.mark.parametrize(("name", "split"), [("ViDoRe_tatdqa", "test"), ("VisRAG_ChartQA", "train")])
    def test_pages_are_images_and_all_of_them_are_kept(self, tmp_path: Path, name: str, split: str) -> None:
        documents(tmp_path, repository_of(name), split)
        done = build(tmp_path, "visual-documents", "--subset", name)
        assert done.exit_code == 0, done.output
        assert len(table(tmp_path, "corpus", "test")) == 5 and len(table(tmp_path, "queries", "test")) == 4
        triplets = table(tmp_path, "triplets", "test")
        assert all(len(row["positive_ids"]) == 1 for row in triplets) and len(triplets) == 4
        assert {row["task"] for row in table(tmp_path, "queries", "test")} == {"document retrieval"}
        assert build(tmp_path, "visual-documents", "--subset", name, "--language", "french", out="fr").exit_code == 0
        assert [row["content"][0]["text"] for row in table(tmp_path, "queries", "test", "fr")] == ["Quoi?"]


class TestParts:
    def test_tags_become_images_in_their_places(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(picture(1))
        (tmp_path / "b.jpg").write_bytes(picture(2))
        images = ImageFiles([tmp_path])
        parts = tagged_content("See <|image_2|>\nand <|image_1|> here.", ["a.jpg", "b.jpg"], images)
        kinds = [part.get("text") or ("a" if part["image"] == picture(1) else "b") for part in parts]
        assert kinds == ["See", "b", "and", "a", "here."]
        assert [part["type"] for part in tagged_content("No tag.", ["a.jpg"], images)] == ["image", "text"]
        with pytest.raises(ValueError, match="image tag without an image"):
            tagged_content("<|image_1|>", [], images)
        with pytest.raises(ValueError, match="image file is missing"):
            tagged_content("", ["../a.jpg"], ImageFiles([tmp_path / "."]))

    def test_files_are_found_in_folders_and_archives(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("set/x.jpg", b"zipped")
        (tmp_path / "folder" / "set").mkdir(parents=True)
        (tmp_path / "folder" / "set" / "y.jpg").write_bytes(b"plain")
        files = ImageFiles([tmp_path / "folder", tmp_path / "a.zip"])
        assert files.read("images/set/x.jpg") == b"zipped" and files.read("set/y.jpg") == b"plain"
        assert files.read("set/z.jpg") is None
        with pytest.raises(ValueError, match=r"b.zip: there is no such folder or archive of images"):
            ImageFiles([tmp_path / "b.zip"])

    def test_every_builder_is_listed_and_plans(self) -> None:
        for name in BUILDERS:
            builder = find_builder(name)
            assert name == builder.NAME and builder.SUMMARY.endswith(".")
            assert name in CliRunner().invoke(app, ["build", "--list"]).output
        plan = CliRunner().invoke(app, ["build", "m-beir", "--plan"]).output
        assert "TIGER-Lab/M-BEIR" in plan
        with pytest.raises(ValueError, match="there is no builder 'mbeir'; `nyx-hf build --list` names nyxqa"):
            find_builder("mbeir")

    def test_a_missing_file_names_the_layout(self, tmp_path: Path) -> None:
        (tmp_path / "o" / "n").mkdir(parents=True)
        with pytest.raises(LayoutError, match=r"o/n \(local folder\): there is no a/b.jsonl"):
            Upstream(tmp_path).file("o/n", "a/b.jsonl")
