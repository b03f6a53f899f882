"""Temperatures: fixed, learned, or learned one a task."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_ALL = "all"  # name of the one temperature where tasks have none of their own


class Temperature(nn.Module):
    """Divides cosine similarities; sentence-transformers' `scale` is its reciprocal.

    A learned temperature is τ = exp θ, so that it stays positive whatever θ does. With tasks, each has a θ of its own:
    τ_t = exp θ_t.

    References:
        RzenEmbed, §3.4.3, Eq. 5. U-MARVEL, finding 4 and Table 12 (one learned temperature).

    Args:
        initial: where temperatures start, or stay.
        learnable: train θ; else the temperature is fixed.
        tasks: names of the tasks that have one each; none means one for all.

    Raises:
        ValueError: a temperature is not a positive number, a task is named twice, or tasks are given to a fixed one.
    """

    def __init__(self, initial: float = 0.02, *, learnable: bool = False, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        if not 0 < initial < math.inf:
            raise ValueError(f"temperature is {initial}; it divides cosine similarities and must be positive")
        twice = sorted({task for task in tasks if list(tasks).count(task) > 1})
        if twice:
            raise ValueError(f"two tasks have the name {twice[0]!r}; give each task with a temperature its own name")
        if tasks and not learnable:
            raise ValueError(
                f"temperature is fixed, but the tasks {', '.join(tasks)} are to have their own; "
                "set learn_temperature=true or leave the tasks out"
            )
        self.initial = initial
        self.tasks = tuple(tasks)
        names = (self.tasks or (_ALL,)) if learnable else ()
        self.log = nn.ParameterDict({name: torch.tensor(math.log(initial)) for name in names})  # θ by task

    @property
    def learnable(self) -> bool:
        """Whether θ is trained."""
        return len(self.log) > 0

    def inverse(self, task: Tensor | None, rows: int) -> Tensor:
        """Gives what similarities are multiplied by.

        Args:
            task: (rows,) number of each row's task among `tasks`; unused where one temperature serves all.
            rows: how many rows.

        Returns:
            1 / τ of each row, (rows,), with a gradient for θ where it is learned.

        Raises:
            ValueError: tasks have temperatures of their own, and the rows' tasks were not given.
        """
        if not self.learnable:
            return torch.full((rows,), 1 / self.initial, dtype=torch.float64)
        inverse = torch.stack([-theta for theta in self.log.values()]).exp()  # (tasks or 1,)
        if not self.tasks:
            return inverse.expand(rows)
        if task is None:
            raise ValueError(f"each row needs a task, one of {', '.join(self.tasks)}; this batch names none")
        return inverse[task]  # (rows,)

    def values(self) -> dict[str, float]:
        """Gives the temperatures by name, for logs and cards.

        Returns:
            `temperature`, or `temperature_<task>` for each task.
        """
        if not self.learnable:
            return {"temperature": self.initial}
        return {
            f"temperature_{name}" if self.tasks else "temperature": theta.detach().exp().item()
            for name, theta in self.log.items()
        }
