"""Training arguments: transformers' own and those of retrieval."""

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from nyx_hf.trainer.adapters import AdapterArguments
from nyx_hf.trainer.batching import BatchArguments
from nyx_hf.trainer.chunks import ChunkArguments
from nyx_hf.trainer.objective import ObjectiveArguments


@dataclass
class NyxTrainingArguments(ObjectiveArguments, BatchArguments, ChunkArguments, AdapterArguments, TrainingArguments):
    """Arguments of `NyxTrainer`: those of the objective, of batches, of chunks, of adapters, and transformers' own.

    Defaults that differ from `TrainingArguments`:

    - `remove_unused_columns=False`: rows are contents, not columns of tensors.
    - `dataloader_drop_last=True`: a last, smaller batch has fewer negatives, and processes could not share it evenly.
    - `ddp_find_unused_parameters=False`: a step is several forward passes, which that search cannot follow;
      `NyxTrainer` gives every trainable parameter a gradient instead, zero where the batch does not reach it.
    - `ddp_broadcast_buffers=False`: buffers are constants, and rewriting them between the forward passes breaks the
      backward pass.
    - `logging_nan_inf_filter=False`: a loss that is not finite ends the run and is not glossed over.

    Args:
        eval_ks: cut-offs of the metrics during training, such as `eval_recall@1`.
        early_stopping_patience: end after so many evaluations in a row without a better `metric_for_best_model`.
    """

    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Rows are contents, not columns of tensors: nothing is removed."}
    )
    dataloader_drop_last: bool = field(default=True, metadata={"help": "Drop the last, smaller batch."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Must stay false: every trainable parameter gets a gradient."}
    )
    ddp_broadcast_buffers: bool | None = field(
        default=False, metadata={"help": "Must stay false: a step is several forward passes."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Unused: a loss that is not finite ends the run."}
    )
    eval_ks: list[int] = field(
        default_factory=lambda: [1, 5, 10], metadata={"help": "Cut-offs of the metrics during training."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "End after so many evaluations in a row that were no better."}
    )

    def __post_init__(self) -> None:
        """Refuses values that contradict each other, before any time is spent.

        Raises:
            ValueError: a value is out of range.
        """
        self.check_batches()
        self.check_chunks()
        self.check_adapter()
        if not self.eval_ks or min(self.eval_ks) < 1:
            raise ValueError(f"eval_ks is {self.eval_ks}; give one or more cut-offs, each at least 1")
        super().__post_init__()
        _check_combinations(self)


def _check_combinations(args: NyxTrainingArguments) -> None:
    """Refuses values that do not go together."""
    if args.ddp_find_unused_parameters is not False or args.ddp_broadcast_buffers is not False:
        raise ValueError(
            "ddp_find_unused_parameters and ddp_broadcast_buffers must stay false: a step is several forward passes, "
            "and both break it"
        )
    if args.merge_lora and args.push_to_hub and args.hub_strategy != HubStrategy.END:
        raise ValueError(
            "merge_lora saves adapters in checkpoints and a whole model at the end: a repo cannot hold both, "
            "so push with hub_strategy=end"
        )
    if args.learn_temperature and args.fp16:
        raise ValueError("learn_temperature and fp16 do not go together: fp16 scales gradients; use bf16=true")
    if args.early_stopping_patience is not None and not args.load_best_model_at_end:
        raise ValueError("early_stopping_patience needs load_best_model_at_end=true, so that the best is kept")
    if args.sub_batch_size is not None and args.per_device_train_batch_size % args.sub_batch_size:
        raise ValueError(
            f"sub_batch_size {args.sub_batch_size} does not divide per_device_train_batch_size "
            f"{args.per_device_train_batch_size}; sub-batches fill a device's batch"
        )
