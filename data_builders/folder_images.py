"""Images that pages on disk show: read from inside the pages' folder only, and checked by their header."""

import base64
import binascii
import hashlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from PIL import Image

_KEPT_FORMATS = ("PNG", "JPEG", "MPO", "WEBP")
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "ICO", "AVIF", "JPEG2000", "PPM", "TGA")
_DATA_URI = re.compile(r"data:(?P<kind>image/[\w.+-]+)(;[\w=.+-]+)*?(?P<base64>;base64)?,(?P<data>.*)", re.S | re.I)

# what Pillow raises for broken files
_BROKEN = (
    *(OSError, SyntaxError, EOFError, ValueError, RuntimeError, IndexError, TypeError, ArithmeticError),
    *(struct.error, zlib.error),
)


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
        if parts.scheme.lower() == "file":
            raise UnusableImageError("image: outside the folder (name the folder above to read it)")
        if parts.scheme or parts.netloc:
            raise UnusableImageError("image: on another site")
        if not parts.path:
            raise UnusableImageError("image: no address")
        # programs that save sites write the query into the file's name, and may leave escapes as they are
        names = [unquote(parts.path), parts.path]
        if parts.query:
            names += [f"{unquote(parts.path)}?{unquote(parts.query)}", f"{parts.path}?{parts.query}"]
        outside = False
        for name in names:
            # an address from the site's root means the folder's
            path = self.root / name.lstrip("/") if name.startswith("/") else page.parent / name
            try:
                path = path.resolve()
                if not path.is_relative_to(self.root):
                    outside = True
                elif path.is_file():
                    return path
            except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name too long
                raise UnusableImageError("image: broken address") from error
        if outside:
            raise UnusableImageError("image: outside the folder (name the folder above to read it)")
        raise UnusableImageError("image: missing file")

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
        if _is_data(src):
            return checked_image(_data_uri(src.strip(), self.limits), self.limits)
        path = self.find(src, page)
        if path.suffix.lower() in (".svg", ".svgz"):
            raise UnusableImageError("image: SVG")
        try:
            if path.stat().st_size > self.limits.max_bytes:
                raise UnusableImageError("image: file too large")
            file = path.read_bytes()
        except OSError as error:
            raise UnusableImageError("image: cannot be read") from error
        return checked_image(file, self.limits)

    def state(self, src: str, page: Path) -> str:
        """Tells images apart without decoding them.

        Args:
            src: The address, or a data URI.
            page: The page's file.

        Returns:
            The file's hash; why there is none where it cannot be had; nothing for a data URI, which is its own state.
        """
        if _is_data(src):
            return ""
        try:
            path = self.find(src, page)
            found = path.stat()
            if found.st_size > self.limits.max_bytes:
                return "image: file too large"
            return _file_hash(path, found.st_mtime_ns, found.st_size)
        except UnusableImageError as reason:
            return str(reason)
        except OSError:
            return "image: cannot be read"


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
    if file.lstrip()[:5].lower() in (b"<svg ", b"<svg>", b"<?xml"):
        raise UnusableImageError("image: SVG")
    try:
        with Image.open(io.BytesIO(file), formats=_formats()) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise UnusableImageError("image: too many pixels")
            if min(width, height) < limits.min_side:
                raise UnusableImageError("image: icon or spacer")
            if image.format in _KEPT_FORMATS:
                return file
            png = io.BytesIO()
            image.convert("RGBA" if image.has_transparency_data else "RGB").save(png, format="PNG")
            return png.getvalue()
    except UnusableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnusableImageError("image: too many pixels") from error
    except _BROKEN as error:
        raise UnusableImageError("image: not an image") from error


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Gives the formats that are opened, as far as this Pillow knows them; none runs a program, as EPS does."""
    Image.init()
    return tuple(one for one in _READ_FORMATS if one in Image.OPEN)


def _is_data(src: str) -> bool:
    return src.lstrip()[:5].lower() == "data:"


def _data_uri(src: str, limits: ImageLimits) -> bytes:
    if len(src) > 1.5 * limits.max_bytes:
        raise UnusableImageError("image: file too large")
    match = _DATA_URI.fullmatch(src)
    if match is None:
        raise UnusableImageError("image: broken address")
    if "svg" in match["kind"].lower():
        raise UnusableImageError("image: SVG")
    data = unquote_to_bytes(match["data"])
    return decoded_base64(data, limits) if match["base64"] else data


def decoded_base64(text: str | bytes, limits: ImageLimits) -> bytes:
    """Decodes an image written in base64.

    Raises:
        UnusableImageError: If it is too large or broken.
    """
    if len(text) > 1.5 * limits.max_bytes:
        raise UnusableImageError("image: file too large")
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise UnusableImageError("image: broken base64") from error


@lru_cache(maxsize=65_536)
def _file_hash(path: Path, modified: int, size: int) -> str:
    """Hashes a file; once as long as it does not change."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
