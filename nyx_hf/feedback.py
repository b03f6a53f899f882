"""`nyx-hf feedback`: a dataset's triplets made anew of what an answerer made of the documents that were found."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasets import Dataset

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.answering import Answerer, Question
from nyx_hf.data_builders.feedback import Chosen, Feedback, FeedbackRules, Window, gather_feedback
from nyx_hf.data_builders.held_out import check_apart, document_of, held_out_documents
from nyx_hf.data_builders.ranking import Ranking, rank
from nyx_hf.data_builders.schema import Row, matching_split
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.data_builders.vlm_answerer import VLMAnswerer
from nyx_hf.data_builders.writing import Splits, check_replaceable, write_dataset
from nyx_hf.derived import inherited_facts, known_columns, training_tables
from nyx_hf.feedback_report import FeedbackDataset
from nyx_hf.model_cards.dataset_card import DatasetFacts


def feedback_dataset(
    dataset: str | Path,
    searcher: Searcher,
    answerer: Answerer,
    out: str | Path,
    rules: FeedbackRules,
    *,
    split: str = "train",
    revision: str | None = None,
    command: str | None = None,
    overwrite: bool = False,
) -> FeedbackDataset:
    """Gathers feedback on a training split's queries, and writes the dataset with that split's triplets made of it.

    Corpus, queries and other splits' triplets stay as they are. Where splits share one corpus, documents that answer
    other splits' queries are not searched, nor other chunks of these (what an id says before `#`). What an answerer
    keeps is not asked again: a run that is killed goes on where it stopped.

    Args:
        dataset: A dataset folder or a Hub dataset.
        searcher: What finds documents.
        answerer: Who answers from them.
        out: The folder to write.
        rules: What is asked and chosen.
        split: The split of the triplets, whose queries are asked.
        revision: The Hub's branch, tag or commit.
        command: What was typed, for the card.
        overwrite: Whether a dataset that stands there may be replaced.

    Returns:
        What came of it.

    Raises:
        FileExistsError: If `out` may not be written to.
        GeneratorError: If the answerer cannot go on.
        ValueError: If there is no such dataset or split, models are tested by it, its corpus shares a document with
            another split's, or no query is left.
    """
    check_replaceable(Path(out), overwrite)
    tables = training_tables(dataset, split, revision)
    source = _Split(tables, split)
    rankings = rank(searcher, source.asked, source.corpus, rules.k)
    before = _requests(answerer)
    feedback = source.feedback(rankings, answerer, rules)
    named = answerer.name if answerer.revision is None else f"{answerer.name}@{answerer.revision}"
    rows = list(source.rows(rankings, feedback.chosen, rules, named))
    if not rows:
        raise ValueError(
            f"no query is left of {dataset}: {dict(source.dropped)}, windows without an answer "
            f"{dict(feedback.failures)}; look at what {answerer.name} answers, or lower the threshold"
        )
    windows = {"in all": feedback.windows, "asked": feedback.asked, "saved": feedback.windows - feedback.asked}
    facts = _facts(inherited_facts(str(dataset), revision), searcher.name, named, rules, windows)
    facts = replace(facts, dropped=dict(source.dropped.most_common()), command=command)
    triplets: Splits = {**known_columns("triplets", tables["triplets"]), split: rows}
    folder = write_dataset(out, tables["corpus"], tables["queries"], triplets, facts, overwrite=overwrite)
    return FeedbackDataset(
        folder,
        split,
        len(rows),
        dropped=dict(facts.dropped),
        windows=windows,
        requests={name: count - before[name] for name, count in _requests(answerer).items()},
        failures=dict(feedback.failures.most_common()),
        cut=dict(feedback.cut),
        sent_to=answerer.name if answerer.remote else None,
    )


def _requests(answerer: Answerer) -> dict[str, int]:
    """Counts what a model was asked so far."""
    if not isinstance(answerer, VLMAnswerer):
        return {}
    return {"sent": answerer.vlm.usage.requests, "answered from the cache": answerer.vlm.usage.cached}


class _Split:
    """A split's queries with their answers, and the documents that they may search.

    Attributes:
        asked: Queries that have answers, each once.
        corpus: Documents.
        dropped: Queries left out, by reason.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Dataset]], split: str) -> None:
        queries = tables["queries"][matching_split("queries", tables["queries"], split)]
        numbers = {name: number for number, name in enumerate(queries["id"])}
        # of one table for all splits only the queries of this split's triplets are to train on
        named = list(dict.fromkeys(tables["triplets"][split]["query_id"]))
        if unknown := [name for name in named if name not in numbers]:
            raise ValueError(
                f"found query_id {unknown[0]!r} in triplets/{split}, which the queries lack; add that query or drop "
                "the triplet"
            )
        queries = queries.select([numbers[name] for name in named])
        told = [[one for one in answers or [] if one and one.strip()] for answers in _column(queries, "answers")]
        faults = list(map(_fault, told, _column(queries, "options")))
        self.dropped = Counter(fault for fault in faults if fault is not None)
        judged = [number for number, fault in enumerate(faults) if fault is None]
        if not judged:
            raise ValueError(
                f"found no query of {split} whose answer is known ({dict(self.dropped)}), expected answers to judge "
                "by; add the column `answers` to the queries"
            )
        self._answers = [told[number] for number in judged]
        self.asked, self.corpus = queries.select(judged), _searched(tables, split)

    def feedback(self, rankings: Sequence[Ranking], answerer: Answerer, rules: FeedbackRules) -> Feedback:
        """Asks the answerer."""
        rows = {name: row for row, name in enumerate(self.corpus["id"])}

        def questions(windows: Sequence[Window]) -> list[Question]:
            shown = [[rows[one] for one in rankings[query].ids[start:stop]] for query, start, stop in windows]
            documents = _rows(self.corpus, {row for some in shown for row in some})
            queries = _rows(self.asked, {window.query for window in windows})
            return [
                Question(
                    queries[window.query]["content"],
                    [documents[row]["content"] for row in some],
                    queries[window.query].get("options"),
                )
                for window, some in zip(windows, shown, strict=True)
            ]

        return gather_feedback([len(ranking.ids) for ranking in rankings], questions, self._answers, answerer, rules)

    def rows(
        self, rankings: Sequence[Ranking], chosen: Sequence[Chosen | None], rules: FeedbackRules, answerer: str
    ) -> Iterator[Row]:
        """Gives the triplets of the queries that a window answered rightly."""
        options = _column(self.asked, "options")
        for name, choices, ranking, choice in zip(self.asked["id"], options, rankings, chosen, strict=True):
            if choice is None:
                self.dropped["query: no window answered it rightly"] += 1
                continue
            scores = [choice.scores.get(rank) for rank in choice.negatives]
            yield {
                "query_id": name,
                "positive_ids": [ranking.ids[choice.positive]],
                "negative_ids": [ranking.ids[rank] for rank in choice.negatives],
                "positive_scores": [choice.scores[choice.positive]],
                # a list of scores has no gaps: where a document's own window was not asked the row has none
                "negative_scores": None if None in scores else scores,
                "scorer": f"{answerer}, {rules.metric_for(choices)}",
            }


