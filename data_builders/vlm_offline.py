"""A vision-language model in this process, through vLLM (the extra `vllm`): thousands of requests at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nyx_hf.data_builders.generators import Answer, GeneratorError, Request
from nyx_hf.data_builders.vlm_endpoint import image_uri

_MOST_IMAGES = 32  # of one request


@dataclass
class OfflineVLM:
    """Answers all requests of a batch together; answers are held to their schema while they are written.

    Attributes:
        model: The model's name on the Hub, or its folder.
        revision: The Hub's branch, tag or commit.
        max_pixels: Larger images are scaled down.
        options: Further arguments of vLLM's `LLM`, such as `tensor_parallel_size`.
    """

    model: str
    revision: str | None = None
    max_pixels: int = 1280 * 28 * 28
    options: dict[str, Any] = field(default_factory=dict)
    remote: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return f"{self.model} (vLLM)"

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answers requests.

        Raises:
            GeneratorError: If vLLM is not installed.
        """
        vllm = self._vllm
        sampling = [
            vllm.SamplingParams(
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.seed,
                structured_outputs=vllm.sampling_params.StructuredOutputsParams(json=request.schema),
            )
            for request in requests
        ]
        outputs = self._llm.chat([self._messages(request) for request in requests], sampling_params=sampling)
        for number, output in enumerate(outputs):
            written = output.outputs[0]
            failure = "answer: cut off" if written.finish_reason == "length" else None
            yield number, Answer(written.text, failure, len(output.prompt_token_ids), len(written.token_ids))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the loaded model behind: a worker loads its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_vllm", "_llm")}

    @cached_property
    def _vllm(self) -> Any:
        try:
            import vllm
            import vllm.sampling_params
        except ModuleNotFoundError as error:
            raise GeneratorError(
                "vLLM is not installed: `pip install nyx-hf[vllm]` on a machine with a GPU"
            ) from error
        return vllm

    @cached_property
    def _llm(self) -> Any:
        return self._vllm.LLM(
            model=self.model, revision=self.revision, limit_mm_per_prompt={"image": _MOST_IMAGES}, **self.options
        )

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        parts = [
            {"type": "text", "text": part["text"]}
            if part["type"] == "text"
            else {"type": "image_url", "image_url": {"url": image_uri(part["image"]["bytes"], self.max_pixels)}}
            for part in request.content
        ]
        return [{"role": "system", "content": request.system}, {"role": "user", "content": parts}]
