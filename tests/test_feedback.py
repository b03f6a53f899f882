"""Datasets of feedback: what is written and trained on, what may not be looked at, kills, the command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat_server, slow, user_text
from huggingface_hub import constants
from test_feedback_rules import said_in
from test_mining import facts, text
from test_nyxqa import build, manual
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.feedback import FeedbackRules
from nyx_hf.data_builders.generators import GeneratorError
from nyx_hf.data_builders.held_out import check_apart, document_of, held_out_documents, is_held_out
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.searching import LexicalSearcher
from nyx_hf.data_builders.vlm_answerer import VLMAnswerer
from nyx_hf.data_builders.vlm_cache import CachedVLM
from nyx_hf.data_builders.vlm_endpoint import EndpointVLM
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.feedback import feedback_dataset
from nyx_hf.trainer import training_run
from tests.pictures import noise_image

RECORDS = ["amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven"]


def records(
    folder: Path, *, own: bool = False, change: dict[str, Any] | None = None, apart: bool = False, **splits: list[int]
) -> Path:
    """A dataset of records in two chunks each, a picture in the first, and one question a record."""
    documents, queries = [], []
    for number, name in enumerate(RECORDS):
        picture = {"type": "image", "image": noise_image(24, 24, number)}
        documents.append({"id": f"{name}#0", "content": [*text(f"record of the {name} house"), picture]})
        documents.append({"id": f"{name}#1", "content": text(f"more on the {name} house, record two")})
        query = {"id": f"q-{name}", "content": text(f"which record of the {name} house?"), "answers": [name]}
        queries.append({**query, **(change or {}).get(name, {})})
    splits = splits or {"train": [0, 1, 2, 3, 4, 5], "test": [6, 7]}
    links = {
        split: [{"query_id": f"q-{RECORDS[n]}", "positive_ids": [f"{RECORDS[n]}#0"]} for n in numbers]
        for split, numbers in splits.items()
    }
    corpus: dict[str, Any] = {"pages": documents}
    if apart:
        corpus = {
            split: [row for row in documents if RECORDS.index(document_of(row["id"])) in numbers]
            for split, numbers in splits.items()
        }
    return write_dataset(folder, corpus, {"all_queries": queries}, links, facts(own_pages=own))


@dataclass
class Reader:
    """Reads the name off the document that it is shown first, and notes everything that it is shown."""

    knows: str = r"record of the (\w+) house"
    name: str = "reader at home"
    revision: str | None = "r1"
    remote: bool = False
    shown: list[Question] = field(default_factory=list)

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        self.shown += questions
        found = [re.search(self.knows, said_in(question.documents[0])) for question in questions]
        return [Reply("nothing" if one is None else one[1]) for one in found]


def gathered(
    tmp_path: Path, dataset: Path, preset: str = "paper", out: str = "out", **how: Any
) -> tuple[Any, Any, Any]:
    reader = how.pop("reader", Reader())
    split = {"split": how.pop("split")} if "split" in how else {}
    rules = FeedbackRules.of(preset, **{"k": 5, **how})
    done = feedback_dataset(dataset, LexicalSearcher(), reader, tmp_path / out, rules, **split)
    return done, load_tables(tmp_path / out, ("corpus", "queries", "triplets")), reader


class TestDataset:
    def test_triplets_of_the_training_split_are_new_and_all_else_stays(self, tmp_path: Path) -> None:
        dataset = records(tmp_path / "data")
        done, tables, _ = gathered(tmp_path, dataset, "safe")
        assert done.triplets == 6 and done.dropped == {} and done.failures == {}
        for row in tables["triplets"]["train"]:
            name = row["query_id"].removeprefix("q-")
            assert row["positive_ids"] == [f"{name}#0"] and row["positive_scores"] == [1.0]
            assert f"{name}#1" in row["negative_ids"] and len(row["negative_ids"]) == 4
            assert row["negative_scores"] == [0.0] * 4 and row["scorer"] == "reader at home@r1, f1"
        old = load_tables(dataset, ("triplets",))["triplets"]["test"]
        assert tables["triplets"]["test"].to_list() == old.to_list()
        for file in ("corpus/pages", "queries/all_queries", "triplets/test"):
            name = f"data/{file}-00000-of-00001.parquet"
            assert (dataset / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
        card = (tmp_path / "out" / "README.md").read_text()
        assert "reader at home@r1" in card and "bm25" in card and "windows of documents, asked" in card
        assert "`safe`" in card and "license: mit" in card and str(tmp_path) not in card

    def test_a_score_is_of_the_window_that_begins_with_the_document_or_there_is_none(self, tmp_path: Path) -> None:
        dataset = records(tmp_path / "data")
        done, tables, _ = gathered(tmp_path, dataset)
        assert done.windows["asked"] < done.windows["in all"] == 6 * 5
        assert done.windows["saved"] == done.windows["in all"] - done.windows["asked"]
        for row in tables["triplets"]["train"]:
            assert row["positive_scores"] == [1.0] and len(row["negative_ids"]) == 4
            assert row["negative_scores"] is None  # the windows after the right one were not asked
        # where all that is kept stands before the right window, its scores are known
        late = Reader(knows=r"more on the (\w+) house")
        _, tables, _ = gathered(tmp_path, dataset, out="late", reader=late, negatives=1)
        assert [0.0] in tables["triplets"]["train"]["negative_scores"]
        _, tables, _ = gathered(tmp_path, dataset, "official", out="official", stride=2)
        assert tables["triplets"]["train"][0]["negative_scores"] is None  # the document at rank 1 begins no window

    def test_windows_hold_whole_documents_with_their_pictures(self, tmp_path: Path) -> None:
        _, _, reader = gathered(tmp_path, records(tmp_path / "data"), window=2)
        assert {len(question.documents) for question in reader.shown} == {2}
        parts = [part for question in reader.shown for document in question.documents for part in document]
        pictures = [part["image"]["bytes"] for part in parts if part["type"] == "image"]
        assert pictures and all(picture.startswith(b"\x89PNG") for picture in pictures)

    def test_documents_that_test_are_not_searched_nor_their_pages_other_chunks(self, tmp_path: Path) -> None:
        dataset = records(tmp_path / "data")
        done, tables, reader = gathered(tmp_path, dataset, "safe", k=40)
        named = {document_of(one) for row in tables["triplets"]["train"] for one in row["negative_ids"]}
        assert named == set(RECORDS[:6]) and done.windows["in all"] == 6 * 12  # fewer than k are there
        shown = " ".join(said_in(document) for question in reader.shown for document in question.documents)
        assert "grove" not in shown and "haven" not in shown and "q-grove" not in str(reader.shown)
        assert held_out_documents(load_tables(dataset, ("triplets",))["triplets"], "train") == {"grove", "haven"}
        everything = records(tmp_path / "whole", train=[0, 1, 2, 3, 4, 5, 6, 7])
        assert gathered(tmp_path, everything, "safe", out="whole-out", k=40)[0].windows["in all"] == 8 * 16

    def test_a_corpus_that_shares_a_document_with_a_test_corpus_is_refused_by_name(self, tmp_path: Path) -> None:
        apart = records(tmp_path / "data", apart=True)
        assert gathered(tmp_path, apart)[0].triplets == 6
        both = records(tmp_path / "both", apart=True, train=[0, 1, 2, 6], test=[6, 7])
        with pytest.raises(ValueError, match=r"'grove#0' of corpus/train in corpus/test too.*build the dataset anew"):
            gathered(tmp_path, both, out="no")
        assert not (tmp_path / "no").exists()

    @pytest.mark.parametrize("split", ["test", "validation", "dev", "test_text", "eval.small"])
    def test_a_split_that_tests_is_refused(self, tmp_path: Path, split: str) -> None:
        assert is_held_out(split) and not is_held_out("train") and not is_held_out("latest")
        with pytest.raises(ValueError, match=f"found the split '{split}', expected one to train on"):
            gathered(tmp_path, tmp_path / "nowhere", split=split)

    def test_another_training_split_may_be_named(self, tmp_path: Path) -> None:
        dataset = records(tmp_path / "data", train=[0, 1], extra=[2, 3], test=[4])
        done, tables, _ = gathered(tmp_path, dataset, split="extra", k=40)
        assert [row["query_id"] for row in tables["triplets"]["extra"]] == ["q-cedar", "q-delta"]
        assert done.split == "extra" and tables["triplets"]["train"][0]["negative_scores"] is None
        with pytest.raises(ValueError, match="found the splits .*expected 'more'; name the one to train on"):
            gathered(tmp_path, dataset, out="no", split="more")

    def test_own_pages_stay_own(self, tmp_path: Path) -> None:
        gathered(tmp_path, records(tmp_path / "data", own=True))
        card = (tmp_path / "out" / "README.md").read_text()
        assert "own_pages: true" in card and "Sample rows" not in card

    def test_queries_that_cannot_be_judged_or_answered_are_counted(self, tmp_path: Path) -> None:
        change = {
            "amber": {"answers": None},
            "birch": {"answers": ["  "]},
            "cedar": {"options": ["one", "two"]},
            "delta": {"answers": ["something that nobody says"]},
            "ember": {"options": ["amber", "ember"]},
        }
        done, tables, reader = gathered(tmp_path, records(tmp_path / "data", change=change), "safe")
        assert done.dropped == {
            "query: no answer to judge by": 2,
            "query: no right answer among its options": 1,
            "query: no window answered it rightly": 1,
        }
        rows = {row["query_id"]: row for row in tables["triplets"]["train"]}
        assert rows.keys() == {"q-ember", "q-flint"} and rows["q-ember"]["scorer"] == "reader at home@r1, accuracy"
        asked = {said_in(question.query): question.options for question in reader.shown}
        assert len(asked) == 3 and asked["which record of the ember house?"] == ["amber", "ember"]
        assert "no window answered it rightly" in (tmp_path / "out" / "README.md").read_text()
        assert "of all queries" in done.as_text() and "16.7%" in done.as_text()

    def test_nothing_left_is_one_clear_error(self, tmp_path: Path) -> None:
        bare = {name: {"answers": None} for name in RECORDS}
        with pytest.raises(
            ValueError, match="found no query of train whose answer is known .*add the column `answers`"
        ):
            gathered(tmp_path, records(tmp_path / "bare", change=bare))
        with pytest.raises(ValueError, match="no query is left of .*'query: no window answered it rightly': 6"):
            gathered(tmp_path, records(tmp_path / "data"), reader=Reader(knows="(never)"))
        with pytest.raises(ValueError, match="every document of the corpus answers queries of other splits"):
            gathered(tmp_path, records(tmp_path / "full", train=[0], test=list(range(8))))
        assert not (tmp_path / "out").exists()

    def test_a_content_is_the_same_whatever_its_images_files_were_called(self, tmp_path: Path) -> None:
        tables = load_tables(records(tmp_path / "data"), ("corpus",))["corpus"]["pages"]
        rows = tables.with_format("arrow")[:2].to_pylist()
        for part in rows[0]["content"]:
            if part["image"] is not None:
                part["image"]["path"] = "elsewhere.png"
        other = type(tables).from_list([{**rows[0], "id": "copy"}], features=tables.features)
        with pytest.raises(ValueError, match="'amber#0' of corpus/train in corpus/other too, there as 'copy'"):
            check_apart({"train": tables, "other": other}, "train")


def reads(body: dict[str, Any], _: int = 0) -> tuple[int, Any]:
    """A model that takes the option which the documents say, and the first where they say none."""
    shown = user_text(body)
    documents, options = shown.split("Question:")[0], re.findall(r"^([A-D])\. (.*)$", shown, re.M)
    said = [letter for letter, option in options if re.search(rf"\b{re.escape(option)}\b", documents)]
    return 200, json.dumps({"answer": (said or ["A"])[0]})


@pytest.fixture()
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    with chat_server(reads) as running:
        yield running


@pytest.fixture(scope="module")
def nyxqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small manual's questions."""
    folder = tmp_path_factory.mktemp("nyxqa")
    built = build(folder, "--source", f"html:{manual(folder / 'my-manual')}", "--shares", "0.7,0.15,0.15")
    assert built.exit_code == 0, built.output
    return folder / "out"


