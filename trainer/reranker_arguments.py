"""The arguments of a reranker's training: trl's own, and what is trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from trl import ModelConfig, SFTConfig, TrlParser

from nyx_hf.trainer.json_settings import json_object
from nyx_hf.trainer.recipe_files import RecipeError, check_keys, merge, parse_overrides, read_recipe, to_words

RECIPES = Path(__file__).resolve().parent / "reranker_recipes"
RECIPE = "u_marvel_reranker"
_SETTLED = {"dataset": "DATASET", "model_name_or_path": "--base", "output_dir": "--out"}


@dataclass
class RerankerArguments:
    """What a reranker is trained on, and how it is asked.

    Args:
        dataset: folder or Hub id with the configs `corpus`, `queries` and `triplets`.
        dataset_revision: branch, tag or commit of it.
        split: split of the triplets.
        positives: positives of a query, at most.
        negatives: negatives of a query, at most, the hardest first.
        global_batch_size: pairs a step over all processes; accumulation follows from it. None leaves trl's own.
        wording: settings of `RerankerSettings` that differ from the base's, as JSON.
    """

    dataset: str = field(metadata={"help": "Folder or Hub id with corpus, queries and triplets."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of it."})
    split: str = field(default="train", metadata={"help": "Split of the triplets."})
    positives: int = field(default=1, metadata={"help": "Positives of a query, at most."})
    negatives: int = field(default=50, metadata={"help": "Negatives of a query, at most, the hardest first."})
    global_batch_size: int | None = field(default=None, metadata={"help": "Pairs a step over all processes."})
    wording: str | None = field(default=None, metadata={"help": "RerankerSettings that differ, as JSON."})

    @property
    def changed_wording(self) -> dict[str, Any]:
        """The settings as a mapping.

        Raises:
            ValueError: they are no JSON object.
        """
        return json_object("wording", self.wording)


@dataclass(frozen=True)
class RerankerRun:
    """All arguments of a run.

    Args:
        reranker: which data.
        model: which base, and its adapter (trl's ModelConfig).
        training: how (trl's SFTConfig).
        values: all settled values by key.
    """

    reranker: RerankerArguments
    model: Any
    training: Any
    values: dict[str, Any]


_KINDS = (RerankerArguments, SFTConfig, ModelConfig)


def parse_reranker_run(
    dataset: str,
    base: str,
    out: str | Path,
    overrides: Sequence[str] = (),
    recipe: str | Path = RECIPE,
    given: Mapping[str, Any] | None = None,
) -> RerankerRun:
    """Settles the arguments of a run.

    Args:
        dataset: what is trained on.
        base: the vision-language model that is trained.
        out: the folder that is written.
        overrides: `key=value` words that differ from the recipe's.
        recipe: a YAML file, or the name of one in `reranker_recipes/`.
        given: further settings that differ.

    Returns:
        The arguments, types checked.

    Raises:
        RecipeError: the recipe or a setting cannot be used.
        ValueError: values contradict each other.
    """
    typed = parse_overrides(overrides)
    for key, option in _SETTLED.items():
        if key in typed:
            raise RecipeError(f"found the setting {key}, expected none that {option} decides; use that")
    settled = {"dataset": dataset, "model_name_or_path": base, "output_dir": str(out)}
    values = merge(read_recipe(_find(recipe)), {**typed, **(given or {}), **settled})
    check_keys(values, [entry.name for kind in _KINDS for entry in fields(kind)])
    reranker, training, model = _Parser(_KINDS).parse_args_into_dataclasses(to_words(values))
    _settle_batch(reranker, training)
    return RerankerRun(reranker, model, training, values)


def _find(recipe: str | Path) -> Path:
    for path in (Path(recipe), RECIPES / f"{recipe}.yaml"):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    raise RecipeError(f"no recipe {str(recipe)!r}: give a YAML file's path or one of {shipped}")


def _settle_batch(reranker: RerankerArguments, training: Any) -> None:
    """Accumulates as often as the whole batch needs."""
    if reranker.global_batch_size is None:
        return
    rows = training.per_device_train_batch_size * training.world_size
    steps, rest = divmod(reranker.global_batch_size, rows)
    if rest or not steps:
        raise RecipeError(
            f"global_batch_size {reranker.global_batch_size} is no multiple of {rows} rows at once "
            f"(per_device_train_batch_size × {training.world_size} processes); change one of them"
        )
    training.gradient_accumulation_steps = steps


class _Parser(TrlParser):
    """TRL's parser, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(message.replace("argument ", "").replace("--", ""))
