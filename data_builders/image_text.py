"""Image–caption pairs made better: bad images left out, and each image described anew (RzenEmbed §3.4.1).

The paper keeps both captions: "2 million entries from LAION-2B, including both original and CogVLM-19B-generated
captions".
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.answers import AnswerError, read_answer
from nyx_hf.data_builders.checks import stored_image
from nyx_hf.data_builders.generators import Request
from nyx_hf.data_builders.image_quality import ImageQuality
from nyx_hf.data_builders.open_generator import open_vlm
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row, SchemaError
from nyx_hf.data_builders.vlm_cache import CachedVLM

_BATCH = 64
_ROLE = "You describe pictures for people who search for them. You answer with JSON alone."
_TASK = """
Describe this picture in two to four sentences, so that somebody who reads them could pick it out among many like it:
what is seen, its kind, number and colour, where it stands, what happens, and any words that can be read. Say nothing
that cannot be seen.

Reply with {"caption": "…"}.
"""
_CAPTION = {
    "type": "object",
    "properties": {"caption": {"type": "string", "minLength": 10}},
    "required": ["caption"],
    "additionalProperties": False,
}


def cleaned(records: Iterator[Record | Dropped], quality: ImageQuality | None = None) -> Iterator[Record | Dropped]:
    """Leaves out records with a bad image: broken, tiny, blurred, of one colour or of extreme shape.

    Args:
        records: Records with images on either side.
        quality: What an image must be.

    Yields:
        The good ones, and why others are left out.
    """
    quality = quality or ImageQuality()
    for record in records:
        if isinstance(record, Dropped):
            yield record
            continue
        sides = (record.query, *record.positives)
        images = [part["image"] for side in sides for part in side if part["type"] == "image"]
        try:
            faults = [quality.fault(stored_image(image)["bytes"]) for image in images]
        except SchemaError:
            faults = ["image: corrupt"]
        fault = next((one for one in faults if one is not None), None)
        yield record if fault is None else Dropped(fault)


def recaptioned(records: Iterator[Record | Dropped], vlm: CachedVLM) -> Iterator[Record | Dropped]:
    """Gives each record, and behind it one whose query is a model's description of its image.

    Args:
        records: Records that have one image as their positive.
        vlm: Describes images; its answers are kept.

    Yields:
        The records and their like; where the model said nothing usable, why.
    """
    remaining = iter(records)
    while batch := list(islice(remaining, _BATCH)):
        good = [record for record in batch if isinstance(record, Record)]
        answers = iter(vlm.answer([_request(record) for record in good]))
        for record in batch:
            yield record
            if isinstance(record, Record):
                answer = next(answers)
                try:
                    if answer.text is None or answer.failure is not None:
                        raise AnswerError(answer.failure or "answer: none")
                    caption: Any = read_answer(answer.text, _CAPTION)["caption"]
                except AnswerError as error:
                    yield Dropped(f"recaption, {error}")
                else:
                    source = f"{record.source}, described by {vlm.vlm.name}"
                    yield replace(record, query=_text(caption), source=source, id=None)


def improved(
    records: Iterator[Record | Dropped], *, clean: bool, recaption: str | None, cache_dir: Path
) -> Iterator[Record | Dropped]:
    """Cleans and recaptions records as a builder's settings say.

    Args:
        records: Image–caption records.
        clean: Whether bad images are left out.
        recaption: The model that describes images, by its name to `open_vlm`; None keeps the captions alone.
        cache_dir: Where its answers are kept.

    Returns:
        The records.
    """
    if clean:
        records = cleaned(records)
    return records if recaption is None else recaptioned(records, CachedVLM(open_vlm(recaption), cache_dir))


def _request(record: Record) -> Request:
    [image] = [part["image"] for part in record.positives[0] if part["type"] == "image"]
    return Request(_ROLE, [*_text(_TASK), {"type": "image", "image": stored_image(image)}], _CAPTION, max_tokens=256)


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text.strip()}]
