"""The datasets of URAG: the paper's six, or a user's own, with the questions that are asked of them (Nyx §4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.schema import matching_split
from nyx_hf.suite_data import SetData, SetPlace, build_set, draw_sample, provenance
from nyx_hf.suites import Evaluation, checked_names

_SPLITS = ("test", "validation")  # MultimodalQA's test answers are not published


@dataclass(frozen=True)
class URAGSet:
    """A set of the suite.

    Attributes:
        name: Its name on the command line, and in the report.
        title: What the paper calls it.
        group: The paper's category of it.
        words: Options that its builder needs; what stands in capitals is the user's to give.
        expected: Questions that the paper asks; None where it does not say.
        labelled: Whether somebody labelled the right documents. The positives of the multi-hop sets are what another
            retriever found first, which says nothing of a retriever's rightness.
        folder: Where a user's own set lies; in the data folder where it is None.
    """

    name: str
    title: str
    group: str = "own"
    words: tuple[str, ...] = ()
    expected: int | None = None
    labelled: bool = True
    folder: Path | None = None

    @property
    def place(self) -> "Place":
        """Where it lies, and what builds it."""
        return Place(self.name, self.name, self.words, "source", self.name, self.folder)


@dataclass(frozen=True)
class Place(SetPlace):
    """The folder of a set: `DATA/SET`, or a user's own."""

    own: Path | None = None

    def folder(self, data: Path) -> Path:
        """Gives the folder."""
        return data / self.name if self.own is None else self.own


_PASSAGES = ("--passages", "WIKIPEDIA.jsonl")
_TEXT, _MIXED = "text-only RAG", "multimodal RAG"
SETS = {
    one.name: one
    for one in (
        URAGSet("hotpotqa", "HotpotQA", _TEXT, _PASSAGES, 250, labelled=False),
        URAGSet("bamboogle", "Bamboogle", _TEXT, _PASSAGES, 125, labelled=False),
        URAGSet("musique", "MuSiQue", _TEXT, _PASSAGES, 250, labelled=False),
        URAGSet("scienceqa", "SciQA", _MIXED),
        URAGSet("multimodalqa", "MMQA", _MIXED, ("--path", "MULTIMODALQA")),
        URAGSet("nyxqa", "NyxQA", _MIXED, ("--source", "html:PAGES"), 600),
    )
}
"""The paper's sets, in the order of its Table 1."""

METRICS = {
    "hotpotqa": ("em", "f1"),
    "bamboogle": ("em", "f1"),
    "musique": ("em", "f1"),
    "scienceqa": ("accuracy",),
    "multimodalqa": ("em", "f1"),
    "nyxqa": ("accuracy",),
}
"""What the paper prints of each; the means of all ten are averaged, each counting alike."""


@dataclass(frozen=True)
class OpenedSet:
    """A set, opened.

    Attributes:
        set: Which it is.
        data: Its documents, the questions that are asked, and the documents that are labelled right.
        metrics: What is counted: exact match and F1, or accuracy where questions have options.
    """

    set: URAGSet
    data: SetData
    metrics: tuple[str, ...]

    @property
    def partial(self) -> tuple[str, ...]:
        """Why scores on it are not the paper's own numbers."""
        return self.data.partial(self.set.expected)


def chosen_sets(words: Sequence[str]) -> tuple[URAGSet, ...]:
    """Reads `--sets`: names of the paper's sets, and `NAME=FOLDER` for a dataset of one's own.

    Args:
        words: What was typed; nothing for the paper's six.

    Returns:
        The sets, the paper's first.

    Raises:
        ValueError: If a name is unknown, with the nearest one; or a folder is not there.
    """
    given = dict(word.split("=", 1) for word in words if "=" in word)
    named = checked_names([word for word in words if "=" not in word], SETS, "urag (NAME=FOLDER names your own)")
    for name, folder in given.items():
        if not Path(folder).is_dir() or not name:
            raise ValueError(f"found --sets {name}={folder}, expected NAME=FOLDER, the folder of a built dataset")
        if name in SETS and name in named:
            raise ValueError(f"found {name} twice in --sets, expected each once; give your own another name")
    own = [URAGSet(name, name, folder=Path(folder)) for name, folder in given.items()]
    return (*(SETS[name] for name in (named or ([] if own else SETS))), *own)


def open_urag_set(one: URAGSet, evaluation: Evaluation) -> OpenedSet:
    """Opens a set: its test split, or its validation split where it has no other.

    Args:
        one: The set.
        evaluation: The data folder, whether to build, and how many questions to ask.

    Returns:
        The set.

    Raises:
        MissingSetError: If it is not there, or could not be built.
        ValueError: If what lies there is no dataset of corpus and questions, or a question has no answer.
    """
    folder = one.place.folder(evaluation.data)
    if not folder.exists():
        build_set(one.place, folder, evaluation)
    configs = [name for name in ("corpus", "queries", "triplets") if (folder / "data" / name).is_dir()]
    if configs[:2] != ["corpus", "queries"]:
        raise ValueError(
            f"found no dataset of corpus and queries in {folder}, expected {one.name}; move it away and run: "
            f"{one.place.command(evaluation.data)}"
        )
    tables = load_tables(folder, configs)
    split = next((name for name in _SPLITS if name in tables["queries"]), None)
    if split is None:
        raise ValueError(
            f"found questions of {', '.join(tables['queries'])} in {folder}, expected {' or '.join(_SPLITS)}: a "
            "retriever is not evaluated on what it is trained on"
        )
    corpus = tables["corpus"][matching_split("corpus", tables["corpus"], split)]
    queries = tables["queries"][split]
    asked = draw_sample(list(queries["id"]), evaluation.limit, evaluation.seed)
    links = tables.get("triplets", {}).get(split) if one.labelled else None
    shown = queries.select(asked)
    for row in stored_rows(shown.select_columns(["id", "answers"])):
        if not row["answers"]:
            raise ValueError(f"found query {row['id']!r} without answers in {folder}, expected one to judge by")
    limited, revisions = provenance(folder)
    data = SetData(corpus, shown, _grades(shown, links), [], len(queries), limited, revisions)
    return OpenedSet(one, data, METRICS[one.name] if one.folder is None else _metrics(shown, folder))


def _grades(queries: datasets.Dataset, links: datasets.Dataset | None) -> list[Mapping[str, float]]:
    """Gives the documents that are labelled right for each query; none where nobody labelled them."""
    rows = stored_rows(links.select_columns(["query_id", "positive_ids"])) if links is not None else ()
    right = {row["query_id"]: dict.fromkeys(row["positive_ids"], 1.0) for row in rows}
    return [right.get(name, {}) for name in queries["id"]]


def _metrics(queries: datasets.Dataset, folder: Path) -> tuple[str, ...]:
    """Finds what to count of a user's own questions."""
    choices = [bool(options) for options in queries["options"]]
    return ("accuracy",) if any(choices) else ("em", "f1")
