"""URAG: what a retriever is worth to who answers from its documents (Nyx §4.1, §4.2 and §5)."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from nyx_hf.data_builders.answering import Answerer
from nyx_hf.data_builders.builder import option
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.searching import DenseSearcher, Searcher
from nyx_hf.results import Missing, SuiteReport
from nyx_hf.retrievers import load_searcher
from nyx_hf.suite_data import MissingSetError
from nyx_hf.suite_held_out import held_out_table
from nyx_hf.suites import Evaluation, OwnData, checked_names
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR
from nyx_hf.urag import ANSWERS
from nyx_hf.urag_answers import Asking
from nyx_hf.urag_sections import sections
from nyx_hf.urag_sets import OpenedSet, URAGSet, chosen_sets, open_urag_set
from nyx_hf.urag_tables import Measured, main_table, set_scores, width_table

PAPER_RETRIEVERS = (
    "intfloat/e5-base-v2",
    "openai/clip-vit-base-patch32",
    "TIGER-Lab/VLM2Vec-Full",
    "openbmb/VisRAG-Ret",
    "intfloat/mmE5-mllama-11b-instruct",
)
"""The retrievers of the paper's Table 1, by Hub name: `--retrievers paper`."""

_UNLABELLED = (
    "The multi-hop sets have no labelled documents: their corpora are what another retriever found, so flows leave "
    "them out."
)


