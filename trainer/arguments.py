"""Training arguments: transformers' own and those of retrieval."""

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

LORA_TARGETS = ("language", "all")


@dataclass
class NyxTrainingArguments(TrainingArguments):
    """Arguments of `NyxTrainer`.

    Defaults that differ from `TrainingArguments`:

    - `remove_unused_columns=False`: rows are contents, not columns of tensors.
    - `dataloader_drop_last=True`: a last, smaller batch has fewer negatives, and processes could not share it evenly.
    - `ddp_find_unused_parameters=False`: a step is two forward passes and one backward, which that search cannot
      follow; `NyxTrainer` gives every trainable parameter a gradient instead, zero where the batch does not reach it.
    - `ddp_broadcast_buffers=False`: buffers are constants, and rewriting them between the two forward passes breaks
      the backward pass.

    Args:
        temperature: divides cosine similarities (never its reciprocal).
        matryoshka_dims: trained prefix lengths of the embeddings; None takes the model's `nyx` settings.
        matryoshka_weights: a weight each, divided by their sum; None takes those of the model's `nyx` settings where
            `matryoshka_dims` is None too, else weighs all alike.
        shared_negatives: score a query against the hard negatives of other queries too.
        negatives_per_query: hard negatives of a row that are used, at most.
        gather_negatives: take the documents of all processes as candidates, with gradients.
        unique_positives: no two rows of a global batch share a positive document.
        use_lora: train a LoRA adapter instead of the model's own weights.
        lora_r: rank of the adapter.
        lora_alpha: its updates are scaled by lora_alpha / lora_r.
        lora_dropout: dropout before the adapter.
        lora_target: the linear layers that get one: of the `language` model, or `all` (with the vision tower).
        merge_lora: save the model with the adapter merged in at the end, a whole model; checkpoints stay adapters.
        freeze_vision: leave the vision tower and its projection as they are.
        eval_ks: cut-offs of the metrics during training, such as `eval_recall@1`.
    """

    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Rows are contents, not columns of tensors: nothing is removed."}
    )
    dataloader_drop_last: bool = field(default=True, metadata={"help": "Drop the last, smaller batch."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Must stay false: every trainable parameter gets a gradient."}
    )
    ddp_broadcast_buffers: bool | None = field(
        default=False, metadata={"help": "Must stay false: a step is two forward passes."}
    )
    temperature: float = field(default=0.02, metadata={"help": "Divides cosine similarities."})
    matryoshka_dims: list[int] | None = field(
        default=None, metadata={"help": "Trained prefix lengths; left out, those of the model's settings."}
    )
    matryoshka_weights: list[float] | None = field(
        default=None, metadata={"help": "A weight each, divided by their sum."}
    )
    shared_negatives: bool = field(
        default=False, metadata={"help": "Score queries against other queries' hard negatives too."}
    )
    negatives_per_query: int = field(default=1, metadata={"help": "Hard negatives of a row that are used, at most."})
    gather_negatives: bool = field(
        default=True, metadata={"help": "Take the documents of all processes as candidates, with gradients."}
    )
    unique_positives: bool = field(
        default=True, metadata={"help": "No two rows of a global batch share a positive document."}
    )
    use_lora: bool = field(default=False, metadata={"help": "Train a LoRA adapter."})
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapter."})
    lora_alpha: int = field(default=16, metadata={"help": "Its updates are scaled by lora_alpha / lora_r."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter."})
    lora_target: str = field(
        default="language", metadata={"help": "Linear layers that get one: `language`, or `all` (vision too)."}
    )
    merge_lora: bool = field(
        default=False, metadata={"help": "Save a whole model at the end, with the adapter merged in."}
    )
    freeze_vision: bool = field(default=False, metadata={"help": "Leave the vision tower as it is."})
    eval_ks: list[int] = field(
        default_factory=lambda: [1, 5, 10], metadata={"help": "Cut-offs of the metrics during training."}
    )

    def __post_init__(self) -> None:
        """Refuses values that contradict each other, before any time is spent.

        Raises:
            ValueError: a value is out of range.
        """
        _check_ranges(self)
        super().__post_init__()
        _check_combinations(self)


def _check_ranges(args: NyxTrainingArguments) -> None:
    """Refuses single values; the objective's own are checked where it is built."""
    if args.negatives_per_query < 0:
        raise ValueError(f"negatives_per_query is {args.negatives_per_query}; it is 0 or more")
    if args.lora_target not in LORA_TARGETS:
        raise ValueError(f"lora_target is {args.lora_target!r}; it is one of {' | '.join(LORA_TARGETS)}")
    if args.lora_r < 1 or args.lora_alpha <= 0 or not 0 <= args.lora_dropout < 1:
        raise ValueError(
            f"lora_r is {args.lora_r}, lora_alpha {args.lora_alpha}, lora_dropout {args.lora_dropout}; "
            "rank and alpha are above 0, dropout is at least 0 and below 1"
        )
    if not args.eval_ks or min(args.eval_ks) < 1:
        raise ValueError(f"eval_ks is {args.eval_ks}; give one or more cut-offs, each at least 1")


def _check_combinations(args: NyxTrainingArguments) -> None:
    """Refuses values that do not go together."""
    if args.ddp_find_unused_parameters is not False or args.ddp_broadcast_buffers is not False:
        raise ValueError(
            "ddp_find_unused_parameters and ddp_broadcast_buffers must stay false: a step is two forward passes and "
            "one backward, and both break it"
        )
    if args.merge_lora and not args.use_lora:
        raise ValueError("merge_lora merges an adapter: it needs use_lora=true")
    if args.merge_lora and args.push_to_hub and args.hub_strategy != HubStrategy.END:
        raise ValueError(
            "merge_lora saves adapters in checkpoints and a whole model at the end: a repo cannot hold both, "
            "so push with hub_strategy=end"
        )
    if args.use_lora and args.freeze_vision and args.lora_target == "all":
        raise ValueError("freeze_vision and lora_target=all contradict each other; take lora_target=language")
