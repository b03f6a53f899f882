"""The code a model's card shows. A card and the test that runs its code take it from here alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nyx_hf.model_cards.blocks import quoted

if TYPE_CHECKING:
    from nyx_hf.model_cards.model_card import ModelFacts


def usage_snippets(repo_or_dir: str, facts: ModelFacts) -> dict[str, str]:
    """Gives ready-to-run code for every way a model loads.

    Args:
        repo_or_dir: Hub name or folder of the model or adapter.
        facts: The model's facts (its trust, its widths, an adapter's base and settings).

    Returns:
        Code by name, in the order to show: `transformers` and `sentence-transformers` for a model, `peft` for an
        adapter, then `matryoshka` for a model with several widths.
    """
    if facts.adapter:
        return {"peft": _peft(repo_or_dir)}
    snippets = {
        "transformers": _transformers(repo_or_dir),
        "sentence-transformers": _sentence_transformers(repo_or_dir, facts.needs_trust),
    }
    if len(facts.dims) > 1:
        snippets["matryoshka"] = _matryoshka(repo_or_dir, facts.dims)
    return snippets


def _transformers(repo: str) -> str:
    return f"""
from PIL import Image
from transformers import AutoModel

model = AutoModel.from_pretrained({quoted(repo)}, trust_remote_code=True)
photo = Image.new("RGB", (112, 112), "navy")  # or Image.open("photo.jpg")

queries = model.encode_query(["the sea at night"])
documents = model.encode_document(
    [
        "The sea is dark at night.",
        photo,
        {{"text": "By day it is light blue; at night <image 1> is what one sees.", "image": [photo]}},
    ]
)
print(model.similarity(queries, documents))
""".strip()


def _sentence_transformers(repo: str, needs_trust: bool) -> str:
    trust, note = (
        (", trust_remote_code=True", "") if needs_trust else ("", "  # trust_remote_code=True: no torchvision")
    )
    return f"""
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({quoted(repo)}{trust}){note}
photo = Image.new("RGB", (112, 112), "navy")  # or Image.open("photo.jpg")


def message(*parts):
    kinds = ["text" if isinstance(part, str) else "image" for part in parts]
    return [{{"role": "user", "content": [{{"type": kind, kind: part}} for kind, part in zip(kinds, parts)]}}]


queries = model.encode_query(["the sea at night"])
documents = model.encode_document(  # parts in any order; give either messages or plain inputs in one call, not both
    [
        message("The sea is dark at night."),
        message(photo),
        message("By day it is light blue; at night ", photo, " is what one sees."),
    ]
)
print(model.similarity(queries, documents))
""".strip()


def _matryoshka(repo: str, dims: list[int]) -> str:
    return f"""
from transformers import AutoModel

model = AutoModel.from_pretrained({quoted(repo)}, trust_remote_code=True)
short = model.encode(["the sea at night"], truncate_dim={dims[-1]})  # one of {", ".join(map(str, dims))}
print(short.shape)  # (1, {dims[-1]}), each row of length 1
""".strip()


def _peft(repo: str) -> str:
    return f"""
from nyx_hf import load_adapter

model = load_adapter({quoted(repo)})
print(model.encode(["the sea at night"]).shape)
""".strip()
