"""Tells of which project a checkpoint is: by its name, its config and the names of its weights."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nyx_hf.checkpoint_layouts import LAYOUTS, Layout, LayoutError


def recognise(names: Sequence[str], config: Mapping[str, Any], keys: Sequence[str]) -> Layout:
    """Tells of which layout a checkpoint is.

    Args:
        names: What it is called, the surest name first.
        config: Its config.json, or that of an adapter's base.
        keys: Names of its weights, for the error.

    Returns:
        The layout.

    Raises:
        LayoutError: It is of none; the message says what was found and what was looked for.
    """
    model_type = config.get("model_type")
    classes = _classes(config)
    able = [layout for layout in LAYOUTS.values() if model_type in layout.model_types]
    for name in names:
        for layout in able:
            if re.search(layout.pattern, name, re.IGNORECASE):
                return layout
    for layout in able:
        if classes & set(layout.classes):
            return layout
    known = "; ".join(f"{one.name}: {' or '.join(one.model_types)} named {one.pattern}" for one in LAYOUTS.values())
    raise LayoutError(
        f"{names[0]} is of no known layout: found model_type {model_type!r}, classes "
        f"{', '.join(sorted(classes)) or '-'} and {len(keys)} weights such as {', '.join(sorted(keys)[:2]) or '-'}, "
        f"expected one of {known}. Where you know which it is, say so with --layout"
    )


def check_family(layout: Layout, config: Mapping[str, Any], name: str) -> None:
    """Refuses a checkpoint over another backbone than the layout's.

    Args:
        layout: The layout.
        config: The checkpoint's config.json.
        name: What it is called.

    Raises:
        LayoutError: Its `model_type` is not one of the layout's.
    """
    found = config.get("model_type")
    if found not in layout.model_types:
        raise LayoutError(
            f"{name} has model_type {found!r}, but layout {layout.name} is of {' or '.join(layout.model_types)}: "
            "its habits are not known to hold for another backbone"
        )


def _classes(config: Mapping[str, Any]) -> set[str]:
    """Class names in a config."""
    mapped = config.get("auto_map") or {}
    return {*(config.get("architectures") or ()), *(str(value).split(".")[-1] for value in mapped.values())}
