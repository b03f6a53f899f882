"""What a build of NyxQA will take, counted from the pages before anything is asked of a model."""

import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from PIL import Image

from nyx_hf.data_builders.nyxqa_config import NyxQAConfig
from nyx_hf.data_builders.open_generator import open_vlm
from nyx_hf.data_builders.pages import images_of, modality_of, text_of
from nyx_hf.data_builders.sources import Source

if TYPE_CHECKING:
    from nyx_hf.data_builders.nyxqa_stages import Pipeline

_PROMPT_TOKENS, _ANSWER_TOKENS = 450, 60  # of a request besides its chunk; of one pair in an answer
_PAIRS_A_CHUNK = 5
_PIXELS_A_TOKEN = 28 * 28


def plan_nyxqa(config: NyxQAConfig, source: Source, pipeline: "Pipeline") -> dict[str, Any]:
    """Counts a build's work.

    Args:
        config: The settings, `rate` and prices among them.
        source: Where pages come from.
        pipeline: Its first stage is run, and kept for the build.

    Returns:
        Counts by name: documents, chunks, requests at most, tokens, hours, price, disk.
    """
    corpus = pipeline.corpus()
    asked = pipeline.sample(corpus)
    kinds = Counter(modality_of(chunk["content"]) for chunk in asked)
    plan: dict[str, Any] = {
        "source": source.label,
        "pages": corpus.pages,
        "chunks in the corpus": len(corpus.chunks),
        "chunks asked about": len(asked),
        **{f"  of them {kind}": kinds[kind] for kind in ("text", "one image", "several images")},
        "generator": config.generator,
        "pages leave this machine": False,
    }
    if config.generator != "extractive":
        plan["pages leave this machine"] = open_vlm(config.generator).remote
        plan |= _requests(config, asked, corpus.tokens.count)
    corpus_bytes = sum(
        len(text_of(chunk["content"])) + sum(map(len, images_of(chunk["content"]))) for chunk in corpus.chunks
    )
    plan["disk for the dataset, MB"] = round(corpus_bytes / 1e6 * 1.1, 1)
    plan["disk for the caches, MB"] = round(corpus_bytes / 1e6 * 4, 1)
    return plan


def _requests(config: NyxQAConfig, asked: Any, count: Any) -> dict[str, Any]:
    """Reckons with five pairs a chunk: no more is asked for, and fewer pass."""
    several = sum(modality_of(chunk["content"]) == "several images" for chunk in asked)
    first = len(asked) + (several if config.preset == "official" else 0)
    later = 2 * _PAIRS_A_CHUNK * len(asked)  # refined, then given distractors
    text = sum(count(text_of(chunk["content"])) for chunk in asked)
    images = sum(_image_tokens(file) for chunk in asked for file in images_of(chunk["content"]))
    read = first * _PROMPT_TOKENS + text + images + later * (_PROMPT_TOKENS + text // max(1, len(asked)))
    written = first * _PAIRS_A_CHUNK * _ANSWER_TOKENS + later * _ANSWER_TOKENS
    price = (read * config.price_in + written * config.price_out) / 1e6
    return {
        "requests, at most": first + later,
        "tokens read, about": read,
        "tokens written, about": written,
        f"hours at {config.rate:g} requests a second": round((first + later) / config.rate / 3600, 2),
        "price": round(price, 2),
    }


def _image_tokens(file: bytes) -> int:
    with Image.open(io.BytesIO(file)) as image:
        return max(4, image.width * image.height // _PIXELS_A_TOKEN)
