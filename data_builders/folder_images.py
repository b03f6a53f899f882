"""Images that pages on disk show: read from inside the pages' folder only, and checked by their header."""

import base64
import binascii
import io
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from PIL import Image, UnidentifiedImageError

_KEPT_FORMATS = ("PNG", "JPEG", "WEBP")
_DATA_URI = re.compile(r"data:image/[\w.+-]+(;[\w=.+-]+)*?(?P<base64>;base64)?,(?P<data>.*)", re.S | re.I)


class UnusableImageError(ValueError):
    """An image that is not taken; the message is the reason that is counted."""


@dataclass(frozen=True)
class ImageLimits:
    """What an image on a page must be.

    Attributes:
        max_bytes: Largest file, in bytes.
        max_pixels: Most pixels, by the header: nothing larger is decoded.
        min_side: Least width and height in pixels: what is smaller is an icon or a spacer.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    min_side: int = 33


@dataclass(frozen=True)
class FolderImages:
    """Finds images from inside a folder.

    Attributes:
        root: The folder, absolute; what lies outside, also behind a link, is not read.
        limits: What an image must be.
    """

    root: Path
    limits: ImageLimits = ImageLimits()

    def find(self, src: str, page: Path) -> Path:
        """Finds the file that a page names.

        Args:
            src: The address as the page writes it: relative, perhaps with escapes and a query.
            page: The page's file.

        Returns:
            The file, links resolved.

        Raises:
            UnusableImageError: If it is on another site, outside the folder, or not there.
        """
        try:
            parts = urlsplit(src.strip())
        except ValueError as error:
            raise UnusableImageError("image: broken address") from error
        if parts.scheme or parts.netloc:
            raise UnusableImageError("image: on another site")
        name = unquote(parts.path)
        # an address from the site's root means the folder's
        path = self.root / name.lstrip("/") if name.startswith("/") else page.parent / name
        try:
            path = path.resolve()
            inside = path.is_relative_to(self.root)
            there = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name too long
            raise UnusableImageError("image: broken address") from error
        if not inside:
            raise UnusableImageError("image: outside the folder")
        if not there:
            raise UnusableImageError("image: missing file")
        return path

    def load(self, src: str, page: Path) -> bytes:
        """Reads an image that a page shows.

        Args:
            src: Its address, or a data URI.
            page: The page's file.

        Returns:
            The encoded file: PNG, JPEG or WebP as it is, other kinds as PNG.

        Raises:
            UnusableImageError: If it is not to be had, or is none that one would keep.
        """
        if src.strip()[:5].lower() == "data:":
            return checked_image(_data_uri(src.strip(), self.limits), self.limits)
        path = self.find(src, page)
        if path.suffix.lower() in (".svg", ".svgz"):
            raise UnusableImageError("image: SVG")
        if path.stat().st_size > self.limits.max_bytes:
            raise UnusableImageError("image: file too large")
        return checked_image(path.read_bytes(), self.limits)


def checked_image(file: bytes, limits: ImageLimits) -> bytes:
    """Checks an image by its header, before anything is decoded.

    Args:
        file: The encoded file.
        limits: What it must be.

    Returns:
        The file, as PNG if it was neither PNG, JPEG nor WebP.

    Raises:
        UnusableImageError: If it is no image, too large or too small.
    """
    if file.lstrip()[:5].lower() in (b"<svg ", b"<?xml"):
        raise UnusableImageError("image: SVG")
    try:
        with Image.open(io.BytesIO(file)) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise UnusableImageError("image: too many pixels")
            if min(width, height) < limits.min_side:
                raise UnusableImageError("image: icon or spacer")
            if image.format in _KEPT_FORMATS:
                return file
            png = io.BytesIO()
            image.convert("RGBA" if "transparency" in image.info else "RGB").save(png, format="PNG")
            return png.getvalue()
    except Image.DecompressionBombError as error:
        raise UnusableImageError("image: too many pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UnusableImageError):
            raise
        raise UnusableImageError("image: not an image") from error


def _data_uri(src: str, limits: ImageLimits) -> bytes:
    match = _DATA_URI.fullmatch(src)
    if match is None or len(src) > 1.5 * limits.max_bytes:
        raise UnusableImageError("image: broken address")
    try:
        data = match["data"]
        return base64.b64decode(unquote_to_bytes(data), validate=False) if match["base64"] else unquote_to_bytes(data)
    except (binascii.Error, ValueError) as error:
        raise UnusableImageError("image: broken address") from error
