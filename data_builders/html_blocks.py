"""HTML to blocks in reading order: headings, paragraphs, terms, items, tables as text, code, captions and images."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode
from tabulate import tabulate

from nyx_hf.data_builders.pages import image_block, text_block
from nyx_hf.data_builders.schema import Row


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SKIPPED_TAGS = _words("""
    script style template noscript head svg iframe object embed canvas audio video nav button input select textarea
    datalist dialog
""")
_SKIPPED_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "menu", "menubar"})
_SKIPPED_CLASSES = _words("""
    nav navbar navigation navheader navfooter breadcrumb breadcrumbs sidebar toc pagination pager skip-link
    cookie-banner site-header site-footer sphinxsidebar related headerlink md-header md-sidebar md-footer
    mw-editsection printfooter catlinks
""")
_BLOCK_TAGS = _words("""
    address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul
""")
_ROLE_OF_TAG = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "heading"),
    **{"dt": "term", "dd": "item", "li": "item", "pre": "code", "figcaption": "caption", "caption": "caption"},
}
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_BREAK = "\u2028"  # stands for `br` until a block's other line breaks have become spaces
_PLACEHOLDER_ALT = re.compile(r"\W*|\[?\w+\]?|[\w./-]+\.\w{3,4}")

ImageLoader = Callable[[str], bytes | None]
"""Reads the image at an address; None for one that is left out."""


@dataclass
class ParsedPage:
    """A parsed page.

    Attributes:
        tree: The parsed HTML.
        base: Address that its own addresses are relative to, where it names one.
        title: Its title.
    """

    tree: LexborHTMLParser
    base: str | None
    title: str | None


def parse_html(raw: bytes) -> ParsedPage:
    """Parses a page.

    Args:
        raw: The file; its encoding is told from what it declares, UTF-8 otherwise.

    Returns:
        The parsed page.
    """
    tree = LexborHTMLParser(raw, encoding=True)
    base, title = tree.css_first("base[href]"), tree.css_first("title")
    text = _spaced(title.text()) if title is not None else ""
    return ParsedPage(tree, base.attributes.get("href") if base is not None else None, text or None)


def image_addresses(node: LexborNode) -> list[str]:
    """Lists where an `img` may be found, the best first: its largest variant, a lazily loaded one, the plain one."""
    attributes = node.attributes
    sets = [attributes.get("srcset"), attributes.get("data-srcset")]
    parent = node.parent
    if parent is not None and parent.tag == "picture":
        sets += [source.attributes.get("srcset") for source in parent.css("source")]
    largest = sorted((one for text in sets if text for one in _srcset(text)), key=lambda one: -one[0])
    plain = [attributes.get("data-src"), attributes.get("data-original"), attributes.get("src")]
    return list(dict.fromkeys([address for _, address in largest] + [one for one in plain if one]))


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

    def run(self, body: LexborNode) -> None:
        """Visits nodes in order without recursion: pages may nest as deep as they like."""
        todo: list[tuple[LexborNode, bool]] = [(body, False)]
        while todo:
            node, leaving = todo.pop()
            tag = node.tag or ""
            if leaving:
                self._flush()
                if _role_of(node) is not None:
                    self._roles.pop()
            elif tag == "-text":
                self._text.append(node.text_content or "")
            elif tag == "br":
                self._text.append(_BREAK)
            elif tag == "img":
                self._image(node)
            elif not _is_skipped(node):
                if tag == "table" and (text := _table_text(node)) is not None:
                    self._flush()
                    self._add(text, "table")
                    continue
                if tag in _BLOCK_TAGS:
                    self._flush()
                    todo.append((node, True))
                    if (role := _role_of(node)) is not None:
                        self._roles.append(role)
                todo += [(child, False) for child in reversed(list(node.iter(include_text=True)))]
        self._flush()

    def _image(self, node: LexborNode) -> None:
        file = next((file for address in image_addresses(node) if (file := self.load(address)) is not None), None)
        if file is None:
            return  # the sentence that it stands in goes on
        self._flush()
        self.blocks.append(image_block(file))
        alt = _spaced(node.attributes.get("alt") or "")
        if alt and not _PLACEHOLDER_ALT.fullmatch(alt) and not _has_caption(node):
            self._add(alt, "caption")

    def _flush(self) -> None:
        text, role = "".join(self._text), self._roles[-1]
        self._text.clear()
        self._add(_lines(text) if role == "code" else _spaced(text), role)

    def _add(self, text: str, role: str) -> None:
        if text.strip():
            self.blocks.append(text_block(text, role))


def _role_of(node: LexborNode) -> str | None:
    """Tells what a block element's text is; None for one that says nothing of it."""
    tag = node.tag or ""
    if tag not in _BLOCK_TAGS:
        return None
    classes = _classes(node)
    if "caption" in classes or "figcaption" in classes or ("title" in classes and _figure_of(node) is not None):
        return "caption"
    return _ROLE_OF_TAG.get(tag)


