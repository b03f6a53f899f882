"""What `nyx-hf feedback` tells of its run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate


@dataclass
class FeedbackDataset:
    """What gathering feedback came to.

    Attributes:
        folder: The dataset that was written.
        split: The split whose triplets are new.
        triplets: How many there are.
        dropped: Queries left out, by reason.
        windows: Windows of documents: in all, those asked about, and those saved, their queries being decided before.
        requests: What a model was sent for these, and what it had answered before; none for other answerers.
        failures: Windows without an answer, by reason.
        cut: What of the documents did not fit, by kind.
        sent_to: The answerer, where questions and documents left this machine.
    """

    folder: Path
    split: str
    triplets: int
    dropped: dict[str, int] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    sent_to: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**vars(self), "folder": str(self.folder)}

    def as_text(self) -> str:
        """Gives it as tables."""
        queries = self.triplets + sum(self.dropped.values())
        lost = [(why, f"{count:,}", f"{count / max(1, queries):.1%}") for why, count in self.dropped.items()]
        tables = [
            tabulate([(self.split, f"{self.triplets:,}")], ("split", "triplets"), colalign=("left", "right")),
            tabulate(lost, ("left out", "how many", "of all queries"), colalign=("left", "right", "right")),
            _table(self.windows, "windows of documents"),
            _table(self.requests, "requests"),
            _table(self.failures, "no answer"),
            _table(self.cut, "did not fit"),
        ]
        sent = [] if self.sent_to is None else [f"questions and documents were sent to {self.sent_to}"]
        return "\n\n".join([*(table for table in tables if table), *sent, f"wrote {self.folder}"])


def _table(counts: Mapping[str, int], title: str) -> str:
    rows = [(name, f"{count:,}") for name, count in counts.items()]
    return tabulate(rows, (title, "how many"), colalign=("left", "right")) if rows else ""
