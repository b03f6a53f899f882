"""The 36 sets of MMEB and the 42 that MMEB-V2 adds: groups, which have training data, and RzenEmbed's task of each.

RzenEmbed (§3.3) learns a temperature for each of seven tasks; which of them video classification and moment retrieval
belong to it does not say: here they go with video retrieval.
"""

from dataclasses import dataclass
from typing import Literal

Modality = Literal["image", "video", "document"]


@dataclass(frozen=True)
class Group:
    """Sets that are scored together.

    Attributes:
        name: The benchmark's name of the group.
        modality: What its sets are about.
        task: RzenEmbed's task, whose temperature they share.
        trained: Sets with training data.
        held_out: Sets for evaluation alone.
    """

    name: str
    modality: Modality
    task: str
    trained: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """All its sets."""
        return self.trained + self.held_out


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GROUPS = (
    Group(
        "classification", "image", "image classification",
        _names("ImageNet-1K N24News HatefulMemes VOC2007 SUN397"),
        _names("Place365 ImageNet-A ImageNet-R ObjectNet Country211"),
    ),
    Group(
        "question answering", "image", "image question answering",
        _names("OK-VQA A-OKVQA DocVQA InfographicsVQA ChartQA Visual7W"),
        _names("ScienceQA VizWiz GQA TextVQA"),
    ),
    Group(
        "retrieval", "image", "image retrieval",
        _names("VisDial CIRR VisualNews_t2i VisualNews_i2t MSCOCO_t2i MSCOCO_i2t NIGHTS WebQA"),
        _names("FashionIQ Wiki-SS-NQ OVEN EDIS"),
    ),
    Group(
        "visual grounding", "image", "image grounding",
        _names("MSCOCO"), _names("RefCOCO RefCOCO-Matching Visual7W-Pointing"),
    ),
    Group(
        "video classification", "video", "video retrieval",
        held_out=_names("K700 SmthSmthV2 HMDB51 UCF101 Breakfast"),
    ),
    Group(
        "video question answering", "video", "video question answering",
        held_out=_names("MVBench Video-MME NExTQA EgoSchema ActivityNetQA"),
    ),
    Group(
        "video retrieval", "video", "video retrieval",
        held_out=_names("DiDeMo MSR-VTT MSVD VATEX YouCook2"),
    ),
    Group(
        "moment retrieval", "video", "video retrieval",
        held_out=_names("QVHighlight Charades-STA MomentSeeker"),
    ),
    Group(
        "ViDoRe", "document", "document retrieval",
        held_out=_names(
            "ViDoRe_arxivqa ViDoRe_docvqa ViDoRe_infovqa ViDoRe_tabfquad ViDoRe_tatdqa ViDoRe_shiftproject "
            "ViDoRe_syntheticDocQA_artificial_intelligence ViDoRe_syntheticDocQA_energy "
            "ViDoRe_syntheticDocQA_government_reports ViDoRe_syntheticDocQA_healthcare_industry"
        ),
    ),
    Group(
        "ViDoRe-V2", "document", "document retrieval",
        held_out=_names(
            "ViDoRe_esg_reports_human_labeled_v2 ViDoRe_biomedical_lectures_v2_multilingual "
            "ViDoRe_economics_reports_v2_multilingual ViDoRe_esg_reports_v2_multilingual"
        ),
    ),
    Group(
        "VisRAG", "document", "document retrieval",
        held_out=_names(
            "VisRAG_ArxivQA VisRAG_ChartQA VisRAG_MP-DocVQA VisRAG_SlideVQA VisRAG_InfoVQA VisRAG_PlotQA"
        ),
    ),
    Group(
        "document, out of domain", "document", "document retrieval",
        held_out=_names("ViDoSeek-page ViDoSeek-doc MMLongBench-page MMLongBench-doc"),
    ),
)  # fmt: skip

V1_GROUPS = tuple(group for group in GROUPS if group.modality == "image")
TASKS = tuple(dict.fromkeys(group.task for group in GROUPS))
"""RzenEmbed's seven tasks."""


def group_of(name: str) -> Group:
    """Finds a set's group.

    Args:
        name: The set's name, as its evaluation or training data has it.

    Returns:
        The group.

    Raises:
        ValueError: If there is no such set.
    """
    for group in GROUPS:
        if name in group.sets or (name == "ImageNet_1K" and "ImageNet-1K" in group.sets):
            return group
    known = ", ".join(one for group in GROUPS for one in group.sets)
    raise ValueError(f"there is no set {name!r} in MMEB; it has {known}")


def train_name(name: str) -> str:
    """Gives a set's name in the training repository, which writes one of them otherwise."""
    return "ImageNet_1K" if name == "ImageNet-1K" else name
