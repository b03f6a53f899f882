"""Images that teach nothing are left out of pages: broken, tiny, blurred, of one colour, or of extreme shape."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from nyx_hf.data_builders.pages import PAGE, dropped_row
from nyx_hf.data_builders.schema import Row

_WORKING_SIDE = 256  # pixels of the longer side that sharpness is measured at


@dataclass(frozen=True)
class ImageQuality:
    """What an image must be to stay; it is what the stage `clean` runs.

    Attributes:
        min_side: Least width and height, in pixels.
        max_aspect: Most times that one side may be the other.
        max_pixels: Most pixels, by the header: nothing larger is decoded.
        min_deviation: Least standard deviation of the grey levels (0 to 255): below, it is of one colour.
        min_sharpness: Least sharpness, see `sharpness`.
    """

    min_side: int = 33
    max_aspect: float = 12.0
    max_pixels: int = 50_000_000
    min_deviation: float = 2.0
    min_sharpness: float = 0.03

    def settings(self) -> dict[str, Any]:
        """Gives the limits."""
        return asdict(self)

    def __call__(self, pages: Sequence[Row]) -> list[list[Row]]:
        """Leaves bad images out of pages.

        Args:
            pages: Rows of `PAGE`.

        Returns:
            For each page the page, and a dropped row for each image left out; a page with nothing left is dropped.
        """
        return [self._clean(page) for page in pages]

    def fault(self, file: bytes) -> str | None:
        """Says why an image is left out.

        Args:
            file: The encoded file.

        Returns:
            The reason that is counted; None for a good image.
        """
        try:
            with Image.open(io.BytesIO(file)) as image:
                width, height = image.size
                if width * height > self.max_pixels:
                    return "image: too many pixels"
                if min(width, height) < self.min_side:
                    return "image: too small"
                if max(width, height) > self.max_aspect * min(width, height):
                    return "image: too long and narrow"
                grey = _grey(image)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
            return "image: corrupt"
        if grey.std() < self.min_deviation:
            return "image: of one colour"
        return "image: blurred" if sharpness(grey) < self.min_sharpness else None

    def _clean(self, page: Row) -> list[Row]:
        kept, dropped = [], []
        for number, block in enumerate(page["content"]):
            fault = self.fault(block["image"]) if block["type"] == "image" else None
            if fault is None:
                kept.append(block)
            else:
                dropped.append(dropped_row(f"{page['id']}#block-{number}", fault, PAGE))
        if not kept:
            return [dropped_row(page["id"], "page: no text and no good image", PAGE), *dropped]
        return [{**page, "content": kept}, *dropped]


def sharpness(grey: np.ndarray) -> float:
    """Measures how sharp the sharpest edges of a picture are, whatever its contrast.

    A blurred picture has no steep step anywhere, while a drawing with flat areas has few, but steep ones; so it is not
    the mean that counts. Measured at a longer side of 256 pixels.

    Args:
        grey: Grey levels, float (H, W).

    Returns:
        The 99.5th percentile of the Laplacian's absolute values, divided by the range of grey levels: above 0.2 for
        sharp photographs and screenshots, below 0.03 for photographs blurred with a radius of 8 pixels in 512.
    """
    centre = grey[1:-1, 1:-1]
    laplacian = np.abs(grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre)
    low, high = np.percentile(grey, (0.5, 99.5))
    return float(np.percentile(laplacian, 99.5) / max(high - low, 1.0))


def _grey(image: Image.Image) -> np.ndarray:
    """Decodes a picture on white, in grey, at most `_WORKING_SIDE` pixels long: float32 (H, W)."""
    image.draft("L", (_WORKING_SIDE, _WORKING_SIDE))  # JPEG files decode small at once
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    grey = image.convert("L")
    grey.thumbnail((_WORKING_SIDE, _WORKING_SIDE), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float32)
