"""How a Milvus collection is searched: all vectors, a graph of them, or a short prefix first and then the rest.

The funnel asks the engine twice: for candidates by the first dimensions, renormalised (Matryoshka, Nyx Eq. 2), then
for the nearest by whole vectors with the filter `id in [candidates]`, for which that field keeps a FLAT index. So
scores are exact, and no vector leaves the engine. `hybrid_search` is no way to do this: it merges ranks or weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymilvus import MilvusClient
from pymilvus.milvus_client.index import IndexParams

from nyx_hf.milvus_place import CALL_SECONDS
from nyx_hf.milvus_rows import ID, VECTOR, cut, prefix_field, runs, within
from nyx_hf.vector_store import StoreError

MOST = 16_384  # documents that Milvus gives for a query
SEARCHES = ("exact", "hnsw", "funnel", "funnel-hnsw")
_WIDEST = 32_768  # candidates that a graph is searched with, at most
_TOGETHER = 65_536  # results of one request
_FUNNEL, _GRAPH = ("prefix", "prefixes", "oversample"), ("m", "ef_construction", "ef")
Hit = tuple[str, float]
"""A document's id and its score."""
Hits = list[list[Hit]]
"""The documents of each query, the best first."""


@dataclass(frozen=True)
class Search:
    """A way to search.

    Attributes:
        prefixes: Widths that are searched one after the other before the whole vectors, the shortest first.
        graph: Whether the field that is searched first has an HNSW index, instead of FLAT.
        oversample: Candidates for each document asked for that the whole vectors are compared with; a shorter prefix
            gives twice as many to the next.
        m: Neighbours in the graph.
        ef_construction: Candidates while the graph is built.
        ef: Candidates while it is searched, at least.
    """

    prefixes: tuple[int, ...]
    graph: bool
    oversample: int = 8
    m: int = 16
    ef_construction: int = 200
    ef: int = 128

    def widest(self) -> "Search":
        """Gives the same with as many candidates as Milvus looks at."""
        return replace(self, ef=_WIDEST)

    def index(self) -> IndexParams:
        """Gives the indexes of all vector fields; similarity is the inner product."""
        made = MilvusClient.prepare_index_params()
        graph: dict[str, Any] = {"index_type": "HNSW", "params": {"M": self.m, "efConstruction": self.ef_construction}}
        for place, field in enumerate(self._fields()):
            made.add_index(field, metric_type="IP", **(graph if self.graph and not place else {"index_type": "FLAT"}))
        return made

    def nearest(self, client: MilvusClient, collection: str, queries: np.ndarray, k: int, where: str) -> Hits:
        """Finds the nearest documents.

        Args:
            client: A connection.
            collection: The collection.
            queries: float32 (Q, dims).
            k: Documents a query, at most 16,384.
            where: A filter in Milvus's language; empty for none.

        Returns:
            Ids and scores, from high to low.
        """
        widths = [*self.prefixes, queries.shape[1]]
        ask = _Ask(client, collection, max(self.ef, 2 * k))
        if not self.prefixes:
            return ask.all(VECTOR, queries, k, where)
        wanted = [min(MOST, k * self.oversample << step) for step in reversed(range(len(self.prefixes)))] + [k]
        hits = ask.all(prefix_field(widths[0]), cut(queries, widths[0]), wanted[0], where)
        for width, count in zip(widths[1:], wanted[1:], strict=True):
            whole = width == queries.shape[1]
            field, vectors = (VECTOR, queries) if whole else (prefix_field(width), cut(queries, width))
            hits = [
                ask.all(field, vectors[at : at + 1], count, within(ID, [name for name, _ in found]))[0]
                if found
                else []
                for at, found in enumerate(hits)
            ]
        return hits

    def _fields(self) -> list[str]:
        return [*map(prefix_field, self.prefixes), VECTOR]


@dataclass(frozen=True)
class _Ask:
    """Questions to one collection."""

    client: MilvusClient
    collection: str
    ef: int

    def all(self, field: str, vectors: np.ndarray, k: int, where: str) -> Hits:
        """Asks the engine, a number of queries at a time."""
        return [hit for some in runs([*vectors], max(1, _TOGETHER // k)) for hit in self._some(field, some, k, where)]

    def _some(self, field: str, vectors: Sequence[np.ndarray], k: int, where: str) -> Iterator[list[Hit]]:
        params = {"metric_type": "IP", "params": {"ef": max(self.ef, k)}}  # FLAT passes over ef
        found = self.client.search(
            self.collection, vectors, where, k, search_params=params, anns_field=field, timeout=CALL_SECONDS
        )
        for hits in found:
            yield sorted(((hit[ID], float(hit["distance"])) for hit in hits), key=lambda hit: (-hit[1], hit[0]))


def search_of(options: Mapping[str, Any], dims: int) -> Search:
    """Gives the way that a store was told to search.

    Args:
        options: `search`, one of `SEARCHES` (exact if left out); for the funnels `prefixes`, widths that are kept
            beside the vectors, or `prefix`, one (a quarter of the dimensions), and `oversample` (8); for the graphs
            `m` (16), `ef_construction` (200) and `ef` (128).
        dims: Width of the vectors.

    Returns:
        The way.

    Raises:
        StoreError: If there is no such option or way, or a number is out of range.
    """
    if unknown := set(options) - {"search", *_FUNNEL, *_GRAPH}:
        raise StoreError(f"found the option {min(unknown)!r}, which the store milvus does not have")
    way = options.get("search", "exact")
    if way not in SEARCHES:
        raise StoreError(f"found the search {way!r}, expected one of {', '.join(SEARCHES)}")
    funnel, graph = way.startswith("funnel"), way.endswith("hnsw")
    used = (_FUNNEL if funnel else ()) + (_GRAPH if graph else ())
    if idle := [name for name in options if name != "search" and name not in used]:
        raise StoreError(f"found {idle[0]} for the search {way!r}, which does not use it: leave it out")
    numbers = {name: options[name] for name in ("oversample", *_GRAPH) if name in options}
    if low := [name for name, value in numbers.items() if value < 1]:
        raise StoreError(f"found {low[0]}={numbers[low[0]]}, expected 1 or more")
    return Search(_prefixes(options, dims) if funnel else (), graph, **numbers)


def _prefixes(options: Mapping[str, Any], dims: int) -> tuple[int, ...]:
    if "prefix" in options and "prefixes" in options:
        raise StoreError("found both prefix and prefixes, expected one of them")
    given: Sequence[int] = options.get("prefixes") or [options.get("prefix") or max(1, dims // 4)]
    if wrong := [width for width in given if not 1 <= width <= dims]:
        raise StoreError(f"found prefix={wrong[0]}, expected 1 to {dims}, the width of the vectors")
    return tuple(sorted(set(given)))
