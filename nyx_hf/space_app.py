"""What a Space of ours runs: the page over an index, both of them pinned."""

import asyncio

import gradio

from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_content import to_item
from nyx_hf.serving_page import CSS, THEME, make_page, to_body
from nyx_hf.serving_results import Shown, shown
from nyx_hf.serving_settings import ServingSettings

_LIMITS = ServingSettings()


def open_page(index: str, revision: str, model: str, model_revision: str) -> gradio.Blocks:
    """Opens an index and its model, and makes the page over them.

    Args:
        index: The index on the Hub.
        revision: Its commit.
        model: The model that the index was made with.
        model_revision: The model's commit.

    Returns:
        The page.
    """
    found = SearchIndex.open(index, revision, model=model, model_revision=model_revision)
    _ = found.encoder  # loaded now, not when the first visitor waits

    def searched(text: str, image: str | None, k: int) -> list[Shown]:
        item = to_item(to_body(text, image), 0, _LIMITS, {})
        return [shown(one, pictures=True) for one in found.search(item, k=k)]

    async def search(text: str, image: str | None, k: int) -> list[Shown]:
        return await asyncio.to_thread(searched, text, image, k)

    return make_page(f"Search {index}", search)


def run(index: str, revision: str, model: str, model_revision: str) -> None:
    """Shows the page until the Space stops; gradio reads address and port from its environment.

    Args:
        index: The index on the Hub.
        revision: Its commit.
        model: The model that the index was made with.
        model_revision: The model's commit.
    """
    page = open_page(index, revision, model, model_revision)
    page.launch(theme=THEME, css=CSS, footer_links=[], max_file_size=_LIMITS.max_body, ssr_mode=False)
