"""Where pages come from: the protocol of a source, and sources by name."""

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from datasets import Features, Value

from nyx_hf.data_builders.schema import Row

REF = Features({"id": Value("string"), "state": Value("string"), "payload": Value("string")})
"""What there is to read: its id, a hash of what would be read, and what the source needs to read it."""

_SOURCES = {
    "html": "source_folder:HtmlSource",
    "markdown": "source_folder:MarkdownSource",
    "jsonl": "source_jsonl:JsonlSource",
    "pdf": "source_pdf:PdfSource",
    "obelics": "source_obelics:ObelicsSource",
}


class Source(Protocol):
    """A place that pages are read from. It can be pickled: workers read.

    Attributes:
        label: What the card calls it, such as `html:manual`; never a path.
        own: Whether these are the user's own pages, which stay private unless told otherwise.
    """

    label: str
    own: bool

    def refs(self) -> Iterator[Row]:
        """Lists what there is to read, as rows of `REF` in a stable order."""
        ...

    def read(self, refs: Sequence[Row]) -> list[list[Row]]:
        """Reads pages: for each ref rows of `PAGE`, what was left out among them. A bad page raises nothing."""
        ...

    def settings(self) -> dict[str, Any]:
        """Gives what reading depends on besides the refs."""
        ...


def open_source(spec: str, **options: Any) -> Source:
    """Opens a source.

    Args:
        spec: `html:DIR` or a file that lists pages, `markdown:DIR`, `jsonl:FILE`, `pdf:DIR` or one file, or
            `obelics:SPLIT`.
        **options: Settings of that source's class.

    Returns:
        The source.

    Raises:
        ValueError: If there is no such kind of source, or nothing at its place.
    """
    kind, colon, place = spec.partition(":")
    if kind not in _SOURCES or not colon or not place:
        known = ", ".join(f"{name}:…" for name in _SOURCES)
        raise ValueError(f"found the source {spec!r}, expected one of {known}; name a folder or file behind the colon")
    module, name = _SOURCES[kind].split(":")
    source: Source = getattr(import_module(f"nyx_hf.data_builders.{module}"), name)(place, **options)
    return source


def checked_place(kind: str, place: str) -> Path:
    """Gives the folder or file of a source on disk.

    Args:
        kind: The kind of source, for the error.
        place: What was given.

    Returns:
        The path, absolute, links resolved.

    Raises:
        ValueError: If there is nothing there.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise ValueError(f"{kind}:{place}: there is no such folder or file; check the path")
    return path.resolve()


def files_under(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Lists a folder's files with some suffixes, sorted by their place in it; links to folders are not followed.

    Raises:
        ValueError: If a folder in it cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise ValueError(f"{folder.name}: a folder in it cannot be listed ({error.strerror}); allow reading it")

    walk = os.walk(folder, onerror=refuse)
    named = (Path(parent, name) for parent, _, names in walk for name in names)
    found = [path for path in named if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
