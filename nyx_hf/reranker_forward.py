"""The reranker's forward pass: what candidates share is computed once, and of the head two rows alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from nyx_hf.modeling.processing_nyx import Plan
from nyx_hf.modeling.visual_nyx import IMAGE, VIDEO
from nyx_hf.reranker_features import Feature, FeatureCache, grids_of


@dataclass(frozen=True)
class _Prompt:
    """A pair's prompt on the model's device.

    Attributes:
        ids: Tokens, int64 (L,).
        positions: M-RoPE positions, int64 (3, L).
        visual: Which tokens are visual, bool (L,).
        rows: Vectors of the visual tokens, (V, D); None where there are none.
        deepstack: Further vectors of the visual tokens, (V, D) each.
    """

    ids: Tensor
    positions: Tensor
    visual: Tensor
    rows: Tensor | None
    deepstack: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.ids)


class PairForward:
    """Scores planned pairs.

    Args:
        model: The vision-language model with its language head.
        features: Makes and keeps visual features.
        answers: Token ids of YES and NO.
        batch_tokens: Most tokens of a forward pass, the shared ones counted for each candidate.
    """

    def __init__(self, model: Any, features: FeatureCache, answers: tuple[int, int], batch_tokens: int) -> None:
        self._model, self._features, self._batch_tokens = model, features, batch_tokens
        self._answers = torch.tensor(answers)
        self._vlm = model.model
        config = model.config
        self._image, self._video = config.image_token_id, config.video_token_id

    @torch.inference_mode()
    def scores(self, plans: Sequence[Plan], shared: int) -> np.ndarray:
        """Scores pairs.

        Args:
            plans: The pairs.
            shared: Tokens at the start that all have in common and that are computed once; 0 for none.

        Returns:
            P(YES) against NO, float32 (n,), in order.
        """
        scores = np.empty(len(plans), np.float32)
        prefix: DynamicCache | None = None
        for numbers in self._batches(plans):
            batch = [plans[number] for number in numbers]
            prompts = [self._prompt(*pair) for pair in zip(batch, self._features.of(batch), strict=True)]
            if shared and prefix is None:
                prefix = self._run(prompts[:1], 0, shared, DynamicCache()).past_key_values
            scores[numbers] = self._answer(prompts, shared, prefix)
        return scores

    def _batches(self, plans: Sequence[Plan]) -> Iterator[list[int]]:
        """Puts pairs of like length together, the longest first, as many as the limit on tokens allows."""
        order = sorted(range(len(plans)), key=lambda number: len(plans[number]), reverse=True)
        while order:
            size = max(1, self._batch_tokens // len(plans[order[0]]))
            yield order[:size]
            order = order[size:]

    def _prompt(self, plan: Plan, features: Sequence[Feature]) -> _Prompt:
        """Lays a pair's tokens, positions and visual features out."""
        ids = torch.tensor(plan.tokens.ids)  # (L,)
        types = IMAGE * (ids == self._image).long() + VIDEO * (ids == self._video).long()  # (L,)
        positions = torch.arange(len(ids)).expand(3, -1)  # (3, L)
        if features:
            seconds = [one.step_seconds for one in features if one.kind == "video"]
            timed = {"second_per_grid_ts": torch.tensor(seconds)} if seconds else {}
            found, _ = self._vlm.get_rope_index(
                ids[None], mm_token_type_ids=types[None], **grids_of(features), **timed
            )  # (3, 1, L)
            positions = found[:, 0]
        device = self._model.device
        layers = zip(*(one.deepstack for one in features), strict=True)
        return _Prompt(
            ids.to(device),
            positions.to(device),
            (types > 0).to(device),
            torch.cat([one.rows for one in features]) if features else None,
            tuple(torch.cat(layer) for layer in layers),
        )

    def _answer(self, prompts: Sequence[_Prompt], shared: int, prefix: DynamicCache | None) -> np.ndarray:
        """Runs what is not shared, and compares the two answers' logits at each prompt's last token."""
        cache = DynamicCache()
        if prefix is not None:
            for number, layer in enumerate(prefix.layers):
                held = (states.expand(len(prompts), -1, -1, -1) for states in (layer.keys, layer.values))
                cache.update(*held, number)
        longest = max(map(len, prompts))
        hidden = self._run(prompts, shared, longest, cache).last_hidden_state  # (B, L - shared, D)
        last = torch.tensor([len(prompt) - shared - 1 for prompt in prompts], device=hidden.device)
        rows = hidden[torch.arange(len(prompts), device=hidden.device), last]  # (B, D)
        head = self._model.get_output_embeddings().weight[self._answers.to(hidden.device)]  # (2, D)
        logits = (rows @ head.T).float()  # (B, 2)
        chances: np.ndarray = logits.softmax(dim=-1)[:, 0].cpu().numpy()
        return chances

    def _run(self, prompts: Sequence[_Prompt], start: int, stop: int, cache: DynamicCache) -> Any:
        """Runs the language model on a stretch of prompts, padded on the right, after what the cache holds."""
        size = (len(prompts), stop - start)
        device = self._model.device
        embedded = torch.zeros((*size, self._model.config.get_text_config().hidden_size), dtype=self._model.dtype)
        embedded = embedded.to(device)  # (B, L, D)
        positions = torch.zeros((3, *size), dtype=torch.long, device=device)
        mask = torch.zeros((len(prompts), stop), dtype=torch.long, device=device)  # (B, cached + L)
        visual = torch.zeros(size, dtype=torch.bool, device=device)
        deepstack: list[tuple[Tensor, ...]] = []
        for row, prompt in enumerate(prompts):
            some = slice(start, min(stop, len(prompt)))
            here = prompt.visual[some]
            count = len(here)
            vectors = self._vlm.get_input_embeddings()(prompt.ids[some])  # (L, D)
            if prompt.rows is not None and bool(here.any()):
                seen = int(prompt.visual[:start].sum())
                own = slice(seen, seen + int(here.sum()))
                vectors[here] = prompt.rows[own].to(vectors)
                deepstack.append(tuple(layer[own] for layer in prompt.deepstack))
            embedded[row, :count] = vectors
            positions[:, row, :count] = prompt.positions[:, some]
            mask[row, : start + count] = 1
            visual[row, :count] = here
        layers = [torch.cat(layer) for layer in zip(*deepstack, strict=True)]
        deep = {"visual_pos_masks": visual, "deepstack_visual_embeds": layers} if layers else {}
        return self._vlm.get_decoder()(
            inputs_embeds=embedded,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **deep,
        )


def shared_tokens(plans: Sequence[Plan], query_visual: int, visual_ids: Sequence[int]) -> int:
    """Counts the tokens at the start that pairs of one query have in common.

    A candidate's own image is never among them, as equal tokens may stand for other pixels; nor is anybody's last
    token, where the answer is read.

    Args:
        plans: Pairs of one query.
        query_visual: The query's visual tokens.
        visual_ids: The ids of visual tokens.

    Returns:
        Their number.
    """
    limit = min(len(plan) for plan in plans) - 1
    first = plans[0].tokens.ids
    for plan in plans:
        ids = plan.tokens.ids
        limit = next((at for at in range(limit) if ids[at] != first[at]), limit)
        visual = [at for at, token in enumerate(ids) if token in visual_ids]
        limit = min([limit, *visual[query_visual : query_visual + 1]])
    return limit
