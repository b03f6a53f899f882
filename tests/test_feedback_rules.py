"""The rules of feedback: the paper's, word for word, and no call too many."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_mining import text

from nyx_hf.data_builders import feedback as rules_of_feedback
from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.feedback import PRESETS, FeedbackRules, Window, gather_feedback

GOLD, OPTIONS = "north south east west", ["up", "down", "left"]
OPEN = {
    "north": 0.4,
    "north south": 2 / 3,
    "north south east": 6 / 7,
    GOLD: 1.0,
    "zebra": 0.0,
    "": 0.0,
    "?": 0.0,
}  # their F1
CHOICE = {"up": 1.0, "down": 0.0, "left": 0.0, "?": 0.0}
NOT_READ = {"?": "answer: no JSON", None: "request: timed out"}  # a wrong answer, and none at all


def said_in(content: Sequence[Any]) -> str:
    return " ".join(part["text"] for part in content if part["type"] == "text")


@dataclass
class TruthTable:
    """Answers by the question and the first document it is shown, and notes what it is asked."""

    says: dict[tuple[str, str], str | None]
    name: str = "table"
    revision: str | None = "7"
    remote: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        self.rounds.append(len(questions))
        replies = []
        for question in questions:
            shown = (said_in(question.query), *map(said_in, question.documents))
            self.asked.append(shown)
            said = self.says[shown[0], shown[1]]
            replies.append(Reply(None if said in NOT_READ else said, NOT_READ.get(said), {"images": 1}))
        return replies


def literally(
    scores: list[float | None], count: int, rules: FeedbackRules
) -> tuple[tuple[int, list[int], dict[int, float]] | None, int]:
    """The rules, sentence by sentence; `scores[i]` is that of the window beginning at i, None if its request failed.

    Gives the positive, the negatives and the scores that are known, and how many windows are asked.
    """
    documents = list(range(count))
    starts, start = [], 0
    while (
        start + rules.window <= count
    ):  # "we construct a sequence of candidate contexts by grouping contiguous subsets"
        starts.append(start)
        start += rules.stride
    starts = starts or [0]  # fewer documents than a window holds
    asked: dict[int, float | None] = {}
    positive = None
    for start in starts:
        asked[start] = scores[start]
        if positive is None and (scores[start] or 0.0) > rules.threshold:  # "the first context window that either …"
            positive = start
            if rules.preset == "paper":
                break
    known = {start: score or 0.0 for start, score in asked.items()}
    if rules.preset == "official":  # argmax, the first of equals, kept if it is more than the threshold
        best = sorted(starts, key=lambda start: (-known[start], start))[0]
        positive = best if known[best] > rules.threshold else None
    if positive is None:  # "If no window meets the quality threshold, the entire instance is discarded"
        return None, len(asked)
    negatives = [document for document in documents if document != positive]  # "the remaining documents"
    if rules.preset == "safe":
        wrong = [start for start, score in asked.items() if score is not None and score <= rules.threshold]
        negatives = [document for document in negatives if document in wrong]
    if rules.negatives is not None:
        negatives = negatives[: rules.negatives]
    return (positive, negatives, known), len(asked)


@st.composite
def cases(draw: st.DrawFn) -> tuple[FeedbackRules, list[tuple[bool, list[str | None]]]]:
    """Rules, and for each query whether it has options, and what is answered from each place on."""
    k = draw(st.integers(1, 7))
    given_ = {
        "k": k,
        "window": draw(st.integers(1, k)),
        "stride": draw(st.integers(1, 3)),
        "metric": draw(st.sampled_from(["f1", "em"])),
        "threshold": draw(st.sampled_from([0.0, 0.4, 0.5, 2 / 3, 0.9])),
        "negatives": draw(st.none() | st.integers(1, 4)),
    }
    if draw(st.booleans()):  # the preset's own values
        given_ = {name: given_[name] for name in ("k", "window", "stride")}
    queries = []
    for options in draw(st.lists(st.booleans(), max_size=5)):
        said = st.sampled_from([*(CHOICE if options else OPEN), None])
        queries.append((options, draw(st.lists(said, min_size=1, max_size=k))))
    return FeedbackRules.of(draw(st.sampled_from(list(PRESETS))), **given_), queries


class TestRules:
    @given(cases(), st.integers(1, 5))
    def test_they_are_the_papers_word_for_word_and_ask_no_window_too_many(
        self, case: tuple[FeedbackRules, list[tuple[bool, list[str | None]]]], at_once: int
    ) -> None:
        rules, queries = case
        answerer = TruthTable(
            {(f"q{q}", f"d{d}"): said for q, (_, row) in enumerate(queries) for d, said in enumerate(row)}
        )

        def questions(windows: Sequence[Window]) -> list[Question]:
            assert len(windows) <= at_once
            return [
                Question(
                    text(f"q{query}"),
                    [text(f"d{document}") for document in range(start, stop)],
                    OPTIONS if queries[query][0] else None,
                )
                for query, start, stop in windows
            ]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rules_of_feedback, "_AT_ONCE", at_once)
            answers = [["up"] if options else [GOLD, "compass"] for options, _ in queries]
            found = gather_feedback([len(row) for _, row in queries], questions, answers, answerer, rules)

        wanted = []
        for options, row in queries:
            worth = CHOICE if options else OPEN
            if rules.metric == "em" and not options:
                worth = {said: float(score == 1) for said, score in OPEN.items()}
            wanted.append(literally([None if said is None else worth[said] for said in row], len(row), rules))
        got = [None if one is None else (one.positive, one.negatives, one.scores) for one in found.chosen]
        assert got == [choice for choice, _ in wanted]
        calls = [count for _, count in wanted]
        assert found.asked == sum(calls) == len(set(answerer.asked)) == len(answerer.asked)
        everything = [literally([0.0] * len(row), len(row), rules)[1] for _, row in queries]
        assert found.windows == sum(everything)
        lost = (NOT_READ.get(answerer.says[shown[0], shown[1]]) for shown in answerer.asked)
        assert found.failures == Counter(filter(None, lost))
        assert found.cut["images"] == found.asked
        for shown in answerer.asked:
            assert len(shown) - 1 == min(rules.window, len(queries[int(shown[0][1:])][1]))

    def test_undecided_queries_are_asked_together_and_decided_ones_no_more(self) -> None:
        truth = {"q0": ["zebra", GOLD, GOLD], "q1": [GOLD, GOLD, GOLD], "q2": ["zebra", "zebra", "zebra"]}
        says = {(q, f"d{d}"): said for q, row in truth.items() for d, said in enumerate(row)}

        def asked(preset: str) -> tuple[list[int], Any]:
            answerer = TruthTable(dict(says))
            found = gather_feedback(
                [3, 3, 3],
                lambda windows: [Question(text(f"q{w.query}"), [text(f"d{w.start}")]) for w in windows],
                [[GOLD]] * 3,
                answerer,
                FeedbackRules.of(preset, k=3),
            )
            return answerer.rounds, found

        rounds, found = asked("paper")
        assert rounds == [3, 2, 1] and (found.windows, found.asked) == (9, 6)
        assert [one and one.positive for one in found.chosen] == [1, 0, None]
        assert found.chosen[0].negatives == [0, 2] and found.chosen[0].scores == {0: 0.0, 1: 1.0}  # 2 was not asked
        rounds, found = asked("safe")
        assert rounds == [9] and found.chosen[0].negatives == [0] and found.chosen[1].negatives == []
        assert asked("official")[1].chosen[1].negatives == [1, 2]  # whatever they led to

    def test_the_official_positive_scores_best_and_stands_first_among_equals(self) -> None:
        says = dict(zip(("d0", "d1", "d2", "d3", "d4"), ("north", None, GOLD, GOLD, "zebra"), strict=True))
        answerer = TruthTable({("q", document): said for document, said in says.items()})

        def chosen(preset: str, **given_: Any) -> Any:
            rules = FeedbackRules.of(preset, k=5, threshold=0.0, **given_)
            ask = [Question(text("q"), [text(document)]) for document in says]
            return gather_feedback([5], lambda w: [ask[one.start] for one in w], [[GOLD]], answerer, rules).chosen[0]

        assert (chosen("official").positive, chosen("official").negatives) == (2, [0, 1, 3])
        assert chosen("official", metric="em").scores == {0: 0.0, 1: 0.0, 2: 1.0, 3: 1.0, 4: 0.0}
        assert (chosen("paper").positive, chosen("safe").positive, chosen("safe").negatives) == (0, 0, [4])

    def test_presets_give_way_to_what_is_given(self) -> None:
        assert FeedbackRules.of("official") == FeedbackRules("official", 30, 1, 1, "f1", 0.0, 3)
        assert FeedbackRules.of("official", threshold=0.9, negatives=5).threshold == 0.9
        assert FeedbackRules.of("paper") == FeedbackRules("paper", 30, 1, 1, "f1", 0.5, None)

    @pytest.mark.parametrize(
        ("given_", "line"),
        [
            ({"k": 0}, "found k=0, expected 1 or more"),
            ({"window": 0}, "found window=0, expected 1 or more"),
            ({"stride": -1}, "found stride=-1, expected 1 or more"),
            ({"negatives": 0}, "found negatives=0, expected 1 or more"),
            ({"k": 3, "window": 4}, "found window=4 and k=3, expected no more documents in a window than are found"),
            ({"threshold": 1.0}, "found threshold=1.0, expected 0 or more and less than 1"),
            ({"metric": "rouge"}, "found the metric 'rouge', expected one of f1, em"),
            ({"preset": "mine"}, "found the preset 'mine', expected one of paper, official, safe"),
        ],
    )
    def test_rules_that_cannot_hold_are_refused(self, given_: dict[str, Any], line: str) -> None:
        with pytest.raises(ValueError, match=re.escape(line)):
            FeedbackRules.of(**{"preset": "paper", **given_})
