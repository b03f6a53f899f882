"""What rows of the unseen sets name: texts, images and videos that are read only when a record is made of them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.data_builders.video_folders import MissingError, Videos
from nyx_hf.data_builders.video_set_layouts import FRAMES_REPOSITORY, video_set
from nyx_hf.data_builders.zero_shot_tasks import Task


@dataclass(frozen=True)
class Picture:
    """An image, by its path in the images' repository."""

    path: str


@dataclass(frozen=True)
class Clip:
    """A video, by its folder of frames, and its file for where there are none."""

    frames: str
    file: str | None


Piece = str | Picture | Clip
"""A text, or what names an image or a video."""


@dataclass(frozen=True)
class Asked:
    """A query with its documents, each of one piece.

    Attributes:
        query: Its pieces in order.
        right: Documents that answer it.
        wrong: The other candidates, where it has candidates of its own.
    """

    query: Sequence[Piece]
    right: Sequence[Piece]
    wrong: Sequence[Piece] = ()


@dataclass(frozen=True)
class Media:
    """Reads a task's files.

    Attributes:
        task: The task.
        upstream: Reads repositories.
        place: Folder or archive of images, or folder of videos; the local repository's own where it is None.
        frames: Frames kept of a video.
    """

    task: Task
    upstream: Upstream
    place: Path | None = None
    frames: int = 12

    def json(self, path: str) -> Any:
        """Reads a JSON file of the task's repository."""
        return json.loads(self.upstream.file(self.task.repository, path).read_bytes())

    def rows(self, path: str, keys: Sequence[str]) -> Iterator[Row]:
        """Reads a JSON list of rows, or an object of such by number.

        Raises:
            LayoutError: If a row lacks a key.
        """
        found = self.json(path)
        for number, row in enumerate(found.values() if isinstance(found, dict) else found):
            self.check(row, keys, f"{path} row {number}")
            yield row

    def check(self, row: Row, keys: Sequence[str], place: str) -> None:
        """Refuses a row that lacks a key.

        Raises:
            LayoutError: Naming it, the place and the revision.
        """
        self.upstream.check_columns(self.task.repository, list(row), keys, place)

    @cached_property
    def images(self) -> ImageFiles:
        """The images, and texts that lie beside them.

        Raises:
            ValueError: If they are not at hand.
        """
        local = self.upstream.local
        folder = self.place or (None if local is None else local / self.task.images)
        if folder is None or not folder.exists():
            raise ValueError(
                f"{self.task.images}: the images of {self.task.name} are not at hand; download and unpack it at "
                f"LOCAL/{self.task.images} and pass --local LOCAL, or name their folder or archive with --images"
            )
        return ImageFiles([folder])

    @cached_property
    def videos(self) -> Videos:
        """The videos.

        Raises:
            ValueError: If they are not at hand.
        """
        local = self.upstream.local
        folder = self.place or (None if local is None else local / FRAMES_REPOSITORY)
        if folder is None or not folder.is_dir():
            raise ValueError(
                f"the videos of {self.task.name} are not at hand: pass --images with the unpacked frames of "
                f"{FRAMES_REPOSITORY}, or with the set's own video files"
            )
        return Videos(folder, video_set(self.task.part).places.split(), self.frames)

    def part(self, piece: Piece) -> Row:
        """Makes a part of a piece.

        Raises:
            MissingError: If its file is not there.
        """
        if isinstance(piece, str):
            return {"type": "text", "text": piece}
        if isinstance(piece, Clip):
            return self.videos.part(piece.frames, piece.file)
        image = self.images.read(piece.path)
        if image is None:
            raise MissingError("image: file is missing")
        return {"type": "image", "image": image}
