"""What scores pairs of a query and a document, and its scores on disk: nothing is asked twice, nor lost in a kill."""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from huggingface_hub import constants

from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.schema import Row, present_parts

SCORES = Path(constants.HF_HOME) / "nyx_hf" / "scores"
Content = Sequence[Row]
"""A content's stored parts."""


class PairScorer(Protocol):
    """Scores documents for a query."""

    @property
    def name(self) -> str:
        """What it is, with its revision."""
        ...

    def scores(self, query: Content, documents: Sequence[Content], instruction: str | None = None) -> np.ndarray:
        """Scores the documents: float32 (n,), higher for what fits better."""
        ...


class ScoreCache:
    """A scorer that asks another only what it has not scored yet.

    Each query's scores are appended as one line to a file of this process's own; a line that a kill cut off is not
    read.

    Args:
        scorer: Who is asked.
        folder: Where all scorers' scores are kept.
    """

    def __init__(self, scorer: PairScorer, folder: Path = SCORES) -> None:
        self._scorer = scorer
        self._folder = folder / content_hash(scorer.name)[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._known = dict(_kept(self._folder))
        self.asked = 0
        """Pairs that the scorer was asked about."""

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self._scorer.name

    def scores(self, query: Content, documents: Sequence[Content], instruction: str | None = None) -> np.ndarray:
        """Scores documents, asking about those that are new.

        Args:
            query: The query's stored parts.
            documents: The documents' stored parts.
            instruction: The query's instruction.

        Returns:
            Scores, float32 (n,), in order.
        """
        keys = self.keys(query, documents, instruction)
        fresh = {key: document for key, document in zip(keys, documents, strict=True) if key not in self._known}
        if fresh:
            found = self._scorer.scores(query, list(fresh.values()), instruction)
            scored = dict(zip(fresh, map(float, found), strict=True))
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(scored) + "\n")
            self._known |= scored
            self.asked += len(scored)
        return np.array([self._known[key] for key in keys], np.float32)

    def keys(self, query: Content, documents: Sequence[Content], instruction: str | None = None) -> list[str]:
        """Tells pairs by what they hold: a hash each."""
        asked = content_hash([instruction, present_parts(query)])
        return [content_hash([asked, present_parts(document)]) for document in documents]


def _kept(folder: Path) -> Iterator[tuple[str, float]]:
    """Reads all scores of a folder."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield from json.loads(line).items()
