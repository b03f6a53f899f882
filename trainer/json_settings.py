"""Settings that are mappings: JSON in one word of a command line."""

import json
from typing import Any


def json_object(name: str, text: str | None) -> dict[str, Any]:
    """Reads a setting that is a mapping.

    Args:
        name: the setting's name, for the error.
        text: JSON; None is an empty mapping.

    Returns:
        The mapping.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        values = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is no JSON object: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{name} is {text}; give a mapping")
    return values
