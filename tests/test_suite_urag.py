"""The suite urag: its figures are those that the story of its questions tells, and its pictures are there."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import chat_server, user_text
from huggingface_hub import constants
from PIL import Image
from suite_cases import Told, text, words
from test_nyxqa import manual
from typer.testing import CliRunner

from nyx_hf import suite_urag
from nyx_hf.build import shown_command
from nyx_hf.card_results import card_metrics
from nyx_hf.cli import app
from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.extractive_answerer import ExtractiveAnswerer
from nyx_hf.data_builders.generators import GeneratorError
from nyx_hf.data_builders.ranking import rank, stored_rows
from nyx_hf.data_builders.searching import DenseSearcher, LexicalSearcher, Searcher
from nyx_hf.data_builders.significance import bootstrap_interval
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.evaluate_command import write_results
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.published import published
from nyx_hf.results import Section, SuiteReport, Table
from nyx_hf.suite_urag import PAPER_RETRIEVERS, SUITE, URAGOptions
from nyx_hf.suites import Evaluation
from nyx_hf.urag_certainty import average
from nyx_hf.urag_flows import Flow
from nyx_hf.urag_sets import METRICS, SETS, chosen_sets, open_urag_set

ANSWER = "alpha"  # what stands before every answer's number: who says it alone gets an F1 of 2/3
NUMBERS = range(8)


def question(number: int) -> str:
    return f"Question {number}?"


def write_questions(
    folder: Path, *, options: bool = False, image: bool = False, split: str = "test", answers: bool = True
) -> Path:
    """Eight questions, each with the document that answers it, and as many documents of nothing."""
    picture = [{"type": "image", "image": Image.new("RGB", (8, 8), "red")}] if image else []
    queries = [
        {
            "id": f"q{number}",
            "content": [*picture, *text(question(number))],
            "answers": [f"{ANSWER} {number}"] if answers else None,
            "options": [f"{ANSWER} {number}", ANSWER, "beta"] if options else None,
        }
        for number in NUMBERS
    ]
    documents = {f"gold{number}": f"{question(number)} {ANSWER} {number}" for number in NUMBERS}
    documents |= {f"other{number}": f"Other {number}" for number in NUMBERS}
    corpus = [{"id": name, "content": text(said)} for name, said in documents.items()]
    links = [{"query_id": f"q{n}", "positive_ids": [f"gold{n}"], "negative_ids": ["other0"]} for n in NUMBERS]
    facts = DatasetFacts(name="tiny", pretty_name="Tiny", summary="Tiny.", configs={}, default_config="preview")
    return write_dataset(folder, {split: corpus}, {split: queries}, {split: links}, facts)


def good(asked: str, document: str) -> float:
    """Finds the right document first, of question 6 second, of question 7 third."""
    number = int(asked.rstrip("?")[-1])
    if document.startswith(question(number)):
        return {6: 0.5, 7: 0.3}.get(number, 1.0)
    return {"Other 0": 0.6, "Other 1": 0.4}.get(document, 0.0)


def weak(asked: str, document: str) -> float:
    """Finds the right documents of questions 0 and 1, and no others."""
    number = int(asked.rstrip("?")[-1])
    if document.startswith(question(number)):
        return 1.0 if number < 2 else -1.0
    return 0.5 if document.startswith("Other") else 0.0


class Reader:
    """Answers right what stands in the documents it is shown, but question 0; knows question 7 by heart.

    What it does not know it answers with half of a right answer, and of options with the wrong one.
    """

    revision: str | None = "r7"
    remote = False

    def __init__(self, name: str = "reader", known: Sequence[int] = (7,)) -> None:
        self.name, self.known, self.asked = name, known, 0

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        self.asked += len(questions)
        return [self.reply(one) for one in questions]

    def reply(self, one: Question) -> Reply:
        said = words([part for part in one.query if part["type"] == "text"])
        number = int(said.rstrip("?")[-1])
        right = f"{ANSWER} {number}"
        shown = any(words(document) == f"{said} {right}" for document in one.documents)
        return Reply(right if number in self.known or (shown and number != 0) else ANSWER)


def blind(asked: str, document: str) -> float:
    if "image" in asked:
        raise ValueError("it reads texts alone, and found an image")
    return weak(asked, document)


RETRIEVERS: dict[str, Searcher] = {
    "weak": Told(weak, "weak@r2"),
    "blind": Told(blind, "blind@r3"),
    "good": Told(good, "good@r1"),
}


def opens(name: str, **_: Any) -> Searcher:
    if name not in RETRIEVERS:
        raise ValueError(f"{name} cannot be opened as a retriever: it has no weights")
    return RETRIEVERS[name]


@pytest.fixture()
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    first = Reader()
    others = {"extractive": first, "clever": Reader("clever", (1, 2, 7)), "twin": Reader()}
    monkeypatch.setattr(suite_urag, "open_answerer", lambda name, **_: others[name])
    monkeypatch.setattr(suite_urag, "load_searcher", opens)
    return first


def evaluate(data: Path, searcher: Searcher | None = None, **how: Any) -> SuiteReport:
    own = {name: how.pop(name) for name in ("limit", "held_out", "dims", "build") if name in how}
    return SUITE.run(
        Evaluation(searcher=searcher or Told(good, "good@r1"), data=data, options=URAGOptions(**how), **own)
    )


def lines(table: Table) -> dict[str, dict[str, float | None]]:
    """Our lines of a table, by name."""
    ours = [line for line in table.lines if line.source is None]
    return {line.name: {name: mean.value for name, mean in line.values.items()} for line in ours}


def section(report: SuiteReport, key: str) -> Section:
    [found] = [one for one in report.sections if one.key == key]
    return found


def near(**values: float) -> Any:
    return pytest.approx({name.replace("__", " "): value for name, value in values.items()})


class TestTable1:
    def test_every_figure_is_the_one_that_the_story_tells(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        write_questions(tmp_path / "nyxqa", options=True)
        report = evaluate(tmp_path, retrievers="weak")
        # EM and F1 of 8 questions: who is wrong has an F1 of 2/3
        assert lines(report.tables[0]) == {
            "good": near(  # shown 0 to 5, misreads 0, knows 7
                hotpotqa__em=100 * 6 / 8,
                hotpotqa__f1=100 * (6 + 2 * 2 / 3) / 8,
                nyxqa__accuracy=75.0,
                average=(75 + 100 * (6 + 4 / 3) / 8 + 75) / 3,
            ),
            "direct answer (reader)": near(
                hotpotqa__em=12.5,
                hotpotqa__f1=100 * (1 + 7 * 2 / 3) / 8,
                nyxqa__accuracy=12.5,
                average=(12.5 + 100 * (1 + 14 / 3) / 8 + 12.5) / 3,
            ),
            "weak": near(hotpotqa__em=25.0, hotpotqa__f1=75.0, nyxqa__accuracy=25.0, average=125 / 3),
        }
        [model, *_] = report.tables[0].lines
        assert (model.values["average"].counted, model.values["average"].of) == (3, 10)
        assert [one.name for one in report.missing] == ["bamboogle", "musique", "scienceqa", "multimodalqa"]
        assert report.missing[0].command.startswith("nyx-hf build bamboogle --passages WIKIPEDIA.jsonl --out ")
        assert "the benchmark has 250" in " ".join(report.scores[0].partial)
        f1 = (6 + 4 / 3) / 8
        assert [metric.value for metric in card_metrics(report)] == [
            pytest.approx(value) for value in (0.75, f1, 0.75, (0.75 + f1 + 0.75) / 3)
        ]  # the card says nothing of what the model is compared with

    def test_the_paper_stands_beside_it_and_its_average_only_beside_all_ten(
        self, tmp_path: Path, reader: Reader
    ) -> None:
        mine = write_questions(tmp_path / "mine")
        write_questions(tmp_path / "nyxqa", options=True)
        theirs = [line for line in evaluate(tmp_path).tables[0].lines if line.source == "Nyx, Table 1"]
        assert len(theirs) == 9 and theirs[-1].values["average"].value == 36.46
        report = evaluate(tmp_path, sets=f"nyxqa,mine={mine}")
        assert list(report.tables[0].figures) == ["nyxqa accuracy", "mine em", "mine f1", "average"]
        theirs = [line for line in report.tables[0].lines if line.source == "Nyx, Table 1"]
        assert len(theirs) == 8 and dict(theirs[-1].values).keys() == {"nyxqa accuracy"}
        assert not report.missing and report.scores[1].group == "own"

    def test_direct_answers_and_the_same_documents_are_asked_for_once(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        evaluate(tmp_path, documents="0,1,2", scale="10=good,20=weak")
        assert reader.asked == 8 * 4  # none, one and two of good, one of weak

    def test_a_sample_and_sets_held_out_say_so(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        write_questions(tmp_path / "bamboogle")
        report = evaluate(tmp_path, limit=3, held_out=("bamboogle",))
        assert report.partial[0].startswith("SAMPLE: at most 3") and report.tables[0].lines[0].name == "good (SAMPLE)"
        assert [(score.name, score.queries, score.held_out) for score in report.scores] == [
            ("hotpotqa", 3, False),
            ("bamboogle", 3, True),
        ]
        assert report.tables[1].key == "held-out"


class TestCertainty:
    def test_each_comparison_has_interval_tests_and_verdict(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        found = {
            (row["column"], row["row"]): row
            for row in section(evaluate(tmp_path, retrievers="weak"), "certainty").data
        }
        direct, other = (found["HotpotQA EM", name] for name in ("direct answer (reader)", "weak"))
        # only the model: 1 to 5 against direct answers, 2 to 5 against weak
        assert direct["against"]["mcnemar"] == {
            **{"questions": 8, "only_first": 0, "only_second": 5, "statistic": pytest.approx(16 / 5)},
            **{"p_corrected": pytest.approx(0.0736, abs=1e-4), "p_exact": 2 / 2**5},
        }
        assert (other["against"]["mcnemar"]["only_second"], other["against"]["mcnemar"]["p_exact"]) == (4, 2 / 2**4)
        right = [0, 1, 1, 1, 1, 1, 0, 1]
        low, high = bootstrap_interval(right)
        assert found["HotpotQA EM", "good"]["mean"] == {"mean": 0.75, "low": low, "high": high}
        assert found["HotpotQA EM", "good"]["against"] is None
        low, high = bootstrap_interval([0, 1, 1, 1, 1, 1, 0, 0])
        assert direct["against"]["difference"] == {"mean": 5 / 8, "low": low, "high": high}
        f1 = found["HotpotQA F1", "weak"]["against"]
        assert f1["mcnemar"] is None and f1["difference"]["mean"] == pytest.approx(4 * (1 / 3) / 8)
        mean = found["average", "weak"]["against"]["difference"]
        assert mean["mean"] == pytest.approx((4 / 8 + 4 / 24) / 2) and 0 < mean["low"] < mean["mean"] < mean["high"]

    def test_verdicts_name_the_better_or_say_that_none_is(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        rows = {tuple(row[:2]): row for row in section(evaluate(tmp_path, retrievers="weak"), "certainty").rows}
        assert rows["HotpotQA EM", "weak"][-1] == "no difference told apart, p=0.12 (n=8)"
        assert rows["HotpotQA F1", "weak"][-1] == "good better (interval)"
        assert rows["average", "weak"][-1].startswith("average: good better (interval); right answers: no difference")
        assert rows["HotpotQA EM", "good"][3:] == [""] * 7

    def test_averages_weigh_columns_alike_and_draw_questions_within_sets(self) -> None:
        small, large = np.array([0.0, 1.0]), np.ones(1000)
        found = average([[small], [large, large]])
        assert found.mean == pytest.approx((0.5 + 1 + 1) / 3)
        # the small set's mean is 0, 1/2 or 1, each extreme in a quarter of the draws
        assert (found.low, found.high) == (pytest.approx(2 / 3), pytest.approx(1.0))
        with pytest.raises(ValueError, match="no column"):
            average([])


class TestCurves:
    def test_documents(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "nyxqa", options=True)
        report = evaluate(tmp_path, documents="0,1,2,4", retrievers="weak")
        rows = section(report, "documents").data
        means = {(row["row"], row["documents"]): row["average"]["mean"] for row in rows}
        assert means == {
            **{("direct answer", "0"): 1 / 8, ("good", "1"): 6 / 8, ("good", "2"): 7 / 8, ("good", "4"): 7 / 8},
            **{("weak", "1"): 2 / 8, ("weak", "2"): 2 / 8, ("weak", "4"): 2 / 8},
        }
        assert rows[0]["against"] is None and rows[2]["against"]["mcnemar"]["only_second"] == 6
        assert lines(report.tables[0])["good"]["nyxqa accuracy"] == 75.0  # Table 1 stays with one document

    def test_answerers(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "nyxqa", options=True)
        report = evaluate(tmp_path, answerers="clever")
        means = {
            (row["answerer"], row["documents of"]): row["average"]["mean"] for row in section(report, "answerers").data
        }
        assert means == {
            **{("reader", "direct answer"): 1 / 8, ("reader", "good"): 6 / 8},
            **{("clever", "direct answer"): 3 / 8, ("clever", "good"): 6 / 8},
        }
        assert lines(report.tables[0])["direct answer (clever)"]["nyxqa accuracy"] == 37.5

    def test_widths(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "nyxqa", options=True)
        report = evaluate(tmp_path, DenseSearcher(Halves(), tmp_path / "vectors"), dims=(8, 4))
        # of 8 dimensions all 8 right documents are found, of 4 only those of 0 to 3: 0 is misread, 7 known
        table = next(one for one in report.tables if one.key == "dims")
        assert lines(table) == {
            "halves, NyxQA Acc": {"8": 87.5, "4": 50.0},
            "halves, average": {"8": 87.5, "4": 50.0},
            "halves, NyxQA right document shown": {"8": 100.0, "4": 50.0},
        }
        [theirs] = [line for line in table.lines if line.source]
        assert (theirs.name, theirs.source) == ("Nyx (3B), NyxQA Acc", "Nyx, Table 3")
        assert theirs.values["1024"].value == 81.0
        assert list(table.figures) == ["2048", "1024", "512", "256", "8", "4"]
        [wide, narrow] = section(report, "widths").data
        assert wide["against"] is None and narrow["against"]["mcnemar"]["only_first"] == 3
        assert [(score.dim, score.metrics["hit@1"]) for score in report.scores] == [(8, 1.0), (4, 0.5)]
        assert lines(report.tables[0])["halves"]["nyxqa accuracy"] == 87.5

    def test_training_set_sizes(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "nyxqa", options=True)
        small, large = section(evaluate(tmp_path, scale="4000=good,1000=weak"), "scale").data
        assert (small["training examples"], small["average"]["mean"]) == ("1,000", 2 / 8)
        assert (large["model"], large["average"]["mean"], large["against"]["mcnemar"]["only_second"]) == (
            *("good", 6 / 8),
            4,
        )

    def test_flows(self, tmp_path: Path, reader: Reader) -> None:
        own = write_questions(tmp_path / "own")
        write_questions(tmp_path / "hotpotqa")  # its positives are no labels
        report = evaluate(tmp_path, sets=f"hotpotqa,mine={own}", retrievers="weak")
        table = section(report, "flows")
        flow = {"found_right": 5, "found_wrong": 1, "missed_right": 1, "missed_wrong": 1}
        assert list(table.data) == [
            {"set": "mine", "row": "good", "questions": 8, **flow},
            {
                **{"set": "mine", "row": "weak", "questions": 8},
                **{"found_right": 1, "found_wrong": 1, "missed_right": 1, "missed_wrong": 5},
            },
        ]
        assert table.rows[0][3:] == [
            *("5 (62.5 %)", "1 (12.5 %)", "1 (12.5 %)", "1 (12.5 %)"),
            *("83.3 %", "50.0 %"),
        ]
        assert Flow(3, 0, 0, 0).cells()[-2:] == ["100.0 %", "–"]
        assert any("no labelled documents" in note for note in report.notes)


class Halves:
    """Vectors of eight dimensions that find every right document; their first four find those of 0 to 3 alone."""

    name, revision = "halves", "r1"

    def settings(self) -> dict[str, Any]:
        return {}

    def encode(self, contents: Sequence[Any], side: str, instruction: str | None) -> np.ndarray:
        return np.stack([self.vector(words(content)) for content in contents])

    def vector(self, said: str) -> np.ndarray:
        if said.startswith("Other"):
            return -np.full(8, 8**-0.5, np.float32)
        number = int(said[len("Question ")])
        vector = np.zeros(8, np.float32)
        vector[number % 4] = 1.0 if number < 4 else 0.8
        if number >= 4:
            vector[number] = 0.6
        return vector


class TestWhatIsMissing:
    def test_a_retriever_that_cannot_be_loaded_is_noted_and_the_run_goes_on(
        self, tmp_path: Path, reader: Reader
    ) -> None:
        write_questions(tmp_path / "hotpotqa")
        report = evaluate(tmp_path, retrievers="broken,weak")
        assert list(lines(report.tables[0])) == ["good", "direct answer (reader)", "weak"]
        assert "broken was left out: broken cannot be opened as a retriever: it has no weights." in report.notes

    def test_one_that_reads_texts_alone_has_figures_of_texts_alone(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "hotpotqa")
        write_questions(tmp_path / "nyxqa", options=True, image=True)
        report = evaluate(tmp_path, retrievers="blind", documents="0,1,2")
        [line] = [line for line in report.tables[0].lines if line.name == "blind"]
        assert line.values.keys() == {"hotpotqa em", "hotpotqa f1", "average"}
        assert (line.values["average"].counted, line.values["average"].value) == (2, pytest.approx((25 + 75) / 2))
        assert "blind@r3 was left out of NyxQA: it reads texts alone, and found an image." in report.notes
        [first, *_] = [row for row in section(report, "documents").rows if row[0] == "blind"]
        assert first[2].endswith("(1 of 2 sets)")

    def test_the_papers_retrievers_go_by_one_word(self) -> None:
        assert URAGOptions(retrievers="bm25,paper").names == ("bm25", *PAPER_RETRIEVERS)

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ({"sets": "nyxq"}, "no set 'nyxq' in urag .* \\(did you mean 'nyxqa'\\?\\); it has hotpotqa"),
            ({"sets": "mine=nowhere"}, "found --sets mine=nowhere, expected NAME=FOLDER"),
            ({"documents": "0"}, "found --documents 0, expected whole numbers"),
            ({"documents": "one"}, "found --documents one"),
            ({"scale": "1000=runs/a"}, "expected SIZE=MODEL twice or more"),
            ({"answerers": "twin"}, "two answerers that are called alike in reader, reader"),
            ({"held_out": ("nyxqaa",)}, "no set 'nyxqaa' in urag \\(did you mean 'nyxqa'\\?\\)"),
            ({}, "none of the 6 sets of urag is in .*: hotpotqa is not built; run: nyx-hf build hotpotqa"),
            ({"build": True}, "hotpotqa could not be built: .*WIKIPEDIA.jsonl"),
        ],
    )
    def test_what_was_misspelt_or_is_not_there_is_one_line(
        self, tmp_path: Path, reader: Reader, how: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            evaluate(tmp_path, **how)

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ({"split": "train"}, "expected test or validation: a retriever is not evaluated on what it is trained on"),
            ({"answers": False}, "found query 'q0' without answers in .*hotpotqa, expected one to judge by"),
        ],
    )
    def test_a_set_that_cannot_be_judged_is_one_line(
        self, tmp_path: Path, reader: Reader, written: dict[str, Any], message: str
    ) -> None:
        write_questions(tmp_path / "hotpotqa", **written)
        with pytest.raises(ValueError, match=message):
            evaluate(tmp_path)
        assert reader.asked == 0

    def test_the_validation_split_where_there_is_no_test(self, tmp_path: Path, reader: Reader) -> None:
        write_questions(tmp_path / "multimodalqa", split="validation")
        assert lines(evaluate(tmp_path).tables[0])["good"]["multimodalqa em"] == 75.0


def test_pictures_are_written_and_named_on_the_page(tmp_path: Path, reader: Reader) -> None:
    write_questions(tmp_path / "nyxqa", options=True)
    report = evaluate(
        tmp_path, DenseSearcher(Halves(), tmp_path / "vectors"), dims=(8, 4), documents="0,1,2", answerers="clever",
        retrievers="weak", scale="10=weak,1000=good",
    )  # fmt: skip
    files = write_results(report, tmp_path / "out")
    pictures = {path.name for path in files if path.suffix == ".png"}
    keys = {"documents", "answerers", "widths", "flows", "scale"}
    assert pictures == {"results.png", *(f"{key}.png" for key in keys)}
    page = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    for key in keys:
        assert f"![{key}]({key}.png)" in page
        image = np.asarray(Image.open(tmp_path / "out" / f"{key}.png").convert("RGB"))
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50  # something was drawn
    saved = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert {one["key"] for one in saved["sections"]} == {*keys, "certainty", "asked"}


def run(*command: object) -> Any:
    typed = ["evaluate", "urag", *map(str, command)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nyx-hf", *typed])
        return CliRunner().invoke(app, typed)


def test_own_pages_from_build_to_results(tmp_path: Path) -> None:
    """A real dataset, BM25 and the extractive answerer; its figures are counted here once more."""
    site, folder, out = manual(tmp_path / "site"), tmp_path / "mine", tmp_path / "results"
    words_ = ["build", "nyxqa", "--source", f"html:{site}", "--cache", tmp_path / "cache", "--out", folder]
    assert CliRunner().invoke(app, list(map(str, words_))).exit_code == 0
    done = run(
        *("--model", "bm25", "--sets", f"mine={folder}", "--documents", "0,1,3", "--data", tmp_path / "none"),
        *("--limit", 12, "--out", out),
    )
    assert done.exit_code == 0, done.output
    assert "SAMPLE" in done.output and "Answers of extractive at version" in done.output
    report = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert report["sample"] and str(tmp_path) not in (out / "results.md").read_text(encoding="utf-8")

    [one] = chosen_sets([f"mine={folder}"])
    data = open_urag_set(one, Evaluation(searcher=LexicalSearcher(), data=tmp_path, limit=12)).data
    gold = [set(grades) for grades in data.grades]
    contents = {row["id"]: row["content"] for row in stored_rows(data.corpus)}
    ranked = rank(LexicalSearcher(), data.queries, data.corpus, 3)
    found = {"right": {}, "flow": [0, 0, 0, 0]}  # type: dict[str, Any]
    for k in (1, 3):
        asked = [
            Question(row["content"], [contents[name] for name in ranking.ids[:k]], row["options"])
            for row, ranking in zip(stored_rows(data.queries), ranked, strict=True)
        ]
        replies = ExtractiveAnswerer().replies(asked)
        right = [reply.text in answers for reply, answers in zip(replies, data.queries["answers"], strict=True)]
        found["right"][str(k)] = sum(right) / 12
        for is_right, names, ranking in zip(right, gold, ranked, strict=True) if k == 1 else ():
            found["flow"][2 * (ranking.ids[0] not in names) + (not is_right)] += 1
    sections = {part["key"]: part["rows"] for part in report["sections"]}
    assert {row["documents"]: row["average"]["mean"] for row in sections["documents"][1:]} == found["right"]
    assert list(sections["flows"][0].values())[3:] == found["flow"] and 0 < found["right"]["1"] < 1


def test_a_run_that_is_stopped_asks_for_the_rest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_questions(tmp_path / "hotpotqa")
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    monkeypatch.setattr(suite_urag, "ANSWERS", tmp_path / "answers")
    away = [True]

    def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
        if away[0] and number >= 11:
            return 401, b"{}"
        said = user_text(body)
        right = [n for n in NUMBERS if f"{question(n)} {ANSWER} {n}" in said]
        return 200, json.dumps({"answer": f"{ANSWER} {right[0]}" if right else ANSWER})

    with chat_server(reply) as server:
        how = {"answerer": f"endpoint:{server.url}#m", "requests": 1}
        with pytest.raises(GeneratorError):
            evaluate(tmp_path, **how)
        away[0] = False
        before = len(server.asked)
        table = lines(evaluate(tmp_path, **how).tables[0])
        assert len(server.asked) - before == 16 - 11  # eight without and eight with a document
        assert evaluate(tmp_path, **how).tables[0].lines[0].values["hotpotqa em"].value == 75.0
        assert len(server.asked) - before == 16 - 11
    assert [row["hotpotqa em"] for row in table.values()] == [75.0, 0.0]  # shown 0 to 5; knows nothing


def test_a_real_model_at_two_widths(tmp_path: Path, tiny_folder: Path) -> None:
    folder = write_questions(tmp_path / "mine", image=True)
    done = run(
        *("--model", tiny_folder, "--sets", f"mine={folder}", "--retrievers", "bm25", "--dims", "32,16"),
        *("--limit", 4, "--data", tmp_path / "none", "--cache", tmp_path / "vectors", "--json"),
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    assert [(score["dim"], score["queries"], score["metric"]) for score in report["sets"]] == [
        (32, 4, "em"),
        (16, 4, "em"),
    ]
    assert [table["key"] for table in report["tables"]] == ["urag", "dims"]
    assert report["run"]["model"] == tiny_folder.name and report["run"]["model_revision"]
    assert {row["row"] for row in report["sections"][0]["rows"]} == {
        *(f"{tiny_folder.name} (SAMPLE)", "bm25", "direct answer (extractive)")
    }


def test_models_and_sets_are_named_without_their_folders(tmp_path: Path) -> None:
    typed = ["--scale", f"1000={tmp_path}/small,4000={tmp_path}/large", "--sets", f"nyxqa,mine={tmp_path}/own"]
    assert shown_command(typed) == "--scale 1000=small,4000=large --sets nyxqa,mine=own"


class TestPublished:
    def test_a_few_read_by_hand(self) -> None:
        rows = {row.model: row for row in published("urag")}
        assert len(rows) == 9 and [row.model for row in rows.values() if row.own] == [
            "Nyx-pretrained (3B)",
            "Nyx (3B)",
        ]
        nyx, e5 = rows["Nyx (3B)"].figures, rows["E5-v2 (109M)"].figures
        assert (nyx["hotpotqa f1"], nyx["musique em"], nyx["nyxqa accuracy"]) == (33.19, 7.20, 81.83)
        assert list(e5.values()) == [14.40, 19.18, 7.20, 12.80, 2.40, 6.79]
        [widths] = published("urag", "dims")
        assert dict(widths.figures) == {"2048": 81.83, "1024": 81.0, "512": 78.0, "256": 74.67}

    def test_averages_are_over_the_ten_columns_but_for_three_that_the_paper_prints_otherwise(self) -> None:
        """A wrong digit would show here."""
        odd, columns = [], [f"{name} {metric}" for name in SETS for metric in METRICS[name]]
        for row in published("urag"):
            if "average" in row.figures:
                ten: Mapping[str, float] = row.figures
                mean = sum(ten[name] for name in columns) / 10
                if abs(mean - ten["average"]) > 0.01:
                    odd.append((row.model, round(mean, 1)))
        assert odd == [
            ("direct answer (InternVL3, 8B)", 25.2),
            ("direct answer (Qwen2.5-VL, 7B)", 23.3),
            ("Nyx (3B)", 36.8),
        ]
