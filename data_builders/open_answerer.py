"""Opens an answerer by its name."""

from pathlib import Path

from nyx_hf.data_builders.answering import Answerer
from nyx_hf.data_builders.context_budget import ContextBudget
from nyx_hf.data_builders.extractive_answerer import ExtractiveAnswerer
from nyx_hf.data_builders.open_generator import open_vlm
from nyx_hf.data_builders.vlm_answerer import VLMAnswerer
from nyx_hf.data_builders.vlm_cache import CachedVLM

KINDS = (
    "extractive, digits or digits:SEED, endpoint:URL#MODEL, endpoint:MODEL (Hugging Face), transformers:MODEL or "
    "vllm:MODEL"
)
"""What can be opened, for error messages and help."""

_MODELS = ("endpoint", "transformers", "vllm")


def open_answerer(
    spec: str,
    *,
    cache_dir: Path,
    budget: ContextBudget | None = None,
    requests: int = 16,
    seed: int = 0,
) -> Answerer:
    """Opens an answerer. Nothing that sends questions away is ever chosen unless it is named.

    Args:
        spec: `extractive`, `digits` (or `digits:SEED`, the seed of the dataset; 0 where none is given),
            `endpoint:URL#MODEL`, `endpoint:MODEL`, `transformers:MODEL` or `vllm:MODEL`.
        cache_dir: Where a model's answers are kept.
        budget: How much of the documents a model is shown.
        requests: Requests to a server at the same time.
        seed: Seed of a model's answers.

    Returns:
        The answerer.

    Raises:
        ValueError: If there is no such kind.
    """
    kind, colon, rest = spec.partition(":")
    if spec == "extractive":
        return ExtractiveAnswerer()
    if kind == "digits" and (not colon or rest.isdecimal()):
        from nyx_hf.data_builders.digit_reader import DigitReader

        return DigitReader(int(rest or 0))
    if kind in _MODELS and rest:
        vlm = CachedVLM(open_vlm(spec, requests), cache_dir)
        return VLMAnswerer(vlm, budget or ContextBudget(), seed=seed)
    raise ValueError(f"found the answerer {spec!r}, expected {KINDS}")
