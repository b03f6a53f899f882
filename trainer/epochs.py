"""Tells the sampler where training stands."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nyx_hf.trainer.distributed import process_index
from nyx_hf.trainer.resampling import ResampledSampler
from nyx_hf.trainer.samplers import MixtureSampler, Source
from nyx_hf.trainer.training_logs import DatasetLosses

_FILE = "sampler.json"


class FollowEpochs(TrainerCallback):
    """Tells the sampler the epoch, and after each round how large the losses were.

    Args:
        sources: where the rows come from.
    """

    def __init__(self, sources: list[Source]) -> None:
        self.sampler: Sampler[int] | None = None
        self._group = {source.name: source.group or source.name for source in sources}
        self._losses = DatasetLosses(list(dict.fromkeys(self._group.values())))

    def add(self, datasets: list[str], losses: Tensor) -> None:
        """Adds the losses of a batch's rows, where the sampler goes by them.

        Args:
            datasets: the dataset of each row.
            losses: (R,) their losses.
        """
        if isinstance(self.sampler, ResampledSampler):
            self._losses.add([self._group[name] for name in datasets], losses)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the epoch; a resumed run of several processes would start with the first one's order."""
        epoch = int(state.epoch or 0)
        if isinstance(self.sampler, MixtureSampler):
            self.sampler.set_epoch(epoch)
        if isinstance(self.sampler, ResampledSampler) and self.sampler.round < epoch:
            self.sampler.finish_round(self._losses.means(args.device))
            self._losses.clear()

    def save(self, folder: str | Path, args: TrainingArguments) -> None:
        """Writes what the sampler depends on; call it on all processes.

        Args:
            folder: the checkpoint's folder.
            args: training arguments.
        """
        if isinstance(self.sampler, ResampledSampler):
            sums = self._losses.of_processes(args.device)
            if args.should_save:
                state = {**self.sampler.state_dict(), "losses": sums.tolist()}
                (Path(folder) / _FILE).write_text(json.dumps(state), encoding="utf-8")

    def resume(self, folder: str | Path) -> None:
        """Goes on from a checkpoint.

        Args:
            folder: its folder.
        """
        if isinstance(self.sampler, ResampledSampler):
            state = json.loads((Path(folder) / _FILE).read_text(encoding="utf-8"))
            self.sampler.load_state_dict(state)
            self._losses.start_from(torch.tensor(state["losses"][process_index()], dtype=torch.float64))
