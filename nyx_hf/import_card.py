"""The cards of an imported folder: ours, and beside it its makers' own."""

import shutil
from pathlib import Path

from nyx_hf._version import __version__
from nyx_hf.checkpoint_files import Checkpoint
from nyx_hf.checkpoint_layouts import Layout
from nyx_hf.model_cards.citations import CITATIONS
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import ModelFacts
from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.trainer.saving import write_card

ORIGINAL_CARD = "ORIGINAL_README.md"
_BACKBONES = {"qwen2_vl": "qwen2-vl", "qwen2_5_vl": "qwen2.5-vl", "qwen3_vl": "qwen3-vl"}  # keys of their papers


def write_import_card(
    folder: Path,
    name: str,
    source: Checkpoint,
    base: Checkpoint | None,
    layout: Layout,
    settings: NyxSettings,
) -> None:
    """Writes README.md, and copies the makers' card and licence texts.

    Args:
        folder: The imported folder.
        name: What it is called.
        source: What it was made of.
        base: What an adapter was merged into.
        layout: What it was recognised as.
        settings: Its habits.
    """
    for path in source.folder.iterdir():
        if path.name.startswith(("LICENSE", "NOTICE")):
            shutil.copyfile(path, folder / path.name)
    has_card = (source.folder / "README.md").is_file()
    if has_card:
        shutil.copyfile(source.folder / "README.md", folder / ORIGINAL_CARD)
    licence = source.licence() or (base.licence() if base else None)
    own = licence if licence and not source.is_on_hub else License("unknown")
    cited = (layout.citation, *(_BACKBONES[model_type] for model_type in layout.model_types), "transformers")
    facts = ModelFacts(
        name=name,
        summary=_summary(source, base, layout, has_card),
        base_model=source.name if source.is_on_hub else None,
        base_license=licence,
        license=None if source.is_on_hub else own.id,
        license_name=None if source.is_on_hub else own.name,
        license_link=None if source.is_on_hub else own.link,
        settings=settings.to_dict(),
        needs_trust=settings.needs_remote_code,
        dims=list(settings.matryoshka_dims),
        citations=[key for key in cited if key in CITATIONS],
    )
    write_card(facts, folder)


def _summary(source: Checkpoint, base: Checkpoint | None, layout: Layout, has_card: bool) -> str:
    at = f" at commit `{source.commit}`" if source.commit else ""
    merged = f", its adapter merged into `{base.title}`" if base else ""
    sentences = [
        f"`{source.title}`{at}, imported with nyx_hf {__version__} as layout `{layout.name}`{merged}: the weights are "
        "its makers', and the settings below are the habits of their code."
    ]
    if layout.unkept:
        sentences.append(f"Not kept: {layout.unkept}.")
    if has_card:
        sentences.append(f"Their card, with what they ask to be cited, is [{ORIGINAL_CARD}]({ORIGINAL_CARD}).")
    return " ".join(sentences)
