"""An index as a `datasets.Dataset` with its vectors, for `add_faiss_index` and everything else there."""

from collections.abc import Iterator
from typing import Any

from datasets import Dataset, Features, List, Value

from nyx_hf.data_builders.schema import DOC
from nyx_hf.faiss_store import FaissStore


def as_dataset(store: FaissStore) -> Dataset:
    """Reads an index into a dataset of files under the cache of `datasets`.

    Args:
        store: The index's store.

    Returns:
        Rows of `id`, `content`, the columns to filter by, and `embedding`.
    """
    scalars = {name: Value(_NAMES.get(kind, kind)) for name, kind in store.properties.columns.items()}
    vector = List(Value("float32"), length=store.properties.dims)
    features = Features({"id": Value("string"), "content": DOC, **scalars, "embedding": vector})
    mark = f"{store.folder.resolve()}@{store.generation}"  # read anew after each write
    return Dataset.from_generator(_Rows(store), features=features, gen_kwargs={"mark": mark})


_NAMES = {"double": "float64", "float": "float32"}


class _Rows:
    """What `from_generator` calls: its fingerprint is that of the folder and generation, not of the open files."""

    def __init__(self, store: FaissStore) -> None:
        self._store = store

    def __call__(self, mark: str) -> Iterator[dict[str, Any]]:
        for batch in self._store.batches():
            for row, vector in zip(batch.metadata.to_pylist(), batch.vectors, strict=True):
                yield {**row, "embedding": vector}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Rows._of, (str(self._store.folder),))

    @staticmethod
    def _of(folder: str) -> "_Rows":
        return _Rows(FaissStore.open(folder))
