"""What a search found, as one HTML file: pictures inside it, no script, nothing that is fetched."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.search_index import SearchResult
from nyx_hf.search_queries import Query
from nyx_hf.search_results import Found, shown_text

_SIDE = 320  # pixels of a picture that comes with a query
_LONGEST = 1200  # characters of a document
_MIME = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp", "GIF": "gif"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --muted: #6b7280; --paper: #f8fafc; --card: #fff; --line: #e5e7eb;
  --accent: #4338ca; --asked: #eef2ff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --muted: #9ca3af; --paper: #0f172a; --card: #1e293b;
  --line: #334155; --accent: #a5b4fc; --asked: #1e1b4b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 24px; }
h1 { font-size: 22px; margin: 0 0 4px; }
.facts { color: var(--muted); margin: 0 0 24px; overflow-wrap: anywhere; }
.query { background: var(--asked); border-left: 4px solid var(--accent); border-radius: 8px; padding: 12px 16px;
  margin: 32px 0 16px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 16px; padding: 0; margin: 0;
  list-style: none; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
.head { display: flex; justify-content: space-between; gap: 12px; font-weight: 600; overflow-wrap: anywhere; }
.rank { color: var(--accent); } .score { color: var(--muted); font-variant-numeric: tabular-nums; }
.bar { height: 4px; border-radius: 2px; background: var(--line); margin: 8px 0 10px; }
.bar i { display: block; height: 100%; border-radius: 2px; background: var(--accent); }
.content { max-height: 380px; overflow: auto; }
.content p, .query p { margin: 0 0 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
img { max-width: 100%; max-height: 220px; min-width: 56px; border-radius: 4px; margin: 2px 4px 2px 0;
  vertical-align: middle; }
.tags { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 10px; }
.tag { font-size: 12px; color: var(--muted); border: 1px solid var(--line); border-radius: 99px; padding: 1px 8px;
  overflow-wrap: anywhere; }
.none { color: var(--muted); }
"""


def write_page(found: Found, path: Path) -> Path:
    """Writes results as a page that needs nothing beside it.

    Args:
        found: Queries and results.
        path: The file to write; it is written beside and renamed.

    Returns:
        The file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(page(found), encoding="utf-8")
    draft.replace(path)
    return path


def page(found: Found) -> str:
    """Gives the page.

    Args:
        found: Queries and results.

    Returns:
        HTML. All that came from documents and queries is escaped.
    """
    filters = "".join(f" · {column} = {' or '.join(values)}" for column, values in found.where.items())
    facts = f"{found.documents:,} documents · {found.model}{filters}"
    sections = [_section(query, hits) for query, hits in zip(found.queries, found.results, strict=True)]
    title = f"Found in {found.index}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="facts">{escape(facts)}</p>\n' + "\n".join(sections) + "\n</main>\n"
        "</body>\n</html>\n"
    )


def _section(query: Query, hits: Sequence[SearchResult]) -> str:
    name = f'<p class="score">{escape(query.id)}</p>' if query.id else ""
    cards = "\n".join(_card(rank, hit) for rank, hit in enumerate(hits, start=1))
    body = f'<ol class="grid">\n{cards}\n</ol>' if hits else '<p class="none">No document fits.</p>'
    return f'<section>\n<div class="query">{name}{_content(query.content)}</div>\n{body}\n</section>'


def _card(rank: int, hit: SearchResult) -> str:
    tags = [f"{name}: {value}" for name, value in hit.metadata.items() if value is not None]
    width = 100 * max(0.0, min(1.0, hit.score))
    return (
        f'<li class="card"><div class="head"><span><span class="rank">{rank}</span> {escape(hit.id)}</span>'
        f'<span class="score">{hit.score:.4f}</span></div><div class="bar"><i style="width:{width:.1f}%"></i></div>'
        f'<div class="content">{_content(hit.content)}</div>'
        f'<div class="tags">{"".join(f"""<span class="tag">{escape(tag)}</span>""" for tag in tags)}</div></li>'
    )


def _content(content: Sequence[Row]) -> str:
    """Writes parts in order; pictures that follow each other stand in a row."""
    said = shown_text([part for part in content if part["type"] == "text"], 120)
    pieces = []
    for part in content:
        if part["type"] == "text":
            text = part["text"]
            pieces.append(f"<p>{escape(text if len(text) <= _LONGEST else text[:_LONGEST] + '…')}</p>")
        else:
            pictures = [part["image"]] if part["type"] == "image" else part["video"]
            pieces += [f'<img alt="{escape(said) or "picture"}" src="{_data_uri(one)}">' for one in pictures]
    return "".join(pieces)


def _data_uri(picture: Any) -> str:
    """Writes a picture into the page: a kept file as it is, one of a query made small."""
    file = picture["bytes"] if isinstance(picture, dict) else _png(load_image(picture))
    with Image.open(io.BytesIO(file)) as image:
        kind = _MIME.get(image.format or "")
    if kind is None:
        file, kind = _png(load_image(file)), "png"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _png(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()
