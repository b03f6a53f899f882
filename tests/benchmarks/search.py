"""Quick ways of searching an index beside the exact one: seconds of a batch and of one query, and recall.

    python tests/benchmarks/search.py [--rows 100000] [--dims 1024] [--queries 64] [--k 10] [--rounds 3]

Vectors are made like those of a Matryoshka model: documents in clusters, their dimensions ever weaker from the first
to the last; queries are documents with noise. All ways are measured in one run, in turns; the index is on disk.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from measuring import write

from nyx_hf.faiss_store import FaissStore
from nyx_hf.vector_store import Batch, StoreProperties

WAYS: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact, float16": {"dtype": "float16"},
    "funnel, 128 dimensions": {"search": "funnel", "prefix": 128},
    "int8": {"search": "int8"},
    "binary": {"search": "binary"},
}


def matryoshka_like(rows: int, dims: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents and queries, of length 1: each dimension's deviation falls as the square root of its number."""
    rng = np.random.default_rng(0)
    scale = (1 / np.sqrt(np.arange(1, dims + 1))).astype(np.float32)
    centres = rng.standard_normal((max(1, rows // 200), dims), np.float32)
    documents = centres[rng.integers(len(centres), size=rows)]
    documents += 0.7 * rng.standard_normal((rows, dims), np.float32)
    documents *= scale
    asked = documents[rng.choice(rows, queries, replace=False)]
    asked = asked + 0.5 * scale * rng.standard_normal((queries, dims), np.float32)
    return tuple(one / np.linalg.norm(one, axis=1, keepdims=True) for one in (documents, asked))  # type: ignore[return-value]


def batches(documents: np.ndarray) -> Iterator[Batch]:
    for start in range(0, len(documents), 4096):
        some = documents[start : start + 4096]
        empty = pa.table({"modality": pa.array(["text"] * len(some), pa.string())})
        yield Batch([str(start + number) for number in range(len(some))], some, empty)


def seconds_of(store: FaissStore, queries: np.ndarray, k: int) -> float:
    start = time.perf_counter()
    store.search(queries, k)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 100_000), ("dims", 1024), ("queries", 64), ("k", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/search.json"))
    args = parser.parse_args()
    documents, queries = matryoshka_like(args.rows, args.dims, args.queries)
    with tempfile.TemporaryDirectory() as folder:
        stores, written = {}, {}
        for number, (way, options) in enumerate(WAYS.items()):
            place = str(Path(folder) / str(number))
            start = time.perf_counter()
            store = FaissStore.create(place, StoreProperties("table", None, args.dims, options=options))
            store.upsert(batches(documents))
            written[way], stores[way] = time.perf_counter() - start, store
        right = stores["exact"].search(queries, args.k)[1]
        results: dict[str, dict[str, Any]] = {}
        for way, store in stores.items():
            found = store.search(queries, args.k)[1]  # the first search reads the files
            recall = np.mean([len({*one} & {*other}) / args.k for one, other in zip(found, right, strict=True)])
            results[way] = {"recall": float(recall), "write_seconds": written[way], "batch": [], "single": []}
        for _ in range(args.rounds):
            for way, store in stores.items():
                results[way]["batch"].append(seconds_of(store, queries, args.k))
                results[way]["single"] += [seconds_of(store, queries[at : at + 1], args.k) for at in range(5)]
    for result in results.values():
        result["seconds"], result["single_ms"] = median(result.pop("batch")), 1000 * median(result.pop("single"))
    for result in results.values():
        result["times_faster"] = results["exact"]["seconds"] / result["seconds"]
        result["single_times_faster"] = results["exact"]["single_ms"] / result["single_ms"]
    sizes = {name: getattr(args, name) for name in ("rows", "dims", "queries", "k", "rounds")}
    command = " ".join(["python tests/benchmarks/search.py", *(f"--{name} {value}" for name, value in sizes.items())])
    write(args.out, command, sizes, results)
    print("| way | seconds a batch | ms a query | recall | batch, times faster | one query, times faster |")
    print("|---|---|---|---|---|---|")
    for way, one in results.items():
        shown = f"{one['seconds']:.2f} | {one['single_ms']:.1f} | {one['recall']:.3f} | {one['times_faster']:.2f}"
        print(f"| {way} | {shown} | {one['single_times_faster']:.2f} |")


if __name__ == "__main__":
    main()
