"""MMEB's leaderboard: files and report as VLM2Vec's `eval.py` and `experiments/report_score_v2.py` write them.

The report goes to the leaderboard's space on the Hub (TIGER-Lab/MMEB-Leaderboard) as a pull request.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.mmeb_sets import GROUPS
from nyx_hf.results import SetScore, SuiteReport
from nyx_hf.suite_mmeb import PARTS
from nyx_hf.suites import nearest

METADATA = (
    "model_name",
    "model_backbone",
    "model_size",
    "embedding_dimension",
    "max_length_tokens",
    "model_release_date",
    "data_source",
    "url",
)
"""What the report says of a model, in its order."""

_ABSENT = "DIR_N/A"  # what the benchmark's script writes for sets of a part that was not evaluated
_RENAMED = ("MMLongBench-page", "ViDoSeek-page")  # mended upstream in 2025: the report calls them `…-fixed`


class SubmissionError(ValueError):
    """Results that may not be submitted; the message says why."""


def check_submittable(report: SuiteReport) -> None:
    """Refuses results that are not the benchmark's own numbers.

    Args:
        report: What a suite found.

    Raises:
        SubmissionError: If it is another suite, a sample, or anything is missing.
    """
    if report.suite == "mteb":
        raise SubmissionError("mteb's own results, OUT/results, are what is submitted; leave --submission out")
    if report.suite not in ("mmeb-v1", "mmeb-v2"):
        raise SubmissionError(f"{report.suite} has no leaderboard that is known here; mmeb-v1 and mmeb-v2 have one")
    if report.partial:
        raise SubmissionError(
            f"no submission was written: {'; '.join(report.partial)}; evaluate all sets without --limit"
        )


def check_metadata(about: Mapping[str, str]) -> None:
    """Refuses words about a model that the report has no place for.

    Args:
        about: Values by name.

    Raises:
        SubmissionError: If a name is not one of `METADATA`.
    """
    for name in about:
        if name not in METADATA:
            raise SubmissionError(
                f"found --about {name}=…{nearest(name, METADATA)}, expected one of {', '.join(METADATA)}"
            )


def write_submission(report: SuiteReport, folder: Path, about: Mapping[str, str], width: int | None) -> Path:
    """Writes `PART/SET_score.json` and `PART/SET_pred.jsonl` for each set, and the report `MODEL.json`.

    Scores are those of the widest embedding. Predictions name documents by their ids in the datasets here and go as
    deep as the metrics look; the benchmark's own go to the end, and name files and texts.

    Args:
        report: What a suite found, whole.
        folder: Where to.
        about: What the report says of the model, by `METADATA`; null for what is not given.
        width: Embedding width.

    Returns:
        The report.

    Raises:
        SubmissionError: If the results may not be submitted, or `about` has an unknown name.
    """
    check_submittable(report)
    check_metadata(about)
    widest = report.scores[0].dim
    scores = {score.name: score for score in report.scores if score.dim == widest}
    for score in scores.values():
        _write_set(score, folder / score.part)
    name = about.get("model_name") or report.run.model.rsplit("/", 1)[-1]
    known: dict[str, Any] = {
        "model_name": name,
        "embedding_dimension": widest or width,
        "data_source": "Self-Reported",
    }
    path = folder / f"{name}.json"
    metadata = {**{field: known.get(field) for field in METADATA}, **about, "report_generated_date": report.run.date}
    _write(path, json.dumps({"metadata": metadata, "metrics": _by_part(scores)}, indent=4))
    return path


def unfilled(path: Path) -> list[str]:
    """Names what a report does not say of its model."""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return [name for name, value in metadata.items() if value is None]


def _by_part(scores: Mapping[str, SetScore]) -> dict[str, dict[str, Any]]:
    """Gives the metrics of every set of the benchmark, in the report's order and by its names."""
    metrics: dict[str, dict[str, Any]] = {part: {} for part in PARTS.values()}
    for group in GROUPS:
        for name in group.sets:
            shown = f"{name}-fixed" if name in _RENAMED else name
            score = scores.get(name)
            metrics[PARTS[group.modality]][shown] = _ABSENT if score is None else _score_json(score)
    return metrics


def _score_json(score: SetScore) -> dict[str, Any]:
    return {**score.metrics, "num_pred": score.queries, "num_data": score.queries}


def _write_set(score: SetScore, folder: Path) -> None:
    _write(folder / f"{score.name}_score.json", json.dumps(_score_json(score), indent=4))
    lines = [
        {
            "prediction": list(one.ranking),
            "label": list(one.grades),
            "rel_scores": list(one.grades.values()) if score.part == "visdoc" else None,
        }
        for one in score.predictions
    ]
    _write(folder / f"{score.name}_pred.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
