"""Joins the contents of many requests into batches: by tokens, after a short wait, one loading while one computes.

Contents of like length go together, the one that waited longest always among them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import numpy as np

from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.serving_engine import Engine, Planned
from nyx_hf.serving_errors import ApiError
from nyx_hf.serving_metrics import Metrics
from nyx_hf.serving_settings import ServingSettings

R = TypeVar("R")


class _Job:
    """A content that waits for its vector."""

    def __init__(self, plan: Planned) -> None:
        self.plan, self.tokens = plan, len(plan)
        self.done: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def finish(self, vector: np.ndarray) -> None:
        if not self.done.done():
            self.done.set_result(vector)


class Batcher:
    """Encodes contents in batches, for as long as `running` lasts.

    Args:
        engine: The model.
        settings: Limits of a batch and of the queue.
        metrics: Where batches are counted.
    """

    def __init__(self, engine: Engine, settings: ServingSettings, metrics: Metrics) -> None:
        self._engine, self._settings, self._metrics = engine, settings, metrics
        self._waiting: list[_Job] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Takes contents until the block ends."""
        self._arrived = asyncio.Event()
        self._slots = asyncio.Semaphore(2)  # one batch computes, one is loaded meanwhile
        self._loader, self._computer = ThreadPoolExecutor(1, "load"), ThreadPoolExecutor(1, "compute")
        self._running: set[asyncio.Task[None]] = set()
        feeder = asyncio.create_task(self._feed())
        try:
            yield
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, *self._running, return_exceptions=True)
            for job in self._waiting:
                job.fail(RuntimeError("the server stopped"))
            self._waiting = []
            self._loader.shutdown()
            self._computer.shutdown()

    @contextmanager
    def room(self, contents: int) -> Iterator[None]:
        """Holds places in the queue.

        Args:
            contents: How many.

        Raises:
            ApiError: If there are not as many, 429.
        """
        if self._metrics.queued + contents > self._settings.max_queue:
            self._metrics.rejected[(("reason", "queue_full"),)] += 1
            raise ApiError(429, "the queue is full: try again", code="queue_full", headers={"Retry-After": "1"})
        self._metrics.queued += contents
        try:
            yield
        finally:
            self._metrics.queued -= contents

    async def encode(self, plans: Sequence[Planned]) -> list[np.ndarray | BaseException]:
        """Encodes contents, in whatever batches.

        Args:
            plans: The contents.

        Returns:
            For each its whole vector (width,), or why there is none.
        """
        jobs = [_Job(plan) for plan in plans]
        self._waiting += jobs
        self._arrived.set()
        return await asyncio.gather(*(job.done for job in jobs), return_exceptions=True)

    async def compute(self, function: Callable[..., R], *args: Any) -> R:
        """Runs something else on the model's thread, in turn with the batches.

        Args:
            function: What to call.
            *args: Its arguments.

        Returns:
            What it gives.
        """
        return await asyncio.get_running_loop().run_in_executor(self._computer, function, *args)

    async def _feed(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._settings.batch_items:
                await asyncio.sleep(self._settings.wait_ms / 1000)
            await self._slots.acquire()  # the batch is chosen only when it can start: until then others may join
            batch = self._take()
            if not batch:
                self._slots.release()
                continue
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[_Job]:
        """Takes a batch out of what waits: the oldest content, and those nearest to it in length."""
        waiting = [job for job in self._waiting if not job.done.done()]  # the others' requests are over
        chosen: list[_Job] = []
        longest = 0
        for job in sorted(waiting, key=lambda job: abs(job.tokens - waiting[0].tokens)):
            longest = max(longest, job.tokens)
            if chosen and longest * (len(chosen) + 1) > self._settings.batch_tokens:
                break
            chosen.append(job)
            if len(chosen) == self._settings.batch_items:
                break
        taken = set(map(id, chosen))
        self._waiting = [job for job in waiting if id(job) not in taken]
        if not self._waiting:
            self._arrived.clear()
        return chosen

    async def _run(self, jobs: list[_Job]) -> None:
        try:
            await self._encoded(jobs)
        finally:
            self._slots.release()

    async def _encoded(self, jobs: list[_Job]) -> None:
        """Encodes a batch. A content that fails leaves it; where it is not known which one, each goes alone."""
        loop = asyncio.get_running_loop()
        left = list(jobs)
        try:
            while left:
                try:
                    loaded = await loop.run_in_executor(self._loader, self._engine.load, [job.plan for job in left])
                    break
                except ContentError as error:
                    left.pop(error.index or 0).fail(error)
            if left:
                vectors = await self.compute(self._engine.forward, loaded)
                self._metrics.batch_items.add(len(left))
                self._metrics.tokens += sum(job.tokens for job in left)
                for job, vector in zip(left, vectors, strict=True):
                    job.finish(vector)
        except Exception as error:  # whatever a model raises: out of memory, a shape that it cannot take
            if len(left) == 1:
                left[0].fail(error)
                return
            for job in left:
                await self._encoded([job])
