"""How a reranker is asked about a query and a candidate: its words, its limits, the layout of the prompt."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.content_nyx import Content
from nyx_hf.modeling.tokens_nyx import FIXED, INSTRUCTION, TEXT

CONFIG_KEY = "nyx_reranker"  # the object in config.json that keeps the settings
FORMAT_VERSION = 1
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

_VISUAL = {
    "image": "<|vision_start|><|image_pad|><|vision_end|>",
    "video": "<|vision_start|><|video_pad|><|vision_end|>",
}
_PARTS = (
    "{%- macro parts(content) %}{% if content is string %}{{- content }}{% else %}{% for c in content %}"
    "{%- if c.type == 'image' %}{{- " + json.dumps(_VISUAL["image"]) + " }}"
    "{%- elif c.type == 'video' %}{{- " + json.dumps(_VISUAL["video"]) + " }}"
    "{%- elif c.type == 'text' %}{{- c.text }}{% endif %}{% endfor %}{% endif %}{%- endmacro %}"
)


@dataclass(frozen=True)
class RerankerSettings:
    """What a reranker keeps to from training to use. The wording is ours: U-MARVEL gives only the two answers.

    Args:
        system: Text of the system turn.
        instruction_label: Stands before the query's instruction, where there is one.
        query_label: Stands before the query.
        document_label: Stands before the candidate.
        question: Stands after the candidate.
        yes: The answer for a candidate that fits.
        no: The answer for one that does not.
        max_length: Most tokens of a prompt. Text over it loses its tail, the candidate's first; images are never cut.
        min_pixels: Least image area in pixels after resizing; 0 keeps the base model's own limit.
        max_pixels: Most image area in pixels after resizing; 0 keeps the base model's own limit.
        video_fps: Frames a second sampled from a video file.
        max_frames: Most frames of one video.
        max_frame_pixels: Most area in pixels of one video frame after resizing.
        format_version: Version of this object's layout.
    """

    system: str = (
        "You judge the results of a search. A query and one candidate are given; either may hold text, images and "
        "video. Answer YES if the candidate is what the query asks for, otherwise NO."
    )
    instruction_label: str = "Task: "
    query_label: str = "Query: "
    document_label: str = "Candidate: "
    question: str = "Is the candidate what the query asks for? Answer YES or NO."
    yes: str = "YES"
    no: str = "NO"
    max_length: int = 4096
    min_pixels: int = 0
    max_pixels: int = 802_816
    video_fps: float = 2.0
    max_frames: int = 16
    max_frame_pixels: int = 128 * 28 * 28
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuses what no prompt can be made from.

        Raises:
            ValueError: An answer is empty, or a limit is out of range.
        """
        if not self.yes.strip() or not self.no.strip():
            raise ValueError(f"the answers are {self.yes!r} and {self.no!r}; give a word each, such as YES and NO")
        self.processor_settings()

    def processor_settings(self) -> NyxSettings:
        """Gives the limits as the processor of contents knows them.

        Raises:
            ValueError: A limit is out of range.
        """
        return NyxSettings(
            max_length=self.max_length,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
            video_fps=self.video_fps,
            max_frames=self.max_frames,
            max_frame_pixels=self.max_frame_pixels,
        )

    def to_dict(self) -> dict[str, Any]:
        """Gives the object that config.json keeps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RerankerSettings":
        """Reads the object of a config.

        Args:
            values: Settings by name; those left out are the defaults.

        Returns:
            The settings.

        Raises:
            ValueError: It was written by a newer layout, holds an unknown key, or a value is out of range.
        """
        version = values.get("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ValueError(
                f"this folder's `{CONFIG_KEY}` object has format_version {version}, the code here reads up to "
                f"{FORMAT_VERSION}: update nyx_hf"
            )
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown:
            raise ValueError(f"unknown reranker settings: {', '.join(unknown)}; known are those of RerankerSettings")
        return cls(**values)

    # ---------------------------------------------------------------- layout

    @property
    def opening(self) -> str:
        """What stands before the instruction and the query."""
        return f"<|im_start|>system\n{self.system}<|im_end|>\n<|im_start|>user\n"

    @property
    def closing(self) -> str:
        """What stands after the candidate: the next token is the answer."""
        return f"\n{self.question}<|im_end|>\n<|im_start|>assistant\n"

    def pieces(
        self, query: Content, document: Content, instruction: str = "", videos: Sequence[str] = ()
    ) -> list[tuple[int, str]]:
        """Lays a pair out.

        Args:
            query: The query.
            document: The candidate.
            instruction: The query's instruction; empty for none.
            videos: For each video in order, what stands in place of its placeholder; empty keeps the placeholder.

        Returns:
            Kind (`FIXED`, `TEXT` or `INSTRUCTION`) and text of each piece, in order, none empty.
        """
        stamps = iter(videos)
        told = [(FIXED, self.instruction_label), (INSTRUCTION, instruction), (FIXED, "\n")] if instruction else []
        laid = [
            (FIXED, self.opening),
            *told,
            (FIXED, self.query_label),
            *_content_pieces(query, stamps),
            (FIXED, f"\n{self.document_label}"),
            *_content_pieces(document, stamps),
            (FIXED, self.closing),
        ]
        return [piece for piece in laid if piece[1]]

    def chat_template(self, base: str | None) -> str:
        """Writes the same layout as a chat template, in which sentence-transformers and servers render pairs.

        A pair is a message of the role `query` and one of the role `document`; a system message is the instruction.

        Args:
            base: The base model's own template, which renders all other chats.

        Returns:
            A Jinja template.
        """
        instruction = (
            "{%- set told %}{% for m in messages if m.role == 'system' %}{{- parts(m.content) }}{% endfor %}"
            "{%- endset %}{%- if told %}"
            f"{_print(self.instruction_label)}{{{{- told }}}}{_print(chr(10))}{{%- endif %}}"
        )
        pair = (
            f"{_print(self.opening)}{instruction}{_print(self.query_label)}"
            "{%- for m in messages if m.role == 'query' %}{{- parts(m.content) }}{% endfor %}"
            f"{_print(chr(10) + self.document_label)}"
            "{%- for m in messages if m.role == 'document' %}{{- parts(m.content) }}{% endfor %}"
            f"{_print(self.closing)}"
        )
        if base is None:
            return _PARTS + pair
        asked = "{%- if messages | selectattr('role', 'equalto', 'document') | list %}"
        return f"{_PARTS}{asked}{pair}{{%- else %}}{base}{{%- endif %}}"


def answer_ids(tokenizer: Any, settings: RerankerSettings) -> tuple[int, int]:
    """Finds the tokens whose logits are compared: the first of each answer.

    Args:
        tokenizer: The model's tokenizer.
        settings: The answers.

    Returns:
        Token ids of the answer for what fits and of the other.

    Raises:
        ValueError: Both begin with the same token, so that a score would always be one half.
    """
    yes, no = (answer_tokens(tokenizer, word)[0] for word in (settings.yes, settings.no))
    if yes == no:
        raise ValueError(
            f"found that {settings.yes!r} and {settings.no!r} begin with the same token ({yes}) under this tokenizer, "
            "expected two different ones; choose other answers in the reranker's settings"
        )
    return yes, no


def answer_tokens(tokenizer: Any, word: str) -> list[int]:
    """Tokenizes an answer as it follows the prompt, which ends with a line break."""
    ids: list[int] = tokenizer(word, add_special_tokens=False)["input_ids"]
    return ids


def _content_pieces(content: Content, stamps: Iterator[str]) -> Iterator[tuple[int, str]]:
    for part in content.parts:
        if part.type == "text":
            yield TEXT, part.text
            continue
        stamped = next(stamps, "") if part.type == "video" else ""
        # as tokens_nyx.pieces has it, the time steps stand inside the placeholder's own marks
        yield FIXED, _VISUAL[part.type].replace("<|video_pad|>", stamped or "<|video_pad|>")


def _print(text: str) -> str:
    """A statement that prints a text, spaces and newlines kept; JSON's escapes are Jinja's."""
    return f"{{{{- {json.dumps(text, ensure_ascii=False)} }}}}"
