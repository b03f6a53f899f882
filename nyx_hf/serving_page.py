"""A page: type or drop a picture, and see which documents are found, with their pictures."""

import base64
import hmac
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio
from fastapi import FastAPI

from nyx_hf.serving_errors import ApiError
from nyx_hf.serving_gate import PAGE
from nyx_hf.serving_results import Shown
from nyx_hf.serving_schema import ContentBody, ImagePart, TextPart
from nyx_hf.serving_service import Service

Search = Callable[[str, str | None, int], Awaitable[list[Shown]]]
_LENGTH = 600  # characters of a document's text that are shown

# fonts of the reader's machine: the themes of gradio fetch theirs
THEME = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
CSS = """
.nyx-found {list-style: none; margin: 0; padding: 0; display: grid; gap: .75rem;
            grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));}
.nyx-found li {border: 1px solid var(--border-color-primary); border-radius: .5rem; padding: .75rem;}
.nyx-found img {max-height: 11rem; max-width: 100%; border-radius: .25rem; margin: .25rem .25rem .25rem 0;}
.nyx-found p {white-space: pre-line; overflow-wrap: anywhere; margin: .5rem 0 0;}
.nyx-found header {display: flex; justify-content: space-between; gap: .5rem; font-weight: 600;}
"""


def make_page(title: str, search: Search) -> gradio.Blocks:
    """Makes a page that searches.

    Args:
        title: The heading.
        search: Gives the documents for a text, an image (a data URI, or None) and how many; raises ValueError or
            `ApiError` with what to tell the reader.

    Returns:
        The page; show it with `theme=THEME, css=CSS`.
    """

    async def find(text: str, image: str | None, k: float) -> str:
        if not text.strip() and image is None:
            raise gradio.Error("Type something, or drop a picture.", duration=5)
        try:
            return found_html(await search(text.strip(), _data_uri(image), int(k)))
        except ApiError as error:
            raise gradio.Error(error.message) from error
        except ValueError as error:
            raise gradio.Error(str(error)) from error

    page: gradio.Blocks
    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}\nType, drop a picture, or both: documents of text and pictures are found by both.")
        with gradio.Row():
            with gradio.Column(scale=2):
                text = gradio.Textbox(label="Query", lines=3, placeholder="What are you looking for?")
                k = gradio.Slider(1, 50, value=10, step=1, label="Documents")
                button = gradio.Button("Search", variant="primary")
            image = gradio.Image(type="filepath", label="Picture", sources=["upload", "clipboard"], height=220)
        found = gradio.HTML(label="Documents")
        gradio.on([button.click, text.submit], find, [text, image, k], found, api_name="search")
    return page


def mount(app: FastAPI, service: Service) -> None:
    """Shows the page of a server at `/page`; where the server has a token, it is the password.

    Args:
        app: The application.
        service: What answers.
    """

    async def search(text: str, image: str | None, k: int) -> list[Shown]:
        return await service.search(to_body(text, image), k, pictures=True)

    token = service.settings.token
    how: dict[str, Any] = {"theme": THEME, "css": CSS, "footer_links": [], "ssr_mode": False}
    if token is not None:
        how["auth"] = lambda _, password: _same(password, token)
        how["auth_message"] = "Any name; the password is the server's token."
    page = make_page(f"Search with {service.settings.name}", search)
    gradio.mount_gradio_app(app, page, PAGE, max_file_size=service.settings.max_body, **how)


def to_body(text: str, image: str | None) -> ContentBody:
    """The query of a page: its picture first, then its text.

    Args:
        text: The text, perhaps empty.
        image: A data URI, or None.

    Returns:
        The content.
    """
    parts: list[Any] = [] if image is None else [ImagePart(type="image_url", image_url=image)]
    return ContentBody(content=[*parts, *([TextPart(type="text", text=text)] if text else [])])


def found_html(documents: Sequence[Shown]) -> str:
    """Writes documents as HTML; whatever stands in them is text.

    Args:
        documents: The documents, the best first.

    Returns:
        A list.
    """
    if not documents:
        return "<p>Nothing was found.</p>"
    items = []
    for rank, one in enumerate(documents, start=1):
        pictures = "".join(
            f'<img src="{escape(picture)}" alt="picture of {escape(one.id)}">' for picture in one.pictures or []
        )
        text = one.text if len(one.text) <= _LENGTH else f"{one.text[:_LENGTH]}…"
        items.append(
            f"<li><header><span>{rank}. {escape(one.id)}</span><span>{one.score:.3f}</span></header>"
            f"{pictures}<p>{escape(text)}</p></li>"
        )
    return f'<ol class="nyx-found">{"".join(items)}</ol>'


def _data_uri(path: str | None) -> str | None:
    if path is None:
        return None
    kind = mimetypes.guess_type(path)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
