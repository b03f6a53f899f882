"""What is gathered between two lines of a training log."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nyx_hf.trainer.distributed import gather_rows


class TrainingLogs:
    """Sums up losses, shares and throughput since the last log line, over all processes.

    Every process must log the same names, and call each method as often.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = defaultdict(list)
        self._counts = torch.zeros(2, dtype=torch.float64)  # tokens, images and videos
        self._since = time.perf_counter()

    def add(self, logs: Mapping[str, Tensor], scale: float) -> None:
        """Adds an objective's logs.

        Args:
            logs: detached scalars.
            scale: what this process counts (`EmbeddedBatch.scale`).
        """
        for name, value in logs.items():
            self._values[name].append(value.detach() * scale)

    def count(self, features: Sequence[Mapping[str, Any]]) -> None:
        """Counts the tokens and images of a step.

        Args:
            features: tensors of the queries and of the documents.
        """
        for side in features:
            self._counts[0] += int(side["attention_mask"].sum())
            self._counts[1] += sum(len(side[grid]) for grid in ("image_grid_thw", "video_grid_thw") if grid in side)

    def pause(self, since: float) -> None:
        """Leaves time out of the throughput, such as that of an evaluation.

        Args:
            since: when it began, by `time.perf_counter`.
        """
        self._since += time.perf_counter() - since

    def drain(self, device: torch.device) -> dict[str, float]:
        """Gives means and throughput, and begins anew.

        Args:
            device: where the process group's backend wants its tensors.

        Returns:
            The mean of each name over steps and processes, `tokens_per_second` and `images_per_second` of all
            processes together.
        """
        means: dict[str, float] = {}
        if self._values:
            stacked = torch.stack([torch.stack(values).mean().float() for values in self._values.values()])  # (names,)
            everywhere = gather_rows(stacked[None].to(device)).mean(dim=0)  # (names,)
            means = dict(zip(self._values, everywhere.tolist(), strict=True))
        tokens, images = gather_rows(self._counts[None].float().to(device)).sum(dim=0).tolist()
        seconds = max(time.perf_counter() - self._since, 1e-9)
        self._values.clear()
        self._counts.zero_()
        self._since = time.perf_counter()
        return {
            **means,
            "tokens_per_second": round(tokens / seconds, 1),
            "images_per_second": round(images / seconds, 2),
        }


class DatasetLosses:
    """The mean loss of each dataset's rows, or group's, since it was last asked for.

    Args:
        names: of the datasets.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._place = {name: place for place, name in enumerate(names)}
        self._sums = torch.zeros(len(names), 2, dtype=torch.float64)  # loss, rows

    def add(self, datasets: Sequence[str], losses: Tensor) -> None:
        """Adds the rows of a batch.

        Args:
            datasets: the dataset of each row.
            losses: (R,) their losses.
        """
        places = torch.tensor([self._place[name] for name in datasets])
        amounts = torch.stack([losses.detach().cpu().double(), torch.ones(len(places), dtype=torch.float64)], dim=1)
        self._sums.index_add_(0, places, amounts)

    def means(self, device: torch.device) -> dict[str, float]:
        """Gives the means over all processes.

        Args:
            device: where the process group's backend wants its tensors.

        Returns:
            The mean loss of each dataset that had a row.
        """
        total = self.of_processes(device).sum(dim=0)  # (datasets, 2)
        return {name: loss / rows for name, (loss, rows) in zip(self.names, total.tolist(), strict=True) if rows > 0}

    def of_processes(self, device: torch.device) -> Tensor:
        """Gives the sums of each process, to go on from: (W, datasets, 2) on the CPU."""
        return gather_rows(self._sums[None].to(device)).cpu()

    def start_from(self, sums: Tensor) -> None:
        """Goes on from sums.

        Args:
            sums: (datasets, 2) of this process.
        """
        self._sums = sums.to(torch.float64).clone()

    def clear(self) -> None:
        """Begins anew."""
        self._sums.zero_()
