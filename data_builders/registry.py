"""The datasets that can be built, by name."""

from importlib import import_module

from nyx_hf.data_builders.builder import RetrievalBuilder

BUILDERS = {
    "nyxqa": "nyxqa:NyxQABuilder",
    "mmeb": "mmeb:MMEBBuilder",
    "mmeb-eval": "mmeb:MMEBEvalBuilder",
    "visual-documents": "visual_documents:VisualDocumentsBuilder",
    "mme5": "mmeb:SyntheticBuilder",
    "nyx-mme5": "mmeb:NyxSyntheticBuilder",
    "nyx-text": "mmeb:NyxTextBuilder",
    "m-beir": "mbeir:MBEIRBuilder",
    "nli": "nli:NLIBuilder",
    "cc3m": "cc3m:CC3MBuilder",
    "megapairs": "megapairs:MegaPairsBuilder",
    "video-text": "video_text:VideoTextBuilder",
    "multimodalqa": "multimodalqa:MultimodalQABuilder",
    "scienceqa": "scienceqa:ScienceQABuilder",
    "hotpotqa": "multihop:HotpotQABuilder",
    "2wikimultihopqa": "multihop:TwoWikiBuilder",
    "musique": "multihop:MuSiQueBuilder",
    "bamboogle": "multihop:BamboogleBuilder",
    "digits": "digits:DigitsBuilder",
    "import": "importing:ImportBuilder",
}
"""Module and class of each builder; imported when it is asked for."""


def find_builder(name: str) -> type[RetrievalBuilder]:
    """Gives a builder's class.

    Args:
        name: One of `BUILDERS`.

    Returns:
        The class.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in BUILDERS:
        raise ValueError(f"there is no builder {name!r}; `nyx-hf build --list` names {', '.join(BUILDERS)}")
    module, class_name = BUILDERS[name].split(":")
    builder: type[RetrievalBuilder] = getattr(import_module(f"nyx_hf.data_builders.{module}"), class_name)
    return builder
