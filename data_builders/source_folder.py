"""Pages in a folder, HTML or Markdown: a site saved to disk, the pages of a manual, notes."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from nyx_hf.data_builders.folder_images import FolderImages, ImageLimits, UnusableImageError
from nyx_hf.data_builders.html_blocks import ParsedPage, html_blocks, parse_html
from nyx_hf.data_builders.html_tags import ImageTag
from nyx_hf.data_builders.markdown_page import parse_markdown
from nyx_hf.data_builders.pages import PAGE, dropped_row
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import checked_place, files_under

_SUFFIXES = {"html": (".html", ".htm", ".xhtml"), "markdown": (".md", ".markdown")}


class _BadPageError(ValueError):
    """A page that cannot be read; the message is the reason that is counted."""


@dataclass(frozen=True)
class FolderSource:
    """Pages that lie in a folder, or that a text file lists, or one page.

    A list has a path relative to itself on each line, and may name the page's address on the web behind a tab; that is
    the page's id then. Images come from inside the folder only.

    Attributes:
        place: The folder, the list or the page.
        kind: `html` or `markdown`.
        max_bytes: Largest page, in bytes.
        limits: What their images must be.
    """

    place: str
    kind: str = "html"
    max_bytes: int = 20_000_000
    limits: ImageLimits = field(default_factory=ImageLimits)
    own: bool = True

    def __post_init__(self) -> None:
        checked_place(self.kind, self.place)

    @property
    def label(self) -> str:
        """The kind and the folder's name."""
        return f"{self.kind}:{checked_place(self.kind, self.place).name}"

    def settings(self) -> dict[str, Any]:
        """Gives the limits."""
        return {"kind": self.kind, "max_bytes": self.max_bytes, **vars(self.limits)}

    def refs(self) -> Iterator[Row]:
        """Lists the pages by their place in the folder; a page's state includes the images that it shows.

        Raises:
            ValueError: If there is no page, or the list is none.
        """
        pages = self._pages()
        root = self._root
        for page_id, path in pages.items():
            # names need not be UTF-8, rows must
            name = quote(os.fsencode(path.relative_to(root).as_posix()))
            yield {"id": page_id, "state": self._state(path), "payload": name}
        if not pages:
            raise ValueError(f"{self.kind}:{self.place}: there is no {self.kind} page in it; name another folder")

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads pages: for each ref its page, and a dropped row for each image left out."""
        root = self._root
        return [self._read(root / os.fsdecode(unquote_to_bytes(ref["payload"])), ref["id"]) for ref in refs]

    @property
    def _root(self) -> Path:
        path = checked_place(self.kind, self.place)
        return path if path.is_dir() else path.parent

    def _pages(self) -> dict[str, Path]:
        """Lists the pages' files by id."""
        path = checked_place(self.kind, self.place)
        suffixes = _SUFFIXES[self.kind]
        if not path.is_dir() and path.suffix.lower() not in suffixes:
            return self._listed(path)
        files = files_under(path, suffixes) if path.is_dir() else [path]
        return {_id_of(file, self._root): file for file in files}

    def _listed(self, listing: Path) -> dict[str, Path]:
        pages: dict[str, Path] = {}
        try:
            lines = [line.strip() for line in listing.read_text("utf-8-sig").splitlines()]
        except ValueError as error:
            raise ValueError(f"{listing.name}: this is neither a {self.kind} page nor a list of such") from error
        for line in filter(None, lines):
            name, _, url = line.partition("\t")
            file = listing.parent / name.strip()
            if not file.is_file() or not file.resolve().is_relative_to(listing.parent):
                raise ValueError(
                    f"{listing.name} lists {file.name[:80]!r}, which is no file inside its folder; mend the list"
                )
            pages.setdefault(url.strip() or _id_of(file, listing.parent), file)
        return pages

    def _state(self, path: Path) -> str:
        try:
            raw = self._raw(path)
        except _BadPageError as reason:
            return str(reason)
        digest, page, images = hashlib.sha256(raw), self._parse(raw), FolderImages(self._root, self.limits)
        base = self._base(path, page)
        for node in page.tree.css("img"):
            for address in ImageTag.of(node).addresses:
                digest.update(images.state(address, base).encode())
        return digest.hexdigest()

    def _read(self, path: Path, page_id: str) -> list[Row]:
        try:
            page = self._parse(self._raw(path))
        except _BadPageError as reason:
            return [dropped_row(page_id, str(reason), PAGE)]
        images, base = FolderImages(self._root, self.limits), self._base(path, page)
        lost: list[str] = []

        def load(tag: ImageTag) -> bytes | None:
            if tag.is_icon(self.limits.min_side):
                lost.append("image: icon or spacer")
                return None
            reasons = []
            for address in tag.addresses:
                try:
                    return images.load(address, base)
                except UnusableImageError as reason:
                    reasons.append(str(reason))
            lost.append((reasons or ["image: no address"])[0])  # of the best that the page offers
            return None

        blocks = html_blocks(page, load)
        dropped = [dropped_row(f"{page_id}#left-out-{n}", reason, PAGE) for n, reason in enumerate(lost)]
        if not blocks:
            return [dropped_row(page_id, "page: no text and no image", PAGE), *dropped]
        url = page_id if "://" in page_id else page.url
        return [{"id": page_id, "title": page.title, "url": url, "content": blocks, "dropped": None}, *dropped]

    def _raw(self, path: Path) -> bytes:
        try:
            if not path.resolve().is_relative_to(self._root):
                raise _BadPageError("page: outside the folder")
            if path.stat().st_size > self.max_bytes:
                raise _BadPageError("page: file too large")
            return path.read_bytes()
        except (OSError, RuntimeError) as error:
            raise _BadPageError("page: cannot be read") from error

    def _parse(self, raw: bytes) -> ParsedPage:
        return parse_html(raw) if self.kind == "html" else parse_markdown(raw)

    def _base(self, path: Path, page: ParsedPage) -> Path:
        """Gives the file that a page's addresses are relative to."""
        try:
            base = urlsplit((page.base or "").strip())
        except ValueError:
            return path
        if base.scheme or base.netloc or not base.path:
            return path  # its folder stands for the place on the web
        name = unquote(base.path)
        place = self._root / name.lstrip("/") if name.startswith("/") else path.parent / name
        is_folder = name.rpartition("/")[2] in ("", ".", "..")
        return place / path.name if is_folder else place


class HtmlSource(FolderSource):
    """HTML pages in a folder."""


class MarkdownSource(FolderSource):
    """Markdown pages in a folder."""

    def __init__(self, place: str, **options: Any) -> None:
        super().__init__(place, "markdown", **options)


def _id_of(path: Path, root: Path) -> str:
    """Gives a page's place in its folder; escaped where its name is no UTF-8."""
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(os.fsencode(name))
    return name
