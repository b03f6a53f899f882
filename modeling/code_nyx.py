"""The code that travels with the weights."""

import hashlib
import shutil
from pathlib import Path


def copy_code(folder: Path) -> None:
    """Copies this code's files beside the weights.

    Args:
        folder: A model's folder.
    """
    for source in sorted(Path(__file__).parent.glob("*_nyx.py")):
        if source.parent.resolve() != folder.resolve():
            shutil.copyfile(source, folder / source.name)


def code_hash(folder: Path) -> str:
    """SHA-256 over the code files of a folder, names and contents.

    Args:
        folder: A model's folder.

    Returns:
        The digest in hexadecimal.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*_nyx.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
