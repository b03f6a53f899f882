"""The card of a reranker, made from facts that its training knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from huggingface_hub import ModelCard, ModelCardData

from nyx_hf.model_cards.blocks import TEMPLATES, code_block, facts_table, quoted, shown_repo_id
from nyx_hf.model_cards.licences import NOTICES, License, base_licence
from nyx_hf.model_cards.model_card import ModelFacts, model_licence, training_blocks

_TAGS = ("sentence-transformers", "cross-encoder", "reranker", "text-ranking", "multimodal", "retrieval", "nyx_hf")


@dataclass(frozen=True, kw_only=True)
class RerankerFacts(ModelFacts):
    """What a reranker's card is made from: facts of a model, whose `settings` are words and limits of the prompt.

    Attributes:
        pairs: Training pairs by their answer.
    """

    pairs: Mapping[str, int] = field(default_factory=dict)


def reranker_card(facts: RerankerFacts) -> ModelCard:
    """Makes the card of a reranker's folder.

    Args:
        facts: What training knows; nothing else is written.

    Returns:
        The card; `card.save(folder / "README.md")` writes it.

    Raises:
        ValueError: If a citation is unknown.
        LicenceError: If the wanted licence is laxer than the base model's or the data's.
    """
    licence = model_licence(facts)
    base = base_licence(facts.base_model, facts.base_license) if facts.base_model else License("unknown")
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="text-ranking",
        license=licence.id,
        license_name=licence.name,
        license_link=licence.link,
        base_model=facts.base_model,
        base_model_relation=None if facts.base_model is None else "finetune",
        datasets=[source.repo_or_name for source in facts.datasets if "/" in source.repo_or_name] or None,
        tags=list(dict.fromkeys([*_TAGS, *facts.tags])),
    )
    card: ModelCard = ModelCard.from_template(
        data,
        template_str="".join(
            (TEMPLATES / name).read_text(encoding="utf-8") for name in ("reranker.md", "training.md")
        ),
        title=facts.name.rsplit("/", 1)[-1],
        summary=facts.summary.strip(),
        notice=NOTICES.get(base.name or "", ""),
        base=facts.base_model,
        answers=(facts.settings.get("yes"), facts.settings.get("no")),
        snippets={
            name: code_block(code, "python") for name, code in reranker_snippets(shown_repo_id(facts.name)).items()
        },
        settings_table=facts_table(("setting", "value"), {name: f"`{one}`" for name, one in facts.settings.items()}),
        pairs_table=facts_table(("training pairs", "how many"), facts.pairs),
        metrics_table="",
        figures={},
        **training_blocks(facts, licence),
    )
    return card


def reranker_snippets(repo_or_dir: str) -> dict[str, str]:
    """Gives ready-to-run code for both ways a reranker loads.

    Args:
        repo_or_dir: Hub name or folder.

    Returns:
        Code by name: `nyx_hf` and `sentence-transformers`.
    """
    own = f"""
from PIL import Image
from nyx_hf.reranker import NyxReranker

reranker = NyxReranker.from_pretrained({quoted(repo_or_dir)})
photo = Image.new("RGB", (112, 112), "navy")  # or Image.open("photo.jpg")
print(reranker.rank("the sea at night", ["A recipe for soup.", ("The sea:", photo)]))
"""
    stock = f"""
from sentence_transformers import CrossEncoder

reranker = CrossEncoder({quoted(repo_or_dir)})
print(reranker.predict([("the sea at night", "A recipe for soup."), ("the sea at night", "Waves in the dark.")]))
"""
    return {"nyx_hf": own.strip(), "sentence-transformers": stock.strip()}
