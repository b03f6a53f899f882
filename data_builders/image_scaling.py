"""Images made smaller, so that a model or a server gets no more pixels than it should."""

import io

from PIL import Image


def scaled(file: bytes, max_pixels: int) -> bytes:
    """Scales an image down.

    Args:
        file: The encoded image.
        max_pixels: Most pixels that it may have.

    Returns:
        The same file where it is small enough; else a smaller one, JPEG where it was JPEG, PNG otherwise.
    """
    with Image.open(io.BytesIO(file)) as image:
        if image.width * image.height <= max_pixels:
            return file
        scale = (max_pixels / (image.width * image.height)) ** 0.5
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        smaller = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        smaller.save(buffer, format="JPEG" if image.format == "JPEG" else "PNG", quality=92)
        return buffer.getvalue()
