"""Whether the packages of the extra `web` are installed; nothing is imported here."""

from importlib.util import find_spec


def check_installed(*names: str) -> None:
    """Sees that packages are there.

    Args:
        *names: The packages.

    Raises:
        ModuleNotFoundError: One is not.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"{' and '.join(missing)} not installed: `pip install nyx-hf[web]`")
