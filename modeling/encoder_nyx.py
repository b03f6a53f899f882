"""`encode` and its kin, with sentence-transformers' argument names."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PretrainedConfig

from .configuration_nyx import NyxSettings
from .content_nyx import as_batch
from .encoding_nyx import Encoding, encode_items
from .pooling_nyx import truncate


class Encoder:
    """Methods that embed contents, for a model with `settings`, `processor` and a forward that pools."""

    # what the model brings
    settings: NyxSettings
    config: PretrainedConfig
    device: torch.device
    training: bool
    train: Callable[[bool], Any]

    def encode(
        self,
        inputs: Any,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        errors: str = "raise",
        allow_urls: bool = False,
    ) -> Any:
        """Embeds contents. Argument names are sentence-transformers'.

        Args:
            inputs: One content, or a list of contents: text, an image, a dict, a tuple of parts, typed parts, chat
                messages (see the README). Order inside a content is kept.
            prompt_name: Name of an instruction among the settings' prompts.
            prompt: An instruction, given in full.
            batch_size: Contents a forward pass.
            truncate_dim: Width of the vectors (Matryoshka); they are normalised after being cut.
            normalize_embeddings: Whether vectors have length 1.
            convert_to_numpy: Whether to return numpy arrays; otherwise tensors.
            convert_to_tensor: Whether to return one tensor; wins over `convert_to_numpy`.
            show_progress_bar: Whether to show a progress bar; left out, for more than one batch.
            device: Where to compute, or a list of devices to use at once.
            errors: `raise`, or `skip`: then an `Encoding` comes back, with the good contents' vectors, their indices
                and the failures.
            allow_urls: Whether images may be fetched from http(s) addresses.

        Returns:
            A vector (D,) for one content, an array (N, D) for a list, float32; with `errors="skip"` an `Encoding`.

        Raises:
            ContentError: A content is malformed or cannot be read (`errors="raise"`).
            ValueError: An unknown prompt name, a width the model has not, or a wrong `errors`.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors is {errors!r}; it is raise | skip")
        items, single = as_batch(inputs)
        width = truncate_dim or self.settings.truncate_dim or None
        truncate(torch.empty(0, self.config.get_text_config().hidden_size), width)  # refuse before computing
        wanted = [device or self.device] if isinstance(device, (str, torch.device, type(None))) else device
        instruction = self._instruction(prompt_name, prompt)
        training = self.training
        self.train(False)
        try:
            vectors, indices, failures = encode_items(
                self,
                items,
                [instruction] * len(items),
                batch_size=batch_size,
                devices=[torch.device(name) for name in wanted],
                skip=errors == "skip",
                progress=len(items) > batch_size if show_progress_bar is None else show_progress_bar,
                allow_urls=allow_urls,
            )
        finally:
            self.train(training)
        vectors = truncate(vectors, width)  # (N, dim)
        if normalize_embeddings:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        found: Any = vectors if convert_to_tensor or not convert_to_numpy else vectors.numpy()
        if errors == "skip":
            return Encoding(found, indices, failures)
        return found[0] if single else found

    def encode_query(self, inputs: Any, **kwargs: Any) -> Any:
        """`encode` with the prompt named `query`, unless another is given."""
        return self.encode(inputs, **self._default_prompt("query", kwargs))

    def encode_document(self, inputs: Any, **kwargs: Any) -> Any:
        """`encode` with the prompt named `document`, unless another is given."""
        return self.encode(inputs, **self._default_prompt("document", kwargs))

    def similarity(self, first: Any, second: Any) -> torch.Tensor:
        """Cosine similarity of every vector with every other.

        Args:
            first: Vectors (N, D) or one (D,), array or tensor.
            second: Vectors (M, D) or one (D,).

        Returns:
            Similarities, (N, M), float32.
        """
        left, right = _unit(first), _unit(second)
        return left @ right.to(left.device).T  # (N, M)

    def _default_prompt(self, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        given = kwargs.get("prompt") is not None or kwargs.get("prompt_name") is not None
        return kwargs if given or name not in self.settings.prompts else {**kwargs, "prompt_name": name}

    def _instruction(self, prompt_name: str | None, prompt: str | None) -> str | None:
        """The instruction asked for; `prompt` wins, as in sentence-transformers."""
        if prompt is not None or prompt_name is None:
            return prompt
        prompts = self.settings.prompts
        if prompt_name not in prompts:
            raise ValueError(f"no prompt named {prompt_name!r}; this model has {', '.join(sorted(prompts)) or 'none'}")
        return prompts[prompt_name]


def _unit(vectors: Any) -> torch.Tensor:
    """Vectors or one vector as a float32 matrix of rows of length 1."""
    tensor = vectors if torch.is_tensor(vectors) else torch.as_tensor(np.asarray(vectors))
    return torch.nn.functional.normalize(tensor.reshape(-1, tensor.shape[-1]).float(), dim=-1)
