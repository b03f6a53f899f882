"""Sets content for a picture: words and images in reading order, broken into lines of a given width.

Lengths are in units of 1/100 inch; y grows downwards.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, get_font_names
from PIL import Image

from nyx_hf.modeling.content_nyx import Part, parse_content
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.modeling.video_nyx import load_frames

DPI = 160  # of the pictures; words are measured as they will be drawn
FONT_SIZE = 10.0  # points
LINE = 18.0
_SCAN, _SCAN_SIZE = 64, 32.0  # images up to so many pixels a side are shown this high
_SMALLEST = 48.0  # an image is not shrunk below this height to fit
_IMAGE_GAP, _LINE_GAP = 4.0, 3.0
_LONGEST_TEXT = 4000  # characters; more would never be seen
_FRAMES = 4
_FALLBACKS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji")


@dataclass(frozen=True)
class Piece:
    """A word or an image: what it is, how large, and, once placed, where it stands in its block."""

    width: float
    height: float
    gap: float = 0.0  # before it, unless it begins a line
    run: float = 0.0  # width of it and of what should stay on its line
    text: str = ""
    pixels: np.ndarray | None = None  # uint8 (H, W, 3)
    breaks: bool = False  # whether a new line begins with it
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Block:
    """Placed pieces and the height they take."""

    pieces: tuple[Piece, ...]
    height: float


class Typesetter:
    """Measures and places content.

    Args:
        image_height: The largest height of an image.
    """

    def __init__(self, image_height: float = 110.0) -> None:
        self.image_height = image_height
        self._renderer = RendererAgg(8, 8, DPI)
        self._widths: dict[str, float] = {}

    def width(self, text: str) -> float:
        """Measures a text on one line."""
        if text not in self._widths:
            self._widths[text] = self._renderer.get_text_width_height_descent(text, font(), False)[0] * 100 / DPI
        return self._widths[text]

    def set(self, item: Any, width: float, height: float) -> Block:
        """Breaks content into lines and cuts what does not fit.

        Args:
            item: Content in any form that the model takes.
            width: Width of the lines.
            height: The largest height; what comes after is cut, and an ellipsis stands for it.

        Returns:
            The placed pieces.

        Raises:
            ContentError: If it is no content.
            ValueError: If an image cannot be loaded.
        """
        placed: list[Piece] = []
        top = 0.0
        for line in self._lines(item, width):
            line = _shrunk(line, height - top - 2 * _LINE_GAP)
            tall = max(piece.height for piece in line)
            air = _LINE_GAP if tall > LINE else 0.0
            if top + tall + 2 * air > height and placed:
                return Block(tuple(self._ended(placed, width)), top)
            placed += [replace(piece, y=top + air + (tall - piece.height) / 2) for piece in line]
            top += tall + 2 * air
        return Block(tuple(placed), top)

    def _lines(self, item: Any, width: float) -> Iterator[list[Piece]]:
        line: list[Piece] = []
        end = 0.0
        for piece in self._pieces(item, width):
            x = end + piece.gap if line else 0.0
            wanted = piece.run if piece.width < piece.run <= width else piece.width
            if line and (piece.breaks or x + wanted > width):
                yield line
                line, x = [], 0.0
            line.append(replace(piece, x=x))
            end = x + piece.width
        if line:
            yield line

    def _pieces(self, item: Any, width: float) -> Iterator[Piece]:
        spaced = False
        for kind, run in groupby(parse_content(item).parts, key=lambda part: part.type):
            parts = list(run)
            if kind == "text":
                text = "".join(part.text for part in parts)
                yield from self._words(text[:_LONGEST_TEXT], width, spaced)
                spaced = text[-1:].isspace()
                continue
            if kind == "video":
                yield Piece(self.width("▶"), LINE, self.width(" "), text="▶")
            pictures = [self._picture(image, width) for part in parts for image in _images(part)]
            yield replace(pictures[0], run=sum(each.width + each.gap for each in pictures) - _IMAGE_GAP)
            yield from pictures[1:]
            spaced = True

    def _words(self, text: str, width: float, spaced: bool) -> Iterator[Piece]:
        for space, word in re.findall(r"(\s*)(\S+)", text):
            gap = self.width(" ") if space or spaced else 0.0
            breaks, spaced = "\n" in space, False
            while word:
                kept = len(word)
                while kept > 1 and self.width(word[:kept]) > width:
                    kept = min(kept - 1, int(kept * width / self.width(word[:kept])) or 1)
                yield Piece(self.width(word[:kept]), LINE, gap, text=word[:kept], breaks=breaks)
                word, gap, breaks = word[kept:], 0.0, False

    def _picture(self, image: Image.Image, width: float) -> Piece:
        """Scales an image to its place, twice as fine as the place is measured."""
        wide, tall = image.size
        wanted = _SCAN_SIZE / tall if max(wide, tall) <= _SCAN else 1.0
        scale = min(wanted, width / wide, self.image_height / tall)
        size = (max(2, round(2 * wide * scale)), max(2, round(2 * tall * scale)))
        pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))  # (H, W, 3)
        return Piece(wide * scale, tall * scale, _IMAGE_GAP, pixels=pixels)

    def _ended(self, placed: list[Piece], width: float) -> list[Piece]:
        """Ends the last line with an ellipsis, which takes the place of pieces where it needs the room."""
        dots = Piece(self.width("…"), LINE, text="…")
        kept = list(placed)
        while kept[-1].x > 0 and kept[-1].x + kept[-1].width + self.width(" …") > width:
            kept.pop()
        last, room = kept[-1], width - kept[-1].x - self.width(" …")
        if last.width > room and last.pixels is not None:
            return kept  # an image fills the line
        text = last.text
        while last.width > room and text:
            text = text[:-1]
            last = replace(last, text=text, width=self.width(text))
        x, y = last.x + last.width + self.width(" "), last.y + (last.height - LINE) / 2
        return [*kept[:-1], last, replace(dots, x=x, y=y)]


def _shrunk(line: list[Piece], room: float) -> list[Piece]:
    """Scales the images of a line down to the room that is left, if that is enough to see them."""
    if room < _SMALLEST:
        return line
    scales = [min(1.0, room / piece.height) if piece.pixels is not None else 1.0 for piece in line]
    return [
        replace(piece, width=piece.width * scale, height=piece.height * scale)
        for piece, scale in zip(line, scales, strict=True)
    ]


def _images(part: Part) -> list[Image.Image]:
    if part.type == "image":
        return [load_image(part.source)]
    return load_frames(part.source, max_frames=_FRAMES).images


def font(size: float = FONT_SIZE, bold: bool = False) -> FontProperties:
    """Gives the font, with those that are installed behind it for scripts that it lacks."""
    installed = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]
    return FontProperties(family=families, size=size, weight="bold" if bold else "normal")


def draw(axes: Axes, block: Block, x: float, y: float, color: str) -> None:
    """Draws a block.

    Args:
        axes: Axes in units, y downwards.
        block: What was set.
        x: Left of the block.
        y: Top of the block.
        color: Of the words.
    """
    for piece in block.pieces:
        left, top = x + piece.x, y + piece.y
        if piece.pixels is not None:
            extent = (left, left + piece.width, top + piece.height, top)
            axes.imshow(piece.pixels, extent=extent, aspect="auto", interpolation="antialiased", zorder=3)
        else:
            axes.text(
                left, top + LINE * 0.72, piece.text, color=color, fontproperties=font(), va="baseline",
                parse_math=False, zorder=3,
            )  # fmt: skip
