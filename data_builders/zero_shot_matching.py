"""Unseen sets of image-text matching: an image between its caption and one that is wrong, CC-Neg and SugarCrepe."""

from collections.abc import Iterator
from pickle import UnpicklingError

import torch

from nyx_hf.data_builders.upstream import LayoutError
from nyx_hf.data_builders.zero_shot_media import Asked, Media, Picture

_CCNEG = "ccneg/ccneg_preprocessed.pt"
_CCNEG_TEST = 40_000  # its last rows
_CCNEG_FOLDER = "/workspace/datasets/cc3m/"  # the place of its images when its authors wrote the file


def cc_neg(media: Media) -> Iterator[Asked]:
    """Reads CC-Neg's test rows, the last 40,000: a caption of CC3M and a negation of a part of it, commas left out.

    Raises:
        LayoutError: If the file is no such table of plain values; nothing else is ever unpickled.
    """
    try:
        data = torch.load(media.upstream.file(media.task.repository, _CCNEG), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise LayoutError(f"{_CCNEG}: found more than plain values, which are not loaded ({error})"[:300]) from error
    media.check(data, ("annotations", "image_paths"), _CCNEG)
    rows = list(zip(data["annotations"], data["image_paths"], strict=True))[-_CCNEG_TEST:]
    for number, (row, path) in enumerate(rows):
        media.check(row, ("json", "sop_data"), f"{_CCNEG} test row {number}")
        wrong = row["sop_data"]["negative-prompt"].replace(",", "")
        yield Asked([Picture(f"ccneg/{path.removeprefix(_CCNEG_FOLDER)}")], [row["json"]["caption"]], [wrong])


def sugarcrepe(media: Media) -> Iterator[Asked]:
    """Reads a part of SugarCrepe: of each row `filename`, `caption` and `negative_caption`."""
    keys = ("filename", "caption", "negative_caption")
    for row in media.rows(f"sugar-crepe/data/{media.task.part}.json", keys):
        image = Picture(f"sugar-crepe/images/val2017/{row['filename']}")
        yield Asked([image], [row["caption"]], [row["negative_caption"]])
