"""Sample rows of a dataset for its card, with their pictures."""

import io
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from nyx_hf.data_builders.schema import Row
from nyx_hf.model_cards.blocks import code_block

_LONGEST = 700  # letters of a text that are shown


def sample_rows(preview: Path, images: Path, rows_a_split: int = 2) -> list[str]:
    """Shows the first rows of each split of the preview.

    Args:
        preview: The folder of the written preview.
        images: Where their pictures go; the card must stand beside this folder. Made where it is needed.
        rows_a_split: How many rows of each split are shown.

    Returns:
        Rows in Markdown.
    """
    samples = []
    for path in sorted(preview.glob("*-00000-*")):
        split = path.name.split("-00000-")[0]
        for number, row in enumerate(next(pq.ParquetFile(path).iter_batches(rows_a_split)).to_pylist(), start=1):
            samples.append(_sample(row, f"{split}-{number}", images))
    return samples


def _sample(row: Row, name: str, images: Path) -> str:
    blocks = []
    for side in ("query", "positive"):
        text, image = row[side], row[f"{side}_image"]
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"
        blocks += [f"**{side}**", code_block(shown, "text")]
        if image is not None:
            blocks.append(f"![{side}]({_picture(image['bytes'], images / f'{name}-{side}').as_posix()})")
    return "\n\n".join(blocks)


def _picture(file: bytes, path: Path) -> Path:
    """Writes a picture and gives its place relative to the card."""
    with Image.open(io.BytesIO(file)) as image:
        path = path.with_suffix(f".{(image.format or 'png').lower()}")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(file)
    return Path(path.parent.name) / path.name
