"""Stages 2 and 3 of NyxQA for one batch of chunks: raw pairs, the rule filter, refinement, distractors (Nyx §3.2)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nyx_hf.data_builders.generators import PairGenerator
from nyx_hf.data_builders.pair_rules import rule_of
from nyx_hf.data_builders.schema import Row

Preset = Literal["paper", "official"]


@dataclass(frozen=True)
class Asking:
    """Turns chunks into finished pairs; what falls by the wayside stays in as rows with `dropped`.

    The paper filters raw pairs by rules and then refines them; the authors' code refines first.

    Attributes:
        generator: Makes, refines and completes pairs.
        preset: Whose order and rules.
    """

    generator: PairGenerator
    preset: Preset = "paper"

    def __call__(self, chunks: Sequence[Row]) -> list[list[Row]]:
        """Asks about chunks.

        Args:
            chunks: Rows of `CHUNK`.

        Returns:
            Rows of `PAIR` for each chunk.
        """
        asked = _Asked(chunks)
        asked.take(self.generator.pairs(chunks))
        refine, rules = self.generator.refine, self._by_rules
        for step in (refine, rules) if self.preset == "official" else (rules, refine, rules):
            asked.through(step)
        asked.through(self.generator.distract)
        return asked.rows()

    def _by_rules(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        return [
            [{**pair, "dropped": rule_of(pair, chunk, self.preset)}] for pair, chunk in zip(pairs, chunks, strict=True)
        ]


class _Asked:
    """Pairs on their way, by chunk: those alive, and those dropped."""

    def __init__(self, chunks: Sequence[Row]) -> None:
        self._chunks = chunks
        self._pairs: list[list[Row]] = [[] for _ in chunks]
        self._dropped: list[list[Row]] = [[] for _ in chunks]

    def take(self, outcomes: Sequence[Sequence[Row]]) -> None:
        """Takes each chunk's pairs."""
        for number, rows in enumerate(outcomes):
            self._sort(number, rows)

    def through(self, step: Callable[[Sequence[Row], Sequence[Row]], list[list[Row]]]) -> None:
        """Sends all pairs that are alive through a step, together."""
        alive = list(self._alive())
        self._pairs = [[] for _ in self._chunks]
        outcomes = step([pair for _, pair in alive], [self._chunks[number] for number, _ in alive])
        for (number, _), rows in zip(alive, outcomes, strict=True):
            self._sort(number, rows)

    def rows(self) -> list[list[Row]]:
        """Gives each chunk's pairs, and behind them what was dropped."""
        return [alive + dropped for alive, dropped in zip(self._pairs, self._dropped, strict=True)]

    def _alive(self) -> Iterator[tuple[int, Row]]:
        for number, pairs in enumerate(self._pairs):
            for pair in pairs:
                yield number, pair

    def _sort(self, number: int, rows: Sequence[Row]) -> None:
        for row in rows:
            (self._pairs if row["dropped"] is None else self._dropped)[number].append(row)
