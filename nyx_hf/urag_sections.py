"""URAG's own tables: how sure the figures are, what right documents are worth, and what was asked."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

from nyx_hf.results import Section
from nyx_hf.urag_certainty import (
    HEADINGS,
    Comparison,
    Estimate,
    average_of,
    columns_of,
    compared,
    compared_column,
    estimate,
    values_of,
)
from nyx_hf.urag_compared import TESTED, by_answerer, by_documents, by_scale, by_width
from nyx_hf.urag_flows import Flow, draw_flows, flow_of
from nyx_hf.urag_tables import Measured, column_title, found_share


def sections(measured: Measured, name: str) -> list[Section]:
    """Makes all tables that what was asked has figures for.

    Args:
        measured: What was asked.
        name: What the model is called.

    Returns:
        The tables, some with pictures.
    """
    made = [
        certainty(measured, name),
        by_documents(measured, name),
        by_answerer(measured, name),
        by_width(measured, name),
        flows(measured, name),
        by_scale(measured, name),
        asked(measured, name),
    ]
    return [one for one in made if one is not None]


def certainty(measured: Measured, name: str) -> Section:
    """Compares the model with every other row of Table 1, column by column and on average."""
    rows: list[tuple[str, str, Estimate, Comparison | None]] = []
    by_row = measured.rows(name)
    model = by_row[name]
    for column in columns_of([one for one in measured.sets if one.set.name in model]):
        for label, answers in by_row.items():
            if column[0] in answers:
                against = None if label == name else compared_column(answers, model, column)
                rows.append(
                    (column_title(measured.sets, column), label, estimate(values_of(answers, column)), against)
                )
    for label, answers in by_row.items():
        if set(answers) & set(model):
            against = None if label == name else compared(answers, model, measured.sets)
            rows.append(("average", label, average_of(answers, measured.sets), against))
    return Section(
        key="certainty",
        title=f"How sure: {name} against every other row",
        columns=("column", "row", "mean", "model − row", "only model right", "only row right", *HEADINGS),
        rows=[
            [title, label, mean.shown(), *([""] * 7 if one is None else [*one.cells(), one.verdict(label, name)])]
            for title, label, mean, one in rows
        ],
        data=[
            {"column": title, "row": label, "mean": mean.as_json(), "against": one and one.as_json()}
            for title, label, mean, one in rows
        ],
        remark=f"{TESTED} Nyx §4.2 prints χ² = 19.06 and 15.75 on NyxQA for its steps from mmE5 to Nyx.",
    )


def flows(measured: Measured, name: str) -> Section | None:
    """Shows what right documents are worth (Nyx, Figure 6); None where none are labelled."""
    found: list[tuple[str, str, Flow]] = []
    for one in measured.sets:
        for retriever in measured.retrievers:
            answers = measured.answers(retriever).get(one.set.name)
            if answers is not None and found_share(answers.found) is not None:
                found.append((one.set.title, measured.called(retriever, name), flow_of(answers)))
    if not found:
        return None
    parts = ("found, right", "found, wrong", "not found, right", "not found, wrong")
    documents = "document shown is" if measured.shown == 1 else f"{measured.shown} documents shown have"
    return Section(
        key="flows",
        title="What right documents are worth (as Nyx, Figure 6)",
        columns=("set", "row", "questions", *parts, "right if found", "right if not"),
        rows=[[title, label, f"{flow.questions:,}", *flow.cells()] for title, label, flow in found],
        data=[{"set": title, "row": label, **flow.as_json()} for title, label, flow in found],
        remark=f"Questions with a labelled document: whether the {documents} a labelled one, and whether the answer "
        "is right. Shares are of all these questions; in the last two columns of those found, and of those not.",
        draw=partial(draw_flows, found),
    )


def asked(measured: Measured, name: str) -> Section:
    """Lists what was asked, what got no answer and why, and what did not fit: a row a way, all sets together."""
    cells, data = [], []
    for way, by_set in measured.asking.answers.items():
        row = "direct answer" if way.retriever is None else measured.called(way.retriever, name)
        failures, cut, questions = Counter[str](), Counter[str](), 0
        for called, answers in by_set.items():
            judged = answers.judged
            failures, cut, questions = failures + judged.failures, cut + judged.cut, questions + len(judged.replies)
            counts = {"questions": len(judged.replies), "failures": dict(judged.failures), "cut": dict(judged.cut)}
            data.append({**vars(way), "row": row, "set": called, **counts})
        how = [way.answerer, row, str(way.dim or ""), str(way.documents), str(len(by_set))]
        cells.append([*how, f"{questions:,}", _counted(failures), _counted(cut)])
    return Section(
        key="asked",
        title="What was asked",
        columns=("answerer", "row", "dims", "documents", "sets", "questions", "without an answer", "did not fit"),
        rows=cells,
        data=data,
        remark="A question without an answer counts as wrong.",
    )


def _counted(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} × {why}" for why, count in sorted(counts.items()))
