"""Encoding many contents: batches by true length, pixels read one batch ahead, results in the caller's order."""

import copy
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from tqdm.auto import tqdm

from .content_nyx import ContentError
from .processing_nyx import NyxProcessor, Plan

# Contents are planned this many batches at a time: long enough to sort well, short enough to start at once.
_WINDOW = 64


@dataclass(frozen=True)
class Failure:
    """A content that could not be encoded.

    Args:
        index: Its place in the caller's list.
        error: What was wrong.
    """

    index: int
    error: ContentError


@dataclass(frozen=True)
class Encoding:
    """Vectors of the contents that could be encoded, with the rest named.

    Args:
        embeddings: Vectors of the good contents in the caller's order, (N, D).
        indices: The place of each vector's content in the caller's list.
        failures: The contents left out.
    """

    embeddings: Any
    indices: list[int]
    failures: list[Failure]


def encode_items(
    model: Any,
    items: Sequence[Any],
    instructions: Sequence[str | None],
    *,
    batch_size: int,
    devices: Sequence[torch.device],
    skip: bool,
    progress: bool,
    allow_urls: bool,
) -> tuple[torch.Tensor, list[int], list[Failure]]:
    """Encodes contents, not normalised.

    Args:
        model: The retriever.
        items: Contents.
        instructions: Instruction of each.
        batch_size: Contents a forward pass.
        devices: Where to compute; with several, each holds a copy of the model.
        skip: Whether a bad content is left out and named; otherwise it raises.
        progress: Whether to show a progress bar.
        allow_urls: Whether images may be fetched.

    Returns:
        Vectors on the CPU (N, D) float32, their indices in `items`, and the failures.

    Raises:
        ContentError: A content is malformed or cannot be read, and `skip` is off.
    """
    replicas = _replicas(model, devices)
    vectors: dict[int, torch.Tensor] = {}
    failures: list[Failure] = []
    with tqdm(total=len(items), desc="Encoding", disable=not progress, unit="item") as bar:
        for start in range(0, len(items), _WINDOW * batch_size):
            indices = range(start, min(start + _WINDOW * batch_size, len(items)))
            plans = _plan(model.processor, items, instructions, indices, skip, failures, allow_urls)
            plans.sort(key=len, reverse=True)  # longest first: running out of memory shows at once
            batches = [plans[at : at + batch_size] for at in range(0, len(plans), batch_size)]
            for batch, rows in _run(replicas, model.processor, batches, skip, failures, allow_urls):
                vectors.update(zip((plan.index for plan in batch), rows, strict=True))
                bar.update(len(batch))
    order = sorted(vectors)
    width = model.config.get_text_config().hidden_size
    stacked = torch.stack([vectors[index] for index in order]) if order else torch.empty(0, width)
    return stacked, order, sorted(failures, key=lambda failure: failure.index)


def _replicas(model: Any, devices: Sequence[torch.device]) -> list[Any]:
    """One model a device; the caller's own serves the device it is on."""
    if len(devices) == 1:
        return [model if model.device == devices[0] else model.to(devices[0])]
    replicas = [model]
    for device in devices[1:]:
        replicas.append(copy.deepcopy(model).to(device))
    model.to(devices[0])
    return replicas


def _plan(
    processor: NyxProcessor,
    items: Sequence[Any],
    instructions: Sequence[str | None],
    indices: range,
    skip: bool,
    failures: list[Failure],
    allow_urls: bool,
) -> list[Plan]:
    """Plans one window of contents."""
    plans = []
    for index in indices:
        try:
            plans.append(processor.plan(items[index], instructions[index], index=index, allow_urls=allow_urls))
        except ContentError as error:
            if not skip:
                raise
            failures.append(Failure(index, error))
    return plans


def _run(
    replicas: Sequence[Any],
    processor: NyxProcessor,
    batches: Sequence[list[Plan]],
    skip: bool,
    failures: list[Failure],
    allow_urls: bool,
) -> Iterator[tuple[list[Plan], torch.Tensor]]:
    """Runs batches, on all replicas at once, each one's next batch being loaded while it computes."""
    waiting = iter(batches)
    lock = threading.Lock()

    def load() -> tuple[list[Plan], Any] | None:
        with lock:
            batch = next(waiting, None)
        return None if batch is None else _load(processor, batch, skip, failures, allow_urls)

    def work(replica: Any, loader: ThreadPoolExecutor) -> list[tuple[list[Plan], torch.Tensor]]:
        done = []
        ahead: Future[tuple[list[Plan], Any] | None] = loader.submit(load)
        while (loaded := ahead.result()) is not None:
            ahead = loader.submit(load)
            batch, features = loaded
            if batch:
                done.append((batch, _forward(replica, features)))
        return done

    if len(replicas) == 1:  # results as they come, so that the bar moves
        with ThreadPoolExecutor(1) as loader:
            ahead = loader.submit(load)
            while (loaded := ahead.result()) is not None:
                ahead = loader.submit(load)
                if loaded[0]:
                    yield loaded[0], _forward(replicas[0], loaded[1])
        return
    with ThreadPoolExecutor(len(replicas)) as workers, ThreadPoolExecutor(len(replicas)) as loader:
        for future in [workers.submit(work, replica, loader) for replica in replicas]:
            yield from future.result()


def _load(
    processor: NyxProcessor, batch: list[Plan], skip: bool, failures: list[Failure], allow_urls: bool
) -> tuple[list[Plan], Any]:
    """Reads a batch's pixels; with `skip`, a content whose image cannot be decoded leaves and the rest stays."""
    while batch:
        try:
            return batch, processor.load(batch, allow_urls=allow_urls)
        except ContentError as error:
            if not skip:
                raise
            failures.append(Failure(error.index or 0, error))
            batch = [plan for plan in batch if plan.index != error.index]
    return [], None


def _forward(model: Any, features: Any) -> torch.Tensor:
    with torch.inference_mode():
        embeddings: torch.Tensor = model(**features.to(model.device)).embeddings
        return embeddings.cpu()
