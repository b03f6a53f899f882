"""What tests of indexes and searches share: documents with vectors, and datasets with columns to filter by."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Value
from PIL import Image as PillowImage

from nyx_hf.data_builders.schema import DOC
from nyx_hf.faiss_store import FaissStore
from nyx_hf.vector_store import Batch, StoreProperties

DIMS = 16
COLUMNS = {"modality": "string", "source": "string", "year": "int64"}
CARD = """---
license: cc-by-4.0
configs:
- config_name: corpus
  data_files:
  - split: train
    path: data/corpus/train-*.parquet
---

# Things
"""


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def properties(dims: int = DIMS, **options: Any) -> StoreProperties:
    return StoreProperties("table", "r1", dims, columns=COLUMNS, options=options)


def batch(ids: Sequence[str], vectors: np.ndarray, rows: Sequence[dict[str, Any]] | None = None) -> Batch:
    rows = rows or [{} for _ in ids]
    columns = {
        name: pa.array([row.get(name) for row in rows], pa.type_for_alias(kind)) for name, kind in COLUMNS.items()
    }
    content = pa.array(
        [[{"type": "text", "text": row.get("text", name)}] for name, row in zip(ids, rows, strict=True)],
        Features({"content": DOC}).arrow_schema.field("content").type,
    )
    return Batch(list(ids), unit(vectors), pa.table({"content": content, **columns}))


def filled(
    folder: Path, vectors: np.ndarray, rows: Sequence[dict[str, Any]] | None = None, **options: Any
) -> FaissStore:
    """A store of documents d0, d1, …"""
    store = FaissStore.create(str(folder), properties(vectors.shape[1], **options))
    store.upsert([batch([f"d{number}" for number in range(len(vectors))], vectors, rows)])
    return store


def things(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A dataset folder with a corpus of `id`, `content`, `source` and `year`."""
    features = Features({"id": Value("string"), "content": DOC, "source": Value("string"), "year": Value("int32")})
    (folder / "data" / "corpus").mkdir(parents=True)
    whole = [{"source": None, "year": None, **row, "content": [*parts(row["content"])]} for row in rows]
    Dataset.from_list(whole, features=features).to_parquet(str(folder / "data" / "corpus" / "train-0.parquet"))
    (folder / "README.md").write_text(CARD)
    return folder


def parts(content: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for one in content:
        empty = {"type": "", "text": None, "image": None, "video": None}
        if isinstance(one, str):
            yield {**empty, "type": "text", "text": one}
        elif isinstance(one, PillowImage.Image):
            yield {**empty, "type": "image", "image": one}
        else:
            yield {**empty, "type": "video", "video": list(one)}
