"""What NyxQA is made from and how: every field is an option of `nyx-hf build nyxqa`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets
from huggingface_hub import constants

from nyx_hf.data_builders.builder import BuildSettings, option
from nyx_hf.data_builders.splitting import parse_shares

REMOTE_GENERATORS = ("endpoint:",)


@dataclass
class NyxQAConfig(BuildSettings, datasets.BuilderConfig):
    """What to build: the config's name (`corpus`, `queries` or `triplets`) and the settings of the dataset."""

    source: str = option("", "Where pages come from: html:DIR, markdown:DIR, pdf:DIR, jsonl:FILE, or obelics:train.")
    generator: str = option(
        "extractive",
        "What asks the questions: extractive (no model), transformers:MODEL, vllm:MODEL, or endpoint:URL#MODEL.",
    )
    retriever: str = option("bm25", "What finds hard negatives: bm25, or a model's folder or name.")
    preset: Literal["paper", "official"] = option("paper", "Whose rules: the paper's, or those of the authors' code.")
    tokenizer: str | None = option(
        None,
        "Tokenizer that counts a chunk's tokens; `words`, which needs no download, with the extractive generator.",
    )
    max_tokens: int = option(200, "Text tokens of a chunk, at most.")
    max_images: int = option(5, "Images of a chunk, at most.")
    sample: int | None = option(None, "Chunks to ask about, the mix of modalities kept; all if left out.")
    shares: str = option("0.8,0.1,0.1", "Shares of the pages for train, validation and test.")
    depth: int = option(10, "How many documents the retriever finds; negatives are the highest of them.")
    negatives: int = option(5, "Hard negatives a question.")
    documents: int | None = option(None, "Pages to read, at most.")
    images: Literal["fetch", "skip"] = option("skip", "Whether images on the web are fetched (obelics).")
    pdf: Literal["pages", "embedded"] = option("pages", "PDF pages as images, or their text with the images inside.")
    public: bool = option(False, "These pages may be shown to anybody: sample rows on the card.")
    license: str | None = option(None, "Licence of the pages, as the Hub names it.")
    language: str = option("en", "Language of the pages.")
    runner: Literal["local", "ray"] = option("local", "What runs the stages.")
    processes: int = option(1, "Workers of a stage.")
    requests: int = option(16, "Requests to a model at the same time.")
    price_in: float = option(0.0, "Price of a million tokens read, for --plan.")
    price_out: float = option(0.0, "Price of a million tokens written, for --plan.")
    rate: float = option(1.0, "Requests a second, for --plan.")
    cache: str = option(str(Path(constants.HF_HOME) / "nyx_hf" / "build"), "Folder of finished stages and answers.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_tokens", "depth", "negatives", "processes", "requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"found {name}={getattr(self, name)}, expected 1 or more")
        parse_shares(self.shares)
