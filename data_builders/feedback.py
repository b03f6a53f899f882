"""Feedback of who answers: which documents of a ranking lead to a right answer, and which not (Nyx §3.3, stage 2)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.answering import Answerer, Question

METRICS = ("f1", "em")
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "official": {"threshold": 0.0, "negatives": 3},
    "safe": {},
}
"""Whose rule, and the values in which it differs. `paper`: of the windows in order, the first that is right gives the
positive, and all other documents are negatives. `official`, its authors' code: all windows are asked, the best gives
the positive, and the first three other documents are negatives, whatever they led to. `safe`, ours: as `paper`, with
all windows asked, and as negatives only documents whose own windows were answered wrongly: not those about which a
request failed."""

_AT_ONCE = 256  # windows whose contents are in memory together


class Window(NamedTuple):
    """Neighbours in a query's ranking: those from rank `start` to before rank `stop`, counted from 0."""

    query: int
    start: int
    stop: int


class Verdict(NamedTuple):
    """What came of a window: its answer's score, 0 where there is none, and whether the documents were read at all."""

    score: float
    read: bool = True


@dataclass(frozen=True)
class FeedbackRules:
    """What is asked, and what becomes positive and negative.

    The paper gives no `k`, `window`, `stride`, `metric` nor `threshold`. `k` and `window` are those of its authors'
    code, the threshold of a half is ours.

    Attributes:
        preset: Whose rule; see `PRESETS`.
        k: Documents found for a query.
        window: Documents that are shown together.
        stride: Ranks from one window's first document to the next one's.
        metric: `f1` or `em`, for open questions. With options it is always whether the right one was chosen.
        threshold: A window is right if its answer scores more than this.
        negatives: How many a query keeps, the highest ranks first; None keeps all.
    """

    preset: str = "paper"
    k: int = 30
    window: int = 1
    stride: int = 1
    metric: str = "f1"
    threshold: float = 0.5
    negatives: int | None = None

    @classmethod
    def of(cls, preset: str, **given: Any) -> "FeedbackRules":
        """Makes a preset's rules.

        Args:
            preset: Its name.
            **given: Values that win over the preset's.

        Returns:
            The rules.

        Raises:
            ValueError: If there is no such preset, or a value is out of range.
        """
        return replace(cls(preset), **{**PRESETS[preset], **given})

    def __post_init__(self) -> None:
        for name, choices in (("preset", tuple(PRESETS)), ("metric", METRICS)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"found the {name} {value!r}, expected one of {', '.join(choices)}")
        for name in ("k", "window", "stride", "negatives"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"found {name}={value}, expected 1 or more")
        if self.window > self.k:
            raise ValueError(
                f"found window={self.window} and k={self.k}, expected no more documents in a window than are found; "
                "raise k or narrow the window"
            )
        if not 0 <= self.threshold < 1:
            raise ValueError(
                f"found threshold={self.threshold}, expected 0 or more and less than 1: what scores more is right"
            )

    @property
    def is_lazy(self) -> bool:
        """Whether a query's first right window ends its asking."""
        return self.preset == "paper"

    def is_right(self, verdict: Verdict) -> bool:
        """Tells whether a window's answer is good enough."""
        return verdict.score > self.threshold

    def metric_for(self, options: Sequence[str] | None) -> str:
        """Names the metric of a question's answer."""
        return "accuracy" if options else self.metric

    def windows(self, query: int, documents: int) -> list[Window]:
        """Lists a ranking's windows, the best ranks first; a ranking that is shorter than a window is one.

        Args:
            query: The query's number.
            documents: How many were found for it.

        Returns:
            The windows; none where nothing was found.
        """
        last = max(0, documents - self.window)
        starts = range(0, last + 1, self.stride) if documents else ()
        return [Window(query, start, min(start + self.window, documents)) for start in starts]


@dataclass(frozen=True)
class Chosen:
    """What a ranking's windows decided; documents by rank, from 0.

    Attributes:
        positive: The first document of the window that was chosen.
        negatives: Negatives, the highest first.
        scores: The score of each document that begins a window which was asked.
    """

    positive: int
    negatives: list[int]
    scores: dict[int, float]


@dataclass
class Feedback:
    """What came of asking.

    Attributes:
        chosen: What was decided for each query; None where no window was right.
        windows: Windows that there are.
        asked: Windows that were asked: the rest belong to queries that were decided before.
        failures: Windows without an answer, by reason.
        cut: What of the documents did not fit, by kind.
    """

    chosen: list[Chosen | None] = field(default_factory=list)
    windows: int = 0
    asked: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)


