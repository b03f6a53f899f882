"""What every test shares: no network but loopback, fixed seeds, tiny models made once."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# caches of the tests' own: datasets finds local folders by their name alone, those of earlier runs too
_HOME = tempfile.TemporaryDirectory(prefix="nyx-hf-tests-", ignore_cleanup_errors=True)
os.environ["HF_HOME"] = _HOME.name
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.tiny import MODEL_TYPES, make_tiny_vlm
from tests.pictures import noise_image

torch.set_num_threads(1)

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else "localhost"  # unix sockets have a path
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests use no network but loopback; something connected to {host}")
    _connect(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stock folders of the three families, with random weights."""
    root = tmp_path_factory.mktemp("backbones")
    return {name: make_tiny_vlm(root / name, name) for name in MODEL_TYPES}


@pytest.fixture(scope="session")
def tiny_model(tiny_backbones: dict[str, Path]) -> NyxModel:
    """A Qwen2.5-VL retriever with the `nyx` preset; tests that change it take a copy of their own."""
    return NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], "nyx")


@pytest.fixture(scope="session")
def tiny_folder(tiny_model: NyxModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same retriever, saved."""
    folder = tmp_path_factory.mktemp("retriever") / "tiny-nyx"
    tiny_model.save_pretrained(folder)
    return folder


@pytest.fixture()
def images() -> list[Image.Image]:
    """Pictures of several shapes."""
    return [noise_image(56, 56, 1), noise_image(90, 40, 2), noise_image(33, 71, 3), noise_image(28, 28, 4)]


@pytest.fixture()
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
