"""Answering from documents: budgets, what a model is asked and what is read of it, URAG and its command."""

import base64
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat_server
from datasets import Dataset
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_nyxqa import manual
from typer.testing import CliRunner

from nyx_hf import URAG
from nyx_hf.cli import app
from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.context_budget import ContextBudget
from nyx_hf.data_builders.generators import GeneratorError
from nyx_hf.data_builders.judging import ask, judge
from nyx_hf.data_builders.ranking import Ranking, rank
from nyx_hf.data_builders.schema import FEATURES
from nyx_hf.data_builders.searching import LexicalSearcher
from nyx_hf.data_builders.token_counts import TokenCounter
from nyx_hf.data_builders.vlm_answerer import VLMAnswerer
from nyx_hf.data_builders.vlm_cache import CachedVLM
from nyx_hf.data_builders.vlm_endpoint import EndpointVLM
from nyx_hf.modeling.parts_nyx import ContentError
from tests.pictures import noise_image

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client refuses servers of this machine too while the Hub is ruled out."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)


def png(width: int, height: int, seed: int = 0) -> dict[str, Any]:
    file = io.BytesIO()
    noise_image(width, height, seed).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def text(words: str) -> Rows:
    return [{"type": "text", "text": words}]


def image(width: int = 20, height: int = 10, seed: int = 0) -> Rows:
    return [{"type": "image", "image": png(width, height, seed)}]


class Words:
    """A counter of words, so that limits are easy to read."""

    def count(self, text: str) -> int:
        return len(text.split())


def budget(**limits: int) -> ContextBudget:
    return ContextBudget(counter=Words(), **limits)  # type: ignore[arg-type]


class TestBudget:
    def test_what_fits_stays_as_it_is(self) -> None:
        documents = [[*text("one two"), *image()], text("three")]
        assert budget(tokens=3, images=1).fit(documents) == (documents, {})

    def test_the_last_documents_lose_their_tails_and_it_is_counted(self) -> None:
        fitted, cut = budget(tokens=5).fit([text("a b c"), text("d e  f g"), text("h i"), text("j")])
        assert fitted == [text("a b c"), text("d e")]
        assert cut == {"text tokens": 5, "documents": 2}

    def test_images_past_the_budget_go_and_larger_ones_shrink(self) -> None:
        fitted, cut = budget(images=2, pixels=200).fit([[*image(40, 20), *text("a")], image(10, 20), image()])
        sizes = [
            Image.open(io.BytesIO(part["image"]["bytes"])).size
            for part in fitted[0] + fitted[1]
            if part["type"] == "image"
        ]
        assert sizes == [(20, 10), (10, 20)] and cut == {"images": 1, "documents": 1}

    def test_frames_of_a_video_are_images(self) -> None:
        video = [{"type": "video", "video": [png(8, 8, 1), png(8, 8, 2), png(8, 8, 3)]}]
        fitted, cut = budget(images=2).fit([video])
        assert [part["type"] for part in fitted[0]] == ["image", "image"] and cut == {"images": 1}

    @given(st.lists(st.text("ab \n", max_size=30), max_size=5), st.integers(1, 20))
    def test_never_more_than_the_budget_and_a_prefix_of_what_there_was(self, texts: list[str], tokens: int) -> None:
        fitted, cut = budget(tokens=tokens).fit([text(one) for one in texts])
        shown = [part["text"].split() for parts in fitted for part in parts]
        there = [one.split() for one in texts if one.split()]
        words = [word for one in shown for word in one]
        assert words == [word for one in there for word in one][: len(words)] and len(words) <= tokens
        assert len(words) + cut["text tokens"] == sum(map(len, there))
        assert len(words) == min(tokens, sum(map(len, there)))  # nothing is cut that would have fitted

    def test_a_real_counter(self) -> None:
        limited = ContextBudget(tokens=10, counter=TokenCounter())
        fitted, cut = limited.fit([text("These are words of a document that goes on for longer than it may.")])
        assert 0 < limited.counter.count(fitted[0][0]["text"]) <= 10 and cut["text tokens"] > 0

    def test_limits_that_make_no_sense_are_refused(self) -> None:
        with pytest.raises(ValueError, match="found tokens=0"):
            ContextBudget(tokens=0)


