"""Pages in a folder, HTML or Markdown: a site saved to disk, the pages of a manual, notes."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from nyx_hf.data_builders.folder_images import FolderImages, ImageLimits, UnusableImageError
from nyx_hf.data_builders.html_blocks import ParsedPage, html_blocks, image_addresses, parse_html
from nyx_hf.data_builders.pages import PAGE, dropped_row
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import checked_place, files_under

_FRONT_MATTER = re.compile(rb"\A---\r?\n(.*?)\r?\n---\r?\n", re.S)


@dataclass(frozen=True)
class FolderSource:
    """Pages that lie in a folder, or that a text file lists, a path relative to it on each line.

    Their images come from inside the folder only.

    Attributes:
        place: The folder or the list.
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
            ValueError: If there is no page.
        """
        files = self._files()
        for path in files:
            yield {"id": path.relative_to(self._root).as_posix(), "state": self._state(path), "payload": None}
        if not files:
            raise ValueError(f"{self.kind}:{self.place}: there is no {self.kind} page in it; name another folder")

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads pages: for each ref its page, and a dropped row for each image left out."""
        return [self._read(self._root / ref["id"], ref["id"]) for ref in refs]

    @property
    def _root(self) -> Path:
        path = checked_place(self.kind, self.place)
        return path if path.is_dir() else path.parent

    def _files(self) -> list[Path]:
        path = checked_place(self.kind, self.place)
        if path.is_dir():
            suffixes = (".html", ".htm", ".xhtml") if self.kind == "html" else (".md", ".markdown")
            return files_under(path, suffixes)
        listed = [path.parent / line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        for file in listed:
            if not file.is_file() or not file.resolve().is_relative_to(path.parent):
                raise ValueError(f"{path.name} lists {file.name!r}, which is no file inside its folder; mend the list")
        return list(dict.fromkeys(listed))

    def _state(self, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes())
        if path.stat().st_size <= self.max_bytes:
            page, images = self._parse(path), FolderImages(self._root, self.limits)
            for node in page.tree.css("img"):
                for address in image_addresses(node):
                    try:
                        image = images.find(address, self._base(path, page))
                    except UnusableImageError as reason:
                        digest.update(str(reason).encode())
                    else:
                        digest.update(_file_hash(image, image.stat().st_mtime_ns))
        return digest.hexdigest()

    def _read(self, path: Path, page_id: str) -> list[Row]:
        if path.stat().st_size > self.max_bytes:
            return [dropped_row(page_id, "page: file too large", PAGE)]
        page, images = self._parse(path), FolderImages(self._root, self.limits)
        left_out: Counter[str] = Counter()

        def load(address: str) -> bytes | None:
            try:
                return images.load(address, self._base(path, page))
            except UnusableImageError as reason:
                left_out[str(reason)] += 1
                return None

        blocks = html_blocks(page, load)
        lost = [reason for reason, times in left_out.items() for _ in range(times)]
        dropped = [dropped_row(f"{page_id}#left-out-{n}", reason, PAGE) for n, reason in enumerate(lost)]
        if not blocks:
            return [dropped_row(page_id, "page: no text and no image", PAGE), *dropped]
        row = {"id": page_id, "title": page.title, "url": None, "content": blocks, "dropped": None}
        return [row, *dropped]

    def _parse(self, path: Path) -> ParsedPage:
        raw = path.read_bytes()
        return parse_html(raw) if self.kind == "html" else _parse_markdown(raw)

    def _base(self, path: Path, page: ParsedPage) -> Path:
        """Gives the file that a page's addresses are relative to."""
        return path if page.base is None or "://" in page.base else path.parent / page.base / path.name


class HtmlSource(FolderSource):
    """HTML pages in a folder."""


class MarkdownSource(FolderSource):
    """Markdown pages in a folder."""

    def __init__(self, place: str, **options: Any) -> None:
        super().__init__(place, "markdown", **options)


def _parse_markdown(raw: bytes) -> ParsedPage:
    """Parses Markdown as the HTML that it stands for; its title is the front matter's, or the first heading."""
    front = _FRONT_MATTER.match(raw)
    text = raw[front.end() if front else 0 :].decode("utf-8", errors="replace")
    page = parse_html(b"<meta charset=utf-8>" + MarkdownIt("commonmark").enable("table").render(text).encode())
    heading = page.tree.css_first("h1")
    page.title = " ".join(heading.text().split()) if heading is not None else None
    if front:
        try:
            values = yaml.safe_load(front[1])
        except yaml.YAMLError:
            values = None
        if isinstance(values, dict) and values.get("title"):
            page.title = str(values["title"])
    return page


@lru_cache(maxsize=65_536)
def _file_hash(path: Path, modified: int) -> bytes:
    """Hashes a file; once as long as it does not change."""
    return hashlib.sha256(path.read_bytes()).digest()
