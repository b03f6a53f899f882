"""The offline answerers: they read what they are shown, so that wrong documents give wrong answers or none."""

import io
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_nyxqa import build, manual, table

from nyx_hf.data_builders import open_answerer as opening
from nyx_hf.data_builders.answering import Answerer, Question, option_of
from nyx_hf.data_builders.context_budget import ContextBudget
from nyx_hf.data_builders.document_words import APART
from nyx_hf.data_builders.evidence import trust
from nyx_hf.data_builders.extractive_answerer import ExtractiveAnswerer
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.options import normal_answer
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.vlm_answerer import VLMAnswerer
from tests.pictures import noise_image

Rows = list[dict[str, Any]]


def text(words: str) -> Rows:
    return [{"type": "text", "text": words}]


def image(file: bytes) -> Rows:
    return [{"type": "image", "image": {"bytes": file, "path": None}}]


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


def png(seed: int) -> bytes:
    return encoded(noise_image(64, 48, seed))


def said(question: str | Rows, *documents: str | Rows, options: Sequence[str] | None = None) -> str | None:
    """What the extractive answerer says; a failure where it says nothing."""
    contents = [text(one) if isinstance(one, str) else one for one in (question, *documents)]
    [reply] = ExtractiveAnswerer().replies([Question(contents[0], contents[1:], options)])
    assert (reply.text is None) == (reply.failure is not None)
    return reply.text if reply.text is not None else reply.failure


class TestOptions:
    @pytest.mark.parametrize(
        ("words", "options", "meant"),
        [
            ("B", ["Rome", "Paris"], "Paris"),
            ("B.", ["Rome", "Paris"], "Paris"),
            ("(b)", ["Rome", "Paris"], "Paris"),
            ("b) Paris", ["Rome", "Paris"], "Paris"),
            ("B.Paris", ["Rome", "Paris"], "Paris"),
            ("B:\nParis.", ["Rome", "Paris"], "Paris"),
            ("Paris.", ["Rome", "Paris"], "Paris"),
            ("B. Rome", ["Rome", "Paris"], None),  # its letter is another's
            ("C", ["Rome", "Paris"], None),
            ("", ["Rome", "Paris"], None),
            ("...", ["?", "!"], None),
            ("!", ["?", "!"], "!"),
            ("ß", ["Rome", "Paris"], None),
            ("A", ["A", "B"], "A"),
            ("A", ["B", "A"], None),  # the first, or the one that is called so
            ("A dog", ["A cat", "A dog"], "A dog"),
            ("Paris", ["Paris", "Paris"], "Paris"),
            ("paris", ["Paris", "PARIS"], None),
        ],
    )
    def test_what_an_answer_means(self, words: str, options: list[str], meant: str | None) -> None:
        assert option_of(words, options) == meant

    @given(st.text(max_size=12), st.lists(st.text(max_size=8), max_size=5))
    def test_it_is_an_option_or_none(self, words: str, options: list[str]) -> None:
        assert option_of(words, options) in [None, *options]

    @given(st.lists(st.text("abcdé ", min_size=2, max_size=8).filter(str.strip), min_size=1, max_size=6), st.data())
    def test_words_and_letters_lead_back(self, options: list[str], data: st.DataObject) -> None:
        options = [f"x{one}" for one in options]  # words that are no letter
        place = data.draw(st.integers(0, len(options) - 1))
        letter = chr(ord("A") + place)
        for form in ("{}", "{}.", "({})", "{} ", f"{{}}) {options[place]}"):
            assert option_of(form.format(letter), options) == options[place]
        if [normal_answer(one) for one in options].count(normal_answer(options[place])) == 1:
            assert option_of(options[place], options) == options[place]