def answerer(server: ChatServer, folder: Path, **changes: Any) -> VLMAnswerer:
    model = EndpointVLM("m", server.url, first_wait=0.01, timeout=5.0, requests=2)
    return VLMAnswerer(CachedVLM(model, folder), **changes)


def said(value: str) -> tuple[int, str]:
    return 200, json.dumps({"answer": value})


def shown(body: dict[str, Any]) -> list[str]:
    """What the model sees, in order; an image by its size."""
    parts = []
    for part in body["messages"][-1]["content"]:
        if part["type"] == "text":
            parts.append(part["text"])
        else:
            file = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            parts.append(str(Image.open(io.BytesIO(file)).size))
    return parts


class TestModel:
    def test_documents_come_in_order_then_the_question_and_its_options(self, tmp_path: Path) -> None:
        question = Question(
            [*image(30, 10), *text("What is it?")],
            [[*text("First."), *image(20, 10), *text("Ends.")], text("Second.")],
            ["a cat", "a dog"],
        )
        with chat_server(lambda body, number: said("B")) as server:
            assert answerer(server, tmp_path).replies([question]) == [Reply("a dog")]
        parts = shown(server.asked[0])
        start = parts.index("Document 1:")
        assert parts[start : start + 6] == ["Document 1:", "First.", "(20, 10)", "Ends.", "Document 2:", "Second."]
        assert parts[start + 6 : start + 10] == [
            "Question:",
            "(30, 10)",
            "What is it?",
            "Options:\nA. a cat\nB. a dog",
        ]
        schema = server.asked[0]["response_format"]["value"]
        assert schema["properties"]["answer"]["enum"] == ["A", "B"]

    def test_without_documents_none_are_spoken_of(self, tmp_path: Path) -> None:
        with chat_server(lambda body, number: said("Paris")) as server:
            assert answerer(server, tmp_path).replies([Question(text("Which town?"))]) == [Reply("Paris")]
        assert shown(server.asked[0])[:2] == ["Question:", "Which town?"]

    def test_bare_lines_are_read_and_garbage_is_asked_again_then_counted(self, tmp_path: Path) -> None:
        answers = {"bare": ["Paris"], "late": ['{"wrong": 1}', '{"answer": "Rome"}'], "never": ['{"wrong": 1}', "{"]}
        counts: dict[str, int] = {}

        def reply(body: dict[str, Any], number: int) -> tuple[int, str]:
            name = next(part for part in shown(body) if part in answers)
            counts[name] = counts.get(name, 0) + 1
            return 200, answers[name][counts[name] - 1]

        with chat_server(reply) as server:
            replies = answerer(server, tmp_path).replies([Question(text(name)) for name in answers])
        assert [one.text for one in replies] == ["Paris", "Rome", None] and counts == {
            "bare": 1,
            "late": 2,
            "never": 2,
        }
        assert replies[2].failure == "answer: no JSON"

    @pytest.mark.parametrize(
        ("answer", "meant"),
        [("b", "a dog"), ("B. a dog", "a dog"), ("A dog.", "a dog"), ("C", None), ("cat dog", None)],
    )
    def test_options_by_letter_or_words(self, answer: str, meant: str | None, tmp_path: Path) -> None:
        question = Question(text("What?"), options=["a cat", "a dog"])
        with chat_server(lambda body, number: (200, answer)) as server:
            [reply] = answerer(server, tmp_path, retries=0).replies([question])
        assert reply == (Reply(meant) if meant else Reply(None, "answer: none of the options"))

    def test_a_letter_that_was_asked_for_is_the_option_s_place(self, tmp_path: Path) -> None:
        with chat_server(lambda body, number: said("A")) as server:
            [reply] = answerer(server, tmp_path).replies([Question(text("Which?"), options=["B", "A"])])
        assert reply == Reply("B")

    def test_nothing_is_asked_twice(self, tmp_path: Path) -> None:
        questions = [Question(text(f"q{number}"), [text("d")]) for number in range(4)]
        with chat_server(lambda body, number: said("x")) as server:
            answerer(server, tmp_path).replies(questions[:3])
            answerer(server, tmp_path).replies(questions)
            answerer(server, tmp_path).replies([Question(text("q0"), [text("other")])])
        assert len(server.asked) == 5

    def test_what_did_not_fit_is_told(self, tmp_path: Path) -> None:
        with chat_server(lambda body, number: said("x")) as server:
            [reply] = answerer(server, tmp_path, budget=budget(tokens=2)).replies(
                [Question(text("q"), [text("a b c")])]
            )
        assert reply.cut == {"text tokens": 1}

    def test_a_server_that_is_down_ends_it_in_one_line(self, tmp_path: Path) -> None:
        down = VLMAnswerer(CachedVLM(EndpointVLM("m", "http://127.0.0.1:9/v1"), tmp_path))
        with pytest.raises(GeneratorError, match="cannot be reached"):
            down.replies([Question(text("q"))])


