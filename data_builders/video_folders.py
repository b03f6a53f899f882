"""Videos on disk as MMEB-V2 has them: folders of frames, or files that it would cut into such."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.video_nyx import VideoError, load_frames

_IMAGES = (".jpg", ".jpeg", ".png")
_SAVED, _EVERY = 64, 1000.0  # upstream saves so many frames of a file, whatever its rate


class MissingError(ValueError):
    """A row that cannot be made; the message is the reason that is counted."""


class Videos:
    """Finds videos as frames: folders of pictures, or files that upstream would cut into such.

    Args:
        folder: A folder laid out as upstream's, or any folder in there that holds the set's.
        places: Names of the set's folder.
        count: Frames kept of each.

    Raises:
        ValueError: If `count` is not positive.
    """

    def __init__(self, folder: Path, places: Sequence[str], count: int) -> None:
        if count < 1:
            raise ValueError(f"found frames={count}, expected at least 1")
        self._frames, self._files = (_root(folder, kind, places) for kind in ("frames", "videos"))
        self._count = count

    def part(self, frames: str, file: str | None = None, what: str = "video") -> Row:
        """Gives a video as a part.

        Args:
            frames: Its folder of frames.
            file: Its file, read where there are no frames.
            what: What a missing one is called.

        Returns:
            `{"type": "video", "video": frames}`.

        Raises:
            MissingError: If it is not there, has no frame, or cannot be read.
        """
        images: list[Any] = _frames_in(self._frames / _inside(frames, what))
        if not images and file is not None:
            images = _frames_of(self._files / _inside(file, what), what)
        if not images:
            there = (self._frames / frames).is_dir()
            raise MissingError(f"{what}: {'has no frame' if there else 'is missing'}")
        if len(images) > self._count:
            images = [images[place] for place in np.linspace(0, len(images) - 1, self._count, dtype=int)]
        return {"type": "video", "video": images}

    def image(self, path: str) -> Row:
        """Gives an image among the frames as a part.

        Raises:
            MissingError: If it is not there.
        """
        found = self._frames / _inside(path, "image")
        if not found.is_file():
            raise MissingError("image: is missing")
        return {"type": "image", "image": found}

    def folders(self, path: str) -> list[str]:
        """Lists the folders in a folder of the set, in the order of their numbers."""
        return sorted((one.name for one in (self._frames / path).iterdir() if one.is_dir()), key=_by_number)


def _root(folder: Path, kind: str, places: Sequence[str]) -> Path:
    """Finds a set's folder: by its whole path in upstream's layout, or without the first folders of that."""
    for place in places:
        parts = ("video-tasks", kind, *place.split("/"))
        for start in range(len(parts)):
            if (found := folder.joinpath(*parts[start:])).is_dir():
                return found
    return folder


def _inside(path: str, what: str) -> str:
    """Keeps what a row names inside the folder of videos."""
    if ".." in PurePosixPath(path).parts or path.startswith("/"):
        raise MissingError(f"{what}: is missing")
    return path


def _frames_in(folder: Path) -> list[Any]:
    if not folder.is_dir():
        return []
    return sorted(
        (one for one in folder.iterdir() if one.suffix.lower() in _IMAGES), key=lambda one: _by_number(one.name)
    )


def _frames_of(file: Path, what: str) -> list[Any]:
    if not file.is_file():
        return _frames_in(file)  # MVBench has one kind of video as frames alone
    try:
        return list(load_frames(str(file), fps=_EVERY, max_frames=_SAVED).images)
    except VideoError as error:
        raise MissingError(f"{what}: cannot be read") from error


def _by_number(name: str) -> list[tuple[int, str]]:
    """Orders names as their numbers count: `frame_2` before `frame_10`."""
    return [(int(piece) if place % 2 else 0, piece.lower()) for place, piece in enumerate(re.split(r"(\d+)", name))]