class TestChoosing:
    def test_the_option_that_stands_with_the_questions_words(self) -> None:
        document = "Weather\n\nThe capital of France is Paris.\n\nIt rains a lot.\n\nThe capital of Italy is Rome."
        options = ["Rome", "Paris", "Berlin"]
        assert said("What is the capital of France?", document, options=options) == "Paris"
        assert said("What is the capital of Italy?", document, options=options) == "Rome"

    def test_an_option_that_no_document_mentions_never_wins(self) -> None:
        document = "The capital of France and of everything else lies on a river. Rome has one too."
        assert said("What is the capital of France?", document, options=["Paris", "Rome"]) == "Rome"
        assert said("What is the capital of France?", document, options=["Par", "Ome", "Paris"]) == (
            "answer: the documents hold no option"
        )

    def test_without_evidence_there_is_no_guess(self) -> None:
        assert said("Who sailed west?", "Rome has a river.", options=["Rome", "Paris"]) == (
            "answer: the documents say nothing of the question"
        )
        assert said("Who sailed west?", options=["Rome"]) == said("Who sailed west?") == "answer: no documents"

    @pytest.mark.parametrize("documents", [[[]], [text("")], [text(" \n\n ")], [text("—"), []]])
    def test_documents_of_nothing(self, documents: list[Rows]) -> None:
        assert said("Who?", *documents, options=["Rome"]) == "answer: the documents hold no option"
        assert said("Who sailed?", *documents) == "answer: the documents say nothing of the question"

    def test_equals_go_to_the_earlier_document_then_place_then_option(self) -> None:
        one, two = "Red is the colour of the flag.", "Blue is the colour of the flag."
        asked, options = "Which is the colour of the flag?", ["Blue", "Red"]
        assert said(asked, one, two, options=options) == "Red" and said(asked, two, one, options=options) == "Blue"
        assert said(asked, "The colour of the flag: red, blue.", options=options) == "Red"
        assert said(asked, "The colour of the flag: red.", options=["RED", "Red"]) == "RED"
        assert said(asked, "The colour of the flag: dark red.", options=["Red", "Dark", "Dark red"]) == "Dark red"

    def test_a_later_document_counts_a_little_less_but_wins_where_it_says_more(self) -> None:
        assert 0.9 < trust(APART) < trust(APART - 1) == trust(0) == 1
        documents = "A flag is a cloth. Some are red.", "The colour of the old flag of the town is blue."
        assert said("What colour had the old flag of the town?", *documents, options=["Red", "Blue"]) == "Blue"

    def test_unicode_however_it_is_typed(self) -> None:
        document = "Die Hauptstraße führt nach Zu\u0308rich.\n\n北京是中国的首都。\n\nКиїв стоїть на Дніпрі."
        assert said("Wohin führt die Hauptstrasse?", document, options=["Zürich", "Bern"]) == "Zürich"
        assert said("中国的首都？", document, options=["上海", "北京"]) == "北京"
        assert said("Що стоїть на Дніпрі?", document, options=["Львів", "Київ"]) == "Київ"

    @given(st.text(max_size=40), st.lists(st.text(max_size=60), max_size=3), st.lists(st.text(max_size=5), max_size=4))
    def test_any_words_are_answered_from_the_documents_or_not_at_all(
        self, asked: str, documents: list[str], options: list[str]
    ) -> None:
        answer = said(asked, *documents, options=options or None)
        assert answer == said(asked, *documents, options=options or None)
        assert answer is not None and (answer.startswith("answer: ") or not options or answer in options)

    @pytest.mark.parametrize("options", [None, ["word8", "word9 word1", "the"]])
    @pytest.mark.parametrize("asked", ["What is the word8 of the word9?", "The word8 of ____ is the word9."])
    @pytest.mark.parametrize("line", [20, 100_000])
    def test_a_hundred_thousand_words_are_soon_read(self, asked: str, options: list[str] | None, line: int) -> None:
        words = [*["the", "of", "is"] * 400, *(f"{first}ord{number}" for first in "wW" for number in range(1000))]
        drawn = random.Random(0).choices(words, k=100_000)
        lines = [" ".join(drawn[start : start + line]) + "." for start in range(0, len(drawn), line)]
        started = time.perf_counter()
        answer = said(asked, "\n\n".join(lines), options=options)
        assert time.perf_counter() - started < 10  # about a second where nothing else runs
        assert answer is not None and len(answer.split()) <= 12


class TestImages:
    def document(self, file: bytes) -> Rows:
        return [
            *text("Filters\n\nHarbours are written about here.\n\nFigure 1.2. A boat at sea"),
            *image(file),
            *text(
                "Quiet water of the harbour\n\nThis begins another paragraph of many more words than a caption has."
            ),
        ]

    def test_the_same_image_tells_where_to_look(self) -> None:
        asked = [*text("What does "), *image(png(1)), *text(" show?")]
        options = ["Loud water of the harbour", "Quiet water of the harbour", "A boat at sea"]
        other = [*text("Loud water of the harbour"), *image(png(2)), *text("Loud water of the harbour")]
        assert said(asked, other, self.document(png(1)), options=options) == "Quiet water of the harbour"
        assert said(asked, other, self.document(png(1))) == "Quiet water of the harbour"
        assert said(asked, other, options=options) == "answer: the documents say nothing of the question"

    @pytest.mark.parametrize("change", ["jpeg", "smaller"])
    def test_an_image_that_looks_the_same_will_do(self, change: str) -> None:
        picture = noise_image(64, 48, 1)
        file = encoded(picture, "JPEG") if change == "jpeg" else encoded(picture.resize((48, 36)))
        asked = [*text("What does "), *image(file), *text(" show?")]
        assert (
            said(asked, [*image(png(2)), *text("Loud water of the harbour")], self.document(png(1)))
            == "Quiet water of the harbour"
        )

    def test_frames_of_a_video_and_files_that_are_no_images(self) -> None:
        frame = {"bytes": png(1), "path": None}
        asked: Rows = [*text("What does "), {"type": "video", "video": [frame]}, *text(" show?")]
        assert (
            said(asked, [*image(b"no image"), *text("A ship")], self.document(png(1))) == "Quiet water of the harbour"
        )


