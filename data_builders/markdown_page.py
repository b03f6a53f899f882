"""Markdown as the HTML page that it stands for."""

import re

import yaml
from markdown_it import MarkdownIt

from nyx_hf.data_builders.html_blocks import ParsedPage, parse_html
from nyx_hf.data_builders.html_tags import spaced

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S | re.M)
_MAX_NESTING = 100  # quotes and lists in each other; text below is lost, and the parser's own limit is 20


def parse_markdown(raw: bytes) -> ParsedPage:
    """Parses CommonMark with tables, and the HTML in it.

    Args:
        raw: The file, UTF-8; what is none is replaced.

    Returns:
        The parsed page; its title is the front matter's, or its first heading.
    """
    text = raw.decode("utf-8-sig", errors="replace")
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    html = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table").render(body)
    page = parse_html(b"<meta charset=utf-8>" + html.encode())
    heading = page.tree.css_first("h1, h2, h3")
    page.title = _title(front[1] if front else "") or (spaced(heading.text()) if heading is not None else None)
    return page


def _title(front_matter: str) -> str | None:
    """Reads the front matter's title; none where it is no YAML, which harms nobody."""
    try:
        values = yaml.safe_load(front_matter)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that is none
        return None
    title = values.get("title") if isinstance(values, dict) else None
    return spaced(str(title)) if title else None
