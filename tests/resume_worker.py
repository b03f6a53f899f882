"""Runs of tests/test_resume.py: each in a process of its own that is forked when all is imported, and may be killed.

    python resume_worker.py PLAN.json

A plan is a list of runs: `words` for `train.py`, and `kill`: when the run is killed with SIGKILL, a file that appears
(`path`) or seconds since the run began to train (`after`); none lets it end. The exit statuses go to stdout as JSON.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(words: list[str]) -> int:
    import torch

    from nyx_hf.trainer.training_run import main

    torch.set_num_threads(1)
    return main(words)


def forked(words: list[str], log: Path) -> int:
    child = os.fork()
    if child == 0:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os._exit(run(words))
    return child


def killed_or_ended(child: int, kill: dict[str, Any] | None) -> int:
    """Waits for a run, or kills it when its time has come."""
    begun = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        due = kill is not None and (
            Path(kill["path"]).exists() if "path" in kill else time.monotonic() - begun > kill["after"]
        )
        if due:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.001)


def main(plan: list[dict[str, Any]]) -> None:
    sys.path.insert(0, str(ROOT))
    import nyx_hf.trainer.training_run  # noqa: F401 - imported once, before the first fork

    statuses = [killed_or_ended(forked(one["words"], Path(one["log"])), one.get("kill")) for one in plan]
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
