"""Training what an objective learns itself: its temperatures, or whatever parameters an own one has.

They are a handful of numbers outside the model, so they have an optimizer of their own. It makes no difference to them
how the model is spread over processes: their gradients are averaged over all, and every process does the same step.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback

from nyx_hf.trainer.distributed import world_size
from nyx_hf.trainer.loss_batch import Objective

OBJECTIVE_FILE = "objective.safetensors"
_OPTIMIZER_FILE = "objective_optimizer.pt"


class ObjectiveTraining(TrainerCallback):
    """Steps an objective's parameters along with the model's.

    Args:
        objective: what is minimised; nothing is done where it has no parameters.
        learning_rate: at the top of the schedule.
        schedule: gives the present learning rate as a share of the one at the top.
    """

    def __init__(self, objective: Objective, learning_rate: float, schedule: Callable[[], float]) -> None:
        self.objective = objective
        self.parameters = {name: value for name, value in objective.named_parameters() if value.requires_grad}
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=learning_rate) if self.parameters else None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Averages the gradients over the processes and steps, just before the model does."""
        if self.optimizer is None:
            return
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # of a task that is not in this batch
            if world_size() > 1:
                dist.all_reduce(parameter.grad)
                parameter.grad /= world_size()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self.schedule()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, folder: str | Path) -> None:
        """Writes the parameters, for whoever goes on from this model.

        Args:
            folder: the model's folder; nothing is written where there are none.
        """
        if self.parameters:
            values = {name: value.detach().cpu().clone() for name, value in self.parameters.items()}
            save_file(values, Path(folder) / OBJECTIVE_FILE)

    def save_optimizer(self, folder: str | Path) -> None:
        """Writes the optimizer's state, to resume from.

        Args:
            folder: the checkpoint's folder.
        """
        if self.optimizer is not None:
            torch.save(self.optimizer.state_dict(), Path(folder) / _OPTIMIZER_FILE)

    def resume(self, folder: str | Path) -> None:
        """Goes on from a checkpoint.

        Args:
            folder: the checkpoint's folder.

        Raises:
            ValueError: it holds parameters of another objective.
        """
        if self.optimizer is None:
            return
        saved = load_objective(folder)
        if set(saved) != set(self.parameters):
            raise ValueError(
                f"{folder} holds the objective's parameters {', '.join(sorted(saved)) or 'none'}, but this run trains "
                f"{', '.join(sorted(self.parameters))}; resume with the recipe that the run began with"
            )
        self._set(saved)
        self.optimizer.load_state_dict(torch.load(Path(folder) / _OPTIMIZER_FILE, weights_only=True))

    def start_from(self, saved: dict[str, Tensor]) -> list[str]:
        """Starts from what the stage before learned; parameters that it has not stay as they are.

        A single temperature starts those of all tasks.

        Args:
            saved: the contents of `objective.safetensors`.

        Returns:
            The names of the parameters that were set.
        """
        single = {name.removesuffix(".all"): value for name, value in saved.items() if name.endswith("log.all")}
        found = {}
        for name in self.parameters:
            value = saved.get(name, single.get(name.rpartition(".")[0]))
            if value is not None:
                found[name] = value
        self._set(found)
        return sorted(found)

    def _set(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.parameters[name].copy_(value)


def load_objective(folder: str | Path | None) -> dict[str, Tensor]:
    """Reads what an objective learned.

    Args:
        folder: a model's or a checkpoint's folder.

    Returns:
        Its parameters by name; empty where it learned nothing.
    """
    path = Path(folder or "") / OBJECTIVE_FILE
    return load_file(path) if path.is_file() else {}
