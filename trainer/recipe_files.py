"""Recipes: YAML files of training settings, with `key=value` overrides."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RECIPES = Path(__file__).resolve().parent / "recipes"
SMOKE = "smoke"  # the block of a few steps on CPU


class RecipeError(ValueError):
    """A recipe or an override that cannot be used; the message is one line and says what to do."""


def find_recipe(name: str | Path) -> Path:
    """Finds a recipe.

    Args:
        name: a path, or the name of a recipe that comes with the package (`nyx_pretrain`).

    Returns:
        Its path.

    Raises:
        RecipeError: there is none.
    """
    for path in (Path(name), RECIPES / f"{name}.yaml"):
        if path.is_file():
            return path
    shipped = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    raise RecipeError(f"no recipe {str(name)!r}: give a YAML file's path or one of {', '.join(shipped)}")


def read_recipe(path: Path) -> dict[str, Any]:
    """Reads a recipe.

    Args:
        path: YAML file.

    Returns:
        Values by key; `overrides` holds named blocks of other values.

    Raises:
        RecipeError: it is no YAML mapping, or names a key twice.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not _are_blocks(values.get("overrides", {})):
        raise RecipeError(f"{path} holds no mapping of keys to values, with `overrides` a mapping of such mappings")
    return values


def _are_blocks(overrides: Any) -> bool:
    return isinstance(overrides, dict) and all(isinstance(block, dict) for block in overrides.values())


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Reads `key=value` words; values are YAML, so `[256, 128]` is a list and `null` unsets.

    Args:
        words: as typed.

    Returns:
        Values by key.

    Raises:
        RecipeError: a word is no `key=value`.
    """
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise RecipeError(f"{word!r} is no setting; write key=value, such as max_steps=10")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"the value of {word!r} is no YAML; put quotes around it") from error
    return values


def merge(recipe: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Settles the values of a run: the recipe's, then those of a chosen block, then what was typed.

    Args:
        recipe: a recipe; its `overrides` are blocks by name.
        typed: typed overrides; `smoke=true` chooses the block named `smoke`.

    Returns:
        Values by key.

    Raises:
        RecipeError: a block is chosen that the recipe has not.
    """
    blocks = recipe.get("overrides", {})
    values = {key: value for key, value in recipe.items() if key != "overrides"}
    for name in [key for key in typed if key in blocks or key == SMOKE]:
        if name not in blocks:
            raise RecipeError(f"this recipe has no `{name}` block in its overrides; it has {sorted(blocks) or 'none'}")
        if typed[name]:
            values |= blocks[name]
    return values | {key: value for key, value in typed.items() if key not in blocks}


def check_keys(values: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses keys that no argument has.

    Args:
        values: settings by key.
        known: names of all arguments.

    Raises:
        RecipeError: a key is unknown; the message names what is near.
    """
    names = sorted(known)
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `nyx-hf train --help`"
            raise RecipeError(f"unknown setting {key!r}; {hint}")


def to_words(values: Mapping[str, Any]) -> list[str]:
    """Turns values into the words `--key value …` that an argument parser reads; None and [] are left out.

    Args:
        values: settings by key.

    Returns:
        The words.
    """
    words: list[str] = []
    for key, value in values.items():
        meant = "no" if value is False and key.endswith("_strategy") else value  # YAML reads a bare `no` as false
        if items := as_words(as_list(meant)):
            words += [f"--{key}", *items]
    return words


def as_list(value: Any) -> list[Any]:
    """Gives a setting that may be several as a list.

    Args:
        value: None, one, or a list.

    Returns:
        The list.
    """
    return value if isinstance(value, list) else [] if value is None else [value]


def as_words(items: Iterable[Any]) -> list[str]:
    """Writes values as an argument parser reads them.

    Args:
        items: the values.

    Returns:
        A word each.
    """
    return [json.dumps(item) if isinstance(item, (bool, dict, list)) else str(item) for item in items]


def without_places(values: Mapping[str, Any]) -> str:
    """Writes settled values as a recipe that can be shown: of local folders only the names.

    Args:
        values: settings by key.

    Returns:
        YAML.
    """
    shown = {key: _shown(value) for key, value in values.items() if value is not None}
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings name each key once; PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} twice", node.start_mark)
        return super().construct_mapping(node, deep)
