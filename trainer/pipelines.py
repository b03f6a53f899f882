"""The runs of a recipe: itself, or the stages of a pipeline, each from the model that the one before it left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nyx_hf.trainer.recipe_files import SMOKE, RecipeError, find_recipe, merge, parse_overrides, read_recipe

PIPELINE = "pipeline"  # the key that makes a recipe a pipeline


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: of its recipe.
        recipe: the recipe's path.
        words: `key=value` words that differ from it.
    """

    name: str
    recipe: Path
    words: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What the training script gets."""
        return ["--config", str(self.recipe), *self.words]

    @property
    def values(self) -> dict[str, Any]:
        """The settled values by key."""
        return merge(read_recipe(self.recipe), parse_overrides(self.words))


def stages_of(path: Path, typed: Sequence[str] = ()) -> list[Stage]:
    """Gives the stages of a recipe; one that is no pipeline is a stage itself.

    Each stage's output folder is one of its name in the pipeline's `output_dir`; each but the first gets the folder
    before it as its `model`. A stage that is done is passed over, one that was begun goes on (`resume_from_checkpoint`
    is `auto`). Whatever else the pipeline or the command line sets holds for all stages, what a stage's own entry sets
    for that stage; what is typed wins.

    Args:
        path: the recipe's file.
        typed: `key=value` words; `smoke=true` chooses the block of that name in every stage, and in the pipeline
            where it has one.

    Returns:
        The stages in order.

    Raises:
        RecipeError: the pipeline cannot be used.
    """
    recipe, given = read_recipe(path), parse_overrides(typed)
    if PIPELINE not in recipe:
        return [Stage(path.stem, path, tuple(typed))]
    own_blocks = recipe.get("overrides", {})
    values = merge(recipe, {key: value for key, value in given.items() if key in own_blocks or key != SMOKE})
    blocks = {key: value for key, value in given.items() if key in own_blocks or key == SMOKE}
    entries, out = values.pop(PIPELINE), values.pop("output_dir", None)
    if not isinstance(entries, list) or not entries:
        raise RecipeError(f"{path}: `pipeline` is a list of recipes, the first stage first")
    if not isinstance(out, str):
        raise RecipeError(f"{path}: a pipeline needs an output_dir, in which each stage gets a folder")
    stages: list[Stage] = []
    for entry in entries:
        name, own = _entry(entry, path)
        before = {"model": f"{out}/{stages[-1].name}"} if stages else {}
        settled = {
            **blocks,
            "resume_from_checkpoint": "auto",
            **{key: value for key, value in values.items() if key not in given},
            **own,
            **{key: value for key, value in given.items() if key not in (*blocks, "output_dir")},
            **before,
            "output_dir": f"{out}/{name}",
        }
        if name in {stage.name for stage in stages}:
            raise RecipeError(f"{path}: two stages are named {name}; copy its recipe under another name")
        stages.append(Stage(name, _beside(name, path), tuple(_word(key, value) for key, value in settled.items())))
    return stages


def _entry(entry: Any, path: Path) -> tuple[str, dict[str, Any]]:
    """A stage's recipe and its own settings."""
    if isinstance(entry, str):
        return entry, {}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("recipe"), str):
        raise RecipeError(f"{path}: stage {entry!r} is neither a recipe's name nor a mapping with `recipe` in it")
    return entry["recipe"], {key: value for key, value in entry.items() if key != "recipe"}


def _beside(name: str, path: Path) -> Path:
    """A stage's recipe: one in the pipeline's folder, or one that comes with the package."""
    beside = path.parent / f"{name}.yaml"
    return beside if beside.is_file() else find_recipe(name)


def _word(key: str, value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return f"{key}={text.strip().removesuffix('...').strip()}"
