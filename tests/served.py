"""What the tests of the server share: an index that is none, pictures as data URIs, a server in a process."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.retrievers import NyxEncoder
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_app import make_app
from nyx_hf.serving_command import Server
from nyx_hf.serving_settings import ServingSettings
from nyx_hf.vector_store import StoreProperties
from tests.pictures import noise_image

ROOT = Path(__file__).resolve().parent.parent


def data_uri(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def image_part(image: Image.Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(image)}}


class FakeStore:
    """Finds a few documents in memory, by brute force."""

    def __init__(self, vectors: np.ndarray, documents: Sequence[list[dict[str, Any]]]) -> None:
        self.properties = StoreProperties("tiny", None, vectors.shape[1], columns={"at": "int64"})
        self.vectors, self.documents = vectors, list(documents)

    def search(self, vectors: np.ndarray, k: int, where: Any) -> tuple[list[list[float]], list[list[str]]]:
        if where is not None and set(where) != {"at"}:
            raise ValueError(f"found a filter by {sorted(where)}, expected at")
        kept = [at for at in range(len(self.documents)) if where is None or at in where["at"]]
        scores = vectors @ self.vectors[kept].T
        best = np.argsort(-scores, axis=1)[:, :k]
        ids = [[f"d{kept[at]}" for at in row] for row in best]
        return [list(row[order]) for row, order in zip(scores, best, strict=True)], ids

    def take(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [{"content": self.documents[int(name[1:])], "at": int(name[1:])} for name in ids]


def fake_index(model: NyxModel, documents: Sequence[list[dict[str, Any]]]) -> SearchIndex:
    """An index over a few documents in memory."""
    store: Any = FakeStore(model.encode_document([{"content": one} for one in documents]), documents)
    return SearchIndex(store, NyxEncoder("tiny", None, model))


def small_index(folder: Path, model: Path) -> Path:
    """A real index of three texts and three pictures."""
    from index_cases import things

    from nyx_hf.index_encoding import Encoding
    from nyx_hf.indexing import Documents, build_index

    words = ["a red bicycle", "two <b>birds</b> on a wire", "the end of the road"]
    rows = [{"id": f"text-{at}", "content": [text]} for at, text in enumerate(words)]
    pictures = [noise_image(300, 200, at) for at in range(3)]
    rows += [{"id": f"picture-{at}", "content": [f"Picture {at}.", one]} for at, one in enumerate(pictures)]
    dataset = things(folder / "data", rows)
    encoding = Encoding(str(model), cache_dir=folder / "cache")
    build_index(Documents(str(dataset)), str(folder / "index"), encoding)
    return folder / "index"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def listening(settings: ServingSettings, model: Any, index: Any = None) -> Iterator[str]:
    """A server of this process, on a free port."""
    gate, port = make_app(settings, model, index), free_port()
    server = Server(gate, settings, {"host": "127.0.0.1", "port": port, "log_level": "warning"})
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        gate.closed = True
        thread.join()


@dataclass
class Running:
    url: str
    process: subprocess.Popen[str]

    def stop(self) -> tuple[int, str]:
        """Stops it as a supervisor would; gives its exit code and what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@contextmanager
def running(*words: str, **env: str) -> Iterator[Running]:
    """Runs `nyx-hf serve` with these words, on a free port, until the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "nyx_hf", "serve", *words, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield Running(f"http://127.0.0.1:{port}", process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(url: str, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the server ended:\n{process.communicate()[0]}")
        try:
            if httpx.get(url, timeout=2).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"{url} did not answer")
