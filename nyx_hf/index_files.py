"""The files of an index folder: which there are, and which of them its manifest names."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST, LOCK, CARD = "index.json", ".lock", "README.md"
ROWS, VECTORS = "data/corpus", "vectors"
_SEGMENT = re.compile(r"(\d{6}-\d{4})\.(?:parquet|npy|codes\.npy)")


def rows_file(segment: str) -> str:
    """Where a segment's rows are, relative to the folder."""
    return f"{ROWS}/{segment}.parquet"


def vectors_file(segment: str) -> str:
    """Where a segment's vectors are, relative to the folder."""
    return f"{VECTORS}/{segment}.npy"


def codes_file(segment: str) -> str:
    """Where the codes are that a segment is searched by first, if there are such."""
    return f"{VECTORS}/{segment}.codes.npy"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Reads the manifest of an index folder; None where there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def stale_files(folder: Path) -> set[Path]:
    """Finds files of segments that the manifest does not name: of a write that was killed, or before the last one.

    Args:
        folder: Any folder; one without a manifest of an index has none.

    Returns:
        Their paths.
    """
    manifest = read_manifest(folder)
    if manifest is None or "segments" not in manifest:
        return set()
    named = {segment["name"] for segment in manifest["segments"]}
    return {path for path, segment in segment_files(folder) if segment not in named}


def segment_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Lists files of segments, with the segment of each."""
    for inner in (ROWS, VECTORS):
        for path in sorted((folder / inner).glob("*")):
            if found := _SEGMENT.fullmatch(path.name):
                yield path, found[1]
