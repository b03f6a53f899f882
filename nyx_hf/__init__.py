"""nyx_hf: train, publish, evaluate and use universal mixed-modal retrievers.

The five root folders of a checkout (`modeling/`, `model_cards/`, `data_builders/`, `trainer/`, `nyx_hf/`) are one
package; the names below are its public API, loaded on first use.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from nyx_hf._version import __version__

_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "pyproject.toml").is_file():
    __path__.append(str(_CHECKOUT))  # a checkout keeps the subpackages at its root

_PUBLIC = {
    "ContentError": "nyx_hf.modeling.content_nyx",
    "NyxModel": "nyx_hf.modeling.modeling_nyx",
    "NyxReranker": "nyx_hf.reranker",
    "NyxProcessor": "nyx_hf.modeling.processing_nyx",
    "NyxSettings": "nyx_hf.modeling.configuration_nyx",
    "NyxTrainer": "nyx_hf.trainer.trainer",
    "NyxTrainingArguments": "nyx_hf.trainer.arguments",
    "ContrastiveLoss": "nyx_hf.trainer.loss_contrastive",
    "DistillationLoss": "nyx_hf.trainer.loss_distillation",
    "EmbeddedBatch": "nyx_hf.trainer.loss_batch",
    "FalseNegatives": "nyx_hf.trainer.loss_masks",
    "FeedbackLoss": "nyx_hf.trainer.loss_feedback",
    "JoinedRows": "nyx_hf.trainer.training_rows",
    "LossOutput": "nyx_hf.trainer.loss_batch",
    "Objective": "nyx_hf.trainer.loss_batch",
    "RetrievalCollator": "nyx_hf.trainer.collator",
    "SearchIndex": "nyx_hf.search_index",
    "SearchResult": "nyx_hf.search_index",
    "SentenceTransformerLoss": "nyx_hf.trainer.loss_sentence_transformers",
    "Temperature": "nyx_hf.trainer.loss_temperature",
    "TripletDataset": "nyx_hf.data_builders.triplets",
    "URAG": "nyx_hf.urag",
    "load_adapter": "nyx_hf.trainer.adapter_loading",
    "build_index": "nyx_hf.indexing",
    "push_to_hub": "nyx_hf.hub",
    "to_sentence_transformers": "nyx_hf.data_builders.triplets",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Loads a public name from its module on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nyx_hf' has no attribute {name!r}; the public names are {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
