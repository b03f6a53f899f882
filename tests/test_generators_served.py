"""Real servers and real models: a tiny VLM behind `transformers serve`, and in this process. It talks nonsense."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import constants
from test_generators import chunk, png
from test_nyxqa import manual
from tiny_llava import make_tiny_llava
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.asking import Asking
from nyx_hf.data_builders.generators import Request
from nyx_hf.data_builders.open_generator import open_generator, open_vlm
from nyx_hf.data_builders.pages import image_block, text_block

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("llava") / "tiny-llava")


@pytest.fixture(scope="module")
def served(llava: Path) -> Iterator[str]:
    """The address of a running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(llava), "--device", "cpu"]
    command += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                if httpx2.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200:
                    break
            except httpx2.HTTPError:
                assert server.poll() is None, "the server ended before it was up"
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def test_a_served_model_s_nonsense_is_counted_and_survived(
    served: str, llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    generator = open_generator(f"endpoint:{served}#{llava}", cache_dir=tmp_path, requests=2)
    generator.retries = 1
    model = generator.vlm.vlm
    [(_, answer)] = model.answers([Request("Count.", [{"type": "text", "text": "One."}], {}, max_tokens=8)])
    assert answer.text and answer.completion_tokens == 8 and answer.failure == "answer: cut off"
    chunks = [
        chunk(text_block("The Crop tool cuts an image."), name="p#0"),
        chunk(text_block("Two pictures."), image_block(png()), image_block(png(64, 48, 1)), name="p#1"),
    ]
    rows = [row for rows in Asking(generator)(chunks) for row in rows]
    assert [row["id"] for row in rows] == ["p#0", "p#1"] and all(row["dropped"].startswith("chunk, ") for row in rows)
    assert generator.vlm.usage.requests == 4 and generator.vlm.usage.completion_tokens > 0


def test_a_model_in_this_process_sees_text_and_images(llava: Path) -> None:
    model = open_vlm(f"transformers:{llava}")
    assert model.name == "tiny-llava (transformers)" and not model.remote
    text = [{"type": "text", "text": "What is it?"}]
    images = [{"type": "image", "image": {"bytes": png(seed=seed), "path": None}} for seed in range(2)]
    requests = [Request("s", content, {}, max_tokens=6) for content in (text, text + images, text + images[1:])]
    answers = [answer for _, answer in model.answers([*requests, requests[0]])]
    assert all(answer.text and answer.completion_tokens == 6 for answer in answers)
    assert answers[0] == answers[3] and answers[0].prompt_tokens < answers[2].prompt_tokens < answers[1].prompt_tokens
    drawn = [Request("s", text, {}, max_tokens=6, temperature=5.0, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (answer.text for _, answer in model.answers(drawn))
    assert one == same and one != other


def test_a_served_model_answers_and_its_nonsense_gives_no_feedback(
    served: str, llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents with pictures go to the server and back; what cannot be read is counted, nothing is written."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    data = tmp_path / "qa"
    words = ["--source", f"html:{manual(tmp_path / 'site', pages=6)}", "--cache", str(tmp_path / "cache")]
    assert run("build", "nyxqa", *words, "--shares", "0.5,0.25,0.25", "--out", data).exit_code == 0
    spec = f"endpoint:{served}#{llava}"
    done = run("answer", data, "What creates ripples?", "--split", "corpus", "--answerer", spec, "-k", 2, "--json")
    assert done.exit_code == 0, done.output
    answered = json.loads(done.stdout)
    assert len(answered["documents"]) == 2 and (answered["answer"] or answered["failure"].startswith("answer: "))
    more = ["--model", "bm25", "-k", 2, "--cache", tmp_path / "kept", "--out", tmp_path / "told"]
    done = run("feedback", data, "--answerer", spec, *more)
    assert done.exit_code == 1 and "no query is left" in done.output and "answer: " in done.output, done.output
    assert not (tmp_path / "told").exists() and "Traceback" not in done.output


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])
