"""Which rows make a batch: the arguments, and the sampler they describe."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from torch.utils.data import Sampler

from nyx_hf.trainer.import_paths import imported
from nyx_hf.trainer.resampling import ResampledSampler
from nyx_hf.trainer.samplers import BATCHINGS, MixtureSampler
from nyx_hf.trainer.training_rows import TrainingRows

SamplerFactory: TypeAlias = Callable[[TrainingRows, int, int], Sampler[int]]  # rows, global batch size, seed


@dataclass
class BatchArguments:
    """Which rows make a batch, and what of each is used.

    Args:
        positives_per_query: right documents of a row that are used, at most.
        negatives_per_query: hard negatives of a row that are used, at most.
        gather_negatives: take the documents of all processes as candidates, with gradients.
        unique_positives: no two rows of a global batch share a positive document.
        batching: `mixed` draws a batch from all datasets, `single` from one (or one group of them), `interleaved`
            makes it of sub-batches from one each.
        sub_batch_size: rows in a sub-batch; it divides the batch of a device.
        resample_steps: every so many steps, take from datasets whose loss falls slowly more often.
        sampler: import path of an own sampler: called with the rows, the global batch size and the seed.
    """

    positives_per_query: int = field(default=1, metadata={"help": "Right documents of a row that are used, at most."})
    negatives_per_query: int = field(default=1, metadata={"help": "Hard negatives of a row that are used, at most."})
    gather_negatives: bool = field(
        default=True, metadata={"help": "Take the documents of all processes as candidates, with gradients."}
    )
    unique_positives: bool = field(
        default=True, metadata={"help": "No two rows of a global batch share a positive document."}
    )
    batching: str = field(default="mixed", metadata={"help": "mixed | single | interleaved."})
    sub_batch_size: int | None = field(
        default=None, metadata={"help": "Rows of one dataset in a row, for batching=interleaved."}
    )
    resample_steps: int | None = field(
        default=None, metadata={"help": "Every so many steps, take slowly learned datasets more often."}
    )
    sampler: str | None = field(default=None, metadata={"help": "Import path of an own sampler."})

    def check_batches(self) -> None:
        """Refuses values that make no batch.

        Raises:
            ValueError: a value is out of range, or values do not go together.
        """
        if self.negatives_per_query < 0 or self.positives_per_query < 1:
            raise ValueError(
                f"positives_per_query is {self.positives_per_query}, negatives_per_query {self.negatives_per_query}; "
                "a row has 1 positive or more, and 0 hard negatives or more"
            )
        if self.batching not in BATCHINGS:
            raise ValueError(f"batching is {self.batching!r}; it is {' | '.join(BATCHINGS)}")
        if (self.batching == "interleaved") != (self.sub_batch_size is not None):
            raise ValueError("sub_batch_size and batching=interleaved go together: give both or neither")
        if self.resample_steps is not None and (self.resample_steps < 1 or self.batching != "single"):
            raise ValueError(
                f"resample_steps is {self.resample_steps} and batching {self.batching}; it is 1 or more and "
                "needs batching=single"
            )
        if self.sampler is not None and (self.resample_steps is not None or self.batching != "mixed"):
            raise ValueError("an own sampler settles all batches: leave batching and resample_steps out")


def build_sampler(
    rows: TrainingRows,
    arguments: BatchArguments,
    batch_size: int,
    *,
    seed: int,
    drop_last: bool,
    accumulation_steps: int = 1,
) -> Sampler[int]:
    """Makes the sampler that arguments describe.

    Args:
        rows: what is sampled.
        arguments: the settings.
        batch_size: rows in a global batch.
        seed: of the order.
        drop_last: leave out the rows that fill no batch.
        accumulation_steps: batches in a step.

    Returns:
        The sampler.

    Raises:
        ValueError: the rows do not fill a batch, or the own sampler cannot be imported.
    """
    if arguments.sampler is not None:
        factory: SamplerFactory = imported(arguments.sampler)
        return factory(rows, batch_size, seed)
    sampler = MixtureSampler(
        rows.positives() if arguments.unique_positives else None,
        rows.sources(),
        batch_size,
        batching=arguments.batching,
        sub_batch_size=arguments.sub_batch_size,
        seed=seed,
        drop_last=drop_last,
    )
    if arguments.resample_steps is None:
        return sampler
    return ResampledSampler(sampler, arguments.resample_steps * accumulation_steps)