def _searched(tables: Mapping[str, Mapping[str, Dataset]], split: str) -> Dataset:
    """Gives the documents that may be searched for training: none by which other splits are tested."""
    corpora = tables["corpus"]
    own = matching_split("corpus", corpora, split)
    if len(corpora) > 1:
        check_apart(corpora, own)
        return corpora[own]
    held_out = held_out_documents(tables["triplets"], split)
    rows = [row for row, name in enumerate(corpora[own]["id"]) if document_of(name) not in held_out]
    if not rows:
        raise ValueError(
            f"every document of the corpus answers queries of other splits than {split}: nothing is left to search"
        )
    return corpora[own].select(rows)


def _column(queries: Dataset, name: str) -> list[list[str] | None]:
    """Reads a column that queries need not have."""
    return list(queries[name]) if name in queries.column_names else [None] * len(queries)


def _fault(answers: Sequence[str], options: Sequence[str] | None) -> str | None:
    """Says why no answer to a query can be judged; None if one can."""
    if not answers:
        return "query: no answer to judge by"
    try:
        answer_scores([None], [answers], [options])
    except ValueError:
        return "query: no right answer among its options"
    return None


def _rows(table: Dataset, numbers: set[int]) -> dict[int, Row]:
    """Reads some rows as they are stored, by number."""
    wanted = sorted(numbers)
    rows: list[Row] = table.with_format("arrow")[wanted].to_pylist()
    return dict(zip(wanted, rows, strict=True))


def _facts(
    old: DatasetFacts, retriever: str, answerer: str, rules: FeedbackRules, counts: Mapping[str, int]
) -> DatasetFacts:
    """Says on the new card what the old one said, and who judged by which rules."""
    kept = "all" if rules.negatives is None else f"at most {rules.negatives}"
    return replace(
        old,
        name=f"{old.name}-feedback",
        pretty_name=f"{old.pretty_name}, feedback",
        summary=f"{old.pretty_name}, with what `{answerer}` made of the documents that `{retriever}` found: a "
        "positive led it to a right answer (Nyx §3.3, stage 2).\n\n"
        f"Rule: `{rules.preset}`. Of the first {rules.k} documents, windows of {rules.window} in steps of "
        f"{rules.stride}; right is the right option, or an answer whose {rules.metric.upper()} is over "
        f"{rules.threshold}; {kept} of the negatives are kept. A document's score is that of the window that begins "
        "with it; a row whose negatives were not all asked about has no scores of theirs.",
        revisions={"answerer": answerer, "retriever": retriever, **old.revisions},
        counts={f"windows of documents, {name}": count for name, count in counts.items()},
        citations=["nyx"],
    )
