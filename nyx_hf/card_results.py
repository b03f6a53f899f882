"""Results into a model's card: the Hub's model-index in its metadata, and a section for readers."""

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from nyx_hf.model_cards.model_card import Metric, eval_results
from nyx_hf.results import Line, SuiteReport, Table
from nyx_hf.results_text import report_markdown


def add_to_card(report: SuiteReport, folder: Path) -> Path:
    """Writes a suite's figures into a model folder's README.md; those of an earlier run of the suite are replaced.

    A figure that is over a sample or not all of its sets says so in the name of what it was measured on.

    Args:
        report: What a suite found.
        folder: The model's folder.

    Returns:
        The card.

    Raises:
        ValueError: If the folder has no card.
    """
    path = check_card(folder)
    card = ModelCard.load(path)
    earlier = [one for one in card.data.eval_results or [] if not _is_of(one, report)]
    card.data.eval_results = [*earlier, *eval_results(card_metrics(report))]
    if not card.data.model_name:
        card.data.model_name = folder.resolve().name
    card.text = _with_section(card.text, report)
    card.save(path)
    return path


def check_card(folder: Path) -> Path:
    """Finds a model folder's card.

    Args:
        folder: The model's folder.

    Returns:
        Its README.md.

    Raises:
        ValueError: If it has none.
    """
    path = folder / "README.md"
    if not path.is_file():
        raise ValueError(f"found no README.md in {folder}, expected a model's folder with its card; check --card")
    return path


def card_metrics(report: SuiteReport) -> list[Metric]:
    """Gives our figures as a card's metrics, as fractions of one."""
    return [
        Metric(
            name=table.metrics.get(figure, report.metric),
            value=mean.value / 100,
            dataset=report.dataset,
            config=_measured_on(report, table, figure, line),
            split="test",
            dim=line.dim,
        )
        for table in report.tables
        for line in table.lines
        if line.source is None and not line.compared
        for figure, mean in line.values.items()
        if mean.value is not None
    ]


def _measured_on(report: SuiteReport, table: Table, figure: str, line: Line) -> str:
    """Names what a figure is over: `mmeb-v1, classification (3 of 10 sets), SAMPLE of 50 queries a set`."""
    place = report.suite if table.key == report.suite else f"{report.suite}, {table.key}"
    mean = line.values[figure]
    over = f" ({mean.counted} of {mean.of} sets)" if mean.counted < mean.of else ""
    sample = f", SAMPLE of {report.run.limit} queries a set" if report.sample else ""
    partial = ", not whole" if not mean.whole and not over and not sample else ""
    return f"{place}, {figure}{over}{sample}{partial}"


def _is_of(result: EvalResult, report: SuiteReport) -> bool:
    return result.dataset_type == report.dataset and (result.dataset_config or "").startswith(f"{report.suite}, ")


def _with_section(text: str, report: SuiteReport) -> str:
    """Puts the suite's section in the place of an earlier one, or at the end."""
    begin, end = f"<!-- results: {report.suite} -->", f"<!-- end of results: {report.suite} -->"
    page = re.sub(r"^#", "###", report_markdown(report), flags=re.M).replace("### ", "## Results: ", 1)
    section = f"{begin}\n{page.strip()}\n{end}"
    before = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
    if before.search(text):
        return before.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n{section}\n"
