"""PDF files: each page as an image, as visual documents are, or its text with the images inside (the extra `pdf`)."""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from nyx_hf.data_builders.folder_images import ImageLimits, UnusableImageError, checked_image
from nyx_hf.data_builders.pages import PAGE, dropped_row, image_block, text_block
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import checked_place, files_under

_POINTS_AN_INCH = 72
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])[-‐\u00ad\x02]$")  # \x02 is pdfium's mark of a hyphen at a line's end


@dataclass(frozen=True)
class _Piece:
    """A line or an image on a page: its upper and lower edge, and what it is."""

    top: float
    bottom: float
    text: str = ""
    image: Image.Image | None = None


@dataclass(frozen=True)
class PdfSource:
    """PDF files in a folder, or one file.

    Every page of a file is a page of its own, `<file>#page-<n>`; a file's pages go into one split.

    Attributes:
        place: The folder or the file.
        mode: `pages` renders each page as an image and adds no text; `embedded` reads the text and the images in it.
        dpi: Dots an inch of rendered pages.
        max_pages: Pages read of a file, at most.
        limits: What embedded images must be.
    """

    place: str
    mode: Literal["pages", "embedded"] = "pages"
    dpi: int = 110
    max_pages: int = 500
    limits: ImageLimits = field(default_factory=ImageLimits)
    own: bool = True

    def __post_init__(self) -> None:
        checked_place("pdf", self.place)

    @property
    def label(self) -> str:
        """The kind and the name of the folder or file."""
        return f"pdf:{checked_place('pdf', self.place).name}"

    def settings(self) -> dict[str, Any]:
        """Gives how pages are read."""
        return {"kind": "pdf", "mode": self.mode, "dpi": self.dpi, "max_pages": self.max_pages, **vars(self.limits)}

    def refs(self) -> Iterator[Row]:
        """Lists the files by their place in the folder.

        Raises:
            ValueError: If there is none.
        """
        path = checked_place("pdf", self.place)
        files = files_under(path, (".pdf",)) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(self._root).as_posix()
            yield {"id": name, "state": hashlib.sha256(file.read_bytes()).hexdigest(), "payload": None}
        if not files:
            raise ValueError(f"pdf:{self.place}: there is no PDF file in it; name another folder")

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads files: for each ref the file's pages, and dropped rows.

        Raises:
            ModuleNotFoundError: If pypdfium2 is not installed.
        """
        return [list(self._file(ref["id"])) for ref in refs]

    @property
    def _root(self) -> Path:
        path = checked_place("pdf", self.place)
        return path if path.is_dir() else path.parent

    def _file(self, name: str) -> Iterator[Row]:
        pdfium = _pdfium()
        try:
            document = pdfium.PdfDocument(self._root / name)
        except pdfium.PdfiumError as error:
            reason = "file: encrypted" if "password" in str(error).lower() else "file: no PDF, or broken"
            yield dropped_row(name, reason, PAGE)
            return
        try:
            title = document.get_metadata_dict().get("Title") or Path(name).stem
            for number in range(len(document)):
                page_id = f"{name}#page-{number + 1}"
                if number >= self.max_pages:
                    yield dropped_row(page_id, "page: beyond the most of a file", PAGE)
                    continue
                try:
                    content, lost = self._page(document[number], pdfium)
                except pdfium.PdfiumError:
                    yield dropped_row(page_id, "page: broken", PAGE)
                    continue
                yield from (dropped_row(f"{page_id}#image-{n}", reason, PAGE) for n, reason in enumerate(lost))
                if content:
                    yield {"id": page_id, "title": title, "url": None, "content": content, "dropped": None}
                else:
                    yield dropped_row(page_id, "page: no text and no image", PAGE)
        finally:
            document.close()

    def _page(self, page: Any, pdfium: Any) -> tuple[list[Row], list[str]]:
        """Reads one page: its blocks, and why images were left out."""
        if self.mode == "pages":
            # a page as large as a poster is drawn with fewer dots
            scale = min(
                self.dpi / _POINTS_AN_INCH, (self.limits.max_pixels / (page.get_width() * page.get_height())) ** 0.5
            )
            return [image_block(_png(page.render(scale=scale).to_pil()))], []
        lost: list[str] = []
        blocks: list[Row] = []
        for group in _paragraphs(_in_order(_lines(page), _images(page, pdfium))):
            if group[0].image is None:
                blocks.append(text_block(_joined([piece.text for piece in group])))
                continue
            try:
                blocks.append(image_block(checked_image(_png(group[0].image), self.limits)))
            except UnusableImageError as reason:
                lost.append(str(reason))
        return [block for block in blocks if block["type"] == "image" or block["text"]], lost


def _pdfium() -> Any:
    try:
        import pypdfium2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("PDF files need pypdfium2: `pip install nyx-hf[pdf]`") from error
    return pypdfium2


def _lines(page: Any) -> list[_Piece]:
    """Reads a page's lines in the order of the file: pieces whose middles are level are one line."""
    text = page.get_textpage()
    lines: list[_Piece] = []
    for number in range(text.count_rects()):
        left, bottom, right, top = text.get_rect(number)
        words = text.get_text_bounded(left, bottom, right, top).strip()
        if not words:
            continue
        middle = (top + bottom) / 2
        if lines and lines[-1].bottom <= middle <= lines[-1].top:
            last = lines.pop()
            lines.append(_Piece(max(last.top, top), min(last.bottom, bottom), f"{last.text} {words}"))
        else:
            lines.append(_Piece(top, bottom, words))
    text.close()
    return lines


def _images(page: Any, pdfium: Any) -> list[_Piece]:
    """Reads the images embedded in a page."""
    pieces = []
    for found in page.get_objects(filter=[pdfium.raw.FPDF_PAGEOBJ_IMAGE]):
        _, bottom, _, top = found.get_bounds()
        pieces.append(_Piece(top, bottom, image=found.get_bitmap(render=False).to_pil()))
    return pieces


def _in_order(lines: Sequence[_Piece], images: Sequence[_Piece]) -> list[_Piece]:
    """Puts each image before the first line that lies below its middle; lines keep the order of the file."""
    pieces = list(lines)
    for image in sorted(images, key=lambda piece: -piece.top):
        middle = (image.top + image.bottom) / 2
        place = next((n for n, piece in enumerate(pieces) if piece.image is None and piece.top < middle), len(pieces))
        pieces.insert(place, image)
    return pieces


def _paragraphs(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Groups lines: a wide gap, a leap to the next column, larger letters, or an image end a paragraph."""
    group: list[_Piece] = []
    for piece in pieces:
        if group:
            last = group[-1]
            height = max(last.top - last.bottom, 1.0)
            gap = last.bottom - piece.top
            apart = gap > 0.6 * height or gap < -2 * height or piece.top - piece.bottom > 1.6 * height
            if piece.image is not None or last.image is not None or apart:
                yield group
                group = []
        group.append(piece)
    if group:
        yield group


def _joined(lines: Sequence[str]) -> str:
    """Joins lines, and words that were parted at a line's end."""
    text = ""
    for line in lines:
        line = " ".join(line.split())
        if _HYPHEN.search(text) and line[:1].islower():
            text = _HYPHEN.sub("", text) + line
        else:
            text = f"{text} {line}".strip()
    return text.replace("\x02", "-")


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, format="PNG")
    return file.getvalue()
