"""The reader of handwritten records: what it was trained on, what it reads, and whom it names."""

import random
from functools import cache
from typing import Any

import numpy as np
import pytest

from nyx_hf.data_builders import digit_reader
from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.digit_reader import DigitReader, person_of
from nyx_hf.data_builders.digits import DigitsConfig, draw_scans, make_digits
from nyx_hf.data_builders.digits_text import QUESTIONS, RECORDS, WORDS, draw_person

Rows = list[dict[str, Any]]
SEED = 3
CONFIG = DigitsConfig(name="corpus", seed=SEED, train_documents=1, test_documents=200)
SCANS = draw_scans(CONFIG)["test"]


@pytest.fixture(scope="module")
def reader() -> DigitReader:
    return DigitReader(SEED)


def text(words: str) -> Rows:
    return [{"type": "text", "text": words}]


@cache
def sure_scans() -> dict[int, list[dict[str, Any]]]:
    """Scans that were not trained on and are read right, by digit: tests of codes are not of reading."""
    reader = DigitReader(SEED)
    return {
        digit: [scan.image for scan in found if reader.digits([scan.image["bytes"]]) == [digit]]
        for digit, found in SCANS.items()
    }


def scans(code: str, seed: int = 0) -> Rows:
    rng = random.Random(f"{seed}/{code}")
    return [{"type": "image", "image": rng.choice(sure_scans()[int(digit)])} for digit in code]


def record(name: str, code: str, seed: int = 0) -> Rows:
    return [*text(f"Record of {name}, mason in Harlow. The code: "), *scans(code, seed), *text(". The key hangs.")]


class TestReading:
    def test_it_is_trained_on_the_training_scans_of_its_seed_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = []

        def train_alone(config: DigitsConfig) -> Any:
            drawn.append((config.seed, config.test_scans))
            return {"train": draw_scans(config)["train"]}

        monkeypatch.setattr(digit_reader, "draw_scans", train_alone)
        fitted: list[int] = []

        class Spy(digit_reader.SVC):  # type: ignore[misc]
            def fit(self, pixels: Any, digits: Any) -> Any:
                fitted.append(len(pixels))
                return super().fit(pixels, digits)

        monkeypatch.setattr(digit_reader, "SVC", Spy)
        DigitReader(SEED, test_scans=400).digits([SCANS[0][0].image["bytes"]])
        assert drawn == [(SEED, 400)] and fitted == [1397]

    @pytest.mark.parametrize("seed", [0, SEED])
    def test_scans_never_seen_are_read(self, seed: int) -> None:
        unseen = draw_scans(DigitsConfig(name="corpus", seed=seed))["test"]
        pairs = [(scan.image["bytes"], digit) for digit, found in unseen.items() for scan in found]
        said = DigitReader(seed).digits(file for file, _ in pairs)
        assert (
            len(pairs) == 300 and np.mean([one == digit for one, (_, digit) in zip(said, pairs, strict=True)]) > 0.975
        )
        assert said == DigitReader(seed).digits(file for file, _ in pairs)

    def test_scans_of_other_sizes_are_read_and_other_files_are_not(self, reader: DigitReader) -> None:
        large = draw_scans(DigitsConfig(name="corpus", seed=SEED, image_size=56))["test"]
        files = [scan.image["bytes"] for scan in large[4]]
        assert np.mean([digit == 4 for digit in reader.digits(files)]) > 0.9
        assert reader.digits([b"no image"]) == [None] and reader.digits([]) == []


class TestNames:
    @pytest.mark.parametrize("template", RECORDS)
    def test_every_template_names_its_person(self, template: tuple[str, str]) -> None:
        rng = random.Random(0)
        for _ in range(500):
            person = draw_person(rng)
            before, after = (words.format(**person) for words in template)
            content = [*text(before), {"type": "image", "image": {"bytes": b"", "path": None}}, *text(after)]
            assert person_of(content) == person["name"]

    def test_accents_and_records_without_a_name(self) -> None:
        assert person_of(text("the file of Émile Øster, kept in Ålborg")) == "Émile Øster"
        assert person_of(text("The code belongs to nobody in Harlow.")) is None and person_of([]) is None


class TestAnswers:
    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize("form", ["words", "numerals", "together", "scans", "mix"])
    def test_the_code_decides_however_it_is_given(
        self, reader: DigitReader, question: tuple[str, str], form: str
    ) -> None:
        before, after = question
        code = {
            "words": text(before + " ".join(WORDS[digit] for digit in (4, 0, 7)) + after),
            "numerals": text(f"{before}4 0 7{after}"),
            "together": text(f"{before}407{after}"),
            "scans": scans("407", 1),
            "mix": [*text(f"{before}four "), *scans("0", 1), *text(f" 7{after}")],
        }[form]
        documents = [record("Ada Adler", "401"), record("Emil Kaya", "407"), record("Rosa Ito", "407")]
        assert reader.replies([Question(code, documents)]) == [Reply("Emil Kaya")]
        assert reader.replies([Question(code, documents[::-1])]) == [Reply("Rosa Ito")]
        assert reader.replies([Question(code, documents[:1])]) == [Reply("Ada Adler")]  # as it is shown no other

    def test_what_cannot_be_answered(self, reader: DigitReader) -> None:
        noise: Rows = [{"type": "image", "image": {"bytes": b"no image", "path": None}}]
        questions = [
            Question(text("Whose code is 407?")),
            Question(text("Whose code is 407?"), [[]]),
            Question(
                [*noise, *text("07")], [text("The name is Ada Adler."), [*noise, *scans("07"), *text("Emil Kaya")]]
            ),
            Question(text("Whose?"), [text("Ada Adler")]),
        ]
        failures = ["answer: no documents", "answer: the document names nobody"]
        assert reader.replies(questions) == [*(Reply(None, one) for one in failures), *[Reply("Ada Adler")] * 2]

    def test_of_options_the_name_or_nothing(self, reader: DigitReader) -> None:
        documents, asked = [record("Ada Adler", "401"), record("Emil Kaya", "407")], text("Whose code is 407?")
        options = ["Rosa Ito", "Emil Kaya"]
        assert reader.replies([Question(asked, documents, options)]) == [Reply("Emil Kaya")]
        assert reader.replies([Question(asked, documents[:1], options)]) == [
            Reply(None, "answer: none of the options")
        ]


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("right", 1, 1), ("nearest", 0, 0.02), ("among", 0.9, 0.999), ("other", 0, 0.02)]
)
def test_documents_make_the_answer(reader: DigitReader, kind: str, least: float, most: float) -> None:
    """Of a test split: the right record, the nearest wrong one, the right one among nine, any wrong one."""
    made = make_digits(CONFIG)
    corpus = {row["id"]: row["content"] for row in made["corpus"]["test"]}
    rng, asked = random.Random(0), []
    for query, triplet in zip(made["queries"]["test"], made["triplets"]["test"], strict=True):
        right, near = triplet["positive_ids"][:1], triplet["negative_ids"]
        others = rng.sample([name for name in corpus if name not in right], 7)
        among = rng.sample([*right, *near, *others], 10)
        names = {"right": right, "nearest": near[:1], "among": among, "other": others[:1]}[kind]
        asked.append(Question(query["content"], [corpus[name] for name in names]))
    replies = reader.replies(asked)
    right = [reply.text in query["answers"] for reply, query in zip(replies, made["queries"]["test"], strict=True)]
    assert len(asked) == 600 and least <= np.mean(right) <= most
