"""A vision-language model in this process, through transformers."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, set_seed

from nyx_hf.data_builders.generators import Answer, Request
from nyx_hf.data_builders.schema import Row


@dataclass
class TransformersVLM:
    """Answers requests one after the other with a model that transformers loads.

    Attributes:
        model: Its name on the Hub, or its folder.
        revision: The Hub's branch, tag or commit.
        device: Where it computes; a GPU where there is one.
    """

    model: str
    revision: str | None = None
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")
    remote: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The model's name, or its folder's."""
        folder = Path(self.model)
        return f"{folder.resolve().name if folder.is_dir() else self.model} (transformers)"

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answers requests in their order."""
        for number, request in enumerate(requests):
            yield number, self._answer(request)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the loaded model behind: a worker loads its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_processor", "_model")}

    @cached_property
    def _processor(self) -> Any:
        return AutoProcessor.from_pretrained(self.model, revision=self.revision or "main")

    @cached_property
    def _model(self) -> Any:
        dtype = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        loaded = AutoModelForImageTextToText.from_pretrained(self.model, revision=self.revision or "main", dtype=dtype)
        return loaded.to(self.device).eval()

    @torch.inference_mode()
    def _answer(self, request: Request) -> Answer:
        user = [_part(part) for part in request.content]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": request.system}]},
            {"role": "user", "content": user},
        ]
        inputs = self._processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self.device)
        set_seed(request.seed)
        drawn = (
            {"do_sample": True, "temperature": request.temperature}
            if request.temperature > 0
            else {"do_sample": False}
        )
        output = self._model.generate(**inputs, max_new_tokens=request.max_tokens, **drawn)
        read = inputs["input_ids"].shape[1]
        written = output[0, read:]
        text = self._processor.tokenizer.decode(written, skip_special_tokens=True)
        cut = len(written) >= request.max_tokens
        return Answer(text, "answer: cut off" if cut else None, read, len(written))


def _part(part: Row) -> Row:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    return {"type": "image", "image": Image.open(io.BytesIO(part["image"]["bytes"])).convert("RGB")}
