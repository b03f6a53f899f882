"""Sampling by how fast each dataset's loss falls."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import Sampler

from nyx_hf.trainer.samplers import MixtureSampler
from nyx_hf.trainer.unique_batches import Batch

_MOST = 4.0  # a dataset is seen at most so many times as often, or as seldom, as its own share


class ResampledSampler(Sampler[int]):
    """Takes batches from the datasets whose loss falls slowly more often, in rounds.

    RzenEmbed "increase[s] the sampling ratio" of what converges slower; the paper gives no formula, so this is ours:
    after each round a dataset's share is its share among the rows times l / l̄, where l is its loss of the last round
    relative to that of its first, and l̄ the mean of that over the datasets; from a quarter to four times its share.

    A round is an epoch to the Trainer. What the next round looks like depends on `state_dict` alone, which is saved
    with each checkpoint. Batches of a dataset are taken in its own order; once they are used up, its next epoch
    begins.

    References:
        RzenEmbed, §4.4, "Effect of Dataset Resampling", Table 3.

    Args:
        mixture: the datasets and their batches, with batching `single`.
        batches: batches in a round.

    Raises:
        ValueError: batches are not of one dataset each.
    """

    def __init__(self, mixture: MixtureSampler, batches: int) -> None:
        if mixture.batching != "single":
            raise ValueError(f"resample_steps needs batching=single, found {mixture.batching}")
        if batches < 1:
            raise ValueError(f"a round of {batches} batches holds nothing; resample_steps is 1 or more")
        self.mixture = mixture
        self.batches_in_round = batches
        self.round = 0
        self.groups = {name: group for name, group in mixture.groups.items() if len(group)}
        self.taken = dict.fromkeys(self.groups, 0)  # batches of each group before this round
        self.shares = {name: len(group) / self.total_batches for name, group in self.groups.items()}
        self.first_losses: dict[str, float] = {}
        self._kept: dict[str, tuple[int, list[Batch]]] = {}

    @property
    def total_batches(self) -> int:
        """Batches of all datasets once."""
        return sum(len(group) for group in self.groups.values())

    def __len__(self) -> int:
        return self.batches_in_round * self.mixture.batch_size

    def __iter__(self) -> Iterator[int]:
        for name, number in self._plan():
            yield from self._batch(name, number)

    def finish_round(self, losses: Mapping[str, float]) -> None:
        """Goes to the next round.

        Args:
            losses: mean loss in the round by group; a group that was not seen keeps its share.
        """
        for name, _ in self._plan():
            self.taken[name] += 1
        self.round += 1
        for name, loss in losses.items():
            self.first_losses.setdefault(name, loss)
        relative = {
            name: loss / self.first_losses[name] for name, loss in losses.items() if self.first_losses[name] > 0
        }
        mean = sum(relative.values()) / len(relative) if relative else 0.0
        for name, value in relative.items() if mean > 0 else ():
            factor = min(_MOST, max(1 / _MOST, value / mean))
            self.shares[name] = factor * len(self.groups[name]) / self.total_batches

    def state_dict(self) -> dict[str, Any]:
        """Gives what the rounds from here on depend on, as JSON keeps it.

        Returns:
            Round, batches taken, shares and first losses.
        """
        return {
            "round": self.round,
            "taken": dict(self.taken),
            "shares": dict(self.shares),
            "first_losses": dict(self.first_losses),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state.

        Args:
            state: as `state_dict` gives it.

        Raises:
            ValueError: it is of other datasets.
        """
        if set(state["taken"]) != set(self.groups):
            raise ValueError(
                f"the checkpoint was sampled from {', '.join(sorted(state['taken']))}, now there are "
                f"{', '.join(sorted(self.groups))}; resume with the same datasets"
            )
        self.round = state["round"]
        self.taken, self.shares = dict(state["taken"]), dict(state["shares"])
        self.first_losses = dict(state["first_losses"])

    def _plan(self) -> list[tuple[str, int]]:
        """The group of each batch of the round, and the batch's number in the group."""
        total = sum(self.shares.values())
        exact = {name: self.batches_in_round * share / total for name, share in self.shares.items()}
        counts = {name: int(number) for name, number in exact.items()}
        missing = self.batches_in_round - sum(counts.values())
        for name in sorted(exact, key=lambda name: (counts[name] - exact[name], name))[:missing]:
            counts[name] += 1  # the largest remainders
        names = [name for name, count in counts.items() for _ in range(count)]
        random.Random(f"round {self.mixture.seed} {self.round}").shuffle(names)
        number = dict(self.taken)
        plan = []
        for name in names:
            plan.append((name, number[name]))
            number[name] += 1
        return plan

    def _batch(self, name: str, number: int) -> Batch:
        epoch, place = divmod(number, len(self.groups[name]))
        return self._epoch(name, epoch)[place]

    def _epoch(self, name: str, epoch: int) -> list[Batch]:
        """A group's batches of one epoch of its own; the last one asked for is kept."""
        kept = self._kept.get(name)
        if kept is None or kept[0] != epoch:
            kept = self._kept[name] = (epoch, self.groups[name].epoch(epoch))
        return kept[1]
