"""The preview: a retrieval pair flattened to two texts and two images, which the Hub's viewer can show."""

from collections.abc import Sequence

from PIL import Image

from nyx_hf.data_builders.checks import stored_image
from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.images_nyx import load_image

_SHEET_HEIGHT, _SHEET_GAP, _SHEET_IMAGES = 224, 8, 8


def preview_row(query: Sequence[Row], positive: Sequence[Row]) -> Row:
    """Flattens a query and its positive document.

    Args:
        query: Stored parts of the query.
        positive: Stored parts of the document.

    Returns:
        A row of the `preview` config.
    """
    return {
        "query": tagged_text(query),
        "query_image": sheet(_pictures(query)),
        "positive": tagged_text(positive),
        "positive_image": sheet(_pictures(positive)),
    }


def tagged_text(content: Sequence[Row]) -> str:
    """Writes content as one text in which `<image k>` and `<video k>` stand for what cannot be written.

    Args:
        content: Parts in order; whatever a part holds besides `type` and `text` is not looked at.

    Returns:
        The text, such as `the sign <image 1> means stop`.
    """
    counts = {"image": 0, "video": 0}
    text = ""
    for part in content:
        if (kind := part["type"]) == "text":
            piece = part["text"]
        else:
            counts[kind] += 1
            piece = f"<{kind} {counts[kind]}>"
        touching = text and not text[-1].isspace() and piece and (piece[0].isalnum() or piece[0] == "<")
        text += f" {piece}" if touching else piece
    return text.strip()


def sheet(images: Sequence[Row]) -> Row | None:
    """Lays images side by side in order, each at the same height.

    Args:
        images: Stored images (`{"bytes", "path"}`); those past the eighth are left out.

    Returns:
        None for no image, a single one as it is, several as one PNG.
    """
    if len(images) < 2:
        return images[0] if images else None
    tiles = [load_image(image["bytes"]) for image in images[:_SHEET_IMAGES]]
    height = min(_SHEET_HEIGHT, max(tile.height for tile in tiles))
    tiles = [tile.resize((max(1, round(tile.width * height / tile.height)), height)) for tile in tiles]
    canvas = Image.new("RGB", (sum(tile.width + _SHEET_GAP for tile in tiles) - _SHEET_GAP, height), "white")
    left = 0
    for tile in tiles:
        canvas.paste(tile, (left, 0))
        left += tile.width + _SHEET_GAP
    return stored_image(canvas)


def _pictures(content: Sequence[Row]) -> list[Row]:
    """Lists the images of a content in order; a video shows its first frame."""
    return [part["image"] or part["video"][0] for part in content if part["type"] != "text"]
