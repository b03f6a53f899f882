"""What `nyx-hf feedback` does with what was typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nyx_hf.build import shown_command
from nyx_hf.data_builders.feedback import FeedbackRules
from nyx_hf.data_builders.open_answerer import open_answerer
from nyx_hf.data_builders.writing import check_replaceable
from nyx_hf.feedback import feedback_dataset
from nyx_hf.feedback_report import FeedbackDataset
from nyx_hf.retrievers import load_searcher
from nyx_hf.urag import ANSWERS


def run_feedback(
    dataset: str,
    model: str,
    answerer: str,
    out: Path,
    preset: str,
    given: Mapping[str, Any],
    opened: Mapping[str, Any],
    asked: Mapping[str, Any],
    how: Mapping[str, Any],
    command: Sequence[str],
) -> FeedbackDataset:
    """Gathers feedback as the command line asks.

    Args:
        dataset: Folder or Hub name.
        model: The retriever.
        answerer: Who answers.
        out: The folder to write.
        preset: Whose rule.
        given: Values that were typed; None for those that were not.
        opened: How the retriever is opened.
        asked: How the answerer is opened.
        how: Further arguments of `feedback_dataset`.
        command: The words typed, for the card.

    Returns:
        What came of it.

    Raises:
        ValueError: If there is no such preset, retriever or answerer, or a value is out of range.
    """
    rules = FeedbackRules.of(preset, **{name: value for name, value in given.items() if value is not None})
    check_replaceable(out, bool(how["overwrite"]))  # before a model is loaded
    cache: Path | None = opened["cache_dir"]
    opened_answerer = open_answerer(answerer, cache_dir=ANSWERS if cache is None else cache / "answers", **asked)
    searcher = load_searcher(model, **opened)
    return feedback_dataset(dataset, searcher, opened_answerer, out, rules, command=shown_command(command), **how)
