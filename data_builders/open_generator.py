"""Opens a generator that asks a model, by its name."""

from pathlib import Path
from typing import Literal

from nyx_hf.data_builders.generators import VLM
from nyx_hf.data_builders.prompted_pairs import PromptedPairs
from nyx_hf.data_builders.vlm_cache import CachedVLM
from nyx_hf.data_builders.vlm_endpoint import EndpointVLM

_KINDS = "endpoint:URL#MODEL, endpoint:MODEL (Hugging Face), transformers:MODEL, vllm:MODEL, or extractive"


def open_generator(
    spec: str,
    *,
    cache_dir: Path,
    seed: int = 0,
    preset: Literal["paper", "official"] = "paper",
    requests: int = 16,
) -> PromptedPairs:
    """Opens a generator.

    Args:
        spec: `endpoint:URL#MODEL`, `endpoint:MODEL`, `transformers:MODEL` or `vllm:MODEL`. Nothing that sends pages
            away is ever chosen unless it is named.
        cache_dir: Where answers are kept.
        seed: Seed of the answers.
        preset: Whose requests.
        requests: Requests to a server at the same time.

    Returns:
        The generator.

    Raises:
        ValueError: If there is no such kind.
    """
    return PromptedPairs(CachedVLM(open_vlm(spec, requests), cache_dir), seed, preset)


def open_vlm(spec: str, requests: int = 16) -> VLM:
    """Opens a model by the same names.

    Args:
        spec: See `open_generator`.
        requests: Requests to a server at the same time.

    Returns:
        The model.

    Raises:
        ValueError: If there is no such kind.
    """
    kind, colon, place = spec.partition(":")
    if not colon or not place:
        raise ValueError(f"found the generator {spec!r}, expected {_KINDS}")
    if kind == "endpoint":
        if "://" not in place:
            return EndpointVLM(place, requests=requests)
        url, _, model = place.partition("#")
        if not model:
            raise ValueError(f"found the generator {spec!r} without a model; name it behind the address: {spec}#MODEL")
        return EndpointVLM(model, url, requests=requests)
    if kind == "transformers":
        from nyx_hf.data_builders.vlm_local import TransformersVLM

        return TransformersVLM(place)
    if kind == "vllm":
        from nyx_hf.data_builders.vlm_offline import OfflineVLM

        return OfflineVLM(place)
    raise ValueError(f"found the generator {spec!r}, expected {_KINDS}")
