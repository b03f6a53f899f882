"""Images that rows name by a path: in a folder, a zip or a tar file, read one by one without unpacking."""

import tarfile
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from nyx_hf.data_builders.upstream import LayoutError, Upstream

Member = tuple[Path, str]


class ImageFiles:
    """Finds files by the paths that rows give.

    Upstream sets are unpacked into folders of many names, so a path is tried whole first, then without its first
    folders one after the other.

    Args:
        places: Folders, zip files and tar files, looked into in order.

    Raises:
        ValueError: If one is not there.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        for place in places:
            if not place.exists():
                raise ValueError(f"{place.name}: there is no such folder or archive of images; check the path")
        self._places = list(places)
        self._open: dict[Path, zipfile.ZipFile | tarfile.TarFile] = {}

    def read(self, path: str) -> bytes | None:
        """Reads a file.

        Args:
            path: As the row gives it.

        Returns:
            Its bytes; None where there is none of that name.
        """
        parts = PurePosixPath(path.strip().lstrip("/")).parts
        if ".." in parts:
            return None
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            for place in self._places:
                if place.is_dir():
                    if (file := place / name).is_file():
                        return file.read_bytes()
                elif (member := self._members.get(name)) is not None:
                    return self._extract(*member)
        return None

    @cached_property
    def _members(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for place in self._places:
            if not place.is_dir():
                for name in self._names(place):
                    path = name.removeprefix("./")
                    # archives are made with a folder around their files, and without
                    for key in (path, path.partition("/")[2]):
                        members.setdefault(key, (place, name))
        return members

    def _names(self, place: Path) -> list[str]:
        if place not in self._open:
            zipped = zipfile.is_zipfile(place)
            self._open[place] = zipfile.ZipFile(place) if zipped else tarfile.open(place)  # noqa: SIM115
        archive = self._open[place]
        return archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()

    def _extract(self, place: Path, name: str) -> bytes | None:
        archive = self._open[place]
        if isinstance(archive, zipfile.ZipFile):
            return archive.read(name)
        file = archive.extractfile(name)
        return None if file is None else file.read()


def repository_images(given: str | None, upstream: Upstream, repository: str, archive: str) -> ImageFiles:
    """Opens a repository's images: where the settings say, else its archive, or its folder where that is unpacked.

    Args:
        given: Folder or archive that the settings name; None for the repository's own.
        upstream: Reads the repository.
        repository: Its name.
        archive: The archive's path in it.

    Returns:
        The images.

    Raises:
        LayoutError: If there is no such archive and no unpacked folder.
    """
    if given is not None:
        return ImageFiles([Path(given).expanduser()])
    try:
        return ImageFiles([upstream.file(repository, archive)])
    except LayoutError:
        unpacked = None if upstream.local is None else upstream.local / repository
        if unpacked is None or not (unpacked / "images").is_dir():
            raise
        return ImageFiles([unpacked / "images", unpacked])
