"""`nyx-hf serve`: opens what is served, and stops gracefully."""

import logging
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import typer
import uvicorn
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from nyx_hf.index_files import MANIFEST
from nyx_hf.retrievers import load_encoder
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_app import make_app
from nyx_hf.serving_gate import Gate
from nyx_hf.serving_settings import ServingSettings
from nyx_hf.trainer.hub_revisions import NETWORK_ERROR
from nyx_hf.vector_store import parse_place

_IDLE = 75  # seconds that an idle connection stays: one closed as a client sends its next request is an error there
_PAGES = 3  # seconds that open pages have once all requests are answered


def read_token(token_env: str | None, token_file: Path | None) -> str | None:
    """Reads the token that clients must send.

    Args:
        token_env: An environment variable that holds it.
        token_file: A file that holds it.

    Returns:
        The token, None where neither is named.

    Raises:
        ValueError: Both are named, or what is named holds nothing.
    """
    if token_env is not None and token_file is not None:
        raise ValueError("found --token-env and --token-file: name one of them")
    if token_env is not None:
        if not os.environ.get(token_env):
            raise ValueError(f"the environment variable {token_env} is not set: set it to the token")
        return os.environ[token_env]
    if token_file is None:
        return None
    token = token_file.read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{token_file} is empty: write the token into it")
    return token


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        name: A model's or an index's folder or Hub name; an index brings its own model.
        index: An index besides.
        reranker: A reranker's folder or Hub name.
        revision: The Hub's branch, tag or commit of `name`.
        device: Where the models compute.
        page: Whether to show the page; left out, where there is an index.
        shown_as: What the model is called in requests; its own name where it is None.
    """

    name: str
    index: str | None = None
    reranker: str | None = None
    revision: str | None = None
    device: str | None = None
    page: bool | None = None
    shown_as: str | None = None


def open_app(served: Served, settings: ServingSettings) -> tuple[Gate, str]:
    """Opens what is served.

    Args:
        served: What it is.
        settings: How the server behaves.

    Returns:
        The application, and the model's name.

    Raises:
        ValueError: Something cannot be opened.
        OSError: Something is not there.
    """
    index, scorer = None, None
    if served.index is None and _is_index(served):
        index = SearchIndex.open(served.name, served.revision, device=served.device)
        model = index.encoder
    elif served.page and served.index is None:
        raise ValueError("a page shows what an index finds: name one with --index, or leave --page out")
    else:
        model = load_encoder(served.name, served.revision, served.device)
        index = None if served.index is None else SearchIndex.open(served.index, model=model)
    if served.reranker is not None:
        from nyx_hf.reranker import NyxReranker

        scorer = NyxReranker.from_pretrained(served.reranker, device=served.device)
    settings = replace(settings, name=served.shown_as or model.name)
    page = index is not None if served.page is None else served.page
    return make_app(settings, model, index, scorer, page=page), settings.name


def _is_index(served: Served) -> bool:
    """Whether what is named holds an index: a store's place, a folder, or a dataset on the Hub."""
    kind, place = parse_place(served.name)
    if Path(place).is_dir() or kind != "faiss":
        return kind != "faiss" or (Path(place) / MANIFEST).is_file()
    try:
        hf_hub_download(place, MANIFEST, repo_type="dataset", revision=served.revision)
    except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, NETWORK_ERROR):
        return False
    return True


def run_serve(served: Served, settings: ServingSettings, host: str, port: int, level: str) -> None:
    """Serves until told to stop.

    Args:
        served: What is served.
        settings: How.
        host: Address to listen at.
        port: Port; 0 takes a free one.
        level: What is logged: `debug`, `info`, `warning` or `error`.

    Raises:
        ValueError: Something cannot be opened, or the port is taken.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # of others, warnings alone
    logging.getLogger("nyx_hf").setLevel(level.upper())
    bound = _bind(host, port)  # before anything is loaded
    try:
        gate, name = open_app(served, settings)
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"serving {name} on http://{shown}:{bound.getsockname()[1]}")
        Server(gate, settings, {"log_level": level, "access_log": level == "debug"}).run(sockets=[bound])
    finally:
        bound.close()


def _bind(host: str, port: int) -> socket.socket:
    """Takes the port; connections are accepted once the server listens."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ValueError(f"{host}:{port} cannot be listened at ({error.strerror}): give another --port") from error
    return bound


class Server(uvicorn.Server):
    """A server that, told to stop, refuses new requests, finishes those in flight, and then goes.

    Told twice, it goes at once.

    Args:
        gate: The application.
        settings: How long a stop may take.
        how: What uvicorn is told besides.
    """

    def __init__(self, gate: Gate, settings: ServingSettings, how: Mapping[str, Any]) -> None:
        super().__init__(uvicorn.Config(gate, timeout_graceful_shutdown=_PAGES, timeout_keep_alive=_IDLE, **how))
        self._gate, self._ticks = gate, int(settings.drain * 10)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop."""
        if self._gate.closed:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self._gate.closed = True

    async def on_tick(self, counter: int) -> bool:
        """Looks, ten times a second, whether the last request is answered."""
        if self._gate.closed and not self.should_exit:
            self._ticks -= 1
            if not self._gate.busy or self._ticks <= 0:
                self.should_exit = True
        return await super().on_tick(counter)
