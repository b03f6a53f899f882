"""Plans in print."""

import json
from collections.abc import Sequence

from tabulate import tabulate

from nyx_hf.trainer.plan import Plan, plans
from nyx_hf.trainer.plan_memory import TEXT_TOKENS

_GIB = 1024**3


def plan_report(
    recipe: str,
    typed: Sequence[str] = (),
    processes: int | None = None,
    config: str | None = None,
    *,
    as_json: bool = False,
) -> str:
    """Says what a recipe would do and take.

    Args:
        recipe: its name or path.
        typed: `key=value` words.
        processes: as typed; None takes the recipe's.
        config: launch config as typed; None takes the recipe's.
        as_json: a JSON list of plans instead of text.

    Returns:
        The text.

    Raises:
        ValueError: the recipe cannot be used, or its model is not known.
    """
    made = plans(recipe, list(typed), processes, config)
    if as_json:
        return json.dumps([plan.as_json() for plan in made], indent=2)
    return "\n\n".join(map(_text, made))


def _text(plan: Plan) -> str:
    count, memory, launch = plan.count, plan.memory, plan.launch
    start = plan.model if plan.model == plan.base else f"{plan.model}, in the beginning {plan.base}"
    vision = count.all - count.language - count.adapter
    spread = (
        f"{launch.processes} processes, {launch.config}" if launch.processes > 1 else f"1 process, {launch.config}"
    )
    batch = f"{plan.rows} a process × {plan.accumulation} accumulated × {launch.processes}"
    rows = [
        ("start from", start),
        ("parameters", f"{_millions(count.all)}: language {_millions(count.language)}, vision {_millions(vision)}"
                       + (f", adapter {_millions(count.adapter)}" if count.adapter else "")),
        ("trained", f"{_millions(count.trained)} ({100 * count.trained / count.all:.2f} %): {plan.what}"),
        ("objective", plan.objective),
        ("launch", spread),
        ("queries a step", f"{plan.queries:,} = {batch}"),
        ("documents a query", f"{plan.documents:,}"),
        *((("datasets" if not at else ""), name) for at, name in enumerate(plan.datasets)),
        ("GiB on each GPU", f"{memory.sum / _GIB:.1f} = weights {memory.weights / _GIB:.1f} + gradients "
                            f"{memory.gradients / _GIB:.1f} + optimizer {memory.optimizer / _GIB:.1f} + activations "
                            f"about {memory.activations / _GIB:.1f}"),
        ("", f"reckoned with {plan.content_tokens:,} tokens a content: an image at the limit and {TEXT_TOKENS} text "
             "tokens"),
    ]  # fmt: skip
    return f"{plan.name}\n{tabulate(rows, tablefmt='plain')}"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M"
