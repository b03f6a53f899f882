"""Makes and changes indexes: `nyx-hf index`, for programs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.index_card import Origin, read_origins, write_card
from nyx_hf.index_documents import THUMBNAIL_PIXELS, Corpus, open_corpus
from nyx_hf.index_encoding import Encoding, encode_corpus
from nyx_hf.index_model import model_of, remember_folder
from nyx_hf.trainer.hub_revisions import commit_of
from nyx_hf.vector_store import Batch, StoreError, StoreProperties, parse_place, store_class

_BATCH = 256  # documents that are read and written together


@dataclass(frozen=True)
class Documents:
    """Which documents go into an index.

    Attributes:
        dataset: A dataset folder or a Hub dataset with a `corpus`.
        revision: The Hub's branch, tag or commit.
        splits: The splits of the corpus; all where it is None.
        max_pixels: Pixels of a picture that is kept to be shown, at most; 0 keeps pictures as they are. Vectors are
            those of the whole pictures always.
    """

    dataset: str
    revision: str | None = None
    splits: tuple[str, ...] | None = None
    max_pixels: int = THUMBNAIL_PIXELS

    def pinned(self) -> "Documents":
        """Names the Hub's commit instead of a branch or tag."""
        return replace(self, revision=commit_of(self.dataset, self.revision, "dataset"))


@dataclass(frozen=True)
class Indexed:
    """What became of an index.

    Attributes:
        place: Where it is.
        model: The model, with its revision.
        documents: Documents that it holds now.
        added: New ones.
        replaced: Those whose vector or content was replaced.
        deleted: Those that are gone.
        left_out: Columns of the dataset that the index does not have.
    """

    place: str
    model: str
    documents: int
    added: int = 0
    replaced: int = 0
    deleted: int = 0
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {**vars(self), "left_out": list(self.left_out)}

    def as_text(self) -> str:
        """Gives it as a few lines."""
        counts = {"added": self.added, "replaced": self.replaced, "deleted": self.deleted}
        changes = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing changed"
        lines = [f"{self.place}: {self.documents:,} documents ({changes}), vectors by {self.model}"]
        if self.left_out:
            lines.append(f"left out columns that the index does not have: {', '.join(self.left_out)}")
        return "\n".join(lines)


def build_index(
    documents: Documents,
    out: str,
    encoding: Encoding,
    *,
    options: Mapping[str, Any] | None = None,
    instruction: str | None = None,
    overwrite: bool = False,
    command: str | None = None,
) -> Indexed:
    """Encodes a dataset's corpus and makes an index of it.

    A run that is stopped goes on when it is started again: vectors are kept as they are made. An index that is
    replaced answers until the new one is whole.

    Args:
        documents: What to index.
        out: The folder to make, or `KIND:PLACE` of a store.
        encoding: How documents are encoded.
        options: The store's options: see `FaissStore`.
        instruction: Put before queries that come without one; None leaves it to the model's own prompt.
        overwrite: Whether an index that stands there may be replaced.
        command: The command typed, for the card.

    Returns:
        What came of it.

    Raises:
        FileExistsError: If something stands at `out` that may not be replaced.
        ValueError: If the dataset or the model cannot be read, or an option is wrong.
    """
    kind, place = parse_place(out)
    store_of = store_class(kind)
    options = dict(options or {})
    least = max(options.get("prefix") or 1, *options.get("prefixes", (1,)))  # the model's dimensions are not known yet
    store_of.create(place, StoreProperties("", None, least, options=options), overwrite)  # refuses what it must
    documents = documents.pinned()
    corpus = open_corpus(documents.dataset, documents.revision, documents.splits)
    model, vectors = encode_corpus(corpus, encoding, documents.dataset, documents.revision, documents.splits)
    made_by = (model.name, model.revision, vectors.shape[1], model.settings())
    properties = StoreProperties(*made_by, instruction=instruction, columns=corpus.columns, options=options)
    store = store_of.create(place, properties, overwrite)
    store.upsert(_batches(corpus, vectors, list(corpus.columns), documents.max_pixels))
    remember_folder(encoding.model, model.revision)
    if kind == "faiss":  # a folder, which may be pushed
        write_card(Path(place), [Origin.of(documents.dataset, documents.revision)], command)
    return Indexed(out, properties.shown_model, len(store), added=len(corpus))


