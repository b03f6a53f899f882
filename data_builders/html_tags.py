"""What HTML elements stand for: which are left out, which make blocks of their own, and where an image is found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborNode


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BREAK = "\u2028"
"""Stands for `br` until a block's other line breaks have become spaces."""

BLOCK_TAGS = _words("""
    address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul
""")
_SKIPPED_TAGS = _words("""
    script style template noscript head svg iframe object embed canvas audio video nav button input select textarea
    datalist dialog
""")
_SKIPPED_ROLES = _words("navigation banner contentinfo search menu menubar")
_SKIPPED_CLASSES = _words("""
    nav navbar navigation navheader navfooter nav-wrapper nav-wide-wrapper breadcrumb breadcrumbs toc pagination pager
    skip-link cookie-banner site-header site-footer sphinxsidebar related headerlink md-header md-sidebar md-footer
    mw-editsection printfooter catlinks linenos lineno line-numbers indexdiv menu-bar help-popup
""")
_FIGURE_CLASSES = _words("figure informalfigure equation informalequation thumb gallerybox")
_SECTIONS = _words("article aside main nav section")
_SECTION_LEVELS = 50  # how far up a header looks for the section that it heads: deeper pages are no honest ones
_ROLE_OF_TAG = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "heading"),
    **{"dt": "term", "dd": "item", "li": "item", "pre": "code", "figcaption": "caption", "caption": "caption"},
}
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_UNSEEN = re.compile("[\u00ad\u200b\ufeff]")  # where a word may be broken; no part of it
_PIXELS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:px)?\s*", re.I)
_ICON_ALT = re.compile(r"\[\w+\]")  # `[Note]`, `[Tip]`: a sign that stands for a word
_SIZE = re.compile(r"(\d+(?:\.\d+)?)[wx]")


@dataclass(frozen=True)
class ImageTag:
    """An image as a page names it.

    Attributes:
        addresses: Where it may be found, the best first: its largest variant, a lazily loaded one, the plain one.
        alt: The text that stands for it.
        sides: Width and height that it is shown with, in pixels, as far as the page says.
    """

    addresses: tuple[str, ...]
    alt: str
    sides: tuple[float, ...] = ()

    @classmethod
    def of(cls, node: LexborNode) -> "ImageTag":
        """Reads an `img` element, and the `picture` around it."""
        attributes = node.attributes
        sets = [attributes.get(name) for name in ("srcset", "data-srcset", "data-lazy-srcset")]
        if node.parent is not None and node.parent.tag == "picture":
            sets += [source.attributes.get("srcset") for source in node.parent.css("source")]
        largest = sorted((one for text in sets if text for one in _srcset(text)), key=lambda one: -one[0])
        plain = [attributes.get(name) for name in ("data-src", "data-original", "data-lazy-src", "src")]
        addresses = [address for _, address in largest] + [one.strip() for one in plain if one and one.strip()]
        sides = (_PIXELS.fullmatch(attributes.get(name) or "") for name in ("width", "height"))
        return cls(
            tuple(dict.fromkeys(addresses)),
            spaced(attributes.get("alt") or ""),
            tuple(float(side[1]) for side in sides if side is not None),
        )

    def is_icon(self, min_side: int) -> bool:
        """Tells whether the page itself shows it as an icon or a spacer, however large its file is."""
        return any(side < min_side for side in self.sides) or _ICON_ALT.fullmatch(self.alt) is not None


def role_of(node: LexborNode) -> str | None:
    """Tells what a block element's text is; None for one that says nothing of it."""
    tag = node.tag or ""
    if tag not in BLOCK_TAGS:
        return None
    classes = classes_of(node)
    if "caption" in classes or "figcaption" in classes:
        return "caption"
    if "title" in classes and figure_of(node) is not None:
        return "caption"
    return "heading" if tag == "p" and "title" in classes else _ROLE_OF_TAG.get(tag)


def is_skipped(node: LexborNode) -> bool:
    """Tells whether an element is left out with all that it holds: scripts, navigation, what is hidden."""
    tag, attributes = node.tag or "", node.attributes
    if tag == "body":  # its classes tell what kind of page it is
        return False
    if tag.startswith(("-", "!", "_")) or tag in _SKIPPED_TAGS:  # comments and the like
        return True
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    if (attributes.get("role") or "").strip().lower() in _SKIPPED_ROLES or _SKIPPED_CLASSES & classes_of(node):
        return True
    if tag in ("header", "footer") and _is_of_page(node):
        return True
    return bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))


def _is_of_page(node: LexborNode) -> bool:
    """Whether a header or footer is the whole page's, not a section's, and does not hold the page's own heading."""
    if any(ancestor.tag in _SECTIONS for ancestor in ancestors(node, _SECTION_LEVELS)):
        return False
    return node.css_first("h1") is None


def classes_of(node: LexborNode) -> frozenset[str]:
    """Gives an element's classes, in lower case."""
    return frozenset((node.attributes.get("class") or "").lower().split())


def figure_of(node: LexborNode) -> LexborNode | None:
    """Finds the figure that an element is a part of, at most four levels up."""
    for ancestor in ancestors(node, 4):
        if ancestor.tag == "figure" or _FIGURE_CLASSES & classes_of(ancestor):
            return ancestor
    return None


def ancestors(node: LexborNode, levels: int) -> Iterator[LexborNode]:
    """Walks up from an element to the page's body, at most so many levels."""
    parent = node.parent
    for _ in range(levels):
        if parent is None or parent.tag in ("body", "html"):
            return
        yield parent
        parent = parent.parent


def shown_text(node: LexborNode) -> str:
    """Gives an element's text in one line: what is left out on pages is left out here, blocks are a space apart."""
    pieces: list[str] = []
    todo: list[LexborNode | str] = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            pieces.append(one)
        elif one.tag == "-text":
            pieces.append(one.text_content or "")
        elif one.tag == "br":
            pieces.append(" ")
        elif not is_skipped(one):
            around = [" "] if one.tag in BLOCK_TAGS else []
            todo += [*around, *reversed(list(one.iter(include_text=True))), *around]
    return " ".join(_UNSEEN.sub("", "".join(pieces)).split())


def spaced(text: str) -> str:
    """Collapses white space; line breaks that were asked for stay."""
    return "\n".join(" ".join(line.split()) for line in _UNSEEN.sub("", text).split(BREAK)).strip()


def line_by_line(text: str) -> str:
    """Keeps the lines of code and what they begin with."""
    return "\n".join(line.rstrip() for line in re.split(rf"\n|{BREAK}", _UNSEEN.sub("", text))).strip("\n")


def _srcset(text: str) -> Iterator[tuple[float, str]]:
    """Reads a srcset: width or density, and address."""
    address, size = "", 0.0
    for word in text.split():
        if not address:
            address = word.strip(",")
            if address and word.endswith(","):
                yield 0.0, address
                address = ""
            continue
        description, comma, following = word.partition(",")
        if (match := _SIZE.fullmatch(description)) is not None:
            size = float(match[1])
        if comma:
            yield size, address
            address, size = following.strip(","), 0.0  # the next one, where no space is between
    if address:
        yield size, address
