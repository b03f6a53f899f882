"""One training step: embed the batch's queries and documents, whole or in chunks, and backpropagate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from transformers.utils import logging

from nyx_hf.trainer.chunks import Chunk, ChunkLimits, split_rows
from nyx_hf.trainer.distributed import gather_rows
from nyx_hf.trainer.gradient_cache import Embed, GradientCache, embed_with_graph
from nyx_hf.trainer.same_shape import BlankRow, same_on_all

logger = logging.get_logger(__name__)

SIDES = ("query", "document")
LossOf = Callable[[Tensor, Tensor], Tensor]  # embeddings of queries (B, D) and documents (N, D) -> loss
_ADVICE = "set chunk_rows, chunk_tokens or chunk_pixels lower, so that less is embedded at once"


class _ChunksTooLargeError(RuntimeError):
    """A chunk did not fit in some process's memory; raised on all of them alike."""


@dataclass
class EmbeddingStep:
    """Embeds batches with a model, and backpropagates through it.

    Args:
        accelerator: how the model is spread.
        autocast: gives the context that the forward pass runs in.
        limits: how large a chunk may be.
        cache: embed chunks twice (`GradientCache`) instead of keeping what the way back needs.
        blank: a row of one blank image or video.
        trains_vision: the vision tower has parameters that are trained.
    """

    accelerator: Accelerator
    autocast: Callable[[], AbstractContextManager[Any]]
    limits: ChunkLimits
    cache: bool
    blank: BlankRow
    trains_vision: bool
    _was_halved: bool = False

    @property
    def is_cached(self) -> bool:
        """Whether batches are backpropagated chunk by chunk."""
        return self.cache and self.limits.is_set

    def embed(self, model: nn.Module, batch: Mapping[str, Any]) -> list[Tensor]:
        """Embeds a batch with gradients.

        Args:
            model: the model as it was wrapped for training.
            batch: of `RetrievalCollator`.

        Returns:
            Embeddings of the queries (B, D) and of the documents (N, D).
        """
        return [embed_with_graph(_embedder(model), chunks) for chunks in self._chunks(batch)]

    def cached_backward(
        self, model: nn.Module, batch: Mapping[str, Any], loss_of: LossOf, parameters: Sequence[nn.Parameter]
    ) -> Tensor:
        """Computes the loss of a batch and backpropagates it chunk by chunk.

        Where a chunk does not fit in memory, all gradients of this batch are forgotten and it begins again with
        chunks of half the size, once in a run.

        Args:
            model: the model as it was wrapped for training.
            batch: of `RetrievalCollator`.
            loss_of: the loss that is backpropagated, of both sides' embeddings.
            parameters: all that is trained.

        Returns:
            The loss, detached.

        Raises:
            torch.OutOfMemoryError: chunks of half the size do not fit either, or parameters are spread over processes.
        """
        if self._was_halved or is_spread(self.accelerator):
            with advice_on_memory():
                return self._cached_backward(model, batch, loss_of)
        kept = [None if parameter.grad is None else parameter.grad.to("cpu", copy=True) for parameter in parameters]
        try:
            return self._cached_backward(model, batch, loss_of)
        except _ChunksTooLargeError:
            self._was_halved = True
            largest = max(len(chunk) for side in self._chunks(batch) for chunk in side)
            self.limits = self.limits.halved(largest)
            logger.warning(
                f"out of memory: chunks are half as large from here on ({self.limits}); to start so, {_ADVICE}"
            )
        for parameter, grad in zip(parameters, kept, strict=True):
            parameter.grad = None if grad is None else grad.to(parameter.device)
        with advice_on_memory():
            return self._cached_backward(model, batch, loss_of)

    def _chunks(self, batch: Mapping[str, Any]) -> list[list[Chunk]]:
        """Cuts both sides of a batch, alike on all processes."""
        return [
            same_on_all(
                split_rows(batch[side], self.limits),
                self.blank,
                last_sees_image=self.trains_vision and side == SIDES[-1],
                all_see_image=self.trains_vision and is_spread(self.accelerator),
            )
            for side in SIDES
        ]

    def _cached_backward(self, model: nn.Module, batch: Mapping[str, Any], loss_of: LossOf) -> Tensor:
        sides = self._chunks(batch)
        caches: list[GradientCache] = []
        with self.autocast(), self._all_must_fit() as fits:
            caches += [GradientCache(_embedder(model), chunks) for chunks in sides]
        fits()
        with self.autocast():
            loss = loss_of(*(cache.embeddings for cache in caches))
        loss.backward()  # type: ignore[no-untyped-call]
        passes = chain.from_iterable(cache.surrogates() for cache in caches)
        with self._all_must_fit() as fits:
            for _ in range(sum(map(len, sides)) - 1):
                with self._gradients_kept_apart(model):
                    self._pass(passes)
        fits()
        self._pass(passes)
        return loss.detach()

    def _pass(self, surrogates: Iterator[Tensor]) -> None:
        with self.autocast():
            surrogate = next(surrogates)
        self.backward(surrogate)

    def backward(self, loss: Tensor) -> None:
        """Backpropagates through the model, whatever it is wrapped in.

        Args:
            loss: already divided by the steps that are accumulated.
        """
        deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        self.accelerator.backward(loss, **({"scale_wrt_gas": False} if deepspeed else {}))

    @contextmanager
    def _gradients_kept_apart(self, model: nn.Module) -> Iterator[None]:
        """Lets processes exchange no gradients: that is done once, after the last chunk.

        Otherwise DeepSpeed would step after each chunk, and DistributedDataParallel average as often.
        """
        state = self.accelerator.gradient_state
        before = state.sync_gradients
        state._set_sync_gradients(False)
        try:
            with self.accelerator.no_sync(model) if before else _nothing():
                yield
        finally:
            state._set_sync_gradients(before)

    @contextmanager
    def _all_must_fit(self) -> Iterator[Callable[[], None]]:
        """Turns running out of memory on any process into an error on all: by the function it gives."""
        fine = True

        def fits() -> None:
            if is_spread(self.accelerator):
                return  # what has run out has raised already
            if not bool(gather_rows(torch.tensor([fine], device=self.accelerator.device)).all()):
                raise _ChunksTooLargeError

        try:
            yield fits
        except torch.OutOfMemoryError:
            if self._was_halved or is_spread(self.accelerator):
                raise
            fine = False
            _release(self.accelerator.device)


def is_spread(accelerator: Accelerator) -> bool:
    """Tells whether parameters or gradients are spread over processes, so that each pass is a collective call.

    Args:
        accelerator: how the model is spread.

    Returns:
        True under DeepSpeed and FSDP.
    """
    return accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)


def _embedder(model: nn.Module) -> Embed:
    def embed(features: dict[str, Tensor]) -> Tensor:
        embeddings: Tensor = model(**features).embeddings
        return embeddings

    return embed


@contextmanager
def advice_on_memory() -> Iterator[None]:
    """Says what to do about running out of memory.

    Raises:
        torch.OutOfMemoryError: what was raised inside, with advice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise torch.OutOfMemoryError(f"{error} ({_ADVICE})") from error


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _release(device: torch.device) -> None:
    """Gives cached memory back, so that the next try finds it whole."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
