"""`accelerate launch` spelled for people."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nyx_hf.trainer.recipe_files import find_recipe
from nyx_hf.trainer.run_arguments import check_run


def train_command(recipe: str, overrides: Sequence[str] = (), num_processes: int = 1) -> int:
    """Trains a recipe on this machine, in processes of its own.

    Args:
        recipe: a recipe's name or path.
        overrides: `key=value` words.
        num_processes: how many processes, one a GPU; on CPU add `use_cpu=true`.

    Returns:
        The exit code: 0 where training ended well.

    Raises:
        RecipeError: there is no such recipe, or a setting cannot be used; nothing was started then.
    """
    path = find_recipe(recipe)
    check_run(["--config", str(path), *overrides])
    script = Path(__file__).resolve().parent / "train.py"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(num_processes)]
    launcher += [
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
    ]
    if num_processes > 1:
        launcher.append("--multi_gpu")  # without it, processes on CPU would not know each other
    command = [*launcher, str(script), "--config", str(path), *overrides]
    return subprocess.run(command, check=False).returncode
