"""Scripts in a fresh process where nyx_hf cannot be imported, as on a user's machine."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

# torchvision's wheel has operators that do not load beside a CPU build of torch. Declaring them is enough for its
# transforms, which are all the stock processors use; it must happen before torchvision is imported.
_SHIM = """
import os, sys, torch
sys.path.insert(0, os.environ["NYX_STOCK_PROCESSORS"])
_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision
"""
_PREAMBLE = """
import json, sys, warnings
warnings.filterwarnings("ignore")
sys.modules["nyx_hf"] = None  # any import of it fails
import torch
torch.set_num_threads(1)
{shim}
def report(**values):
    print("REPORT " + json.dumps(values))
"""


def stock_folder() -> str:
    """The folder with torchvision; the test skips where `make test` has not made it."""
    folder = os.environ.get("NYX_STOCK_PROCESSORS", "")
    if not Path(folder, "torchvision").is_dir():
        pytest.skip("the stock processors' folder is missing: `make test` installs it (NYX_STOCK_PROCESSORS)")
    return folder


def run_fresh(
    script: str, *args: str | Path, stock: bool = False, env: dict[str, str] | None = None, code: int = 0
) -> dict[str, Any]:
    """Runs a script that calls `report(**values)` once, and returns what it reported.

    Args:
        script: Python source; `sys.argv[1:]` are the args.
        *args: Its arguments.
        stock: Whether torchvision, and so the stock processors, can be imported.
        env: Environment variables besides the present ones.
        code: The exit status expected.

    Returns:
        The reported values, with `output` for everything printed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **(env or {})}
    environment.pop("PYTHONPATH", None)
    if stock:
        environment["NYX_STOCK_PROCESSORS"] = stock_folder()
    source = _PREAMBLE.format(shim=_SHIM if stock else "") + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, args)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(sys.executable).parent,  # not the checkout, whose folders would be importable
        timeout=300,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-4000:]
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    return {**(json.loads(reports[-1][7:]) if reports else {}), "output": output}
