"""What `nyx-hf mine` does with what was typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nyx_hf.build import shown_command
from nyx_hf.data_builders.mining import MiningRules
from nyx_hf.data_builders.writing import check_replaceable
from nyx_hf.mine import PRESETS, MinedDataset, mine_dataset
from nyx_hf.retrievers import load_searcher

_CHOICES = {"sampling": ("top", "random"), "too_few": ("keep", "drop"), "pool": ("global", "task", "source")}


def run_mine(
    dataset: str,
    model: str,
    out: Path,
    preset: str,
    given: Mapping[str, Any],
    opened: Mapping[str, Any],
    how: Mapping[str, Any],
    command: Sequence[str],
) -> MinedDataset:
    """Mines as the command line asks.

    Args:
        dataset: Folder or Hub name.
        model: The retriever.
        out: The folder to write.
        preset: Name of one of `PRESETS`.
        given: Rules that were typed; None for those that were not.
        opened: How the retriever is opened.
        how: Further arguments of `mine_dataset`.
        command: The words typed, for the card.

    Returns:
        What came of it.

    Raises:
        ValueError: If a choice is none of those there are, or the preset needs a threshold that is not given.
    """
    for name, choices in {**_CHOICES, "preset": tuple(PRESETS)}.items():
        value = {**given, **how, "preset": preset}[name]
        if value not in choices:
            raise ValueError(f"found --{name.replace('_', '-')} {value}, expected one of {', '.join(choices)}")
    if preset == "u-marvel" and given["max_score"] is None:
        raise ValueError("the preset u-marvel filters by a threshold that its paper does not give: add --max-score")
    rules = MiningRules(**PRESETS[preset] | {name: value for name, value in given.items() if value is not None})
    check_replaceable(out, bool(how["overwrite"]))  # before a model is loaded
    return mine_dataset(dataset, load_searcher(model, **opened), out, rules, command=shown_command(command), **how)
