"""Two hundred clients at once, over a real socket: nothing lost, nothing mixed up, memory bounded."""

import asyncio
import base64
import resource
from collections import Counter

import httpx
import numpy as np
import pytest
from served import image_part, listening

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.serving_settings import ServingSettings
from tests.pictures import noise_image

CLIENTS, EACH = 200, 2
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.mark.e2e
def test_two_hundred_clients(tiny_model: NyxModel) -> None:
    """A short queue and few requests at a time, so that many are sent away, and ask again."""
    texts = [f"{at}: " + " ".join(WORDS[: 1 + at % len(WORDS)]) for at in range(CLIENTS * EACH)]
    pictures = {at: noise_image(40 + at % 50, 56, at) for at in range(0, len(texts), 20)}
    bodies = [
        {"content": [{"type": "text", "text": text}, *([image_part(pictures[at])] if at in pictures else [])]}
        for at, text in enumerate(texts)
    ]
    offline = tiny_model.encode([(text, pictures[at]) if at in pictures else text for at, text in enumerate(texts)])
    statuses: Counter[int] = Counter()
    found: dict[int, np.ndarray] = {}

    async def ask(client: httpx.AsyncClient, at: int) -> None:
        body = {"input": [bodies[at]], "encoding_format": "base64"}
        while True:
            answer = await client.post("/v1/embeddings", json=body)
            statuses[answer.status_code] += 1
            if answer.status_code != 429:
                break
            assert float(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.3)
        assert answer.status_code == 200, answer.text
        assert at not in found
        found[at] = np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), "<f4")

    async def one_client(client: httpx.AsyncClient, number: int) -> None:
        for at in range(number, len(texts), CLIENTS):
            await ask(client, at)

    async def all_clients(url: str) -> str:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(one_client(client, number) for number in range(CLIENTS)))
            return (await client.get("/metrics")).text

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    settings = ServingSettings("tiny", max_queue=64, max_items=16, max_requests=100, batch_tokens=2048)
    with listening(settings, tiny_model) as url:
        metrics = asyncio.run(all_clients(url))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before

    assert statuses.keys() == {200, 429} and statuses[200] == len(texts)
    np.testing.assert_allclose(np.stack([found[at] for at in range(len(texts))]), offline, atol=1e-5)
    assert np.abs(offline[1:] - offline[:-1]).max(axis=1).min() > 1e-4  # none could stand in for its neighbour
    assert grown < 300, f"{grown:.0f} MiB"
    assert f"nyx_batch_items_sum {len(texts)}" in metrics and "nyx_queue_items 0" in metrics
    batches = int(metrics.partition("nyx_batch_items_count ")[2].split()[0])
    assert batches < len(texts) / 1.5, f"{batches} batches"


def test_a_batch_holds_what_its_tokens_allow(tiny_model: NyxModel) -> None:
    """Like lengths together, the oldest always among them, padding counted."""
    from nyx_hf.serving_batching import Batcher, _Job
    from nyx_hf.serving_engine import NyxEngine
    from nyx_hf.serving_metrics import Metrics

    async def batches(lengths: list[int], **limits: int) -> list[list[int]]:
        batcher = Batcher(NyxEngine(tiny_model), ServingSettings(**limits), Metrics())
        batcher._arrived = asyncio.Event()
        batcher._waiting = [_Job([0] * length) for length in lengths]
        found = []
        while batch := batcher._take():
            found.append([job.tokens for job in batch])
        return found

    taken = asyncio.run(batches([10, 90, 11, 95, 12], batch_tokens=100))
    assert taken == [[10, 11, 12], [90], [95]]
    assert asyncio.run(batches([500, 1, 2], batch_tokens=100)) == [[500], [1, 2]]
    assert asyncio.run(batches([5] * 7, batch_items=3)) == [[5, 5, 5], [5, 5, 5], [5]]
