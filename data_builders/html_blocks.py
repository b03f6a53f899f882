"""HTML to blocks in reading order: headings, paragraphs, terms, items, tables as text, code, captions and images."""

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from nyx_hf.data_builders.html_tables import data_table_text
from nyx_hf.data_builders.html_tags import (
    BLOCK_TAGS,
    BREAK,
    ImageTag,
    figure_of,
    is_skipped,
    line_by_line,
    role_of,
    spaced,
)
from nyx_hf.data_builders.pages import image_block, text_block
from nyx_hf.data_builders.schema import Row

_PLACEHOLDER_ALT = re.compile(r"\W*|\[?\w+\]?|[\w./-]+\.\w{3,4}")
_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]*\sencoding=["']([\w.:-]+)["']""")
_HEAD_BYTES = 4096
_CAPTIONS = "figcaption, .caption, .thumbcaption, .gallerytext"

ImageLoader = Callable[[ImageTag], bytes | None]
"""Reads an image; None for one that is left out."""


@dataclass
class ParsedPage:
    """A parsed page.

    Attributes:
        tree: The parsed HTML.
        base: Address that its own addresses are relative to, where it names one.
        title: Its title.
        url: Where it says that it stands on the web.
    """

    tree: LexborHTMLParser
    base: str | None
    title: str | None
    url: str | None = None


def parse_html(raw: bytes) -> ParsedPage:
    """Parses a page.

    Args:
        raw: The file; its encoding is the one that it declares, or else UTF-8 or, as in browsers, Windows-1252.

    Returns:
        The parsed page.
    """
    tree = LexborHTMLParser(_with_known_encoding(raw), encoding=True)
    title = tree.css_first("title")
    text = spaced(title.text()) if title is not None else ""
    url = _href(tree, "link[rel=canonical]")
    return ParsedPage(
        tree, _href(tree, "base[href]"), text or None, url if url and url.startswith(("http://", "https://")) else None
    )


def html_blocks(page: ParsedPage, load: ImageLoader) -> list[Row]:
    """Turns a page into blocks.

    Args:
        page: The parsed page.
        load: Reads its images.

    Returns:
        Blocks in reading order. Navigation, scripts and what is hidden are left out; no other text is.
    """
    walk = _Walk(load)
    body = page.tree.body
    if body is not None:
        walk.run(body)
    return walk.blocks


@dataclass
class _Walk:
    """One pass over a page: text gathers until a block ends or an image stands in its way."""

    load: ImageLoader
    blocks: list[Row] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _roles: list[str] = field(default_factory=lambda: ["paragraph"])
    _seen: set[str] = field(default_factory=set)
    _captioned: dict[int, bool] = field(default_factory=dict)

    def run(self, body: LexborNode) -> None:
        """Visits nodes in order without recursion: pages may nest as deep as they like."""
        todo: list[tuple[LexborNode, bool]] = [(body, False)]
        while todo:
            node, leaving = todo.pop()
            tag = node.tag or ""
            if leaving:
                self._flush()
                if role_of(node) is not None:
                    self._roles.pop()
            elif tag == "-text":
                self._text.append(node.text_content or "")
            elif tag == "br":
                self._text.append(BREAK)
            elif tag == "noscript":
                self._images_without_script(node)
            elif not is_skipped(node):
                if tag == "img":
                    self._image(node)
                elif tag == "table" and (text := data_table_text(node)) is not None:
                    self._flush()
                    self._add(text, "table")
                else:
                    if tag in BLOCK_TAGS:
                        self._flush()
                        todo.append((node, True))
                        if (role := role_of(node)) is not None:
                            self._roles.append(role)
                    todo += [(child, False) for child in reversed(list(node.iter(include_text=True)))]
        self._flush()

    def _images_without_script(self, noscript: LexborNode) -> None:
        """Takes the images of a page that would load them by script, and has no `img` for them besides."""
        for node in noscript.css("img"):
            if not self._seen.intersection(ImageTag.of(node).addresses):
                self._image(node)

    def _image(self, node: LexborNode) -> None:
        tag = ImageTag.of(node)
        self._seen.update(tag.addresses)
        file = self.load(tag)
        if file is None:
            return  # the sentence that it stands in goes on
        self._flush()
        self.blocks.append(image_block(file))
        if tag.alt and not _PLACEHOLDER_ALT.fullmatch(tag.alt) and not self._has_caption(node):
            self._add(tag.alt, "caption")

    def _has_caption(self, image: LexborNode) -> bool:
        """Whether an image's figure, or what directly holds the image, has a caption of its own."""
        figure = figure_of(image)
        holder = image.parent if figure is None else figure
        if holder is None:
            return False
        if holder.mem_id not in self._captioned:
            selector = _CAPTIONS if figure is None else f"{_CAPTIONS}, .title"
            self._captioned[holder.mem_id] = holder.css_first(selector) is not None
        return self._captioned[holder.mem_id]

    def _flush(self) -> None:
        text, role = "".join(self._text), self._roles[-1]
        self._text.clear()
        self._add(line_by_line(text) if role == "code" else spaced(text), role)

    def _add(self, text: str, role: str) -> None:
        if text.strip():
            self.blocks.append(text_block(text, role))


def _with_known_encoding(raw: bytes) -> bytes:
    """Turns a page that is not UTF-8, and does not say so where the parser looks, into UTF-8."""
    head = raw[:_HEAD_BYTES]
    if b"charset" in head.lower() or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw
    declared = _XML_ENCODING.match(head)
    for encoding in ("utf-8", declared[1].decode() if declared else "cp1252"):
        with suppress(UnicodeError, LookupError):
            return raw.decode(encoding).encode()
    return raw.decode("cp1252", errors="replace").encode()


def _href(tree: LexborHTMLParser, selector: str) -> str | None:
    node = tree.css_first(selector)
    return node.attributes.get("href") if node is not None else None
