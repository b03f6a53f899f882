"""From content to the tensors of a forward pass: render, tokenize, cut, place visual tokens, patchify, pad."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import cached_file, logging

from .code_nyx import copy_code
from .configuration_nyx import NyxSettings
from .content_nyx import Content, ContentError, clean_text, parse_content, to_messages
from .sources_nyx import SourceError
from .templates_nyx import chat_template
from .tokens_nyx import INSTRUCTION, Tokens, cut_tail, mark, pieces, tokenize
from .video_nyx import Frames
from .visual_nyx import IMAGE, VIDEO, Visual

logger = logging.get_logger(__name__)


@dataclass
class Plan:
    """A content ready to be loaded: its tokens are final, its pixels are not yet read.

    Args:
        content: The parsed content.
        tokens: Token ids and what each is, visual placeholders already widened.
        index: Place in the caller's list, for messages.
        frames: Frames of each video part in order: they are read early, as their number decides the tokens.
    """

    content: Content
    tokens: Tokens
    index: int
    frames: list[Frames] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens.ids)


class NyxProcessor(ProcessorMixin):
    """Turns contents into model inputs.

    It needs no torchvision: images always go through the PIL backend, so pixels are the same on every machine.

    Args:
        image_processor: The backbone's image processor (PIL backend).
        tokenizer: The backbone's tokenizer.
        chat_template: Jinja template; written from the settings when left out.
        nyx: The settings, as config.json's `nyx` object.
        backbone_processor: Class name of the backbone's stock processor, kept in the saved folder so that it loads
            without remote code too.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        nyx: dict[str, Any] | None = None,
        backbone_processor: str = "",
    ) -> None:
        self.backbone_processor = backbone_processor
        self.stock_parts: dict[str, Any] = {}  # what only the stock processor reads: its video processor's config
        self.truncated = 0  # contents that lost text so far
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.settings = NyxSettings.from_dict(nyx or {})
        ids = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
        self.image_token_id, self.video_token_id = ids

    @property
    def settings(self) -> NyxSettings:
        """The retriever's settings; setting them rewrites the chat template."""
        return NyxSettings.from_dict(self.nyx)

    @settings.setter
    def settings(self, settings: NyxSettings) -> None:
        self.nyx = settings.to_dict()
        self.chat_template = chat_template(settings, self.tokenizer.eos_token or "")
        size = dict(self.image_processor.size)
        size["shortest_edge"] = settings.min_pixels or size["shortest_edge"]
        size["longest_edge"] = settings.max_pixels or size["longest_edge"]
        self.image_processor.size = size

    # ---------------------------------------------------------------- loading and saving

    @classmethod
    def from_backbone(
        cls, name_or_path: str | Path, settings: NyxSettings, model_type: str, **hub: Any
    ) -> "NyxProcessor":
        """Builds the processor of a plain VLM.

        Args:
            name_or_path: Hub id or folder of the backbone.
            settings: The retriever's settings.
            model_type: The backbone's `model_type`.
            **hub: `revision`, `token`, `cache_dir`, `local_files_only`.

        Returns:
            The processor.
        """
        name = str(name_or_path)
        tokenizer = AutoTokenizer.from_pretrained(name, **hub)
        tokenizer.add_tokens(list(settings.extra_tokens), special_tokens=True)  # those it has already stay as they are
        image_processor = AutoImageProcessor.from_pretrained(name, backend="pil", **hub)
        processor = cls(
            image_processor,
            tokenizer,
            nyx=settings.to_dict(),
            backbone_processor=PROCESSOR_MAPPING_NAMES.get(model_type, ""),
        )
        video = _read_json(name, "video_preprocessor_config.json", hub)
        video = video or _read_json(name, "processor_config.json", hub).get("video_processor", {})
        if video:
            processor.stock_parts = {"video_processor": {k: v for k, v in video.items() if k != "processor_class"}}
        return processor

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "NyxProcessor":
        """Loads a saved processor; the PIL backend is kept even where torchvision is installed."""
        return super().from_pretrained(str(pretrained_model_name_or_path), **{"backend": "pil", **kwargs})

    @classmethod
    def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> "NyxProcessor":
        """Builds from the parts and the JSON that `from_pretrained` read."""
        kwargs.pop("backend", None)  # it was the image processor's
        processor = super().from_args_and_dict(args, processor_dict, **kwargs)
        built = processor[0] if isinstance(processor, tuple) else processor
        built.stock_parts = {key: processor_dict[key] for key in ("video_processor",) if key in processor_dict}
        return processor

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Writes a processor that loads with our code and, without trust, as the backbone's stock processor.

        Args:
            save_directory: Folder to write into.
            push_to_hub: Not done here; `nyx_hf.push_to_hub` pushes whole folders.
            **kwargs: Ignored, for the signature of transformers.

        Returns:
            The files written.

        Raises:
            ValueError: `push_to_hub` was asked for.
        """
        if push_to_hub:
            raise ValueError("save the model's folder and push it whole: nyx_hf.push_to_hub(folder, repo_id)")
        folder = Path(save_directory)
        files: list[str] = super().save_pretrained(str(folder))
        path = folder / "processor_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        for own in ("truncated", "stock_parts", "image_token_id", "video_token_id"):
            config.pop(own, None)
        config |= self.stock_parts
        config["processor_class"] = self.backbone_processor or type(self).__name__
        config["auto_map"] = {"AutoProcessor": "processing_nyx.NyxProcessor"}
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        tokenizer_config = folder / "tokenizer_config.json"
        values = json.loads(tokenizer_config.read_text(encoding="utf-8"))
        values["processor_class"] = config["processor_class"]
        for how_it_was_loaded in ("backend", "is_local", "local_files_only"):
            values.pop(how_it_was_loaded, None)
        tokenizer_config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        copy_code(folder)
        return files

    # ---------------------------------------------------------------- content to tensors

    def plan(self, item: Any, instruction: str | None = None, *, index: int = 0, allow_urls: bool = False) -> Plan:
        """Parses and tokenizes one content; of images only the header is read.

        Args:
            item: Anything `parse_content` takes.
            instruction: Task text put before the content.
            index: Place in the caller's list, for messages.
            allow_urls: Whether images may be fetched from http(s) addresses.

        Returns:
            The plan, whose length is the number of tokens.

        Raises:
            ContentError: The content is malformed, or an image or video of it cannot be read.
        """
        content = parse_content(item, index=index)
        if instruction:
            content = replace(content, instruction=clean_text(instruction) + content.instruction)
        visual = self._visual(allow_urls)
        widths: list[int] = []  # tokens of each placeholder in order
        frames: list[Frames] = []
        stamps: list[str] = []  # Qwen3-VL writes each video's timestamps as text
        for number, part in enumerate(content.parts):
            if part.type == "text":
                continue
            try:
                if part.type == "image":
                    widths.append(visual.image_tokens(part.source))
                else:
                    frames.append(visual.frames(part.source))
                    stamps.append(visual.timestamps(frames[-1]))
                    widths += visual.video_tokens(frames[-1])
            except SourceError as error:
                raise ContentError(str(error), index=index, part=number) from error
        messages = to_messages(content)
        rendered = super().apply_chat_template(mark(messages), tokenize=False)
        tokens = tokenize(self.tokenizer, pieces(rendered, stamps))
        if cut_tail(tokens, self.settings.max_length - sum(widths) + len(widths)):
            self.truncated += 1
            logger.warning_once(
                f"a content has more than max_length={self.settings.max_length} tokens: its text lost its tail "
                "(said once; the processor's `truncated` counts such contents)"
            )
        self._widen(tokens, widths)
        return Plan(content, tokens, index, frames)

    def load(self, plans: Sequence[Plan], *, allow_urls: bool = False) -> BatchFeature:
        """Reads the pixels of planned contents and pads their tokens to one length.

        Args:
            plans: Contents of one batch.
            allow_urls: Whether images may be fetched.

        Returns:
            `input_ids`, `attention_mask`, `mm_token_type_ids` (B, L, int64), `pixel_values` (patches, values, float32)
            and `image_grid_thw` (images, 3) where there are images, `pixel_values_videos`, `video_grid_thw` (and for
            Qwen2.5-VL `second_per_grid_ts`) where there are videos, `pooling_mask` (B, L) where instructions are
            left out of the mean.

        Raises:
            ContentError: An image cannot be decoded.
        """
        features = self._pad(plans)
        visual = self._visual(allow_urls)
        images = [image for plan in plans for image in self._images(plan, visual)]
        if images:
            features["pixel_values"], features["image_grid_thw"] = visual.image_patches(images)
        videos = [frames for plan in plans for frames in plan.frames]
        if videos:
            patches = [visual.video_patches(frames) for frames in videos]
            features["pixel_values_videos"] = torch.cat([pixels for pixels, _ in patches])
            features["video_grid_thw"] = torch.cat([grid for _, grid in patches])
            if self.backbone_processor == "Qwen2_5_VLProcessor":
                features["second_per_grid_ts"] = torch.tensor([visual.step_seconds(frames) for frames in videos])
        return BatchFeature(features)

    def process(
        self, items: Sequence[Any], prompt: str | Sequence[str | None] | None = None, *, allow_urls: bool = False
    ) -> BatchFeature:
        """Contents to the tensors of one forward pass.

        Args:
            items: Contents; a list, one row each.
            prompt: Instruction of all contents, or one for each.
            allow_urls: Whether images may be fetched from http(s) addresses.

        Returns:
            See `load`.

        Raises:
            ContentError: A content is malformed or cannot be read; the message names its index.
            ValueError: There are not as many prompts as items.
        """
        prompts = [prompt] * len(items) if prompt is None or isinstance(prompt, str) else list(prompt)
        if len(prompts) != len(items):
            raise ValueError(f"{len(prompts)} prompts for {len(items)} items; give one prompt, or one for each item")
        plans = [
            self.plan(item, instruction, index=index, allow_urls=allow_urls)
            for index, (item, instruction) in enumerate(zip(items, prompts, strict=True))
        ]
        return self.load(plans, allow_urls=allow_urls)

    def __call__(self, items: Sequence[Any], prompt: str | Sequence[str | None] | None = None) -> BatchFeature:
        """Same as `process`."""
        return self.process(items, prompt)

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Renders messages, or with `tokenize=True` turns them into tensors as `process` does.

        sentence-transformers and other callers of stock processors come in here.
        """
        if not kwargs.get("tokenize", False):
            return super().apply_chat_template(conversation, *args, **kwargs)
        batched = bool(conversation) and isinstance(conversation[0], (list, tuple))
        features = self.process(list(conversation) if batched else [conversation])
        return features if kwargs.get("return_dict", False) else features["input_ids"]

    # ---------------------------------------------------------------- tokens

    def _widen(self, tokens: Tokens, widths: list[int]) -> None:
        """Repeats each placeholder as often as it has visual tokens."""
        holders = [at for at, token in enumerate(tokens.ids) if token in (self.image_token_id, self.video_token_id)]
        if len(holders) != len(widths):
            raise ValueError(
                f"the chat template wrote {len(holders)} visual placeholders for {len(widths)} images and videos; "
                "a template of your own must print <|image_pad|> or <|video_pad|> once for each"
            )
        for at, width in zip(reversed(holders), reversed(widths), strict=True):
            tokens.ids[at : at + 1] = [tokens.ids[at]] * width
            tokens.kinds[at : at + 1] = [tokens.kinds[at]] * width

    def _visual(self, allow_urls: bool) -> Visual:
        stamped = self.backbone_processor.startswith("Qwen3VL")
        return Visual(self.image_processor, self.settings, stamped=stamped, allow_urls=allow_urls)

    def _images(self, plan: Plan, visual: Visual) -> Iterator[Image.Image]:
        """A content's images in order, loaded."""
        for number, part in enumerate(plan.content.parts):
            if part.type == "image":
                try:
                    yield visual.image(part.source)
                except SourceError as error:
                    raise ContentError(str(error), index=plan.index, part=number) from error

    def _pad(self, plans: Sequence[Plan]) -> dict[str, torch.Tensor]:
        """Token tensors, padded on the tokenizer's side."""
        longest = max(len(plan) for plan in plans)
        ids = torch.full((len(plans), longest), self.tokenizer.pad_token_id)  # (B, L)
        mask = torch.zeros((len(plans), longest), dtype=torch.long)  # (B, L)
        pooled = torch.zeros((len(plans), longest), dtype=torch.long)  # (B, L)
        marks = self.tokenizer.convert_tokens_to_ids(list(self.settings.instruction_marks))
        for row, plan in enumerate(plans):
            at = slice(longest - len(plan), longest) if self.tokenizer.padding_side == "left" else slice(len(plan))
            ids[row, at] = torch.tensor(plan.tokens.ids)
            mask[row, at] = 1
            tokens = zip(plan.tokens.kinds, plan.tokens.ids, strict=True)
            pooled[row, at] = torch.tensor([int(kind != INSTRUCTION and one not in marks) for kind, one in tokens])
        types = torch.zeros_like(ids)
        types[(ids == self.image_token_id) & mask.bool()] = IMAGE
        types[(ids == self.video_token_id) & mask.bool()] = VIDEO
        features = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types}
        if self.settings.mask_instruction:
            features["pooling_mask"] = pooled
        return features

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors `load` makes."""
        return [*super().model_input_names, "mm_token_type_ids", "pooling_mask"]


def _read_json(name: str, filename: str, hub: dict[str, Any]) -> dict[str, Any]:
    """A JSON file of a repo or folder, or nothing where it has none."""
    path = cached_file(name, filename, _raise_exceptions_for_missing_entries=False, **hub)
    values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return values
