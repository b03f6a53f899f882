"""A server's counts in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
Labels = tuple[tuple[str, str], ...]


@dataclass
class Histogram:
    """Values in buckets.

    Attributes:
        bounds: Upper bounds of the buckets; one without bound follows.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        """Makes the buckets."""
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        """The histogram's lines."""
        bounds = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        cumulated = list(accumulate(self.counts))
        buckets = [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in zip(bounds, cumulated, strict=True)]
        return [*buckets, f"{name}_sum {self.total:g}", f"{name}_count {cumulated[-1]}"]


@dataclass
class Metrics:
    """What a server counts. All of it happens on the event loop's thread.

    Attributes:
        requests: Answers, by path and status.
        rejected: Requests sent away before they were read, by reason.
        seconds: How long answers took.
        batch_items: Contents of each batch.
        tokens: Tokens of contents that were encoded.
        queued: Contents that wait or are being encoded, now.
        in_flight: Requests being answered, now.
    """

    requests: Counter[Labels] = field(default_factory=Counter)
    rejected: Counter[Labels] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    batch_items: Histogram = field(default_factory=lambda: Histogram(_SIZES))
    tokens: int = 0
    queued: int = 0
    in_flight: int = 0

    def as_text(self) -> str:
        """The text that Prometheus reads."""
        lines = []
        for name, what, counts in (
            ("nyx_requests_total", "Answers by path and status.", self.requests),
            ("nyx_rejected_total", "Requests sent away before they were read.", self.rejected),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
            for labels, count in sorted(counts.items()):
                shown = ",".join(f'{key}="{value}"' for key, value in labels)
                lines.append(f"{name}{{{shown}}} {count}")
        lines += ["# HELP nyx_tokens_total Tokens encoded, visual ones included.", "# TYPE nyx_tokens_total counter"]
        lines.append(f"nyx_tokens_total {self.tokens}")
        for name, what, value in (
            ("nyx_queue_items", "Contents that wait or are being encoded.", self.queued),
            ("nyx_requests_in_flight", "Requests being answered.", self.in_flight),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {value}"]
        for name, what, histogram in (
            ("nyx_request_seconds", "Seconds that answers took.", self.seconds),
            ("nyx_batch_items", "Contents of a batch.", self.batch_items),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} histogram", *histogram.lines(name)]
        return "\n".join(lines) + "\n"
