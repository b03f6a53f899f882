"""What a server computes with: our models, or sentence-transformers', in three steps (plan, load, forward).

Planning counts a content's tokens, so that batches can be made by them; loading reads pixels; the forward pass is the
model's alone. Each step runs on one thread of its own, as tokenizers are not made for several.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch

from nyx_hf.data_builders.embedding_cache import Side
from nyx_hf.modeling.content_nyx import ContentError, clean_text, content_modalities, parse_content
from nyx_hf.modeling.images_nyx import load_image
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.modeling.processing_nyx import Plan
from nyx_hf.modeling.sources_nyx import SourceError
from nyx_hf.retrievers import NyxEncoder, SentenceEncoder


class Planned(Protocol):
    """A content whose length in tokens is known."""

    def __len__(self) -> int: ...


class Engine(Protocol):
    """A model in three steps.

    Attributes:
        width: Of the whole vectors.
        dims: Widths that may be asked for, the longest first.
        default_dim: The width where none is asked for.
        prompts: Named instructions.
    """

    width: int
    dims: tuple[int, ...]
    default_dim: int
    prompts: Mapping[str, str]

    def plan(self, item: Any, side: Side | None, instruction: str | None, index: int) -> Planned:
        """Counts a content's tokens; of images the header is read. Raises ContentError."""
        ...

    def load(self, plans: Sequence[Any]) -> Any:
        """Reads the pixels of a batch. Raises ContentError, its index the place in `plans`."""
        ...

    def forward(self, loaded: Any) -> np.ndarray:
        """Computes whole vectors of length 1, (N, width) float32."""
        ...


class NyxEngine:
    """One of our models.

    Args:
        model: The model; it is set to evaluation mode.
    """

    def __init__(self, model: NyxModel) -> None:
        settings = model.settings
        self.model = model.eval()
        self._processor = copy.deepcopy(model.processor)  # the model's own is an index's, on another thread
        self.width: int = model.config.get_text_config().hidden_size
        self.dims = tuple(sorted({self.width, *settings.matryoshka_dims}, reverse=True))
        self.default_dim = settings.truncate_dim or self.width
        self.prompts: Mapping[str, str] = settings.prompts

    def plan(self, item: Any, side: Side | None, instruction: str | None, index: int) -> Planned:
        """Parses and tokenizes a content."""
        return self._processor.plan(item, instruction, index=index)

    def load(self, plans: Sequence[Plan]) -> Any:
        """Reads pixels and pads."""
        return self._processor.load([replace(plan, index=at) for at, plan in enumerate(plans)])

    def forward(self, loaded: Any) -> np.ndarray:
        """Runs the model."""
        with torch.inference_mode():
            vectors = self.model(**loaded.to(self.model.device)).embeddings  # (N, width)
            unit: np.ndarray = torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()
            return unit


@dataclass(frozen=True)
class SentencePlan:
    """A content for sentence-transformers."""

    parts: list[dict[str, Any]]
    side: Side
    instruction: str | None
    tokens: int

    def __len__(self) -> int:
        return self.tokens


class SentenceEngine:
    """One of sentence-transformers' models. Where no side is named, contents are documents.

    Args:
        encoder: The model.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self.width: int = encoder.model.get_embedding_dimension()
        self.dims: tuple[int, ...] = (self.width,)
        self.default_dim = self.width
        self.prompts: Mapping[str, str] = encoder.model.prompts
        self._tokenizer = copy.deepcopy(encoder.model.tokenizer)  # the model's own is busy on another thread

    def plan(self, item: Any, side: Side | None, instruction: str | None, index: int) -> Planned:
        """Sees whether the model reads such a content, and counts the tokens of its texts."""
        content = parse_content(item, index=index)
        model, kinds = self.encoder.model, content_modalities(content)
        readable = kinds == {"text"} or ("video" not in kinds and model.supports("image"))
        if not readable or (len(content.parts) > 1 and not model.supports(("image", "text"))):
            named = " and ".join(sorted(kinds))
            read = ", ".join(map(str, model.modalities))
            raise ContentError(f"found {named}, and this model reads {read}: send that", index=index)
        parts: list[dict[str, Any]] = []
        for number, part in enumerate(content.parts):
            if part.type == "text":
                parts.append({"type": "text", "text": part.text})
                continue
            try:
                parts.append({"type": "image", "image": load_image(part.source)})
            except SourceError as error:
                raise ContentError(str(error), index=index, part=number) from error
        spoken = clean_text((instruction or "") + content.instruction) or None
        text = " ".join([spoken or "", *(part["text"] for part in parts if part["type"] == "text")])
        tokens = len(self._tokenizer(text, verbose=False)["input_ids"])
        return SentencePlan(parts, side or "document", spoken, min(tokens, model.max_seq_length or tokens))

    def load(self, plans: Sequence[SentencePlan]) -> Sequence[SentencePlan]:
        """Gives the plans: images were read early, as far as there are any."""
        return plans

    def forward(self, loaded: Sequence[SentencePlan]) -> np.ndarray:
        """Encodes the contents that share a side and an instruction together."""
        vectors = np.empty((len(loaded), self.width), dtype=np.float32)
        order = sorted(range(len(loaded)), key=lambda at: _asked(loaded[at]))
        for _, group in groupby(order, key=lambda at: _asked(loaded[at])):
            numbers = list(group)
            first = loaded[numbers[0]]
            parts = [loaded[at].parts for at in numbers]
            vectors[numbers] = self.encoder.encode(parts, first.side, first.instruction)
        return vectors


def _asked(plan: SentencePlan) -> tuple[str, str]:
    return plan.side, plan.instruction or ""


def bare_model(encoder: Any) -> Any:
    """Gives the model of an encoder; a model gives itself."""
    return encoder.model if isinstance(encoder, (NyxEncoder, SentenceEncoder)) else encoder


def make_engine(encoder: Any) -> Engine:
    """Makes an engine of a model.

    Args:
        encoder: A `NyxModel`, or what `load_encoder` gives.

    Returns:
        The engine.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(model := bare_model(encoder), NyxModel):
        return NyxEngine(model)
    if isinstance(encoder, SentenceEncoder):
        return SentenceEngine(encoder)
    raise ValueError(f"found {type(encoder).__name__}, expected a NyxModel or a sentence-transformers model")
