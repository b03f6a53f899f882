"""From a query and its candidates to tokens and pixels, the same in training and in use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig
from transformers.utils import logging

from nyx_hf.modeling.content_nyx import Content, ContentError, clean_text, parse_content
from nyx_hf.modeling.processing_nyx import NyxProcessor, Plan
from nyx_hf.modeling.sources_nyx import SourceError
from nyx_hf.modeling.tokens_nyx import cut_tail, tokenize
from nyx_hf.modeling.video_nyx import Frames
from nyx_hf.modeling.visual_nyx import Visual
from nyx_hf.trainer.reranker_prompt import CONFIG_KEY, FAMILIES, RerankerSettings

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Measured:
    """A content and what its images and videos take.

    Attributes:
        content: The parsed content.
        widths: Tokens of each placeholder in order.
        frames: Frames of each video.
        stamps: What stands in place of each video's placeholder.
    """

    content: Content
    widths: tuple[int, ...]
    frames: tuple[Frames, ...]
    stamps: tuple[str, ...]


class PairProcessor(NyxProcessor):
    """Turns pairs of a query and a candidate into model inputs; images go through the PIL backend, as everywhere."""

    wording: RerankerSettings

    @classmethod
    def for_pairs(
        cls, name_or_path: str | Path, settings: RerankerSettings, model_type: str, **hub: Any
    ) -> "PairProcessor":
        """Builds the processor of a stock vision-language model.

        Args:
            name_or_path: Hub id or folder of the model.
            settings: Words and limits.
            model_type: The model's `model_type`.
            **hub: `revision`, `token`, `cache_dir`, `local_files_only`.

        Returns:
            The processor.
        """
        processor = cls.from_backbone(name_or_path, settings.processor_settings(), model_type, **hub)
        assert isinstance(processor, cls)
        processor.wording = settings
        return processor

    @property
    def visual(self) -> Visual:
        """What turns images and videos into patches; addresses are never fetched."""
        return self._visual(allow_urls=False)

    def measure(self, item: Any, index: int | None = None) -> Measured:
        """Parses a content and reads the headers of its images.

        Args:
            item: Anything `parse_content` takes, or a list of stored parts.
            index: Place in the caller's list, for messages.

        Returns:
            The content, measured.

        Raises:
            ContentError: It is malformed, or an image or video of it cannot be read.
        """
        content = parse_content({"content": item} if _is_parts(item) else item, index=index)
        visual = self.visual
        widths: list[int] = []
        frames: list[Frames] = []
        stamps: list[str] = []
        for number, part in enumerate(content.parts):
            try:
                if part.type == "image":
                    widths.append(visual.image_tokens(part.source))
                elif part.type == "video":
                    frames.append(visual.frames(part.source))
                    stamps.append(visual.timestamps(frames[-1]))
                    widths += visual.video_tokens(frames[-1])
            except SourceError as error:
                raise ContentError(str(error), index=index, part=number) from error
        return Measured(content, tuple(widths), tuple(frames), tuple(stamps))

    def plan_pair(self, query: Measured, document: Measured, instruction: str | None = None, index: int = 0) -> Plan:
        """Tokenizes a pair; text over the limit loses its tail, the candidate's before the query's.

        Args:
            query: The query.
            document: The candidate.
            instruction: The query's instruction.
            index: Place in the caller's list, for messages.

        Returns:
            The plan, whose content is the query's parts and then the candidate's.
        """
        told = clean_text(instruction or "") + query.content.instruction
        stamps, widths = query.stamps + document.stamps, [*query.widths, *document.widths]
        tokens = tokenize(self.tokenizer, self.wording.pieces(query.content, document.content, told, stamps))
        if cut_tail(tokens, self.wording.max_length - sum(widths) + len(widths)):
            self.truncated += 1
            logger.warning_once(
                f"a pair has more than max_length={self.wording.max_length} tokens: its text lost its tail "
                "(said once; the processor's `truncated` counts such pairs)"
            )
        self._widen(tokens, widths)
        both = Content(query.content.parts + document.content.parts)
        return Plan(both, tokens, index, [*query.frames, *document.frames])

    def plans(self, query: Any, documents: Sequence[Any], instruction: str | None = None) -> list[Plan]:
        """Tokenizes a query with each of its candidates.

        Args:
            query: The query, any content.
            documents: The candidates.
            instruction: The query's instruction.

        Returns:
            A plan for each candidate, in order.

        Raises:
            ContentError: A content is malformed or cannot be read; the message names the candidate's index.
        """
        asked = self.measure(query)
        return [
            self.plan_pair(asked, self.measure(document, index), instruction, index)
            for index, document in enumerate(documents)
        ]


def reranker_settings(name: str, config: PretrainedConfig) -> RerankerSettings:
    """Reads the settings that a folder keeps; a plain vision-language model has the defaults.

    Args:
        name: The model, for the error.
        config: Its config.

    Returns:
        The settings.

    Raises:
        ValueError: The family is none that prompts are laid out for, or the settings cannot be used.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"found model_type {config.model_type!r} in {name}, expected one of {', '.join(FAMILIES)}; choose a "
            "vision-language model of these families"
        )
    values = config.to_dict()
    if values.get("nyx") is not None:
        raise ValueError(f"found a retriever in {name}, expected a reranker or a plain vision-language model")
    return RerankerSettings.from_dict(values.get(CONFIG_KEY) or {})


def _is_parts(item: Any) -> bool:
    """Whether it is a content as datasets store it: a list of typed parts."""
    return isinstance(item, list) and bool(item) and all(isinstance(one, Mapping) and "type" in one for one in item)
