"""The vector store that is a Milvus collection: Milvus Lite in a local file, or a server, by the same code."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from pymilvus import MilvusClient

from nyx_hf.milvus_place import CALL_SECONDS, Place, parse, told
from nyx_hf.milvus_rows import (
    CONTENT,
    ID,
    column_fields,
    filter_text,
    read_row,
    requests,
    runs,
    schema,
    within,
)
from nyx_hf.milvus_search import MOST, Hits, search_of
from nyx_hf.vector_store import Batch, StoreError, StoreProperties, Where, checked_vectors

FORMAT = 1
_FORMAT, _PROPERTIES = "nyx_hf.format", "nyx_hf.properties"
_IDS, _ROWS = 1_000, 64  # so many are asked for together
_BUILD_SECONDS = 3_600.0  # a server may build a graph before it answers


class MilvusStore:
    """Vectors in a Milvus collection; see `VectorStore` for what its methods do.

    Options of `StoreProperties` are those of `milvus_search.search_of`. A new collection is written under another name
    and renamed when it is whole. What `upsert` and `delete` change in one that stands becomes visible request by
    request; either can be run again after it was stopped, and the collection is then what it would have been.
    """

    kind: ClassVar[str] = "milvus"

    def __init__(
        self, place: Place, properties: StoreProperties, link: MilvusClient | None, made: bool, overwrite: bool = False
    ) -> None:
        self.place, self.properties = place, properties
        self._link, self._made, self._overwrite = link, made, overwrite
        self._search = search_of(properties.options, properties.dims)

    @classmethod
    def create(cls, place: str, properties: StoreProperties, overwrite: bool = False) -> "MilvusStore":
        """Makes an empty store; the collection is made by the first `upsert`.

        Raises:
            FileExistsError: If a collection stands there that may not be replaced.
            StoreError: If an option is out of range, or the server does not answer.
        """
        store = cls(parse(place), properties, None, made=False, overwrite=overwrite)
        if not store.place.missing:
            with told(store.place):
                _check_free(store.place, store._client, overwrite)
        return store

    @classmethod
    def open(cls, place: str) -> "MilvusStore":
        """Opens a store as it is now, and loads it into the server's memory.

        Raises:
            StoreError: If there is none, it is busy, does not answer, or has a format that this version does not read.
        """
        at = parse(place)
        if at.missing:
            raise StoreError(_none(at))
        client = at.connect()
        with told(at):
            if not client.has_collection(at.collection, timeout=CALL_SECONDS):
                raise StoreError(_none(at))
            found = _properties(at, client)
            client.load_collection(at.collection, timeout=_BUILD_SECONDS)
        return cls(at, found, client, made=True)

    def close(self) -> None:
        """Disconnects: a file of Milvus Lite is then free for others, and closed for all stores of this process."""
        if self._link is not None:
            self.place.leave(self._link)

    @property
    def _client(self) -> MilvusClient:
        """The connection, made when it is first needed: a file is not there before."""
        if self._link is None:
            self._link = self.place.connect()
        return self._link

    def __len__(self) -> int:
        return self._count("")

    def known(self, ids: Collection[str]) -> set[str]:
        """Gives those of the ids that are stored."""
        return {row[ID] for row in self._read(list(dict.fromkeys(ids)), _IDS, [ID])}

    def upsert(self, batches: Iterable[Batch]) -> None:
        """Stores documents, replacing those of the same id, request by request.

        Raises:
            FileExistsError: If a collection was made there meanwhile.
            StoreError: If an id comes twice, vectors have another width, or Milvus refuses a row. Requests sent before
                are stored.
        """
        if self._made:
            self._write(self.place.collection, batches)
        else:
            self._make(batches)

    def delete(self, ids: Collection[str]) -> int:
        """Removes documents, those of them that are there, and gives their number."""
        gone = self.known(ids)
        with told(self.place):
            for some in runs(sorted(gone), _IDS):
                self._client.delete(self.place.collection, filter=within(ID, some), timeout=CALL_SECONDS)
        return len(gone)

    def search(self, vectors: np.ndarray, k: int, where: Where | None = None) -> tuple[np.ndarray, list[list[str]]]:
        """Finds the nearest documents; of equal scores the lesser id comes first, among those that Milvus gives."""
        queries = checked_vectors(vectors, self.properties.dims, "queries")
        if not 1 <= k <= MOST:
            raise StoreError(f"found k={k}, expected 1 to {MOST}, the most that Milvus gives")
        text = filter_text(where, self.properties.columns)
        if not self._made or not len(queries):
            return np.empty((len(queries), 0), np.float32), [[] for _ in queries]
        with told(self.place):
            hits = self._search.nearest(self._client, self.place.collection, queries, k, text)
        if self._search.graph and min(map(len, hits)) < k:
            hits = self._filled(hits, queries, k, text)
        found = min(map(len, hits))
        scores = np.array([[score for _, score in row[:found]] for row in hits], np.float32)
        return scores.reshape(len(queries), found), [[name for name, _ in row[:found]] for row in hits]

    def take(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Gives metadata, `content` among it, in the order of the ids; the id stands in it too."""
        fields = [ID, CONTENT, *column_fields(self.properties.columns).values()]
        rows = self._read(list(dict.fromkeys(ids)), _ROWS, fields)
        found = {row[ID]: read_row(row, self.properties.columns) for row in rows}
        return [found[name] for name in ids]

    def _make(self, batches: Iterable[Batch]) -> None:
        """Writes a new collection beside the old one, and puts it in its place."""
        client, name = self._client, self.place.collection
        draft = f"{name}_draft"
        with told(self.place):
            _check_free(self.place, client, self._overwrite)
            client.drop_collection(draft, timeout=CALL_SECONDS)  # what a run that was stopped has left
            kept = {_FORMAT: str(FORMAT), _PROPERTIES: json.dumps(asdict(self.properties))}
            fields, index = schema(self.properties, self._search.prefixes), self._search.index()
            client.create_collection(
                draft,
                schema=fields,
                index_params=index,
                properties=kept,
                consistency_level="Strong",
                timeout=_BUILD_SECONDS,
            )
        self._write(draft, batches)
        with told(self.place):
            client.drop_collection(name, timeout=CALL_SECONDS)
            client.rename_collection(draft, name, timeout=CALL_SECONDS)
            client.load_collection(name, timeout=_BUILD_SECONDS)
        self._made = True

    def _write(self, collection: str, batches: Iterable[Batch]) -> None:
        added: set[str] = set()
        for batch in batches:
            for name in batch.ids:
                if name in added:
                    raise StoreError(f"found the id {name!r} twice, expected each once: rename or drop one document")
                added.add(name)
            for rows in requests(batch, self.properties, self._search.prefixes):
                with told(self.place):
                    self._client.upsert(collection, rows, timeout=CALL_SECONDS)
        with told(self.place):
            self._client.flush(collection, timeout=_BUILD_SECONDS)

    def _filled(self, hits: Hits, queries: np.ndarray, k: int, text: str) -> Hits:
        """Searches a graph more widely where a filter left less of its neighbours than there are documents."""
        if min(map(len, hits)) == min(k, self._count(text)):
            return hits
        with told(self.place):
            return self._search.widest().nearest(self._client, self.place.collection, queries, k, text)

    def _read(self, ids: Sequence[str], together: int, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        for some in runs(ids, together) if self._made else ():
            with told(self.place):
                rows = self._client.query(self.place.collection, within(ID, some), list(fields), timeout=CALL_SECONDS)
            yield from rows

    def _count(self, text: str) -> int:
        if not self._made:
            return 0
        with told(self.place):
            [row] = self._client.query(self.place.collection, text, ["count(*)"], timeout=CALL_SECONDS)
        return int(row["count(*)"])


def _check_free(place: Place, client: MilvusClient, overwrite: bool) -> None:
    """Refuses a collection of something else, or an index that may not be replaced."""
    if not client.has_collection(place.collection, timeout=CALL_SECONDS):
        return
    if _FORMAT not in client.describe_collection(place.collection, timeout=CALL_SECONDS)["properties"]:
        raise FileExistsError(f"found a collection at {place} that is no index, expected none: choose another name")
    if not overwrite:
        raise FileExistsError(
            f"{place} holds an index already: add to it with --add or --update, or replace it with --overwrite"
        )


def _properties(place: Place, client: MilvusClient) -> StoreProperties:
    """Reads what a collection was made with."""
    kept = client.describe_collection(place.collection, timeout=CALL_SECONDS)["properties"]
    if _FORMAT not in kept:
        raise StoreError(f"found a collection at {place} that is no index, expected one that nyx-hf index made")
    if kept[_FORMAT] != str(FORMAT):
        raise StoreError(
            f"{place} is an index of format {kept[_FORMAT]}, and this version reads format {FORMAT}: index the "
            "documents anew, or install the version of nyx_hf that made it"
        )
    return StoreProperties(**json.loads(kept[_PROPERTIES]))


def _none(place: Place) -> str:
    return f"{place} holds no index: make one with nyx-hf index DATASET --model MODEL --store {place}"