class Echo:
    """Answers with what it is shown, so that the documents can be told from the answer."""

    name, revision, remote = "echo", "1", False

    def __init__(self) -> None:
        self.seen: list[Question] = []

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        self.seen += questions
        return [
            Reply(
                " / ".join(part["text"] for document in one.documents for part in document if part["type"] == "text")
            )
            for one in questions
        ]


def corpus(*texts: str) -> Dataset:
    rows = [
        {"id": f"d{number}", "content": [{"type": "text", "text": words, "image": None, "video": None}]}
        for number, words in enumerate(texts)
    ]
    return Dataset.from_list(rows, features=FEATURES["corpus"])


class TestURAG:
    def urag(self, **settings: Any) -> tuple[URAG, Echo]:
        echo = Echo()
        return URAG(corpus("cats purr", "dogs bark", "fish swim"), "bm25", echo, **settings), echo

    def test_one_question_and_many(self) -> None:
        urag, _ = self.urag()
        answered = urag.answer("who can bark?")
        assert not isinstance(answered, list) and answered.text == "dogs bark"
        [document] = answered.documents
        assert document["id"] == "d1" and document["score"] > 0 and document["content"][0]["text"] == "dogs bark"
        many = urag.answer(["who can purr?", "fish?"], k=2)
        assert isinstance(many, list) and [one.documents[0]["id"] for one in many] == ["d0", "d2"]
        assert all(len(one.documents) == 2 for one in many)

    def test_none_are_shown_where_none_are_asked_for(self) -> None:
        urag, echo = self.urag()
        answered = urag.answer("who can bark?", k=0)
        assert not isinstance(answered, list) and list(answered.documents) == list(echo.seen[0].documents) == []

    def test_any_content_and_options_reach_the_answerer(self) -> None:
        urag, echo = self.urag()
        picture = noise_image(12, 8, 3)
        urag.answer(("see ", picture, " bark"), options=["a", "b"])
        urag.answer([{"text": "bark <image 1>", "image": picture}, "purr"], options=[["a"], None])
        assert [part["type"] for part in echo.seen[0].query] == ["text", "image", "text"]
        assert list(echo.seen[0].options or ()) == ["a", "b"] and echo.seen[2].options is None
        sizes = {Image.open(io.BytesIO(one.query[1]["image"]["bytes"])).size for one in echo.seen[:2]}
        assert sizes == {(12, 8)}

    def test_bad_input_is_named(self) -> None:
        urag, _ = self.urag()
        with pytest.raises(ValueError, match="found options for 1 of 2 questions"):
            urag.answer(["a", "b"], options=[["x"]])
        with pytest.raises(ContentError, match="item 1"):
            urag.answer(["a", {"nothing": 1}])
        with pytest.raises(ValueError, match="the corpus is empty"):
            URAG(corpus("gone").select([]), "bm25", Echo()).answer("a")


def queries(*rows: tuple[str, list[str] | None]) -> Dataset:
    table = [
        {
            "id": f"q{number}",
            "content": [{"type": "text", "text": words, "image": None, "video": None}],
            "answers": answers,
            **dict.fromkeys(("instruction", "options", "task", "source")),
        }
        for number, (words, answers) in enumerate(rows)
    ]
    return Dataset.from_list(table, features=FEATURES["queries"])