def update_index(
    documents: Documents,
    out: str,
    encoding: Encoding | None = None,
    *,
    model: str | None = None,
    replace_known: bool = True,
    command: str | None = None,
) -> Indexed:
    """Adds a dataset's corpus to an index; all of it becomes visible at once.

    Args:
        documents: What to add.
        out: The index's folder, or `KIND:PLACE`.
        encoding: How documents are encoded; its model counts for nothing, `model` does.
        model: The model, if it is not to be the one that the index was made with, at its revision.
        replace_known: Whether documents of ids that are there are replaced; otherwise such an id is an error.
        command: The command typed, for the card.

    Returns:
        What came of it.

    Raises:
        ValueError: If there is no index, an id is there that may not be, or the model is another than the index's.
    """
    kind, place = parse_place(out)
    store = store_class(kind).open(place)
    how = encoding or Encoding("")
    name, revision = model_of(store.properties, model, how.revision)
    documents = documents.pinned()
    corpus = open_corpus(documents.dataset, documents.revision, documents.splits)
    known = store.known(corpus.ids)
    if known and not replace_known:
        raise StoreError(
            f"found {len(known):,} documents whose ids are in the index already, such as {min(known)!r}: replace them "
            "with --update, or rename them"
        )
    how = replace(how, model=name, revision=revision)
    found, vectors = encode_corpus(corpus, how, documents.dataset, documents.revision, documents.splits)
    store.properties.check_model(found.name, found.revision, found.settings())
    columns = list(store.properties.columns)
    store.upsert(_batches(corpus, vectors, columns, documents.max_pixels))
    if kind == "faiss":
        origin = Origin.of(documents.dataset, documents.revision)
        write_card(Path(place), [*read_origins(Path(place)), origin], command)
    left_out = tuple(column for column in corpus.columns if column not in columns)
    added = len(corpus) - len(known)
    return Indexed(out, store.properties.shown_model, len(store), added, len(known), left_out=left_out)


def delete_documents(ids: Collection[str], out: str, command: str | None = None) -> Indexed:
    """Takes documents out of an index.

    Args:
        ids: Their ids; those that are not there are passed over.
        out: The index's folder, or `KIND:PLACE`.
        command: The command typed, for the card.

    Returns:
        What came of it.
    """
    kind, place = parse_place(out)
    store = store_class(kind).open(place)
    deleted = store.delete(ids)
    if kind == "faiss":
        write_card(Path(place), read_origins(Path(place)), command)
    return Indexed(out, store.properties.shown_model, len(store), deleted=deleted)


def read_ids(path: Path) -> list[str]:
    """Reads ids, one a line.

    Raises:
        ValueError: If there is no such file, or no id in it.
    """
    if not path.is_file():
        raise ValueError(f"found no file at {path}, expected ids, one a line: check --delete")
    ids = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not ids:
        raise ValueError(f"found no id in {path}, expected one a line")
    return ids


def _batches(corpus: Corpus, vectors: np.ndarray, columns: Sequence[str], max_pixels: int) -> Iterator[Batch]:
    """Reads documents batch by batch, their pictures made small."""
    with tqdm(total=len(corpus), desc="write index", unit="row") as bar:
        for start in range(0, len(corpus), _BATCH):
            end = min(start + _BATCH, len(corpus))
            yield Batch(corpus.ids[start:end], vectors[start:end], corpus.metadata(start, end, columns, max_pixels))
            bar.update(end - start)