def _is_skipped(node: LexborNode) -> bool:
    tag, attributes = node.tag or "", node.attributes
    if tag.startswith(("-", "!", "_")) or tag in _SKIPPED_TAGS:  # comments and the like
        return True
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    if (attributes.get("role") or "") in _SKIPPED_ROLES or _SKIPPED_CLASSES & _classes(node):
        return True
    if tag in ("header", "footer") and node.parent is not None and node.parent.tag == "body":
        return True
    return bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))


def _classes(node: LexborNode) -> frozenset[str]:
    return frozenset((node.attributes.get("class") or "").lower().split())


def _figure_of(node: LexborNode) -> LexborNode | None:
    """Finds the figure that a node is a part of, at most four levels up."""
    for ancestor in _ancestors(node, 4):
        if ancestor.tag == "figure" or {"figure", "informalfigure", "thumb", "gallerybox"} & _classes(ancestor):
            return ancestor
    return None


def _has_caption(image: LexborNode) -> bool:
    """Whether an image's figure, or what directly holds the image, has a caption of its own."""
    figure = _figure_of(image)
    holders = [figure] if figure is not None else list(_ancestors(image, 2))
    return any(holder.css_first("figcaption, .caption, .title, .thumbcaption") is not None for holder in holders)


def _ancestors(node: LexborNode, levels: int) -> Iterator[LexborNode]:
    parent = node.parent
    for _ in range(levels):
        if parent is None or parent.tag in ("body", "html"):
            return
        yield parent
        parent = parent.parent


def _table_text(table: LexborNode) -> str | None:
    """Writes a table of data as text; None for one that only lays things out, or shows images."""
    if table.css_first("table table, img, ul, ol, dl, pre, h1, h2, h3, h4") is not None:
        return None
    rows = [[" ".join(cell.text(separator=" ").split()) for cell in row.css("th, td")] for row in table.css("tr")]
    rows = [row for row in rows if any(row)]
    if len(rows) < 2 or max(map(len, rows)) < 2:
        return None
    first = table.css_first("tr")
    headed = first is not None and first.css_first("th") is not None and first.css_first("td") is None
    text = table_text(rows[1:], rows[0]) if headed else table_text(rows)
    caption = table.css_first("caption")
    return text if caption is None else f"{_spaced(caption.text())}\n{text}"


def table_text(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Writes a table as text, without the padding that would cost tokens.

    Args:
        rows: Cells by row.
        header: Titles of the columns, where there are any.

    Returns:
        Lines such as `| a | b |`, with a rule under the header.
    """
    lines = tabulate(rows, header, tablefmt="github", disable_numparse=True).split("\n")
    if not header:
        lines = lines[1:]  # the rule that would stand under it
    return "\n".join(re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", line)) for line in lines)


def _srcset(text: str) -> Iterator[tuple[float, str]]:
    """Reads a srcset: width or density, and address."""
    for candidate in re.split(r",\s+", text.strip()):
        address, _, size = candidate.strip().partition(" ")
        number = re.fullmatch(r"\s*([\d.]+)[wx]\s*,?", size)
        if address:
            yield (float(number[1]) if number and number[1].count(".") < 2 else 0.0), address.rstrip(",")


def _spaced(text: str) -> str:
    """Collapses white space; line breaks that were asked for stay."""
    return "\n".join(" ".join(line.split()) for line in text.split(_BREAK)).strip()


def _lines(text: str) -> str:
    """Keeps code line by line."""
    return "\n".join(line.rstrip() for line in re.split(rf"\n|{_BREAK}", text)).strip("\n")
