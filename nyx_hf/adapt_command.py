"""What `nyx-hf adapt` does with what was typed."""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nyx_hf.adapt import plan_adapt, run_adapt
from nyx_hf.adapt_settings import AdaptSettings
from nyx_hf.build import plan_text, shown_command


def run_adapt_command(
    source: str,
    model: str,
    out: Path,
    overrides: Sequence[str],
    given: Mapping[str, Any],
    how: Mapping[str, Any],
    command: Sequence[str],
    *,
    plan: bool,
    as_json: bool,
) -> None:
    """Adapts, or plans to, and prints.

    Args:
        source: Where pages come from.
        model: The base.
        out: The folder of the run.
        overrides: `key=value` words for the recipe.
        given: Further fields of `AdaptSettings`.
        how: `general`, `general_split` and `device`.
        command: The words typed, for the cards.
        plan: Only say what it would take.
        as_json: Print JSON; what stages say goes to stderr then.

    Raises:
        AdaptError: If the run cannot begin or go on.
        ValueError: If an option is none, or what it names cannot be read.
    """
    settings = AdaptSettings(source, model, overrides=tuple(overrides), **given)
    if plan:
        planned = plan_adapt(settings, how["device"])
        print(json.dumps(planned) if as_json else plan_text(planned))
        return
    tell = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    report = run_adapt(settings, out, **how, command=shown_command(command), tell=tell)
    if as_json:
        print(json.dumps({"folder": str(out), **report}, ensure_ascii=False))