class TestShortAnswers:
    @pytest.mark.parametrize(
        ("question", "document", "answer"),
        [
            ("It is “at ____ from the left” here.", "A pin. It stands at 2.5% from the left.", "2.5%"),
            ("Complete: “The mill was built in ____.”", "The mill was built in 1874. It is red.", "1874"),
            ("“____ opens the gate of the yard.”", "Ctrl+Shift+G opens the gate of the yard.", "Ctrl+Shift+G"),
            (
                "In “Mills”, what is described as follows? “A wheel that the water turns.”",
                "Parts\n\nWater wheel\n\nA wheel that the water turns.\n\nSail\n\nWhat the wind turns.",
                "Water wheel",
            ),
            ("What is described as follows? “Says how far it goes.”", "Reach: Says how far it goes.", "Reach"),
            ("What turns the sails of every mill?", "The Great Wind turns the sails of every mill.", "Great Wind"),
            ("Who built the mill?", "The mill is old. It was Jan Öster who built it in 1874.", "Jan Öster"),
            ("When was the mill built?", "The mill was built by Jan Öster in 1874.", "1874"),
            ("Through which menu entries is “Levels” reached?", "Use Colors → Map → Levels…", "Colors → Map → Levels"),
        ],
    )
    def test_an_answer_from_the_right_words_and_none_of_it_from_wrong_ones(
        self, question: str, document: str, answer: str
    ) -> None:
        assert said(question, document) == answer
        assert said(question, "Fish swim. Sharks are said to be large.", document) == answer
        assert said(question, "Fish swim. Sharks are said to be large.") != answer


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, dict[str, Rows], dict[str, dict[str, Any]]]:
    """Queries, contents of documents, and triplets of a small manual."""
    folder = tmp_path_factory.mktemp("offline")
    done = build(folder, "--source", f"html:{manual(folder / 'manual')}", "--shares", "0.4,0.3,0.3")
    assert done.exit_code == 0, done.output
    queries, triplets = (
        [row for split in ("train", "validation", "test") for row in stored_rows(table(folder / "out", config, split))]
        for config in ("queries", "triplets")
    )
    corpus = {row["id"]: row["content"] for row in stored_rows(table(folder / "out", "corpus", "corpus"))}
    return queries, corpus, {row["query_id"]: row for row in triplets}


def shown(kind: str, triplet: dict[str, Any], names: list[str]) -> list[str]:
    """Names the documents that a question is asked with."""
    rng = random.Random(triplet["query_id"])
    right, wrong = triplet["positive_ids"][:1], triplet["negative_ids"]
    return {
        "right": right,
        "right among wrong": rng.sample([*right, *wrong], 1 + len(wrong)),
        "hardest wrong": wrong[:1],
        "any wrong": [rng.choice([name for name in names if name not in right])],
    }[kind]


@pytest.mark.parametrize("options", [True, False])
@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("right", 0.95, 1), ("right among wrong", 0.95, 1), ("hardest wrong", 0, 0.1), ("any wrong", 0, 0.1)],
)
def test_the_documents_make_the_answer(pages: Any, kind: str, least: float, most: float, options: bool) -> None:
    """Questions of a manual: of images, definitions, terms and menus."""
    queries, corpus, triplets = pages
    asked = []
    for query in queries:
        documents = [corpus[name] for name in shown(kind, triplets[query["id"]], sorted(corpus))]
        asked.append(Question(query["content"], documents, query["options"] if options else None))
    replies = ExtractiveAnswerer().replies(asked)
    assert replies == ExtractiveAnswerer().replies(asked) and len(asked) > 50
    right = [reply.text in query["answers"] for reply, query in zip(replies, queries, strict=True)]
    assert least <= np.mean(right) <= most


class TestOpening:
    def test_offline_ones(self, tmp_path: Path) -> None:
        opened: list[Answerer] = [
            open_answerer(name, cache_dir=tmp_path) for name in ("extractive", "digits", "digits:3")
        ]
        assert [one.name for one in opened] == ["extractive", "digit-reader", "digit-reader"]
        assert [one.revision for one in opened] == ["version 1", "version 1, seed 0", "version 1, seed 3"]
        assert not any(one.remote for one in opened) and not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "spec", ["endpoint:http://127.0.0.1:9/v1#m", "endpoint:a/m", "transformers:a/m", "vllm:a/m"]
    )
    def test_models_come_with_their_settings(self, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(opening, "open_vlm", lambda *words: asked.append(words) or "the model")
        budget = ContextBudget(tokens=7)
        opened = open_answerer(spec, cache_dir=tmp_path, budget=budget, requests=3, seed=5)
        assert isinstance(opened, VLMAnswerer) and asked == [(spec, 3)]
        assert (opened.vlm.vlm, opened.vlm.folder, opened.budget, opened.seed) == ("the model", tmp_path, budget, 5)

    @pytest.mark.parametrize("spec", ["", "gpt", "digits:", "digits:x", "endpoint:", "extractive:1", "openai:gpt"])
    def test_no_such_kind_is_one_line_that_names_them(self, spec: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"found the answerer .* expected extractive, digits or .* vllm:MODEL$"):
            open_answerer(spec, cache_dir=tmp_path)

    def test_a_server_without_a_model_says_what_to_write(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="name it behind the address"):
            open_answerer("endpoint:http://127.0.0.1:9/v1", cache_dir=tmp_path)
