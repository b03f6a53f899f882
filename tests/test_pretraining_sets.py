"""RzenEmbed's first stage: text pairs of seven sets, and ShareGPT4V's descriptions with their images."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from test_public_sets import build, card, parquet, picture, shape, table

from nyx_hf.data_builders.sharegpt4v import ShareGPT4VConfig
from nyx_hf.data_builders.text_pairs import SETS, TextPairsConfig

RECIPE = Path(__file__).parent.parent / "trainer" / "recipes" / "rzenembed_1_pretrain.yaml"
# the repositories as they lie on the Hub: name, config, and the columns of query, positive and negative
UPSTREAM = {
    "triviaqa": ("sentence-transformers/trivia-qa-triplet", "triplet", ("anchor", "positive", "negative")),
    "fever": ("BeastyZ/E5-R", "fever", ("query", "positive", "negative")),
    "hotpotqa": ("sentence-transformers/hotpotqa", "triplet", ("anchor", "positive", "negative")),
    "squad": ("sentence-transformers/squad", "pair", ("question", "answer")),
    "nq": ("sentence-transformers/natural-questions", "pair", ("query", "answer")),
    "msmarco": ("sentence-transformers/msmarco-bm25", "triplet", ("query", "positive", "negative")),
    "allnli": ("sentence-transformers/all-nli", "triplet", ("anchor", "positive", "negative")),
}


def cap_of(name: str) -> int:
    """What the recipe takes of one of its datasets."""
    [cap] = [one["cap"] for one in yaml.safe_load(RECIPE.read_text())["datasets"] if one["name"] == f"data/{name}"]
    return int(cap)


def pair_rows(name: str, count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        cells: list[Any] = [f"{name} asks {number}?", f"{name} says {number}.", f"{name} errs {number}."]
        if name == "fever":
            cells = [cells[0], [cells[1], f"{name} adds {number}."], [cells[2], f"{name} lies {number}."]]
        rows.append(dict(zip(UPSTREAM[name][2], cells, strict=False)))
    return rows


def pair_set(root: Path, name: str, rows: list[dict[str, Any]]) -> None:
    repository, config, _ = UPSTREAM[name]
    repo = root / "hub" / repository
    parquet(repo / config / "train-00000-of-00001.parquet", rows)
    # another config beside it, as there: without the right name nothing can be read
    parquet(repo / "other" / "train-00000-of-00001.parquet", [{"query": 1, "positive": 2}])
    card(repo, {"other": {"train": "other/train-*"}, config: {"train": f"{config}/train-*"}})


def pair_sets(root: Path, **sizes: int) -> None:
    for name in UPSTREAM:
        pair_set(root, name, pair_rows(name, sizes.get(name, 10)))


def texts(tmp_path: Path, out: str = "out") -> list[tuple[str, list[str], list[str]]]:
    """Each triplet in words: query, positives, negatives."""
    queries = {row["id"]: shape(row["content"])[0] for row in table(tmp_path, "queries", "train", out)}
    corpus = {row["id"]: shape(row["content"])[0] for row in table(tmp_path, "corpus", "train", out)}
    return [
        (queries[row["query_id"]], *([corpus[one] for one in row[side]] for side in ("positive_ids", "negative_ids")))
        for row in table(tmp_path, "triplets", "train", out)
    ]


def sources(tmp_path: Path, out: str = "out") -> Counter[str]:
    return Counter(row["source"] for row in table(tmp_path, "queries", "train", out))


class TestTextPairs:
    @pytest.mark.parametrize("name", list(UPSTREAM))
    def test_each_set_s_columns_become_queries_positives_and_negatives(self, tmp_path: Path, name: str) -> None:
        pair_set(tmp_path, name, pair_rows(name, 3))
        done = build(tmp_path, "text-pairs", "--subset", name)
        assert done.exit_code == 0, done.output
        more = [f"{name} adds {{}}."] if name == "fever" else []  # of lists all positives, and the first negative
        wrong = [] if name in ("squad", "nq") else [f"{name} errs {{}}."]
        expected = [
            (
                f"{name} asks {n}?",
                [one.format(n) for one in (f"{name} says {{}}.", *more)],
                [w.format(n) for w in wrong],
            )
            for n in range(3)
        ]
        assert sorted(texts(tmp_path)) == expected
        queries = table(tmp_path, "queries", "train")
        assert {(row["task"], row["source"], row["instruction"]) for row in queries} == {
            ("text retrieval", name, None)
        }

    def test_the_mix_comes_to_the_recipe_s_number(self) -> None:
        assert TextPairsConfig().most == cap_of("rzen-t2t") == 300_000
        assert set(SETS) == set(UPSTREAM) and TextPairsConfig().subset == "all"

    def test_the_mix_takes_as_many_of_each_set(self, tmp_path: Path) -> None:
        pair_sets(tmp_path)
        assert build(tmp_path, "text-pairs", "--most", 23).exit_code == 0
        counts = sources(tmp_path)
        assert set(counts) == set(UPSTREAM) and counts.total() == 23 and set(counts.values()) == {3, 4}
        text = (tmp_path / "out" / "README.md").read_text()
        for repository, _, _ in UPSTREAM.values():
            assert f"[{repository}](https://huggingface.co/datasets/{repository})" in text

    def test_what_a_small_set_lacks_the_others_give(self, tmp_path: Path) -> None:
        pair_sets(tmp_path, triviaqa=1, fever=2)
        assert build(tmp_path, "text-pairs", "--most", 35).exit_code == 0
        counts = sources(tmp_path)
        assert counts.total() == 35 and counts["triviaqa"] == 1 and counts["fever"] == 2
        assert {counts[name] for name in ("hotpotqa", "squad", "nq", "msmarco", "allnli")} == {6, 7}
        assert build(tmp_path, "text-pairs", out="whole").exit_code == 0
        assert sources(tmp_path, "whole").total() == 53

    def test_the_seed_decides_and_the_order_of_rows_does_not(self, tmp_path: Path) -> None:
        pair_sets(tmp_path, squad=40)
        for out, seed in (("a", 0), ("b", 0), ("c", 1)):
            assert build(tmp_path, "text-pairs", "--most", 21, "--seed", seed, out=out).exit_code == 0
        first = texts(tmp_path, "a")
        assert first == texts(tmp_path, "b") and sorted(first) != sorted(texts(tmp_path, "c"))
        numbers = [int(query.split()[-1][:-1]) for query, _, _ in first if query.startswith("squad")]
        assert len(numbers) == 3 and max(numbers) > 2  # not merely the first rows
        pair_set(tmp_path, "squad", pair_rows("squad", 40)[::-1])
        assert build(tmp_path, "text-pairs", "--most", 21, out="d").exit_code == 0
        assert texts(tmp_path, "d") == first

    def test_a_limit_makes_the_whole_mix_smaller(self, tmp_path: Path) -> None:
        pair_sets(tmp_path)
        assert build(tmp_path, "text-pairs", "--limit", 7).exit_code == 0
        assert sources(tmp_path) == Counter(dict.fromkeys(UPSTREAM, 1))
        assert build(tmp_path, "text-pairs", "--subset", "nq", "--limit", 3, out="nq").exit_code == 0
        assert sources(tmp_path, "nq") == {"nq": 3}

    def test_rows_without_texts_are_counted_and_not_drawn(self, tmp_path: Path) -> None:
        blank = [{"question": "  ", "answer": "x"}, {"question": "x", "answer": None}]
        pair_set(tmp_path, "squad", [*blank, *pair_rows("squad", 5)])
        done = build(tmp_path, "text-pairs", "--subset", "squad", "--most", 4)
        assert done.exit_code == 0 and "row: no query or no positive" in done.output, done.output
        assert sources(tmp_path) == {"squad": 4}
        assert "| row: no query or no positive | 2 |" in (tmp_path / "out" / "README.md").read_text()
        pair_set(tmp_path, "fever", [{"query": "q", "positive": ["p", " "], "negative": ["", "n"]}])
        assert build(tmp_path, "text-pairs", "--subset", "fever", out="fever").exit_code == 0
        assert texts(tmp_path, "fever") == [("q", ["p"], ["n"])]

    def test_another_layout_names_the_column_and_the_revision(self, tmp_path: Path) -> None:
        pair_set(tmp_path, "msmarco", [{"query": "x", "positive": "y"}])
        done = build(tmp_path, "text-pairs", "--subset", "msmarco")
        assert done.exit_code == 1
        place = "sentence-transformers/msmarco-bm25 at local folder, triplet/train"
        assert f"{place}: the column 'negative' is missing" in done.output

    def test_what_cannot_be_asked_for_is_one_line(self, tmp_path: Path) -> None:
        done = build(tmp_path, "text-pairs", "--subset", "eli5")
        assert done.exit_code == 1 and "found subset=eli5, expected all, or one of triviaqa, fever" in done.output
        done = build(tmp_path, "text-pairs", "--revision", "main")
        assert done.exit_code == 1 and "found revision=main for 7 repositories; pass --subset, too" in done.output


GPT4V, CAPTIONER = "sharegpt4v_instruct_gpt4-vision_cap100k.json", "share-captioner_coco_lcs_sam_1246k_1107.json"


def described(path: str, caption: str) -> dict[str, Any]:
    turns = [
        {"from": "human", "value": "What do you see happening in this image?\n<image>"},
        {"from": "gpt", "value": caption},
    ]
    return {"id": Path(path).stem, "image": path, "conversations": turns}


def sharegpt4v(root: Path, count: int = 4) -> Path:
    """Both files, and a folder with every image that they name."""
    repo, data = root / "hub" / "Lin-Chen" / "ShareGPT4V", root / "data"
    repo.mkdir(parents=True)
    files = {
        GPT4V: [described(f"coco/train2017/{n:012d}.jpg", f"A street {n}.\n\nIt rains.\n") for n in range(count)],
        CAPTIONER: [described(f"sam/images/sa_{n}.jpg", f"A lake {n}.") for n in range(count)],
    }
    for name, rows in files.items():
        (repo / name).write_text(json.dumps(rows))
        for number, row in enumerate(rows):
            (data / row["image"]).parent.mkdir(parents=True, exist_ok=True)
            (data / row["image"]).write_bytes(picture(100 * (name == CAPTIONER) + number))
    return data


def captions(tmp_path: Path, out: str = "out") -> list[str]:
    return [row["content"][0]["text"] for row in table(tmp_path, "queries", "train", out)]


class TestShareGPT4V:
    def test_the_description_asks_for_the_image(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        done = build(tmp_path, "sharegpt4v", "--images", data)
        assert done.exit_code == 0, done.output
        expected = [f"A lake {n}." for n in range(4)] + [f"A street {n}.\n\nIt rains." for n in range(4)]
        assert sorted(captions(tmp_path)) == expected
        assert {(row["source"], row["task"], row["instruction"]) for row in table(tmp_path, "queries", "train")} == {
            (source, "image retrieval", None) for source in ("ShareGPT4V", "ShareGPT4V-PT")
        }
        assert "cc-by-nc-4.0" in (tmp_path / "out" / "README.md").read_text()

    def test_each_description_leads_to_its_own_image(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        assert build(tmp_path, "sharegpt4v", "--images", data, "--subset", "ShareGPT4V").exit_code == 0
        documents = {row["id"]: row["content"] for row in table(tmp_path, "corpus", "train")}
        queries = {row["id"]: row["content"] for row in table(tmp_path, "queries", "train")}
        links = table(tmp_path, "triplets", "train")
        assert len(links) == len(documents) == 4
        for row in links:
            number = int(queries[row["query_id"]][0]["text"].split()[2][0])
            [part] = documents[row["positive_ids"][0]]
            assert part["type"] == "image" and row["negative_ids"] == []
            with Image.open(data / f"coco/train2017/{number:012d}.jpg") as image:
                assert part["image"].tobytes() == image.tobytes()

    def test_the_recipe_s_number_is_drawn_by_the_seed(self, tmp_path: Path) -> None:
        assert ShareGPT4VConfig().most == cap_of("rzen-t2vd") == 250_000
        data = sharegpt4v(tmp_path, count=12)
        for out, seed in (("a", 0), ("b", 0), ("c", 1)):
            words = ("--images", data, "--most", 10, "--seed", seed)
            assert build(tmp_path, "sharegpt4v", *words, out=out).exit_code == 0
        first = captions(tmp_path, "a")
        assert len(first) == 10 and first == captions(tmp_path, "b")
        assert sorted(first) != sorted(captions(tmp_path, "c"))
        assert {caption.split()[1] for caption in first} == {"lake", "street"}
        assert build(tmp_path, "sharegpt4v", "--images", data, "--limit", 3, out="d").exit_code == 0
        assert captions(tmp_path, "d") == first[:3]

    def test_a_missing_image_is_counted_and_another_row_drawn(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        assert build(tmp_path, "sharegpt4v", "--images", data, "--most", 2, out="before").exit_code == 0
        lost = captions(tmp_path, "before")[0]
        number = lost.split()[2][0]
        (data / (f"sam/images/sa_{number}.jpg" if "lake" in lost else f"coco/train2017/{number:0>12}.jpg")).unlink()
        done = build(tmp_path, "sharegpt4v", "--images", data, "--most", 2)
        assert done.exit_code == 0, done.output
        assert len(captions(tmp_path)) == 2 and lost not in captions(tmp_path)
        assert "| row: image file is missing | 1 |" in (tmp_path / "out" / "README.md").read_text()

    def test_images_come_from_an_archive_too(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        with zipfile.ZipFile(tmp_path / "train2017.zip", "w") as archive:  # as COCO gives it, without coco/
            for path in sorted((data / "coco" / "train2017").iterdir()):
                archive.write(path, f"train2017/{path.name}")
        done = build(tmp_path, "sharegpt4v", "--images", tmp_path / "train2017.zip")
        assert done.exit_code == 0 and "row: image file is missing" in done.output, done.output
        assert sorted(captions(tmp_path)) == [f"A street {n}.\n\nIt rains." for n in range(4)]

    def test_a_row_that_says_nothing_is_counted(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        rows = [described("sam/images/sa_0.jpg", " "), described("sam/images/sa_1.jpg", "A lake.")]
        rows[0]["conversations"].pop()
        rows.append(described("sam/images/sa_2.jpg", " "))
        (tmp_path / "hub" / "Lin-Chen" / "ShareGPT4V" / CAPTIONER).write_text(json.dumps(rows))
        done = build(tmp_path, "sharegpt4v", "--images", data, "--subset", "ShareGPT4V-PT")
        assert done.exit_code == 0 and captions(tmp_path) == ["A lake."], done.output
        assert "| row: no description | 2 |" in (tmp_path / "out" / "README.md").read_text()

    def test_what_is_missing_is_one_line(self, tmp_path: Path) -> None:
        data = sharegpt4v(tmp_path)
        done = build(tmp_path, "sharegpt4v")
        assert done.exit_code == 1 and "no images are named: pass --images" in done.output
        done = build(tmp_path, "sharegpt4v", "--images", tmp_path / "gone")
        assert done.exit_code == 1 and "gone: there is no such folder or archive of images" in done.output
        assert build(tmp_path, "sharegpt4v", "--images", data, "--subset", "SFT").exit_code != 0
        file = tmp_path / "hub" / "Lin-Chen" / "ShareGPT4V" / CAPTIONER
        file.write_text('[{"id": "1", "image": "x.jpg", "caption": "A cat."}]')
        done = build(tmp_path, "sharegpt4v", "--images", data)
        place = f"Lin-Chen/ShareGPT4V at local folder, {CAPTIONER} row 0"
        assert done.exit_code == 1 and f"{place}: the column 'conversations' is missing" in done.output
        file.write_text('{"rows": []}')
        done = build(tmp_path, "sharegpt4v", "--images", data)
        assert done.exit_code == 1 and f"{CAPTIONER}: found dict, expected a list of rows" in done.output
        file.unlink()
        done = build(tmp_path, "sharegpt4v", "--images", data)
        assert done.exit_code == 1 and f"there is no {CAPTIONER}" in done.output
