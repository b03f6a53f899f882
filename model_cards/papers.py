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
        "§3.1, URAG",
        "retrieval over mixed-modal content, then an answer that is read from it",
        ("nyx_hf.urag.URAG", "nyx_hf.data_builders.vlm_answerer.VLMAnswerer"),
    ),
    PaperEntry(
        "nyx",
        "§3.2, stage 1",
        "chunks of at most 200 text tokens, a sample that keeps the mix of modalities",
        ("nyx_hf.data_builders.chunking.Chunker", "nyx_hf.data_builders.sampling.stratified_sample"),
    ),
    PaperEntry(
        "nyx",
        "§3.2, stage 2",
        "question-answer pairs by a text prompt and a multimodal one",
        ("nyx_hf.data_builders.prompts.pairs_request", "nyx_hf.data_builders.prompted_pairs.PromptedPairs"),
    ),
    PaperEntry(
        "nyx",
        "§3.2, stage 3",
        "errors filtered by rules, pairs refined, three distractors",
        (
            "nyx_hf.data_builders.pair_rules.rule_of",
            "nyx_hf.data_builders.prompts.refine_request",
            "nyx_hf.data_builders.options.make_options",
        ),
    ),
    PaperEntry(
        "nyx",
        "§3.2, stage 4",
        "hard negatives: the five highest of the top 10 that are not the gold document",
        ("nyx_hf.data_builders.mining.mine",),
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
        "Matryoshka: the loss of each embedding prefix, weighted and summed; search by prefixes",
        (
            "nyx_hf.trainer.loss_contrastive.ContrastiveLoss",
            "nyx_hf.trainer.nested_cosine.nested_cosine",
            "nyx_hf.coarse_search.Funnel",
        ),
    ),
    PaperEntry(
        "nyx",
        "§3.3, stage 2",
        "windows over a ranking: the first that is answered rightly gives the positive",
        ("nyx_hf.data_builders.feedback.gather_feedback", "nyx_hf.data_builders.feedback.decide"),
    ),
    PaperEntry(
        "nyx",
        "§3.3, stage 2",
        "contrastive training on documents that an answering VLM judged",
        ("nyx_hf.trainer.loss_feedback.FeedbackLoss",),
    ),
    PaperEntry(
        "nyx",
        "§3.3",
        "two stages, the second from the model of the first",
        ("nyx_hf.trainer.pipelines.stages_of",),
    ),
    PaperEntry(
        "nyx",
        "§3.3",
        "multi-hop text: the first passage found is the positive, negatives are ranked beyond 10",
        ("nyx_hf.data_builders.multihop.MultiHopBuilder",),
    ),
    PaperEntry(
        "nyx",
        "§4.1",
        "exact match, F1, accuracy",
        ("nyx_hf.data_builders.answer_metrics.answer_scores",),
    ),
    PaperEntry(
        "nyx",
        "§4.2, Table 1",
        "answers with each retriever; McNemar's test",
        ("nyx_hf.suite_urag.URAGSuite", "nyx_hf.data_builders.significance.mcnemar"),
    ),
    PaperEntry(
        "nyx",
        "§5, Figures 4 to 6, Table 3",
        "documents shown, answerers, widths, data scale, gold against right",
        ("nyx_hf.urag_compared.by_documents", "nyx_hf.urag_compared.by_width", "nyx_hf.urag_flows.flow_of"),
    ),
    PaperEntry(
        "nyx",
        "Table 2",
        "MMEB, by task group",
        ("nyx_hf.suite_mmeb.MMEBSuite",),
    ),
    PaperEntry(
        "nyx",
        "appendix C",
        "MultimodalQA's corpus; ScienceQA's lectures and examples",
        ("nyx_hf.data_builders.multimodalqa.MultimodalQABuilder", "nyx_hf.data_builders.scienceqa.ScienceQABuilder"),
    ),
    PaperEntry(
        "u-marvel",
        "§3.1",
        "findings 1 and 2: bidirectional attention, mean pooling, the instruction's tokens left out of the mean",
        ("nyx_hf.modeling.pooling_nyx.pool", "nyx_hf.modeling.configuration_nyx.preset_settings"),
    ),
    PaperEntry(
        "u-marvel",
        "§3.1.3",
        "progressive transition: text, image-text, instructions",
        ("nyx_hf.trainer.pipelines.stages_of",),
    ),
    PaperEntry(
        "u-marvel",
        "§3.2.1",
        "finding 4: a learned temperature",
        ("nyx_hf.trainer.loss_temperature.Temperature",),
    ),
    PaperEntry(
        "u-marvel",
        "§3.2.2",
        "hard negatives, those over a threshold left out as false ones",
        ("nyx_hf.data_builders.mining.mine",),
    ),
    PaperEntry(
        "u-marvel",
        "Eq. 1",
        "distillation: the divergence of the student's order of candidates from the teacher's",
        ("nyx_hf.trainer.loss_distillation.DistillationLoss",),
    ),
    PaperEntry(
        "u-marvel",
        "Eq. 2",
        "contrastive loss, one-way and two-way",
        ("nyx_hf.trainer.loss_contrastive.ContrastiveLoss", "nyx_hf.trainer.loss_directions.document_to_query"),
    ),
    PaperEntry(
        "u-marvel",
        "Eq. 4",
        "the teacher's scores: α recall + (1 - α) reranking",
        ("nyx_hf.trainer.loss_distillation.fused_scores", "nyx_hf.fusion.fuse"),
    ),
    PaperEntry(
        "u-marvel",
        "§3.3, Eq. 3",
        "the reranker: next-token YES or NO on a positive and the top 50 negatives; its score is P(YES)",
        (
            "nyx_hf.trainer.reranker_data.pair_rows",
            "nyx_hf.trainer.reranker_training.train_reranker",
            "nyx_hf.reranker.NyxReranker",
        ),
    ),
    PaperEntry(
        "u-marvel",
        "appendix A",
        "M-BEIR: sixteen tasks, local and global pools",
        ("nyx_hf.data_builders.mbeir.MBEIRBuilder", "nyx_hf.suite_mbeir.MBEIRSuite"),
    ),
    PaperEntry(
        "u-marvel",
        "Tables 8, 9, 11, appendix B",
        "unseen sets: captions, dialogs, composed images, matching, videos",
        ("nyx_hf.data_builders.zero_shot_sets.ZeroShotBuilder", "nyx_hf.suite_zero_shot.ZeroShotSuite"),
    ),
    PaperEntry(
        "u-marvel",
        "Table 6, Finding 6",
        "distillation from 10 % of the training queries, and its control, continue-hard",
        ("nyx_hf.distill.distill_dataset",),
    ),
    PaperEntry(
        "u-marvel",
        "appendix C",
        "LoRA on the language model, the visual side frozen",
        ("nyx_hf.trainer.adapters.add_lora", "nyx_hf.trainer.adapters.freeze_vision"),
    ),
    PaperEntry(
        "rzenembed",
        "Eq. 1",
        "contrastive loss",
        ("nyx_hf.trainer.loss_contrastive.ContrastiveLoss",),
    ),
    PaperEntry(
        "rzenembed",
        "Eq. 2",
        "false negatives: more similar than δ to the positive, left out",
        ("nyx_hf.trainer.loss_masks.FalseNegatives",),
    ),
    PaperEntry(
        "rzenembed",
        "Eq. 3-4",
        "hardness weights exp(α sim) of the negatives",
        ("nyx_hf.trainer.loss_contrastive.ContrastiveLoss",),
    ),
    PaperEntry(
        "rzenembed",
        "Eq. 5",
        "a learned temperature for each task, exp θ",
        ("nyx_hf.trainer.loss_temperature.Temperature",),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.1",
        "image pairs cleaned, and described anew by a model",
        ("nyx_hf.data_builders.image_text.improved",),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.2",
        "batches of one dataset, classification sets merged, at most 100,000 rows a dataset",
        ("nyx_hf.trainer.samplers.MixtureSampler", "nyx_hf.trainer.dataset_specs.DatasetSpec"),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.2",
        "long videos cut into described clips, each other's hard negatives",
        ("nyx_hf.data_builders.video_text.VideoTextBuilder",),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.3",
        "seven tasks, each with a temperature of its own: the tasks of MMEB's sets",
        ("nyx_hf.data_builders.mmeb_sets.group_of",),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.4",
        "system prompt and representation prompts",
        ("nyx_hf.modeling.templates_nyx.chat_template", "nyx_hf.modeling.configuration_nyx.preset_settings"),
    ),
    PaperEntry(
        "rzenembed",
        "§3.4.5",
        "souping: adapters of several mixtures made one",
        ("nyx_hf.trainer.souping.make_soup",),
    ),
    PaperEntry(
        "rzenembed",
        "§4.2",
        "LoRA on all linear layers of language model and vision tower",
        ("nyx_hf.trainer.adapters.lora_targets",),
    ),
    PaperEntry(
        "rzenembed",
        "§4.4",
        "datasets resampled by how their loss falls",
        ("nyx_hf.trainer.resampling.ResampledSampler",),
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
