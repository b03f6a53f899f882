"""Answer metrics against SQuAD's official formulas, and choices of options."""

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nyx_hf.data_builders.answer_metrics import answer_scores, squad_words

# SQuAD's official script, version 2.0, its functions as they stand (compute_exact and get_raw_scores make version_2),
# then version 1.1, whose F1 of two answers without words is 0.


def normalize_answer(s):
    def remove_articles(text):
        return re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    return white_space_fix(remove_articles(remove_punc(s.lower())))


def compute_f1(a_gold, a_pred):
    gold_toks = normalize_answer(a_gold).split() if a_gold else []
    pred_toks = normalize_answer(a_pred).split() if a_pred else []
    common = collections.Counter(gold_toks) & collections.Counter(pred_toks)
    num_same = sum(common.values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(pred_toks)
    recall = 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def version_2(prediction, answers):
    gold_answers = [a for a in answers if normalize_answer(a)]
    if not gold_answers:
        gold_answers = [""]
    exact = max(int(normalize_answer(a) == normalize_answer(prediction)) for a in gold_answers)
    return exact, max(compute_f1(a, prediction) for a in gold_answers)


def f1_score(prediction, ground_truth):
    prediction_tokens = normalize_answer(prediction).split()
    ground_truth_tokens = normalize_answer(ground_truth).split()
    num_same = sum((collections.Counter(prediction_tokens) & collections.Counter(ground_truth_tokens)).values())
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(prediction_tokens)
    recall = 1.0 * num_same / len(ground_truth_tokens)
    return (2 * precision * recall) / (precision + recall)


def version_1(prediction, answers):
    exact = max(normalize_answer(prediction) == normalize_answer(answer) for answer in answers)
    return int(exact), max(f1_score(prediction, answer) for answer in answers)


def ours(prediction, answers):
    scores = answer_scores([prediction], [answers])
    return scores["em"][0], scores["f1"][0]


WORDS = [
    "a",
    "an",
    "The",
    "paris",
    "Paris",
    "tower",
    "x-ray",
    "…",
    "?!",
    "Ünïted",
    "İzmir",
    "ß",
    "3.5",
    "\u00a0",
    "an.",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.text(max_size=12)


@given(prediction=TEXTS, answers=st.lists(TEXTS, min_size=1, max_size=4))
@example(prediction="", answers=["the", "Paris"])  # a right answer without words counts only among its like
@example(prediction="?", answers=["", "The"])
@example(prediction="Paris", answers=["the"])
@example(prediction="STRASSE", answers=["Straße"])
def test_em_and_f1_are_squad_s(prediction, answers):
    assert ours(prediction, answers) == pytest.approx(version_2(prediction, answers), abs=1e-12)
    if all(map(normalize_answer, answers)):
        assert ours(prediction, answers) == pytest.approx(version_1(prediction, answers), abs=1e-12)


@given(predictions=st.lists(TEXTS | st.none(), max_size=5), answers=st.lists(TEXTS, min_size=1, max_size=3))
def test_scores_are_bounded_and_one_another_s(predictions, answers):
    scores = answer_scores(predictions, [answers] * len(predictions))
    assert list(scores) == ["em", "f1", "accuracy"]
    for values in scores.values():
        assert values.shape == (len(predictions),) and values.dtype == np.float64
        assert ((values >= 0) & (values <= 1)).all()
    assert (scores["em"] <= scores["f1"]).all() and np.isin(scores["em"], (0, 1)).all()
    np.testing.assert_array_equal(scores["accuracy"], scores["em"])  # these questions have no options
    swapped = [ours(answers[0], [said])[1] for said in predictions if said is not None]
    alone = [ours(said, answers[:1])[1] for said in predictions if said is not None]
    assert swapped == alone  # F1 of two texts does not tell which was the right one
    assert all(ours(answer, answers)[1] == 1 for answer in answers if squad_words(answer))


def test_known_values():
    scores = answer_scores(
        ["the Eiffel-Tower!", "Eiffel", "tower tower", None, "Rome"],
        [["EiffelTower"], ["Louvre", "Eiffel Tower"], ["a tower in Paris"], ["Paris"], ["Paris"]],
    )
    assert scores["em"].tolist() == [1, 0, 0, 0, 0]
    assert scores["f1"].tolist() == pytest.approx([1, 2 / 3, 2 * 1 / (2 + 3), 0, 0])
    assert squad_words("An  Answer: the 3.5\u00a0kg X-ray") == ["answer", "35", "kg", "xray"]


def test_no_questions_give_no_scores():
    assert {name: values.shape for name, values in answer_scores([], []).items()} == dict.fromkeys(
        ("em", "f1", "accuracy"), (0,)
    )


CITIES = ["Paris", "New York", "(c) Rome", "Oslo"]


@pytest.mark.parametrize(
    ("said", "answers", "options", "accuracy"),
    [
        ("Paris", ["Paris"], CITIES, 1),
        (" paris. ", ["Paris"], CITIES, 1),
        ("NEW  YORK", ["new york"], CITIES, 1),
        ("Oslo", ["Paris"], CITIES, 0),
        ("Paris, France", ["Paris"], CITIES, 0),  # none of the options
        ("the Paris", ["Paris"], CITIES, 0),  # SQuAD's exact match, but no option
        ("A", ["Paris"], CITIES, 0),
        (None, ["Paris"], CITIES, 0),
        ("Lutetia", ["Lutetia", "Paris"], CITIES, 0),  # a right answer that was not offered
        ("Paris", ["Lutetia", "Paris"], CITIES, 1),
        ("Oslo", ["Paris", "Oslo"], CITIES, 1),
        ("the", ["the"], ["a", "the", "an"], 1),
        ("an", ["the"], ["a", "the", "an"], 0),  # SQuAD cannot tell them apart
        ("?", ["?"], ["?", "!", "."], 1),
        ("!", ["?"], ["?", "!", "."], 0),
        ("…", ["?"], ["?", "!", "."], 0),
        ("", ["?"], ["?", "!", "."], 0),  # could be any of them
        ("the Paris", ["Paris"], [], 1),  # an open question
    ],
)
def test_accuracy_is_that_of_the_option_that_is_meant(said, answers, options, accuracy):
    assert answer_scores([said], [answers], [options])["accuracy"].tolist() == [accuracy]


def test_open_questions_and_choices_mix():
    scores = answer_scores(["the Paris", "the Paris"], [["Paris"]] * 2, [None, CITIES])
    assert scores["em"].tolist() == [1, 1] and scores["accuracy"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("predictions", "answers", "options", "message"),
    [
        (["a"], [], None, "1 predictions, 0 lists of right answers and 1 of options"),
        (["a"], [["a"]], [], "1 predictions, 1 lists of right answers and 0 of options"),
        (["a", None], [["a"], []], None, "no right answer for query 1"),
        (["a", "b"], [["a"], None], None, "no right answer for query 1"),
        (["a", None], [["a"], ["b"]], [None, ["c", "d"]], "no right answer among the options of query 1"),
        (["a"], ["abc"], None, r"one string as the right answers of query 0, expected a list: \['abc'\]"),
        (["a"], [["a"]], ["abc"], "one string as the options of query 0"),
    ],
)
def test_bad_questions_are_refused(predictions, answers, options, message):
    with pytest.raises(ValueError, match=message):
        answer_scores(predictions, answers, options)
