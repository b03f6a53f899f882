"""Contents a second through `nyx-hf serve`, beside `encode` on the same contents: both in one run, the ratio last.

    PYTHONPATH=.:tests python tests/benchmarks/serving.py [--contents 256] [--rounds 3]

A small vision-language model; texts of 8 to 128 words, every fourth content with a picture. The server is a process of
its own on one thread, as is `encode`. Clients send 32 contents at a time from 8 connections, then one at a time from
64. Seconds of the processor are told, too (of the server alone, and of `encode`): other programs change them less.
"""

import argparse
import asyncio
import base64
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import torch
from measuring import write
from PIL import Image
from served import image_part, running

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.tiny import make_tiny_vlm

WORDS = ("please find the record whose picture shows " * 20).split()
OFFLINE, MANY, SINGLE = "encode", "server, 32 a request", "server, 1 a request"


def contents(number: int) -> tuple[list[Any], list[Any]]:
    """Contents as `encode` takes them, and as the server does."""
    noise = np.random.default_rng(0).integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)
    items, bodies = [], []
    for at in range(number):
        text = " ".join([str(at), *WORDS[: 7 + 37 * at % 121]])
        picture = Image.fromarray(noise[at]).resize((112, 112)) if at % 4 == 0 else None
        items.append(text if picture is None else (text, picture))
        part = {"type": "text", "text": text}
        bodies.append(text if picture is None else {"content": [part, image_part(picture)]})
    return items, bodies


async def ask(url: str, bodies: Sequence[Any], together: int, connections: int) -> np.ndarray:
    """Sends all contents from several connections; gives their vectors in order."""
    found: dict[int, np.ndarray] = {}
    starts = iter(range(0, len(bodies), together))

    async def one(client: httpx.AsyncClient) -> None:
        for start in starts:
            body = {"input": bodies[start : start + together], "encoding_format": "base64"}
            answer = (await client.post("/v1/embeddings", json=body)).raise_for_status().json()
            for place, row in enumerate(answer["data"]):
                found[start + place] = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")

    async with httpx.AsyncClient(
        base_url=url, timeout=300, limits=httpx.Limits(max_connections=connections)
    ) as client:
        await asyncio.gather(*(one(client) for _ in range(connections)))
    return np.stack([found[at] for at in range(len(bodies))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contents", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/serving.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    sizes = {"hidden_size": 256, "layers": 6, "vision_hidden_size": 128, "vision_layers": 4}
    make_tiny_vlm(folder / "vlm", "qwen2_5_vl", **sizes)
    NyxModel.from_backbone(folder / "vlm", "nyx").save_pretrained(folder / "model")
    model = NyxModel.from_pretrained(folder / "model")
    items, bodies = contents(args.contents)
    wall: dict[str, list[float]] = {OFFLINE: [], MANY: [], SINGLE: []}
    used: dict[str, list[float]] = {case: [] for case in wall}
    quiet = ["--log-level", "warning", "--timeout", "600"]
    with running(str(folder / "model"), *quiet, OMP_NUM_THREADS="1") as server:
        pid = server.process.pid
        for number in range(args.rounds + 1):  # the first is not counted
            for case in wall:
                start, before = time.perf_counter(), processor_seconds(pid)
                own = time.process_time()
                if case == OFFLINE:
                    expected = found = model.encode(items, show_progress_bar=False)
                else:
                    found = asyncio.run(ask(server.url, bodies, *((32, 8) if case == MANY else (1, 64))))
                if number:
                    wall[case].append(time.perf_counter() - start)
                    spent = processor_seconds(pid) - before
                    used[case].append(time.process_time() - own if case == OFFLINE else spent)
                assert np.abs(found - expected).max() < 1e-5
            print(f"round {number} of {args.rounds}", file=sys.stderr)
    results = {case: {"seconds": median(wall[case]), "processor_seconds": median(used[case])} for case in wall}
    for one in results.values():
        one["contents_per_second"] = args.contents / one["seconds"]
        for name in ("processor_seconds", "seconds"):
            one[f"encode_{name}_ratio"] = results[OFFLINE][name] / one[name]
    command = (
        f"PYTHONPATH=.:tests python tests/benchmarks/serving.py --contents {args.contents} --rounds {args.rounds}"
    )
    write(args.out, command, {"contents": args.contents, "load": os.getloadavg()[0], **sizes}, results)
    print("| case | contents a second | processor, against encode | throughput, against encode |\n|---|---|---|---|")
    for case, one in results.items():
        ratios = f"{one['encode_processor_seconds_ratio']:.2f} | {one['encode_seconds_ratio']:.2f}"
        print(f"| {case} | {one['contents_per_second']:.1f} | {ratios} |")


def processor_seconds(pid: int) -> float:
    """Seconds of the processor that another process has used, its threads included (Linux)."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
