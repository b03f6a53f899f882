"""Reading a model's answer: the JSON in it, checked against the schema that was asked for."""

import json
from typing import Any

from jsonschema import Draft202012Validator


class AnswerError(ValueError):
    """An answer that cannot be used; the message is the reason that is counted."""


def read_answer(text: str, schema: dict[str, Any]) -> Any:
    """Finds the JSON value in an answer and checks it.

    Args:
        text: What the model wrote: the value alone, behind other words, or in a code fence.
        schema: Its JSON schema.

    Returns:
        The value.

    Raises:
        AnswerError: If there is none, or it does not fit.
    """
    decoder = json.JSONDecoder()
    validator = Draft202012Validator(schema)
    found = False
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError):
            end = place + 1
        else:
            found = True
            if validator.is_valid(value):
                return value
        place = text.find("{", end)
    raise AnswerError("answer: another shape than asked for" if found else "answer: no JSON")
