"""Loads images safely: whatever form an image comes in, it becomes RGB pixels or one clear error.

Files are untrusted. Only plain raster formats are opened (no format that runs a program, as EPS does), the size in the
header is checked before a pixel is decoded, and nothing is fetched from the network unless the caller allows it.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from .sources_nyx import SourceError, describe, is_undecoded, open_file

MAX_PIXELS = 89_478_485  # where PIL begins to warn of a decompression bomb; RGB pixels of this size take 256 MiB
MAX_ASPECT = 200  # the Qwen-VL image processors refuse longer strips
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
TURNS = {  # EXIF orientation -> what stands the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(SourceError):
    """An image that cannot be used; the message says what was found, what was expected and what to do."""


def is_image(value: Any) -> bool:
    """Whether `value` has a form that `load_image` takes. Nothing is opened; a string counts as path or URI."""
    if isinstance(value, (str, bytes, bytearray)):
        return bool(value)
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim in (2, 3)
    return isinstance(value, (Image.Image, os.PathLike, io.IOBase)) or is_undecoded(value)


def check_aspect(size: tuple[int, int]) -> None:
    """Refuses strips that the Qwen-VL image processors cannot cut into patches.

    Args:
        size: Width and height in pixels.

    Raises:
        ImageError: The longer side is more than 200 times the shorter one.
    """
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"found {size[0]}x{size[1]} pixels, expected sides that differ at most {MAX_ASPECT}-fold: "
            "crop it, or pad the short side"
        )


def check_size(size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """Refuses sizes that cannot be embedded, before a pixel is decoded.

    Args:
        size: Width and height in pixels.
        max_pixels: The largest width times height.

    Raises:
        ImageError: There is no pixel, there are too many, or they form too long a strip.
    """
    width, height = size
    if min(size) < 1:
        raise ImageError(f"found {width}x{height} pixels, expected at least one pixel: give an image that has some")
    if width * height > max_pixels:
        raise ImageError(
            f"found {width}x{height} = {width * height:,} pixels, over the limit of {max_pixels:,}: resize it first"
        )
    check_aspect(size)


def load_image(source: Any, *, allow_urls: bool = False, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Loads one image as RGB.

    EXIF orientation is applied (as far as the header holds it; PNGs may keep it behind their pixels, where it is not
    looked for), transparent pixels are laid on white, 16-bit greys are scaled to 8 bits, and of an animation the first
    frame is taken. PIL's own limit (twice `PIL.Image.MAX_IMAGE_PIXELS`) holds beside `max_pixels`.

    Args:
        source: A PIL image; a path, bytes or binary file of PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM; a
            data URI; an http(s) URL where allowed; a dict of `bytes` and `path` (datasets, undecoded); a numpy array
            or torch tensor of shape (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4, uint8 or float in 0..1 (where
            both readings fit, numpy means channels last and torch channels first).
        allow_urls: Whether an http(s) URL may be fetched. Any host is fetched from, so leave it off for the items of
            strangers.
        max_pixels: The largest width times height that is decoded.

    Returns:
        The image in mode RGB. An upright RGB image that came as a PIL image is returned as it is.

    Raises:
        ImageError: The source is of another type, missing, corrupt, cut short, empty, too large or too long a strip.
    """
    with _opened(source, allow_urls, max_pixels) as image:
        turn = TURNS.get(_orientation(image))  # before loading, which may read more EXIF than `image_size` sees
        image.load()
        rgb = _to_rgb(image)
        if turn is not None:
            rgb = rgb.transpose(turn)
            rgb.info = {}  # the orientation is spent: loading the result again must not turn it again
    return rgb


def image_size(source: Any, *, allow_urls: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads an image's size from its header, decoding no pixel.

    Args:
        source: Anything `load_image` takes.
        allow_urls: As in `load_image`.
        max_pixels: As in `load_image`.

    Returns:
        Width and height in pixels of what `load_image` returns.

    Raises:
        ImageError: As in `load_image`, as far as the header tells.
    """
    with _opened(source, allow_urls, max_pixels) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


@contextmanager
def _opened(source: Any, allow_urls: bool, max_pixels: int) -> Iterator[Image.Image]:
    """Opens an image without decoding it; whatever goes wrong with it while it is open is an `ImageError`."""
    try:
        if isinstance(source, Image.Image):
            check_size(source.size, max_pixels)
            yield source
        elif isinstance(source, (np.ndarray, torch.Tensor)):
            array_image = _from_array(source)
            check_size(array_image.size, max_pixels)
            yield array_image
        else:
            Image.init()  # fills Image.OPEN with the formats that this build of PIL knows
            formats = [name for name in FORMATS if name in Image.OPEN]
            with Image.open(open_file(source, allow_urls=allow_urls), formats=formats) as image:
                check_size(image.size, max_pixels)
                yield image
    except ImageError:
        raise
    except SourceError as error:
        raise ImageError(str(error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"found an image over the limit of {max_pixels:,} pixels ({error}): resize it first"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"found {describe(source)}, expected an image file in {', '.join(FORMATS)}: convert it to PNG or JPEG"
        ) from error
    except Exception as error:  # decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error, ...
        raise ImageError(
            f"found {describe(source)}, which cannot be read as an image ({type(error).__name__}: "
            f"{error}): check that the file is whole, and fetch or export it again"
        ) from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none that can be read."""
    if image.format == "TIFF":
        return 1  # PIL turns these itself, and gives their size upright
    try:
        # the base class's method: a PNG's own decodes all pixels to look for EXIF behind them
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # metadata is free-form bytes, and a broken tag is no reason to lose the image
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        return _from_array(np.asarray(image)).convert("RGB")
    if image.mode.startswith("I"):  # 16-bit greys, which PIL's own convert would clip at 255
        values = np.asarray(image)
        grey = (values.clip(0, 65535) / 257).round().astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(source: np.ndarray[Any, Any] | torch.Tensor) -> Image.Image:
    found = describe(source)
    channels_first = isinstance(source, torch.Tensor)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        array = (source.float() if source.is_floating_point() else source).numpy()
    else:
        array = source
    if array.size == 0:
        raise ImageError(f"found {found}, expected at least one pixel")
    if array.ndim == 2:
        array = array[:, :, None]  # (H, W, 1)
    elif array.ndim == 3 and array.shape[0] in CHANNELS and (channels_first or array.shape[2] not in CHANNELS):
        array = array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    if array.ndim != 3 or array.shape[2] not in CHANNELS:
        raise ImageError(f"found {found}, expected (H, W) or (H, W, C) with C of 1, 3 or 4")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):  # also false for NaN
            raise ImageError(
                f"found {found} with values from {array.min():g} to {array.max():g}, expected floats in 0..1: "
                "scale them, or convert them to uint8"
            )
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"found {found}, expected uint8 or floats in 0..1: convert it with .astype('uint8')")
    return Image.fromarray(np.ascontiguousarray(array if array.shape[2] > 1 else array[:, :, 0]))
