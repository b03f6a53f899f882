"""NyxReranker: a vision-language model that says of a query and a candidate whether they belong together.

U-MARVEL §3.3: "The reranker is prompted to judge each candidate with a 'YES' or 'NO' response, where the probability
of 'YES' serves as the reranker's score."
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from nyx_hf.data_builders.loading import check_name
from nyx_hf.modeling.backbones_nyx import check_weights
from nyx_hf.modeling.processing_nyx import Plan
from nyx_hf.reranker_features import FeatureCache
from nyx_hf.reranker_forward import PairForward, shared_tokens
from nyx_hf.retrievers import folder_hash
from nyx_hf.trainer.hub_revisions import commit_of
from nyx_hf.trainer.reranker_encoding import PairProcessor, reranker_settings
from nyx_hf.trainer.reranker_prompt import RerankerSettings, answer_ids

BATCH_TOKENS = 16_384


class NyxReranker:
    """Scores candidates of a query; either may be any content: text, images, video, in any order.

    Args:
        name: The model's name and revision, never a path.
        model: A stock vision-language model (Qwen2-VL, Qwen2.5-VL or Qwen3-VL) with its language head.
        processor: Turns pairs into its inputs, and holds the settings.
        batch_tokens: Most tokens of a forward pass.

    Raises:
        ValueError: If the two answers begin with the same token.
    """

    def __init__(self, name: str, model: Any, processor: PairProcessor, batch_tokens: int = BATCH_TOKENS) -> None:
        self.name, self.model, self.processor = name, model.eval(), processor
        self.answers = answer_ids(processor.tokenizer, processor.wording)
        self.features = FeatureCache(model.model, processor.visual)
        self._forward = PairForward(model, self.features, self.answers, batch_tokens)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        revision: str | None = None,
        device: str | None = None,
        *,
        dtype: torch.dtype | str | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> "NyxReranker":
        """Opens a trained reranker, or a plain vision-language model as one (zero-shot).

        Args:
            name_or_folder: Hub id or folder.
            revision: The Hub's branch, tag or commit.
            device: Where it computes; the accelerator where there is one.
            dtype: Type of the weights; left out, the checkpoint's own.
            batch_tokens: Most tokens of a forward pass.

        Returns:
            The reranker.

        Raises:
            ValueError: If it is not there, or no vision-language model of a known family, its weights do not fit, or
                its answers cannot be told apart.
            OSError: If its weights are not there.
        """
        folder, name = Path(name_or_folder), str(name_or_folder)
        check_name(name)
        commit = folder_hash(folder) if folder.is_dir() else commit_of(name, revision or "main", "model")
        hub: dict[str, Any] = {} if folder.is_dir() or commit is None else {"revision": commit}
        try:
            config = AutoConfig.from_pretrained(name, **hub)
        except (OSError, ValueError) as error:
            told = " ".join(str(error).split())[:200]
            raise ValueError(f"{name} cannot be opened as a reranker: {told}") from error
        settings = reranker_settings(name, config)
        how = {} if dtype is None else {"dtype": dtype}
        model, report = AutoModelForImageTextToText.from_pretrained(name, output_loading_info=True, **hub, **how)
        check_weights(name, report, adapter=False)
        shown = folder.resolve().name if folder.is_dir() else name
        processor = PairProcessor.for_pairs(name, settings, config.model_type, **hub)
        return cls(
            shown if commit is None else f"{shown}@{commit}",
            model.to(device or default_device()),
            processor,
            batch_tokens,
        )

    @property
    def settings(self) -> RerankerSettings:
        """Words and limits."""
        return self.processor.wording

    def scores(self, query: Any, documents: Sequence[Any], instruction: str | None = None) -> np.ndarray:
        """Scores the candidates of a query.

        The prompt up to where candidates begin to differ is computed once, and so is each distinct image.

        Args:
            query: The query: any content, or its stored parts.
            documents: The candidates, likewise.
            instruction: The query's instruction.

        Returns:
            P(YES) against NO at the place of the answer, softmax over these two, float32 (n,), each in [0, 1].

        Raises:
            ContentError: If a content is malformed or cannot be read; the message names the candidate's index.
        """
        if not len(documents):
            return np.empty(0, np.float32)
        plans = self.processor.plans(query, documents, instruction)
        return self._forward.scores(plans, self._shared(query, plans))

    def score_pairs(
        self, queries: Sequence[Any], documents: Sequence[Any], instructions: Sequence[str | None] | None = None
    ) -> np.ndarray:
        """Scores pairs. Neighbours of one query share its part of the prompt; others are computed side by side.

        Args:
            queries: A query for each pair.
            documents: A candidate for each pair.
            instructions: An instruction, or None, for each pair.

        Returns:
            As `scores`, float32 (n,).

        Raises:
            ContentError: If a content is malformed or cannot be read.
            ValueError: If the lengths differ.
        """
        told = [None] * len(queries) if instructions is None else list(instructions)
        if not len(queries) == len(documents) == len(told):
            raise ValueError(
                f"found {len(queries)} queries, {len(documents)} documents and {len(told)} instructions, expected one "
                "of each for every pair"
            )
        scores = np.empty(len(queries), np.float32)
        alone: dict[int, Plan] = {}
        for _, group in groupby(range(len(queries)), key=lambda at: (_Same(queries[at]), told[at])):
            numbers = list(group)
            if len(numbers) > 1:
                some = [documents[number] for number in numbers]
                scores[numbers] = self.scores(queries[numbers[0]], some, told[numbers[0]])
            else:
                [at] = numbers
                [alone[at]] = self.processor.plans(queries[at], [documents[at]], told[at])
        if alone:
            scores[list(alone)] = self._forward.scores(list(alone.values()), 0)
        return scores

    def rank(
        self, query: Any, documents: Sequence[Any], top_k: int | None = None, instruction: str | None = None
    ) -> list[dict[str, int | float]]:
        """Orders the candidates of a query, as sentence-transformers' CrossEncoder does.

        Args:
            query: The query.
            documents: The candidates.
            top_k: How many to give; all where it is None.
            instruction: The query's instruction.

        Returns:
            `{"corpus_id": place among the documents, "score": P(YES)}`, the best first; of equals the earlier.
        """
        scores = self.scores(query, documents, instruction)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [{"corpus_id": int(at), "score": float(scores[at])} for at in best]

    @torch.inference_mode()
    def plain_scores(self, query: Any, documents: Sequence[Any], instruction: str | None = None) -> np.ndarray:
        """Scores pair by pair with the model's own forward pass: slow, and what `scores` is compared with.

        Args:
            query: The query.
            documents: The candidates.
            instruction: The query's instruction.

        Returns:
            As `scores`.
        """
        scores = []
        for plan in self.processor.plans(query, documents, instruction):
            inputs = self.processor.load([plan]).to(self.model.device)
            logits = self.model(**inputs, logits_to_keep=1).logits[0, -1, list(self.answers)].float()
            scores.append(float(logits.softmax(dim=-1)[0]))
        return np.array(scores, np.float32)

    def _shared(self, query: Any, plans: Sequence[Plan]) -> int:
        """Counts the tokens that are worth computing once."""
        if len(plans) == 1:
            return 0
        visual = sum(self.processor.measure(query).widths)
        return shared_tokens(plans, visual, (self.processor.image_token_id, self.processor.video_token_id))


class _Same:
    """Compares contents for neighbours: the same object, or equal text."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same):
            return NotImplemented
        mine, its = self._content, other._content
        return mine is its or (isinstance(mine, str) and isinstance(its, str) and mine == its)


def default_device() -> str:
    """Gives this machine's accelerator, or `cpu`."""
    return str(torch.accelerator.current_accelerator() or "cpu") if torch.accelerator.is_available() else "cpu"
