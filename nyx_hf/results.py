"""What an evaluation found: scores of sets, averages that say what they are over, published figures beside them.

`results.json` is `SuiteReport.as_json()`:

    suite, title   the suite's name, and what it is called
    run            model, model_revision, date (UTC), seed, limit (queries a set; null for all), command, nyx_hf
    sample         whether only some queries were asked (--limit)
    partial        why these are not the benchmark's own numbers, in words; empty where they are
    tables         figures in percent, as papers print them: key, title, figures (a heading each), metrics (what some
                   of them are, where a suite has several), lines (ours first):
                   name, source ("Nyx, Table 2"; null for ours), own (ours, or the paper's own model), dim (null for
                   the full width), values (by figure: value; the sets counted, of how many, and how many are short)
    sets           name, group, part, dim, metric, value, metrics (fractions of one), queries, expected (queries that
                   the benchmark has; null where unknown), documents, held_out, partial, notes, revisions (of data)
    missing        sets that were not there: name, group, reason, command (what builds it)
    sections       further tables of a suite's own: key, title, rows (their values by name, unrounded)
    notes          what else should be known
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nyx_hf._version import __version__


@dataclass(frozen=True)
class Prediction:
    """What was found for one query.

    Attributes:
        ranking: Ids of the best documents, as deep as the metrics look.
        grades: Grades of the right documents, by id.
    """

    ranking: Sequence[str]
    grades: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """One set at one width.

    Attributes:
        name: The set.
        group: The benchmark's group of it.
        part: The part of the benchmark: `image`, `video`, `visdoc`; `local`, `global`.
        metric: The metric that the benchmark counts.
        metrics: All metrics, as fractions of one.
        queries: Queries that were asked.
        documents: Documents that were ranked, over all queries.
        expected: Queries that the benchmark has; None where that is not known.
        dim: Embedding width; None for the full one.
        held_out: Whether the model was not trained on it, by the user's word.
        partial: Why this is not the benchmark's own number; empty where it is.
        notes: What else should be known of it.
        revisions: Where the data come from: commits by repository, and a hash of the files.
        predictions: What was found; not part of the JSON.
    """

    name: str
    group: str
    part: str
    metric: str
    metrics: Mapping[str, float]
    queries: int
    documents: int
    expected: int | None = None
    dim: int | None = None
    held_out: bool = False
    partial: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    revisions: Mapping[str, str] = field(default_factory=dict)
    predictions: Sequence[Prediction] = field(default=(), repr=False, compare=False)

    @property
    def value(self) -> float:
        """The counted metric."""
        return self.metrics[self.metric]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values, without predictions."""
        return {**{name: value for name, value in vars(self).items() if name != "predictions"}, "value": self.value}


@dataclass(frozen=True)
class Missing:
    """A set that was not there.

    Attributes:
        name: The set.
        group: The benchmark's group of it.
        reason: Why it is missing.
        command: What builds it.
    """

    name: str
    group: str
    reason: str
    command: str


@dataclass(frozen=True)
class Mean:
    """An average that says what it is over.

    Attributes:
        value: In percent; None where nothing is counted.
        counted: Sets that it is over.
        of: Sets that it ought to be over.
        short: Sets among those counted that lack queries or documents.
    """

    value: float | None
    counted: int = 1
    of: int = 1
    short: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is over all that it ought to be over."""
        return self.counted == self.of and not self.short


@dataclass(frozen=True)
class Line:
    """A model's figures.

    Attributes:
        name: The model.
        values: Averages by figure.
        source: The paper and table that print them; None for ours.
        dim: Embedding width; None for the full one.
        own: Whether it is ours, or the paper's own model.
        compared: Whether it was measured only to compare the model with: it says nothing of the model in its card.
    """

    name: str
    values: Mapping[str, Mean]
    source: str | None = None
    dim: int | None = None
    own: bool = True
    compared: bool = False


@dataclass(frozen=True)
class Table:
    """Ours beside what papers print.

    Attributes:
        key: Its name in the report; a suite with one table calls it as itself.
        title: What it shows.
        figures: Headings by figure.
        lines: Ours first.
        metrics: What figures are, where that is not what the suite's are.
    """

    key: str
    title: str
    figures: Mapping[str, str]
    lines: Sequence[Line]
    metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A further table, of a suite's own.

    Attributes:
        key: Its name in the report; its picture is `KEY.png`.
        title: What it shows.
        columns: Headings.
        rows: Cells, as they are shown.
        data: The same as JSON values, unrounded.
        remark: How it is read.
        draw: Draws its picture into a PNG file and gives that back; None where it has none.
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Sequence[Mapping[str, Any]]
    remark: str = ""
    draw: Callable[[Path], Path] | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {"key": self.key, "title": self.title, "rows": [dict(row) for row in self.data]}


@dataclass(frozen=True, kw_only=True)
class Run:
    """How results were made.

    Attributes:
        model: The model's name, never a path.
        model_revision: Its commit, or a hash of its files.
        date: When, in UTC.
        seed: Decides which queries a sample asks.
        limit: Queries of each set, at most; None for all.
        command: What was typed.
        nyx_hf: Version of this package.
    """

    model: str
    model_revision: str | None
    date: str
    seed: int = 0
    limit: int | None = None
    command: str | None = None
    nyx_hf: str = __version__


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """What a suite found.

    Attributes:
        suite: Its name.
        title: What it is called.
        dataset: Hub name of the benchmark, for model cards.
        metric: What its figures are, for model cards.
        run: How it was made.
        tables: Figures, ours beside published ones.
        scores: Scores of the sets, widest embedding first.
        missing: Sets that were not there.
        notes: What else should be known.
        sections: Further tables of the suite's own.
    """

    suite: str
    title: str
    dataset: str
    metric: str
    run: Run
    tables: Sequence[Table]
    scores: Sequence[SetScore]
    missing: Sequence[Missing] = ()
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()

    @property
    def sample(self) -> bool:
        """Whether only some queries were asked."""
        return self.run.limit is not None

    @property
    def partial(self) -> list[str]:
        """Why these are not the benchmark's own numbers; empty where they are."""
        reasons = []
        if self.sample:
            reasons.append(
                f"SAMPLE: at most {self.run.limit} queries a set (--limit), drawn with seed {self.run.seed}"
            )
        if self.missing:
            reasons.append(f"INCOMPLETE: {len(self.missing)} sets are missing")
        short = dict.fromkeys(score.name for score in self.scores if score.partial)
        if short and not self.sample:
            reasons.append(f"INCOMPLETE: {len(short)} sets are not whole ({', '.join(short)})")
        return reasons

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values; the module says which."""
        return {
            "suite": self.suite,
            "title": self.title,
            "run": asdict(self.run),
            "sample": self.sample,
            "partial": self.partial,
            "tables": [asdict(table) for table in self.tables],
            "sets": [score.as_json() for score in self.scores],
            "missing": [asdict(one) for one in self.missing],
            "notes": list(self.notes),
            "sections": [section.as_json() for section in self.sections],
        }
