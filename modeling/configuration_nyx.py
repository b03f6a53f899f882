"""What makes a vision-language model a retriever: the settings in config.json's `nyx` object, and presets."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import transformers

MINIMUM_TRANSFORMERS = (5, 17)
FORMAT_VERSION = 1
CODE_VERSION = "0.1.0"

_found = tuple(int(part) for part in transformers.__version__.split(".")[:2])
if _found < MINIMUM_TRANSFORMERS:
    _needed = ".".join(map(str, MINIMUM_TRANSFORMERS))
    raise ImportError(
        f"this model's code needs transformers>={_needed}, found {transformers.__version__}: "
        f"pip install -U 'transformers>={_needed}'"
    )


@dataclass(frozen=True)
class NyxSettings:
    """How content becomes one vector.

    Args:
        preset: Name of the preset these settings began as; for the card.
        pooling: `last` (hidden state of the last token) or `mean` (over all tokens).
        attention: `causal`, as the backbone was trained, or `bidirectional` (the text config's `is_causal=False`).
        mask_instruction: Leave the instruction's tokens out of the mean (U-MARVEL, finding 2).
        chat: Wrap turns in the backbone's chat marks; otherwise raw text.
        system_prompt: Text of a system turn before everything; needs `chat`.
        instruction_in: Where the instruction stands: `user`, at the start of the first turn; `text`, before the first
            text and so after images that stand before it; or `system`, in the place of the system prompt (`chat`).
        instruction_marks: Two tokens around an instruction, left out of the mean with it; needs `mask_instruction`.
        instruction_separator: Text between an instruction and the text that follows it; needs `instruction_in="text"`.
        represent_text: Text put after a content that has text only (RzenEmbed §3.4.4).
        represent_visual: Text put after a content that has an image or a video.
        represent_mixed: Text put after a content that has both, where an instruction counts as text; empty is
            `represent_visual`.
        visual_format: How an image or video is written, `{}` standing for its tokens; empty is the family's own way,
            between vision marks.
        assistant_prompt: Text of an assistant turn after the content; needs `chat`.
        end_token: Token put at the very end: a token's text, or `eos` for the tokenizer's own, or empty for none.
        generation_prompt: End with the opening of an assistant turn; needs `chat`.
        extra_tokens: Special tokens that are added to the backbone's tokenizer when a retriever is made of it.
        positions: `mrope` (the backbone's own 3-D positions) or `sequential` (0, 1, 2, … for every token, as some
            released checkpoints were trained).
        matryoshka_dims: Embedding prefixes that were trained, longest first; empty means the full width only.
        matryoshka_weights: Weight of each prefix in the loss (Nyx Eq. 2), divided by their sum there.
        max_length: Most tokens of one content. Text over it loses its tail; images and the end are never cut.
        min_pixels: Least image area in pixels after resizing; 0 keeps the backbone's own limit.
        max_pixels: Most image area in pixels after resizing; 0 keeps the backbone's own limit.
        round_images: Round an image's sides to whole tokens before the limits apply, as code built on qwen_vl_utils
            does: an image beyond a limit is resized twice.
        video_fps: Frames a second sampled from a video file.
        max_frames: Most frames of one video.
        max_frame_pixels: Most area in pixels of one video frame after resizing.
        prompts: Named instructions; `query` and `document` are used by `encode_query` and `encode_document`.
        truncate_dim: Default width of the embeddings `encode` returns; 0 means all.
        format_version: Version of this object's layout.
        code_version: Version of the code that wrote it.
        code_hash: SHA-256 over the uploaded code files, written at saving.
    """

    preset: str = "nyx"
    pooling: str = "last"
    attention: str = "causal"
    mask_instruction: bool = False
    chat: bool = False
    system_prompt: str = ""
    instruction_in: str = "user"
    instruction_marks: tuple[str, ...] = ()
    instruction_separator: str = ""
    represent_text: str = ""
    represent_visual: str = ""
    represent_mixed: str = ""
    visual_format: str = ""
    assistant_prompt: str = ""
    end_token: str = "eos"
    generation_prompt: bool = False
    extra_tokens: tuple[str, ...] = ()
    positions: str = "mrope"
    matryoshka_dims: tuple[int, ...] = ()
    matryoshka_weights: tuple[float, ...] = ()
    max_length: int = 8192
    min_pixels: int = 0
    max_pixels: int = 0
    round_images: bool = False
    video_fps: float = 2.0
    max_frames: int = 64
    max_frame_pixels: int = 128 * 28 * 28
    prompts: dict[str, str] = field(default_factory=dict)
    truncate_dim: int = 0
    format_version: int = FORMAT_VERSION
    code_version: str = CODE_VERSION
    code_hash: str = ""

    def __post_init__(self) -> None:
        """Normalises sequences (JSON gives lists) and refuses values that contradict each other."""
        for name in ("instruction_marks", "extra_tokens", "matryoshka_dims"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "matryoshka_weights", tuple(float(w) for w in self.matryoshka_weights))
        for name, allowed in (
            ("pooling", ("last", "mean")),
            ("attention", ("causal", "bidirectional")),
            ("positions", ("mrope", "sequential")),
            ("instruction_in", ("user", "text", "system")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it is one of {' | '.join(allowed)}")
        if self.mask_instruction and self.pooling != "mean":
            raise ValueError("mask_instruction leaves tokens out of a mean: it needs pooling='mean'")
        turns = self.system_prompt or self.assistant_prompt or self.generation_prompt
        if not self.chat and (turns or self.instruction_in == "system"):
            raise ValueError(
                "system_prompt, assistant_prompt, generation_prompt and instruction_in='system' are turns of a chat: "
                "they need chat=True"
            )
        if self.instruction_marks and (len(self.instruction_marks) != 2 or not self.mask_instruction):
            raise ValueError(
                f"instruction_marks is {self.instruction_marks}; they are two tokens, and need mask_instruction=True"
            )
        if self.instruction_separator and self.instruction_in != "text":
            raise ValueError("instruction_separator stands before a text: it needs instruction_in='text'")
        if self.visual_format and self.visual_format.count("{}") != 1:
            raise ValueError(f"visual_format is {self.visual_format!r}; it has {{}} once, for the visual tokens")
        if list(self.matryoshka_dims) != sorted(set(self.matryoshka_dims), reverse=True):
            raise ValueError(f"matryoshka_dims is {self.matryoshka_dims}; give each width once, longest first")
        if self.matryoshka_dims and min(self.matryoshka_dims) < 1:
            raise ValueError(f"matryoshka_dims is {self.matryoshka_dims}; widths are at least 1")
        if self.matryoshka_weights and len(self.matryoshka_weights) != len(self.matryoshka_dims):
            raise ValueError(
                f"{len(self.matryoshka_weights)} matryoshka_weights for {len(self.matryoshka_dims)} matryoshka_dims; "
                "give one weight for each width"
            )
        if self.max_length < 1 or self.max_frames < 1 or self.video_fps <= 0:
            raise ValueError("max_length and max_frames are at least 1, and video_fps is above 0")

    @property
    def needs_remote_code(self) -> bool:
        """Whether stock classes alone would give other vectors than `encode`."""
        return self.mask_instruction or self.positions == "sequential" or self.round_images

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON keeps them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NyxSettings":
        """Reads the `nyx` object of a config.

        Args:
            values: The object.

        Returns:
            The settings.

        Raises:
            ValueError: It was written by a newer layout, or holds a key that this code does not know.
        """
        version = values.get("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ValueError(
                f"this folder's `nyx` object has format_version {version}, the code here reads up to "
                f"{FORMAT_VERSION}: "
                "load it with trust_remote_code=True (its own code), or update nyx_hf"
            )
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown keys in the `nyx` object: {', '.join(unknown)}")
        return cls(**values)

    def updated(self, **changes: Any) -> "NyxSettings":
        """A copy with some settings changed, validated again.

        Args:
            **changes: Settings by name.

        Returns:
            The copy.

        Raises:
            ValueError: An unknown name, or a value that contradicts another.
        """
        unknown = sorted(set(changes) - {f.name for f in fields(self)})
        if unknown:
            known = ", ".join(f.name for f in fields(self))
            raise ValueError(f"unknown settings: {', '.join(unknown)}; there are {known}")
        return replace(self, **changes)


_NYX_QUERY = "Please retrieve the most relevant document to answer the question.\n"

# What each paper says. Where its released code does otherwise, `…-official` keeps the code's main habits; all that is
# known of them, for published checkpoints, is in `nyx_hf.checkpoint_layouts`.
PRESETS: dict[str, NyxSettings] = {
    # Nyx §3.3: instruction before the query, last hidden state of the final <EOS>; §5.4: widths and weights;
    # appendix A: images up to 400 · 28 · 28 pixels.
    "nyx": NyxSettings(
        preset="nyx",
        matryoshka_dims=(2048, 1024, 512, 256),
        matryoshka_weights=(1.0, 1.0, 0.2, 0.2),
        max_pixels=400 * 28 * 28,
        prompts={"query": _NYX_QUERY, "document": ""},
    ),
    # The released training code pools the last token of the raw text: nothing is appended.
    "nyx-official": NyxSettings(
        preset="nyx-official",
        end_token="",
        matryoshka_dims=(2048, 1024, 512, 256),
        matryoshka_weights=(1.0, 1.0, 0.2, 0.2),
        max_pixels=400 * 28 * 28,
        prompts={"query": _NYX_QUERY, "document": ""},
    ),
    # U-MARVEL §3.1, findings 1 and 2: bidirectional attention, mean pooling without the instruction's tokens, no
    # compression prompt. The turn marks are the backbone's own chat format (not in paper).
    "u-marvel": NyxSettings(
        preset="u-marvel",
        pooling="mean",
        attention="bidirectional",
        mask_instruction=True,
        chat=True,
        end_token="",
        prompts={"query": "", "document": ""},
    ),
    # The released code calls the language model without positions: image tokens count 0, 1, 2, … like text.
    "u-marvel-official": NyxSettings(
        preset="u-marvel-official",
        pooling="mean",
        attention="bidirectional",
        mask_instruction=True,
        chat=True,
        end_token="",
        positions="sequential",
        prompts={"query": "", "document": ""},
    ),
    # RzenEmbed §3.4.4 (system and representation prompts), §3.1 (last token), §4.2 (1,280 visual tokens).
    "rzenembed": NyxSettings(
        preset="rzenembed",
        chat=True,
        system_prompt=(
            "Given an image, summarize the provided image in one word. Given only text, describe the text in one word."
        ),
        represent_text="\nRepresent the given text in one word.",
        represent_visual="\nRepresent the given image in one word.",
        end_token="<|endoftext|>",
        generation_prompt=True,
        max_pixels=1280 * 28 * 28,
        prompts={"query": "", "document": ""},
    ),
    # Qwen3-VL-Embedding's own usage: the instruction is the system turn, an assistant turn is opened, its last token
    # pooled; widths of its model card.
    "qwen3-vl-embedding": NyxSettings(
        preset="qwen3-vl-embedding",
        chat=True,
        system_prompt="Represent the user's input.",
        instruction_in="system",
        end_token="",
        generation_prompt=True,
        matryoshka_dims=(2048, 1024, 512, 256, 128, 64),
        matryoshka_weights=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        max_pixels=1800 * 32 * 32,
        prompts={"query": "", "document": ""},
    ),
    # The released code: the plain system prompt, pooling of an appended <|endoftext|>, sequential positions.
    "rzenembed-official": NyxSettings(
        preset="rzenembed-official",
        chat=True,
        system_prompt="You are a helpful assistant.",
        end_token="<|endoftext|>",
        generation_prompt=True,
        positions="sequential",
        max_pixels=1280 * 28 * 28,
        prompts={"query": "", "document": ""},
    ),
}


def preset_settings(name: str, **changes: Any) -> NyxSettings:
    """A paper's settings, with changes of your own.

    Args:
        name: One of `PRESETS`.
        **changes: Settings that differ.

    Returns:
        The settings.

    Raises:
        ValueError: An unknown preset or setting.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name].updated(**changes)