@dataclass
class URAGOptions(OwnData):
    """What to ask, of whom, and from what."""

    answerer: str = option(
        "extractive", "Who answers: extractive, digits, endpoint:URL#MODEL, transformers:MODEL or vllm:MODEL."
    )
    answerers: str | None = option(None, "More of them, with commas between: with the model's documents and without.")
    retrievers: str | None = option(
        None, "Retrievers to compare with: bm25, a model's folder or Hub name, paper for those of Table 1; commas."
    )
    documents: str = option("1", "Numbers of documents that are shown, such as 0,1,2,4,8,16; 0 is direct answering.")
    sets: str | None = option(
        None, "Sets of the paper, and NAME=FOLDER for a dataset of your own; commas. All six if left out."
    )
    scale: str | None = option(
        None, "Models by training-set size, such as 1000=runs/a,4000=runs/b: their curve is drawn."
    )
    requests: int = option(16, "Requests to a server at the same time.")

    def __post_init__(self) -> None:
        """Sees that what was typed can be read, before a model is loaded."""
        _ = self.numbers, self.sizes, chosen_sets(_words(self.sets))

    @property
    def own_data(self) -> bool:
        """Whether no set of the paper is named."""
        return all(one.folder is not None for one in chosen_sets(_words(self.sets)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of documents, ascending."""
        words = _words(self.documents)
        if not all(word.isdecimal() for word in words) or not any(int(word) for word in words):
            raise ValueError(
                f"found --documents {self.documents}, expected whole numbers with commas between, one of them above 0"
            )
        return tuple(sorted({int(word) for word in words}))

    @property
    def sizes(self) -> dict[int, str]:
        """Models by the size of their training set."""
        pairs = [word.partition("=") for word in _words(self.scale)]
        if not all(size.isdecimal() and int(size) and name for size, _, name in pairs) or len(pairs) == 1:
            raise ValueError(f"found --scale {self.scale}, expected SIZE=MODEL twice or more, with commas between")
        return {int(size): name for size, _, name in pairs}

    @property
    def names(self) -> tuple[str, ...]:
        """Retrievers to compare with, `paper` written out."""
        words = _words(self.retrievers)
        return tuple(
            dict.fromkeys(one for word in words for one in (PAPER_RETRIEVERS if word == "paper" else (word,)))
        )


@dataclass(frozen=True)
class URAGSuite:
    """The evaluation of Nyx's Table 1.

    A question's documents are shown to an answerer, which answers; exact match, F1 and accuracy judge what it says.

    Attributes:
        name: Its name on the command line.
        title: What it is called.
        summary: What it measures.
        options: Its own options.
    """

    name: str = "urag"
    title: str = "URAG"
    summary: str = "Answers from the documents that are found, on six question sets or your own (Nyx, Table 1)."
    options: type[Any] = URAGOptions

    def run(self, evaluation: Evaluation) -> SuiteReport:
        """Asks the questions of every set that is there.

        Raises:
            ValueError: If no set is there or can be read, an answerer is of no kind, or a name held out is no set.
            GeneratorError: If an answerer cannot go on; answers of a model are kept.
        """
        options = evaluation.options or URAGOptions()
        wanted = chosen_sets(_words(options.sets))
        held_out = checked_names(evaluation.held_out, [one.name for one in wanted], self.name)
        answerers = _answerers(options)
        opened, missing = _opened(wanted, evaluation)
        asking = Asking(opened, max(options.numbers))
        measured = _measured(asking, wanted, evaluation, options, answerers)
        run = evaluation.run_facts()
        name = f"{run.model} (SAMPLE)" if run.limit is not None else run.model
        scores = set_scores(measured, held_out)
        titles = {one.name: one.title for one in wanted}
        tables = [main_table(measured, name), *width_table(measured, name)]
        return SuiteReport(
            suite=self.name,
            title=self.title,
            dataset="urag",
            metric=f"exact match, F1 and accuracy of answers by {answerers[0].name}",
            run=run,
            tables=[*tables, *held_out_table(run, scores, held_out, list(titles), headings=titles)],
            scores=scores,
            missing=missing,
            notes=_notes(asking, answerers),
            sections=sections(measured, name),
        )


def _answerers(options: URAGOptions) -> list[Answerer]:
    """Opens those who answer; a model is loaded when it is first asked."""
    who = dict.fromkeys((options.answerer, *_words(options.answerers)))
    answerers = [open_answerer(one, cache_dir=ANSWERS, requests=options.requests) for one in who]
    names = [one.name for one in answerers]
    if len(set(names)) < len(names):
        raise ValueError(f"found two answerers that are called alike in {', '.join(names)}, expected each name once")
    return answerers


def _opened(wanted: Sequence[URAGSet], evaluation: Evaluation) -> tuple[list[OpenedSet], list[Missing]]:
    """Opens the sets that are there."""
    opened, missing = [], []
    for one in tqdm(wanted, desc="urag, opening", unit="set"):
        try:
            opened.append(open_urag_set(one, evaluation))
        except MissingSetError as error:
            missing.append(Missing(one.name, one.group, str(error), one.place.command(evaluation.data)))
    if not opened:
        raise ValueError(
            f"none of the {len(wanted)} sets of urag is in {evaluation.data}: {missing[0].name} {missing[0].reason}; "
            f"run: {missing[0].command}, or name a dataset of your own with --sets NAME=FOLDER"
        )
    return opened, missing


def _measured(
    asking: Asking,
    wanted: Sequence[URAGSet],
    evaluation: Evaluation,
    options: URAGOptions,
    answerers: Sequence[Answerer],
) -> Measured:
    """Finds all documents, one retriever after the other, then asks all questions, one answerer after the other."""
    model = asking.find(evaluation.searcher, evaluation.widths)
    if not asking.rankings[model, evaluation.widths[0]]:
        raise ValueError(f"{model} could read no set: {' '.join(asking.notes)}")
    load = functools.partial(load_searcher, **_opened_as(evaluation.searcher))
    found = {name: _found(asking, name, load) for name in (*options.names, *options.sizes.values())}
    others = [one for name in options.names if (one := found[name]) is not None and one != model]
    scale = {size: one for size, name in options.sizes.items() if (one := found[name]) is not None}
    measured = Measured(
        asking=asking,
        wanted=wanted,
        model=model,
        others=list(dict.fromkeys(others)),
        answerers=[one.name for one in answerers],
        dims=evaluation.widths,
        documents=options.numbers,
        scale=scale,
        labels=_labels({model, *others, *scale.values()}),
    )
    first, *more = answerers
    asking.ask(first)
    for dim in evaluation.widths:
        asking.ask(first, model, dim, measured.shown)
    for retriever in (model, *measured.others):
        for number in options.numbers:
            asking.ask(first, retriever, measured.width_of(retriever), number)
    for retriever in scale.values():
        asking.ask(first, retriever, measured.width_of(retriever), measured.shown)
    for answerer in more:
        asking.ask(answerer)
        asking.ask(answerer, model, measured.width_of(model), measured.shown)
    return measured


def _found(asking: Asking, name: str, load: Any) -> str | None:
    """Finds documents with a retriever by name; one that cannot be loaded is noted, and the run goes on."""
    try:
        searcher = load(name)
    except (NETWORK_ERROR, OSError, ValueError, ImportError) as error:
        asking.notes.append(f"{name} was left out: {' '.join(str(error).split())[:300]}.")
        return None
    return asking.find(searcher)


def _opened_as(searcher: Searcher) -> dict[str, Any]:
    """Gives how the model was opened, for the others to be opened alike."""
    if not isinstance(searcher, DenseSearcher):
        return {}
    return {"cache_dir": searcher.cache_dir, "batch_size": searcher.batch_size, "device": searcher.device}


def _labels(retrievers: Collection[str]) -> dict[str, str]:
    """Calls retrievers by their bare name, and by their revision too where two have the same name."""
    bare = {one: one.partition("@")[0] for one in retrievers}
    return {one: name if list(bare.values()).count(name) == 1 else one for one, name in bare.items()}


def _notes(asking: Asking, answerers: Sequence[Answerer]) -> list[str]:
    """Says who answered, what was left out and what the data do not hold."""
    notes = []
    for one in answerers:
        revision = "" if one.revision is None else f" at {one.revision}"
        where = "elsewhere: questions and documents left this machine" if one.remote else "on this machine"
        notes.append(f"Answers of {one.name}{revision}, {where}.")
    if any(not one.set.labelled for one in asking.sets):
        notes.append(_UNLABELLED)
    return [*notes, *dict.fromkeys(asking.notes)]


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


SUITE = URAGSuite()
