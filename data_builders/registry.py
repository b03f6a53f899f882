"""The datasets that can be built, by name."""

from importlib import import_module

from nyx_hf.data_builders.builder import RetrievalBuilder

BUILDERS = {
    "nyxqa": "nyxqa:NyxQABuilder",
    "mmeb": "mmeb:MMEBBuilder",
    "mmeb-eval": "mmeb:MMEBEvalBuilder",
    "visual-documents": "visual_documents:VisualDocumentsBuilder",
    "mmeb-video": "video_sets:VideoSetsBuilder",
    "mme5": "mme5:SyntheticBuilder",
    "mme5-mmeb": "mme5:HardNegativesBuilder",
    "nyx-nyxqa": "nyx_sets:NyxQuestionsBuilder",
    "nyx-mme5": "nyx_sets:NyxSyntheticBuilder",
    "nyx-mmeb": "nyx_sets:NyxMMEBBuilder",
    "nyx-text": "nyx_sets:NyxTextBuilder",
    "m-beir": "mbeir:MBEIRBuilder",
    "zero-shot": "zero_shot_sets:ZeroShotBuilder",
    "nli": "nli:NLIBuilder",
    "text-pairs": "text_pairs:TextPairsBuilder",
    "cc3m": "cc3m:CC3MBuilder",
    "sharegpt4v": "sharegpt4v:ShareGPT4VBuilder",
    "megapairs": "megapairs:MegaPairsBuilder",
    "video-text": "video_text:VideoTextBuilder",
    "multimodalqa": "multimodalqa:MultimodalQABuilder",
    "scienceqa": "scienceqa:ScienceQABuilder",
    "hotpotqa": "multihop:HotpotQABuilder",
    "2wikimultihopqa": "multihop:TwoWikiBuilder",
    "musique": "multihop:MuSiQueBuilder",
    "bamboogle": "multihop:BamboogleBuilder",
    "digits": "digits:DigitsBuilder",
    "mteb": "mteb:MTEBBuilder",
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
