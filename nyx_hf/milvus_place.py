"""Where a Milvus collection is, and the way there: a file of Milvus Lite, or a server."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pymilvus import MilvusClient, MilvusException

from nyx_hf.vector_store import StoreError

TOKEN = "MILVUS_TOKEN"
CALL_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_COLLECTION = "nyx"
_NAME = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)
_FORM = "expected FILE.db, FILE.db/COLLECTION or http://HOST:PORT/COLLECTION"

_LOGGERS = ("pymilvus.decorators", "pymilvus.client.connection_manager", "milvus_lite.server_manager")

for _logger in _LOGGERS:  # they log, with a traceback, what they raise
    logging.getLogger(_logger).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Place:
    """A collection somewhere.

    Attributes:
        uri: The path of Milvus Lite's file, or `http://HOST:PORT`, with `/DATABASE` where there is one.
        collection: The collection's name.
        local: Whether it is Milvus Lite's.
    """

    uri: str
    collection: str
    local: bool

    def __str__(self) -> str:
        return f"milvus:{self.uri}/{self.collection}"

    @property
    def missing(self) -> bool:
        """Whether it is a file that is not there yet: connecting would make it."""
        return self.local and not Path(self.uri).exists()

    def connect(self) -> MilvusClient:
        """Connects; a token is read from the environment variable `MILVUS_TOKEN`.

        Returns:
            The client. Milvus Lite runs inside this process, and no other process can open the file meanwhile.

        Raises:
            StoreError: If the file is held by another process or is none of Milvus Lite's, or the server does not
                answer.
        """
        with told(self):
            if self.local:
                return self._open_file()
            return MilvusClient(self.uri, token=os.environ.get(TOKEN, ""), timeout=_CONNECT_SECONDS)

    def leave(self, client: MilvusClient) -> None:
        """Disconnects; a file is then free for another process."""
        client.close()
        if self.local:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def _open_file(self) -> MilvusClient:
        """Starts Milvus Lite, or takes the one that runs in this process."""
        path = Path(self.uri)
        if path.is_file():
            raise StoreError(f"found a file at {path}, expected a folder, as Milvus Lite 3 keeps one: choose another")
        try:
            from milvus_lite.db import MilvusLite
            from milvus_lite.exceptions import DataDirLockedError
        except ModuleNotFoundError as error:
            raise StoreError(f"{self} needs the package {error.name}: pip install nyx-hf[milvus]") from error
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return MilvusClient(self.uri)
        except MilvusException as failed:  # which does not say why
            try:
                MilvusLite(self.uri).close()
            except DataDirLockedError as error:
                raise StoreError(
                    f"{path} is in use by another process, and Milvus Lite serves one: end that, or run a server"
                ) from error
            raise failed


def parse(place: str) -> Place:
    """Reads what follows `milvus:`.

    Args:
        place: `FILE.db`, `FILE.db/COLLECTION`, `http://HOST:PORT`, `http://HOST:PORT/COLLECTION` or
            `http://HOST:PORT/DATABASE/COLLECTION`; the collection is `nyx` where none is named.

    Returns:
        The place.

    Raises:
        StoreError: If it is none of these, or holds a password.
    """
    if "://" in place:
        uri, collection = _server(place)
    elif place.endswith(".db"):
        uri, collection = str(Path(place).absolute()), _COLLECTION
    else:
        file, _, collection = place.rpartition("/")
        if not file.endswith(".db"):
            raise StoreError(f"found the place milvus:{place}, {_FORM}")
        uri = str(Path(file).absolute())
    if not _NAME.fullmatch(collection):
        raise StoreError(f"found the collection {collection!r}, expected letters, digits and _, a letter first")
    return Place(uri, collection, "://" not in place)


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Says in one line what Milvus could not do."""
    try:
        yield
    except MilvusException as error:
        said = " ".join(str(error.message).split())
        raise StoreError(f"{place}: {said}" + _advice(place, said)) from error


def _advice(place: Place, said: str) -> str:
    if place.local:
        return ""
    if "connect" in said.lower() or "unavailable" in said.lower():
        return f": is the server running, and is {TOKEN} set if it asks for one?"
    return ""


def _server(place: str) -> tuple[str, str]:
    """Tells a server's address from the collection behind it."""
    parts = urlsplit(place)
    if "@" in parts.netloc:
        raise StoreError(f"found a name or password in the place, expected none: put it into {TOKEN} as NAME:PASSWORD")
    steps = [step for step in parts.path.split("/") if step]
    if parts.scheme not in ("http", "https") or not parts.netloc or len(steps) > 2 or parts.query:
        raise StoreError(f"found the place milvus:{place}, {_FORM}")
    database = f"/{steps[0]}" if len(steps) == 2 else ""
    return f"{parts.scheme}://{parts.netloc}{database}", steps[-1] if steps else _COLLECTION
