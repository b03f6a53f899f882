"""Results for the leaderboards that the Hub itself keeps: `.eval_results/*.yaml` of a model's folder.

A benchmark is registered there by an `eval.yaml` in its dataset's repository, which names its tasks.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from nyx_hf.folders import SHOWN
from nyx_hf.results import SetScore, SuiteReport

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def write_registered(report: SuiteReport, folder: Path) -> Path | None:
    """Writes the figures of sets whose benchmark the Hub has registered; those of an earlier run are replaced.

    Only whole sets at full width are told: a sample is never written.

    Args:
        report: What a suite found.
        folder: The model's folder.

    Returns:
        The file; None where no set is of a registered benchmark.
    """
    path = folder / SHOWN / f"{report.suite}.yaml"
    entries = list(registered_entries(report))
    if not entries:
        path.unlink(missing_ok=True)  # of an earlier run
        return None
    path.parent.mkdir(exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yaml.safe_dump(eval_result_entries_to_yaml(entries), file, sort_keys=False)
    Path(beside).replace(path)
    return path


def registered_entries(report: SuiteReport) -> Iterator[EvalResultEntry]:
    """Finds sets that are tasks of registered benchmarks.

    A set is the task of its name, upper and lower case and punctuation aside, or the only one of a repository that
    has one task.

    Args:
        report: What a suite found.

    Yields:
        An entry for each, in percent.
    """
    if report.sample:
        return
    whole = [score for score in report.scores if score.dim is None and not score.partial]
    repos = dict.fromkeys(name for score in whole for name in score.revisions if _HUB_NAME.fullmatch(name))
    for repo in repos:
        own = [score for score in whole if repo in score.revisions]
        for task, score in _matched(_tasks(repo), own):
            yield EvalResultEntry(
                dataset_id=repo,
                task_id=task,
                value=round(100 * score.value, 4),
                dataset_revision=score.revisions[repo],
                date=report.run.date,
                notes=f"nyx-hf evaluate {report.suite}, {score.metric}",
            )


def _tasks(repo: str) -> list[str]:
    """Reads which tasks a benchmark's repository registers; none where it is no benchmark, or out of reach."""
    try:
        path = hf_hub_download(repo, "eval.yaml", repo_type="dataset")
    except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled):
        return []
    told = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    tasks = told.get("tasks") if isinstance(told, dict) else None
    return [str(task["id"]) for task in tasks or [] if isinstance(task, dict) and "id" in task]


def _matched(tasks: list[str], scores: list[SetScore]) -> Iterable[tuple[str, SetScore]]:
    if len(tasks) == 1 and len(scores) == 1:
        return [(tasks[0], scores[0])]
    by_name = {_plain(score.name): score for score in scores}
    return [(task, by_name[_plain(task)]) for task in tasks if _plain(task) in by_name]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
