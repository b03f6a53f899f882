"""Gathers what quickstarts of several seeds came to.

nyx-hf quickstart --out runs/seed-1 --seed 1
python tests/benchmarks/quickstart_seeds.py runs/seed-1 runs/seed-2 --out docs/benchmarks/quickstart.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

STAGES = ("untrained", "stage 1", "stage 2")


def told(folder: Path) -> dict[str, Any]:
    """One run's answers and Recall@1 at full width, by stage, and what the tests between stages say."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    stages = report["stages"]
    width = max(stages["stage 2"], key=int)
    return {
        "seed": report["seed"],
        "steps": report["steps"],
        "queries": report["queries"],
        "stages": {name: {m: stages[name][width][m] for m in ("answers", "recall@1")} for name in STAGES},
        "comparisons": report["comparisons"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    runs = sorted(map(told, args.runs), key=lambda run: run["seed"])
    args.out.write_text(json.dumps({"runs": runs}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
