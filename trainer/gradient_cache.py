"""Large batches on small memory: embed in pieces, compute the loss of the whole, backpropagate piece by piece.

First all pieces are embedded without gradients; the loss of the whole batch then gives the gradient of each embedding;
then each piece is embedded again, with its random state replayed so that dropout drops the same, and its gradients are
backpropagated through the model. Only one piece's activations are in memory at a time, and the gradients are those of
the whole batch at once.

References:
    Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nyx_hf.trainer.chunks import Chunk

Embed = Callable[[dict[str, Tensor]], Tensor]  # features of r rows -> (r, D)


@dataclass
class RandomState:
    """The state of the random generators of the CPU and of one device.

    Args:
        device: the device.
    """

    device: torch.device
    _cpu: Tensor = field(init=False)
    _device: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        """Takes the state down."""
        self._cpu = torch.get_rng_state()
        own = self.device.type != "cpu"
        self._device = torch.get_device_module(self.device).get_rng_state(self.device) if own else None

    def restore(self) -> None:
        """Sets the generators back."""
        torch.set_rng_state(self._cpu)
        if self._device is not None:
            torch.get_device_module(self.device).set_rng_state(self._device, self.device)


@dataclass
class CachedChunk:
    """A piece that was embedded without gradients.

    Args:
        chunk: the piece.
        state: the random state that it was embedded in.
    """

    chunk: Chunk
    state: RandomState


def embed_with_graph(embed: Embed, chunks: Sequence[Chunk]) -> Tensor:
    """Embeds pieces, keeping what the way back needs; with gradient checkpointing that is little.

    Args:
        embed: the model's forward pass.
        chunks: the pieces.

    Returns:
        (B, D) in the order of the batch's rows, with gradients.
    """
    return _in_order(chunks, [embed(chunk.features)[: len(chunk)] for chunk in chunks])


class GradientCache:
    """The embeddings of one side of a batch, whose gradients are backpropagated later.

    Args:
        embed: the model's forward pass.
        chunks: the pieces; of each, the first `len(chunk)` vectors are kept.
    """

    def __init__(self, embed: Embed, chunks: Sequence[Chunk]) -> None:
        self.embed = embed
        self.cached: list[CachedChunk] = []
        vectors = []
        with torch.no_grad():
            for chunk in chunks:
                self.cached.append(CachedChunk(chunk, RandomState(chunk.features["input_ids"].device)))
                vectors.append(embed(chunk.features)[: len(chunk)])
        self.embeddings = _in_order(chunks, vectors).requires_grad_()

    def surrogates(self) -> Iterator[Tensor]:
        """Embeds the pieces again, once the loss was backpropagated to `embeddings`.

        Yields:
            For each piece a scalar whose gradient in the model is that of the loss, as far as it goes through this
            piece; call `backward` on it before taking the next.
        """
        grad = self.embeddings.grad
        if grad is None:
            raise ValueError("the loss has no gradient in the embeddings; call loss.backward() first")
        after = RandomState(grad.device)
        for cached in self.cached:
            cached.state.restore()
            vectors = self.embed(cached.chunk.features)  # (r + blank rows, D)
            wanted = torch.zeros_like(vectors)
            wanted[: len(cached.chunk)] = grad[cached.chunk.rows.to(grad.device)]
            after.restore()
            yield (vectors * wanted).sum()


def _in_order(chunks: Sequence[Chunk], vectors: Sequence[Tensor]) -> Tensor:
    """Puts the vectors of all pieces back into the order of the batch: (B, D)."""
    rows = torch.cat([chunk.rows for chunk in chunks])
    return torch.cat(list(vectors))[rows.argsort().to(vectors[0].device)]