class TestJudging:
    def test_documents_are_shown_in_the_ranking_s_order_and_answers_are_scored(self) -> None:
        asked = queries(("purr?", ["cats purr"]), ("bark?", ["a cat"]))
        found = rank(LexicalSearcher(), asked, corpus("cats purr", "dogs bark"), 2)
        assert [list(one.ids) for one in found] == [["d0", "d1"], ["d1", "d0"]]
        echo = Echo()
        replies = ask(echo, asked, corpus("cats purr", "dogs bark"), found, k=1)
        judged = judge([*replies[:1], Reply(None, "answer: none", {"images": 2})], asked)
        assert judged.scores["em"].tolist() == [1.0, 0.0] and judged.failures == {"answer: none": 1}
        assert judged.cut == {"images": 2}
        ask(echo, asked, corpus("cats purr", "dogs bark"), found, k=2)
        assert [len(one.documents) for one in echo.seen] == [1, 1, 2, 2]

    def test_a_question_without_a_right_answer_is_named(self) -> None:
        with pytest.raises(ValueError, match="1"):
            judge([Reply("x"), Reply("y")], queries(("a", ["x"]), ("b", None)))

    def test_a_ranking_of_nothing(self) -> None:
        assert rank(LexicalSearcher(), queries(("a", ["x"])).select([]), corpus("a"), 1) == []
        with pytest.raises(ValueError, match="found k=0"):
            rank(LexicalSearcher(), queries(("a", ["x"])), corpus("a"), 0)
        [short] = rank(LexicalSearcher(), queries(("a", ["x"])), corpus("a"), 5)
        assert isinstance(short, Ranking) and list(short.ids) == ["d0"]


@pytest.fixture(scope="module")
def nyxqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    words = [
        "--source",
        f"html:{manual(folder / 'site')}",
        "--cache",
        str(folder / "cache"),
        "--out",
        str(folder / "qa"),
    ]
    done = CliRunner().invoke(app, ["build", "nyxqa", *words])
    assert done.exit_code == 0, done.output
    return folder / "qa"


class TestCommand:
    def test_one_question_with_its_documents(self, nyxqa: Path) -> None:
        words = ["answer", str(nyxqa), "What creates ripples in the active layer?", "--split", "corpus", "-k", "2"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert re.search(r"^ *1 +\d+\.\d{4} +\S+\.html#\S+", done.output, re.M), done.output
        found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
        assert len(found["documents"]) == 2 and found["documents"][0]["score"] >= found["documents"][1]["score"]

    def test_all_questions_are_judged_and_written(self, nyxqa: Path, tmp_path: Path) -> None:
        words = ["answer", str(nyxqa), "--split", "train", "--out", str(tmp_path / "answers")]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0 and re.search(r"accuracy +0\.\d{4} +0\.\d{4} to", done.output), done.output
        report = json.loads((tmp_path / "answers" / "report.json").read_text())
        lines = [json.loads(line) for line in (tmp_path / "answers" / "answers.jsonl").read_text().splitlines()]
        assert report["questions"] == len(lines) > 10 and report["retriever"] == "bm25" and not report["sample"]
        mean = sum(line["accuracy"] for line in lines) / len(lines)
        assert report["scores"]["accuracy"]["mean"] == pytest.approx(mean)
        assert all(len(line["documents"]) == 1 for line in lines)
        again = CliRunner().invoke(app, words)
        assert again.exit_code == 1 and "choose a new folder" in again.output

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--split", "nowhere"], "there are no queries of 'nowhere'; it has"),
            (["--answerer", "oracle"], "oracle"),
            (["--option", "a"], "options belong to a question"),
            (["--image", "gone.png", "What?"], "gone.png"),
            (["--answerer", "endpoint:http://127.0.0.1:9/v1#m", "--split", "train"], "cannot be reached"),
        ],
    )
    def test_bad_words_are_one_line(self, nyxqa: Path, words: list[str], line: str) -> None:
        done = CliRunner().invoke(app, ["answer", str(nyxqa), *words])
        assert done.exit_code != 0 and line in done.output and "Traceback" not in done.output, done.output