def words(dataset: Path, url: str, folder: Path, *more: object) -> list[str]:
    named = [
        "--model",
        "bm25",
        "--answerer",
        f"endpoint:{url}#vlm",
        "--out",
        folder,
        "--cache",
        folder.parent / "kept",
    ]
    return ["feedback", *map(str, [dataset, *named, *more])]


def run(*typed: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nyx-hf", *typed])  # what the card shows
        return CliRunner().invoke(app, list(typed))


class TestCommand:
    @pytest.mark.parametrize("preset", ["paper", "official", "safe"])
    def test_from_a_manual_to_a_training_step(
        self, tmp_path: Path, nyxqa: Path, server: ChatServer, preset: str, capsys: Any
    ) -> None:
        out = tmp_path / "out"
        done = run(*words(nyxqa, server.url, out, "--preset", preset, "-k", 6, "--json"))
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout.splitlines()[-1])
        assert (
            result["windows"]["asked"] == result["requests"]["sent"] == len(server.asked) and result["triplets"] > 10
        )
        assert (result["windows"]["saved"] > 0) == (preset == "paper")
        tables = load_tables(out, ("corpus", "queries", "triplets"))
        corpus = {row["id"]: said_in(row["content"]) for row in tables["corpus"]["corpus"]}
        queries = {row["id"]: row for row in tables["queries"]["train"]}
        for row in tables["triplets"]["train"]:
            answer = queries[row["query_id"]]["answers"][0]
            letter = queries[row["query_id"]]["options"].index(answer)
            assert re.search(rf"\b{re.escape(answer)}\b", corpus[row["positive_ids"][0]]) or letter == 0
            assert row["scorer"].endswith(", accuracy") and "vlm at 127.0.0.1" in row["scorer"]
            if preset == "safe":
                assert set(row["negative_scores"]) <= {0.0}
            if preset == "official":
                assert len(row["negative_ids"]) == len(row["negative_scores"]) == 3
        card = (out / "README.md").read_text()
        assert "own_pages: true" in card and "Sample rows" not in card and str(tmp_path) not in card
        assert f"`{preset}`" in card and "--answerer" in card and "config_name: mcqa" in card

        again = run(*words(nyxqa, server.url, out, "--preset", preset, "-k", 6, "--overwrite"))
        assert len(server.asked) == result["windows"]["asked"]  # nothing was asked twice
        assert (
            f"answered from the cache  {result['windows']['asked']:>10,}" in again.output
            and f"wrote {out}" in again.output
        )

        right = "null" if preset == "paper" else "1.0"
        recipe = ["--config", "nyx_feedback", "smoke=true", f"datasets=[{out}]", "eval_dataset=[]", "max_steps=1"]
        recipe += ["eval_strategy='no'", "load_best_model_at_end=false", "negatives_per_query=3"]
        assert training_run.main([*recipe, f"feedback_right={right}", f"output_dir={tmp_path / 'run'}"]) == 0
        state = json.loads((tmp_path / "run" / "checkpoint-1" / "trainer_state.json").read_text())
        assert state["global_step"] == 1 and state["log_history"][0]["loss"] > 0
        if preset == "paper":
            capsys.readouterr()
            refused = training_run.main([*recipe, "feedback_right=1.0", f"output_dir={tmp_path / 'no'}"])
            assert refused == training_run.REFUSED and "negative_scores for" in capsys.readouterr().err

    def test_a_killed_run_leaves_nothing_and_asks_for_the_rest_alone(
        self, tmp_path: Path, nyxqa: Path, server: ChatServer
    ) -> None:
        def slowly(body: dict[str, Any], number: int) -> tuple[int, Any]:
            slow(0.1)
            return reads(body, number)

        server.reply = slowly
        typed = words(nyxqa, server.url, tmp_path / "out", "-k", 6, "--preset", "safe", "--requests", 2)
        command = [sys.executable, "-m", "nyx_hf", *typed]
        environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while len(server.asked) < 12:
            time.sleep(0.02)
            assert running.poll() is None, running.stderr and running.stderr.read().decode()[-2000:]
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not (tmp_path / "out").exists()
        before, server.reply = len(server.asked), reads
        done = run(*typed)
        assert done.exit_code == 0, done.output
        times = Counter(json.dumps(body, sort_keys=True) for body in server.asked)
        assert before >= 12 and len(times) > before
        assert sum(count - 1 for count in times.values()) <= 2  # those under way when it was killed, again
        other = [
            *words(nyxqa, server.url, tmp_path / "whole", "-k", 6, "--preset", "safe"),
            "--cache",
            str(tmp_path / "x"),
        ]
        assert run(*other).exit_code == 0
        name = "data/triplets/train-00000-of-00001.parquet"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()

    def test_a_server_that_stops_is_one_line_and_the_next_run_asks_for_the_rest(
        self, tmp_path: Path, nyxqa: Path, server: ChatServer
    ) -> None:
        server.reply = lambda body, number: reads(body) if number < 10 else (401, b"{}")
        typed = words(nyxqa, server.url, tmp_path / "out", "-k", 4, "--requests", 1)
        done = run(*typed)
        assert done.exit_code == 1 and not (tmp_path / "out").exists()
        assert "vlm at 127.0.0.1" in done.output.splitlines()[-1] and "check the address" in done.output
        answered, server.reply = server.asked[:10], reads
        assert run(*typed).exit_code == 0
        assert not [body for body in server.asked[11:] if body in answered]

    def test_a_server_that_is_not_there_is_one_line(self, tmp_path: Path, nyxqa: Path, server: ChatServer) -> None:
        done = run(*words(nyxqa, "http://127.0.0.1:9/v1", tmp_path / "out"))
        assert done.exit_code == 1 and "vlm at 127.0.0.1:9 cannot be reached" in done.output.splitlines()[-1]

    def test_answers_that_are_late_or_empty_are_counted(self, tmp_path: Path, nyxqa: Path, server: ChatServer) -> None:
        def poorly(body: dict[str, Any], number: int) -> tuple[int, Any]:
            if number == 3:
                slow(0.8)
            return (200, "") if number == 5 else reads(body)

        server.reply = poorly
        vlm = EndpointVLM("vlm", server.url, requests=1, timeout=0.4, attempts=1)
        answerer = VLMAnswerer(CachedVLM(vlm, tmp_path / "kept"), retries=0)
        rules = FeedbackRules.of("safe", k=4)
        done = feedback_dataset(nyxqa, LexicalSearcher(), answerer, tmp_path / "out", rules)
        assert done.failures == {"request: timed out": 1, "answer: no JSON": 1} and done.triplets > 10
        assert "no answer" in done.as_text() and "timed out" in done.as_text()

    @pytest.mark.parametrize(
        ("more", "line"),
        [
            (["--preset", "mine"], "found the preset 'mine', expected one of paper, official, safe"),
            (["--metric", "bleu"], "found the metric 'bleu', expected one of f1, em"),
            (["-k", "2", "--window", "3"], "found window=3 and k=2"),
            (["--threshold", "1"], "found threshold=1.0"),
            (["--split", "test"], "found the split 'test', expected one to train on"),
            (["--split", "none"], "expected 'none'; name the one to train on with --split"),
            (["--answerer", "gpt"], "gpt"),
        ],
    )
    def test_wrong_words_are_one_line(self, tmp_path: Path, nyxqa: Path, more: list[str], line: str) -> None:
        done = run(*words(nyxqa, "http://127.0.0.1:9/v1", tmp_path / "out", *more))
        assert done.exit_code == 1 and line in done.output and done.output.count("error: ") == 1
        assert "Traceback" not in done.output and not (tmp_path / "out").exists()

    def test_a_dataset_of_a_corpus_alone_is_one_line(self, tmp_path: Path, nyxqa: Path) -> None:
        done = run(*words(tmp_path / "nothing", "http://127.0.0.1:9/v1", tmp_path / "out"))
        assert done.exit_code == 1 and done.output.count("error: ") == 1
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "corpus.jsonl").write_text('{"id": "a", "content": []}\n')
        done = run(*words(tmp_path / "data", "http://127.0.0.1:9/v1", tmp_path / "out"))
        assert done.exit_code == 1 and "corpus" in done.output and done.output.count("error: ") == 1


def test_an_answerer_that_cannot_go_on_ends_the_run(tmp_path: Path) -> None:
    class Broken(Reader):
        def replies(self, questions: Sequence[Question]) -> list[Reply]:
            raise GeneratorError("it is gone; look at it and run again")

    with pytest.raises(GeneratorError, match="it is gone"):
        gathered(tmp_path, records(tmp_path / "data"), reader=Broken())
    assert not (tmp_path / "out").exists()


def test_what_leaves_this_machine_is_told(tmp_path: Path) -> None:
    done, _, _ = gathered(tmp_path, records(tmp_path / "data"), reader=Reader(remote=True))
    assert "questions and documents were sent to reader at home" in done.as_text()
    assert done.as_json()["sent_to"] == "reader at home"