def gather_feedback(
    lengths: Sequence[int],
    questions: Callable[[Sequence[Window]], Sequence[Question]],
    answers: Sequence[Sequence[str]],
    answerer: Answerer,
    rules: FeedbackRules,
) -> Feedback:
    """Asks windows of rankings until every query is decided.

    Args:
        lengths: Documents found for each query.
        questions: Gives the questions of windows, in order: the query with the window's documents.
        answers: Right answers of each query.
        answerer: Who answers.
        rules: What is asked and chosen.

    Returns:
        What was decided, and how much was asked for it.

    Raises:
        GeneratorError: If the answerer cannot go on; answers that it keeps are not asked for again.
    """
    windows = [rules.windows(query, documents) for query, documents in enumerate(lengths)]
    verdicts: list[list[Verdict]] = [[] for _ in lengths]
    found = Feedback(windows=sum(map(len, windows)))
    judge = _Judge(questions, answers, answerer, rules, found)
    with tqdm(total=found.windows, desc="feedback", unit="window") as bar:
        for block in _blocks(windows, verdicts, rules):
            for window, verdict in zip(block, judge.verdicts(block), strict=True):
                verdicts[window.query].append(verdict)
            found.asked += len(block)
            bar.update(len(block))
    found.chosen = [decide(own, documents, rules) for own, documents in zip(verdicts, lengths, strict=True)]
    return found


def decide(verdicts: Sequence[Verdict], documents: int, rules: FeedbackRules) -> Chosen | None:
    """Chooses one query's positive and negatives.

    Args:
        verdicts: What came of its windows, in order; of those not asked there is none.
        documents: How many were found for it.
        rules: What is chosen.

    Returns:
        The choice; None where no window was right.
    """
    starts = [window.start for window in rules.windows(0, documents)]
    own = dict(zip(starts, verdicts, strict=False))
    scores = {start: verdict.score for start, verdict in own.items()}
    right = [start for start, verdict in own.items() if rules.is_right(verdict)]
    if not right:
        return None
    positive = max(right, key=scores.__getitem__) if rules.preset == "official" else right[0]
    others = [rank for rank in range(documents) if rank != positive]
    if rules.preset == "safe":
        others = [rank for rank in others if rank in own and own[rank].read and rank not in right]
    return Chosen(positive, others[: rules.negatives], scores)


def _blocks(
    windows: Sequence[Sequence[Window]], verdicts: Sequence[Sequence[Verdict]], rules: FeedbackRules
) -> Iterator[list[Window]]:
    """Gives what is asked together: of all windows, or of the next one of each query that is not decided by then."""
    rounds: Iterable[list[Window]] = [[window for own in windows for window in own]]
    if rules.is_lazy:
        longest = max(map(len, windows), default=0)
        rounds = (_undecided(place, windows, verdicts, rules) for place in range(longest))
    for waiting in rounds:
        for start in range(0, len(waiting), _AT_ONCE):
            yield waiting[start : start + _AT_ONCE]


def _undecided(
    place: int, windows: Sequence[Sequence[Window]], verdicts: Sequence[Sequence[Verdict]], rules: FeedbackRules
) -> list[Window]:
    return [
        own[place]
        for own, said in zip(windows, verdicts, strict=True)
        if place < len(own) and not any(map(rules.is_right, said))
    ]


@dataclass(frozen=True)
class _Judge:
    """Asks windows, scores what is said, and counts what went wrong."""

    questions: Callable[[Sequence[Window]], Sequence[Question]]
    answers: Sequence[Sequence[str]]
    answerer: Answerer
    rules: FeedbackRules
    found: Feedback

    def verdicts(self, windows: Sequence[Window]) -> list[Verdict]:
        asked = self.questions(windows)
        replies = self.answerer.replies(asked)
        for reply in replies:
            self.found.cut.update(reply.cut)
            if reply.text is None:
                self.found.failures[reply.failure or "answer: none"] += 1
        right = [self.answers[window.query] for window in windows]
        scores = answer_scores([reply.text for reply in replies], right, [question.options for question in asked])
        metrics = [self.rules.metric_for(question.options) for question in asked]
        # "answer: …" says that what the documents led to is no right answer; other failures say nothing of them
        read = [reply.text is not None or (reply.failure or "").startswith("answer:") for reply in replies]
        return [Verdict(float(scores[metric][place]), read[place]) for place, metric in enumerate(metrics)]
