"""`accelerate launch` spelled for people."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nyx_hf.trainer.pipelines import Stage, stages_of
from nyx_hf.trainer.recipe_files import RecipeError, find_recipe
from nyx_hf.trainer.run_arguments import parse_anywhere

CONFIGS = Path(__file__).resolve().parent / "launch_configs"
_FOR_GPUS = ("zero2", "zero3", "fsdp2")


@dataclass(frozen=True)
class Launch:
    """How a run is spread over a machine.

    Args:
        processes: how many; one a GPU.
        config: `single`, `ddp`, `zero2`, `zero3`, `fsdp2`, or an accelerate config file of one's own.

    Raises:
        RecipeError: there is no such config, or no process.
    """

    processes: int = 1
    config: str = "single"

    def __post_init__(self) -> None:
        """Refuses what accelerate could not start."""
        if type(self.processes) is not int or self.processes < 1:
            raise RecipeError(f"launch has {self.processes!r} processes; it is a whole number, 1 or more")
        if not self.path.is_file():
            shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
            raise RecipeError(f"no launch config {self.config!r}: give one of {shipped}, or an accelerate config file")

    @property
    def path(self) -> Path:
        """The config's file."""
        shipped = CONFIGS / f"{self.config}.yaml"
        return shipped if shipped.is_file() else Path(self.config)

    @classmethod
    def of(cls, values: Mapping[str, Any], processes: int | None = None, config: str | None = None) -> "Launch":
        """Settles how a run is spread: as typed, else as its recipe says; on CPU only what is typed counts.

        Args:
            values: settled values of the run.
            processes: as typed.
            config: as typed.

        Returns:
            How it is spread.

        Raises:
            RecipeError: the recipe's `launch` cannot be used.
        """
        told = values.get("launch")
        if told is not None and (not isinstance(told, dict) or set(told) != {"processes", "config"}):
            raise RecipeError(f"launch is {told!r}; write `launch: {{ processes: 8, config: zero2 }}`")
        if told is None or values.get("use_cpu"):
            told = {"processes": 1, "config": "single"}
        count = told["processes"] if processes is None else processes
        fits = (count == 1) == (told["processes"] == 1)
        chosen = config or (told["config"] if fits else "single" if count == 1 else "ddp")
        if values.get("use_cpu") and chosen in _FOR_GPUS:
            raise RecipeError(f"launch config {chosen} is for GPUs; with use_cpu=true take ddp")
        return cls(count, chosen)

    def words(self) -> list[str]:
        """Gives the command that a script and its arguments are put behind."""
        words = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(self.path)]
        words += ["--num_processes", str(self.processes), "--main_process_port", "0"]
        words.append("--quiet")  # the script's own line says why it ended
        if self.path.parent == CONFIGS and self.path.with_suffix(".json").is_file():
            words += ["--deepspeed_config_file", str(self.path.with_suffix(".json"))]  # from whatever folder
        return words


def train_command(
    recipe: str, overrides: Sequence[str] = (), processes: int | None = None, config: str | None = None
) -> int:
    """Trains a recipe on this machine, in processes of its own; a pipeline stage by stage.

    Args:
        recipe: a recipe's name or path.
        overrides: `key=value` words.
        processes: how many processes, one a GPU; None takes the recipe's, on CPU 1.
        config: a launch config's name or file; None takes the recipe's.

    Returns:
        The exit code: 0 where training ended well.

    Raises:
        RecipeError: there is no such recipe, or a setting cannot be used; nothing was started then.
    """
    script = Path(__file__).resolve().parent / "train.py"
    stages = stages_of(find_recipe(recipe), overrides)
    launches = [_settled_launch(stage, processes, config) for stage in stages]
    for number, (stage, launch) in enumerate(zip(stages, launches, strict=True), start=1):
        if len(stages) > 1:
            print(f"stage {number} of {len(stages)}: {stage.name}", file=sys.stderr)
        code = subprocess.run([*launch.words(), str(script), *stage.arguments], check=False).returncode
        if code != 0:
            if len(stages) > 1:
                print(f"error: {stage.name} ended with {code}; the same command goes on from there", file=sys.stderr)
            return code
    return 0


def _settled_launch(stage: Stage, processes: int | None, config: str | None) -> Launch:
    """Checks a stage's settings and settles how it is spread."""
    parse_anywhere(stage.arguments)
    launch = Launch.of(stage.values, processes, config)
    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if launch.processes > max(1, there) and not stage.values.get("use_cpu"):
        raise RecipeError(
            f"{stage.name} asks for {launch.processes} processes with a GPU each, and this machine has {there}; give "
            "their number with -n (fewer make a smaller batch: raise gradient_accumulation_steps, or "
            "per_device_train_batch_size with chunk_rows), or use_cpu=true"
        )
    return launch
