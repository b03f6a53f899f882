"""Own parts by name: `my_package.my_module:MyLoss` in a recipe."""

import importlib
import re
from typing import Any

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(name: str) -> bool:
    """Tells whether a name is `module:attribute`.

    Args:
        name: as written in a recipe.

    Returns:
        Whether it is.
    """
    return _PATH.fullmatch(name) is not None


def imported(path: str, kind: type | None = None) -> Any:
    """Imports a class or function.

    Args:
        path: `module:attribute`.
        kind: the class that it must be derived from; None takes anything callable.

    Returns:
        What stands there.

    Raises:
        ValueError: there is no such module or attribute, or it is of another kind.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"{path}: {error}; the package must be installed, or its folder be in PYTHONPATH, in every process"
        ) from error
    found = getattr(module, attribute, None)
    if found is None:
        raise ValueError(
            f"{path}: {module_name} has no {attribute}; it has {', '.join(_public(module)) or 'no names'}"
        )
    fits = callable(found) if kind is None else isinstance(found, type) and issubclass(found, kind)
    if not fits:
        expected = "something callable" if kind is None else f"a class derived from {kind.__module__}.{kind.__name__}"
        raise ValueError(f"{path} is {found!r}; expected {expected}")
    return found


def _public(module: Any) -> list[str]:
    return sorted(name for name in vars(module) if not name.startswith("_"))[:10]
