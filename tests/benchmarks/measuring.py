"""Times and peak memory of cases, each in a process of its own; one round after the other, so that noise hits all."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

MIB = 2**20


def peak_mib() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def measured(run: Callable[[], float], repeats: int) -> dict[str, Any]:
    """Runs a case: seconds of each repeat, and what its peak memory is above that before.

    The first repeat is not timed: it allocates, and compiles what is compiled once.
    """
    before = peak_mib()
    value = run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {"value": value, "seconds": seconds, "peak_mib": peak_mib() - before}


def in_processes(
    script: str, cases: Sequence[str], rounds: int, sizes: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Runs `python SCRIPT --case CASE --rows …` for every case, several rounds; medians of seconds and memory."""
    words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    found: dict[str, list[dict[str, Any]]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            print(f"round {number + 1} of {rounds}: {case}", file=sys.stderr)
            done = subprocess.run(
                [sys.executable, script, "--case", case, *words],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )
            if done.returncode != 0:
                raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
            found[case].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        case: {
            "value": runs[0]["value"],
            "seconds": median(second for run in runs for second in run["seconds"]),
            "peak_mib": median(run["peak_mib"] for run in runs),
        }
        for case, runs in found.items()
    }


def write(path: Path, command: str, settings: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Writes a benchmark's JSON with what it was measured with."""
    packages = ("torch", "transformers", "sentence-transformers", "accelerate")
    content = {
        "command": command,
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
        "settings": dict(settings),
        "results": dict(results),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(results: Mapping[str, Mapping[str, float]], against: str) -> str:
    """The results as a Markdown table, with the ratio to one of them last."""
    base = results[against]
    lines = [
        f"| case | seconds | peak MiB | time against {against} | memory against {against} |",
        "|---|---|---|---|---|",
    ]
    for case, result in results.items():
        ratios = [result[name] / base[name] for name in ("seconds", "peak_mib")]
        lines.append(
            f"| {case} | {result['seconds']:.2f} | {result['peak_mib']:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"
        )
    return "\n".join(lines)
