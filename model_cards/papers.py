"""Where each equation of a paper stands in the code: the paper index."""

from dataclasses import dataclass

from nyx_hf.model_cards.blocks import table
from nyx_hf.model_cards.citations import CITATIONS


@dataclass(frozen=True)
class PaperEntry:
    """One equation, table or section of a paper, and the object that implements it.

    Attributes:
        paper: Key of `CITATIONS`.
        place: Where in the paper (`Eq. 1`, `§3.2`).
        what: What stands there, in a few words.
        objects: Dotted names of what implements it, each importable.
    """

    paper: str
    place: str
    what: str
    objects: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.paper not in CITATIONS:
            raise ValueError(f"unknown paper {self.paper!r}; the known ones are {sorted(CITATIONS)}")


_INDEX = (
    PaperEntry(
        "nyx",
        "§3.1",
        "mixed-modal content: an ordered sequence of texts, images and videos",
        ("nyx_hf.modeling.content_nyx.parse_content",),
    ),
    PaperEntry(
        "nyx",
        "§3.3",
        "the hidden state of the final `<EOS>` as the embedding, an instruction before each query",
        ("nyx_hf.modeling.pooling_nyx.pool", "nyx_hf.modeling.configuration_nyx.preset_settings"),
    ),
    PaperEntry(
        "nyx",
        "Eq. 1",
        "contrastive loss over in-batch and hard negatives with a temperature",
        ("nyx_hf.trainer.loss_contrastive.ContrastiveLoss",),
    ),
    PaperEntry(
        "nyx",
        "Eq. 2",
        "Matryoshka: the loss of each embedding prefix, weighted and summed",
        ("nyx_hf.trainer.loss_contrastive.ContrastiveLoss", "nyx_hf.trainer.nested_cosine.nested_cosine"),
    ),
    PaperEntry(
        "u-marvel",
        "§3.1",
        "findings 1 and 2: bidirectional attention, mean pooling, the instruction's tokens left out of the mean",
        ("nyx_hf.modeling.pooling_nyx.pool", "nyx_hf.modeling.configuration_nyx.preset_settings"),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.4",
        "system prompt and representation prompts",
        ("nyx_hf.modeling.templates_nyx.chat_template", "nyx_hf.modeling.configuration_nyx.preset_settings"),
    ),
)


def paper_index() -> tuple[PaperEntry, ...]:
    """Gives the entries, in the order of the papers' equations."""
    return _INDEX


def paper_index_markdown() -> str:
    """Renders the index as the page `docs/papers.md`."""
    rows = [
        (f"{entry.paper}, {entry.place}", entry.what, ", ".join(f"`{name}`" for name in entry.objects))
        for entry in _INDEX
    ]
    return "# Papers in the code\n\n" + table(("paper", "what stands there", "where it is"), rows) + "\n"
