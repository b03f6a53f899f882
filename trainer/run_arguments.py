"""The arguments of a training run, out of a recipe and what was typed."""

import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from trl import TrlParser

from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.import_paths import imported
from nyx_hf.trainer.json_settings import json_object
from nyx_hf.trainer.objective import build_objective
from nyx_hf.trainer.pipelines import PIPELINE
from nyx_hf.trainer.recipe_files import (
    RECIPES,
    RecipeError,
    check_keys,
    find_recipe,
    merge,
    parse_overrides,
    read_recipe,
    to_words,
)


@dataclass
class ModelArguments:
    """Which model is trained.

    Args:
        model: Hub id or folder of a vision-language model or of a retriever; `tiny:qwen2_5_vl` makes a small random
            one.
        model_revision: branch, tag or commit of it.
        preset: how a plain vision-language model becomes a retriever.
        settings: `nyx` settings that differ from the preset's or the retriever's own, as JSON.
        dtype: type of the weights; left out, the checkpoint's own.
        attn_implementation: `sdpa`, `eager`, `flash_attention_2`, …
    """

    model: str = field(metadata={"help": "Hub id or folder; `tiny:qwen2_5_vl` makes a small random one."})
    model_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the model."})
    preset: str = field(default="nyx", metadata={"help": "How a plain VLM becomes a retriever."})
    settings: str | None = field(default=None, metadata={"help": "`nyx` settings that differ, as JSON."})
    dtype: str | None = field(default=None, metadata={"help": "Type of the weights."})
    attn_implementation: str | None = field(default=None, metadata={"help": "`sdpa`, `flash_attention_2`, …"})

    @property
    def changed_settings(self) -> dict[str, Any]:
        """The settings as a mapping.

        Raises:
            RecipeError: they are no JSON object.
        """
        return json_object("settings", self.settings)


@dataclass
class DataArguments:
    """What is trained and evaluated on.

    Args:
        datasets: folders or Hub ids with the configs `corpus`, `queries` and `triplets`, each with `@revision` where
            one is meant; `build:digits` makes the handwritten records. Instead of a word, a mapping: `name` and what
            else `DatasetSpec` knows (`weight`, `cap`, `group`, `task`, `split`).
        split: split of the triplets to train on.
        eval_dataset: folders or Hub ids to evaluate retrieval on, or import paths of functions that score a
            retriever.
        eval_split: split of their triplets.
        eval_queries: only so many queries of each.
        build: settings of a dataset that is built, as JSON.
    """

    datasets: list[str] = field(metadata={"help": "Folders or Hub ids (with @revision); `build:digits` makes one."})
    split: str = field(default="train", metadata={"help": "Split of the triplets to train on."})
    eval_dataset: list[str] = field(
        default_factory=list, metadata={"help": "Folders or Hub ids to evaluate on, or import paths."}
    )
    eval_split: str = field(default="test", metadata={"help": "Split of the triplets to evaluate on."})
    eval_queries: int | None = field(default=None, metadata={"help": "Evaluate on the first so many queries."})
    build: str | None = field(default=None, metadata={"help": "Settings of a dataset that is built, as JSON."})

    @property
    def build_settings(self) -> dict[str, Any]:
        """The settings of a dataset that is built as a mapping.

        Raises:
            RecipeError: they are no JSON object.
        """
        return json_object("build", self.build)


@dataclass(frozen=True)
class RunArguments:
    """All arguments of a run.

    Args:
        model: which model.
        data: which data.
        training: how.
        typed: the run as a command to repeat it by, without the launcher.
        values: all settled values by key.
    """

    model: ModelArguments
    data: DataArguments
    training: NyxTrainingArguments
    typed: str
    values: dict[str, Any]


_KINDS = (ModelArguments, DataArguments, NyxTrainingArguments)
_LAUNCHER = ("launch",)  # keys of a recipe that `nyx-hf train` acts on before a run begins


def parse_run(words: Sequence[str]) -> RunArguments:
    """Reads `--config RECIPE key=value …`.

    Args:
        words: the command line without the program.

    Returns:
        The arguments, types checked.

    Raises:
        RecipeError: the recipe or a setting cannot be used.
        ValueError: values contradict each other.
    """
    path, values = _settled(words)
    with known_deprecations():
        model, data, training = _parser(values).parse_args_into_dataclasses(to_words(values))
    _check(model, data, training)
    shown = f"trainer/recipes/{path.name}" if path.parent.resolve() == RECIPES else str(words[1])
    typed = shlex.join(["trainer/train.py", "--config", shown, *words[2:]])
    return RunArguments(model, data, training, typed, values)


@contextmanager
def known_deprecations() -> Iterator[None]:
    """Keeps a warning from users that they can do nothing about.

    `gradient_checkpointing` gets another name in transformers 6; older versions know this one only, and so do papers.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
        yield


def parse_anywhere(words: Sequence[str]) -> RunArguments:
    """Reads a run as `parse_run`, on a machine that may not have what it is to run on.

    Args:
        words: the command line without the program.

    Returns:
        The arguments, for the CPU.

    Raises:
        RecipeError: the recipe or a setting cannot be used.
        ValueError: values contradict each other.
    """
    return parse_run([*words, "use_cpu=true", "fp16=false", "tf32=null"])


def _settled(words: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Finds the recipe and settles its values."""
    if len(words) < 2 or words[0] != "--config":
        raise RecipeError("usage: train.py --config RECIPE [key=value …]")
    path = find_recipe(words[1])
    recipe = read_recipe(path)
    if PIPELINE in recipe:
        raise RecipeError(f"{path.stem} is a pipeline of several stages: run it with `nyx-hf train {words[1]}`")
    values = merge(recipe, parse_overrides(words[2:]))
    check_keys(values, {*_LAUNCHER, *(entry.name for kind in _KINDS for entry in fields(kind))})
    return path, {key: value for key, value in values.items() if key not in _LAUNCHER}


def _parser(values: Mapping[str, Any]) -> "_Parser":
    """The parser, in which what a recipe unsets is None where it may be, and an empty list is empty."""
    parser = _Parser(_KINDS)
    types = {name: kind for part in _KINDS for name, kind in get_type_hints(part).items()}
    unset = [name for name, value in values.items() if value is None and type(None) in get_args(types[name])]
    parser.set_defaults(**dict.fromkeys(unset), **{name: [] for name, value in values.items() if value == []})
    return parser


def _check(model: ModelArguments, data: DataArguments, training: NyxTrainingArguments) -> None:
    """Refuses now what would be refused after the model was loaded."""
    json_object("settings", model.settings)
    json_object("build", data.build)
    for word in data.datasets:
        DatasetSpec.parse(word)
    if training.sampler is not None:
        imported(training.sampler)
    build_objective(training, training.matryoshka_dims or None, training.matryoshka_weights or None)


class _Parser(TrlParser):
    """TRL's parser, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        said = message.replace("the following arguments are required:", "missing settings:")
        raise RecipeError(said.replace("argument ", "").replace("--", ""))
