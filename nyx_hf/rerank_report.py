"""What reranking brought: retriever, reranker and both together, with how far they can be told apart."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.significance import Difference, bootstrap_interval, mcnemar, paired_difference
from nyx_hf.fusion import Tuned

SHOWN = ("recall@1", "recall@5", "recall@10", "ndcg@10", "mrr@10")
COMPARED = "ndcg@10"
_KS = (1, 5, 10)


@dataclass(frozen=True)
class RerankReport:
    """What came of reranking a split.

    Attributes:
        folder: Where it was written.
        dataset: What was searched.
        split: Split of its triplets.
        queries: Queries asked.
        top_k: Candidates a query.
        retriever: The retriever, with its revision.
        reranker: The reranker, with its revision.
        recall_scale: How recall scores were made comparable.
        alpha: Weight of recall in the fused score.
        tuned: How alpha was found; None where it was given.
        metrics: Mean of each metric with its 95 % interval (`value`, `low`, `high`), by system.
        differences: The fused ranking against each system: the mean difference of nDCG@10 with its interval, and what
            McNemar's test says of who has a right document first.
    """

    folder: Path
    dataset: str
    split: str
    queries: int
    top_k: int
    retriever: str
    reranker: str
    recall_scale: str
    alpha: float
    tuned: Tuned | None
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    differences: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**self._facts(), "folder": str(self.folder)}

    def as_file(self) -> str:
        """Gives it as the file that stands beside the ranking; it names no folder."""
        return json.dumps(self._facts(), indent=2, ensure_ascii=False) + "\n"

    def as_text(self) -> str:
        """Gives it for a screen."""
        rows = [(system, *(_shown(one[name]) for name in SHOWN)) for system, one in self.metrics.items()]
        blocks = [tabulate(rows, ("", *SHOWN))]
        for system, one in self.differences.items():
            found: Difference = one["difference"]
            blocks.append(
                f"fused against {system}: {COMPARED} {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]; first "
                f"place: {one['first_place']}"
            )
        chosen = f"alpha {self.alpha:g}"
        if self.tuned is not None:
            tried, best = len(self.tuned.curve), self.tuned.curve[self.alpha]
            chosen += f", the best of {tried} by {self.tuned.metric} ({best:.4f}) on {self.tuned.split}"
        blocks.append(f"{chosen}; {self.queries:,} queries of {self.split}, {self.top_k} candidates each")
        blocks.append(f"wrote {self.folder}")
        return "\n\n".join(blocks)

    def _facts(self) -> dict[str, Any]:
        facts = {name: value for name, value in vars(self).items() if name != "folder"}
        told = {system: {**one, "difference": asdict(one["difference"])} for system, one in self.differences.items()}
        return {**facts, "tuned": None if self.tuned is None else asdict(self.tuned), "differences": told}


def compare(
    systems: Mapping[str, Sequence[Sequence[str]]], relevant: Sequence[Collection[str]], seed: int
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, Any]]]:
    """Measures systems that ranked the same queries, and holds the last against each other one.

    Args:
        systems: Rankings by system.
        relevant: Right documents of each query.
        seed: Seed of the intervals.

    Returns:
        Metrics by system and differences by system, as `RerankReport` has them.
    """
    values = {name: ranking_metrics(rankings, relevant, _KS) for name, rankings in systems.items()}
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for name, own in values.items():
        metrics[name] = {}
        for metric in SHOWN:
            low, high = bootstrap_interval(own[metric], seed=seed)
            metrics[name][metric] = {"value": float(own[metric].mean()), "low": low, "high": high}
    *others, last = values
    differences = {
        name: {
            "difference": paired_difference(values[name][COMPARED], values[last][COMPARED], seed=seed),
            "first_place": mcnemar(values[name]["hit@1"], values[last]["hit@1"]).verdict((name, last)),
        }
        for name in others
    }
    return metrics, differences


def _shown(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.4f} [{figure['low']:.3f}, {figure['high']:.3f}]"
