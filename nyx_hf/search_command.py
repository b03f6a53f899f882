"""What `nyx-hf search` and `nyx-hf index` do with what was typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nyx_hf.index_encoding import Encoding
from nyx_hf.indexing import Documents, Indexed, build_index, delete_documents, read_ids, update_index
from nyx_hf.search_index import SearchIndex
from nyx_hf.search_page import write_page
from nyx_hf.search_queries import Query, read_queries, read_query, typed_query
from nyx_hf.search_results import Found
from nyx_hf.vector_store import parse_where


def run_search(
    place: str,
    typed: tuple[str | None, Sequence[Path], bool],
    queries: Path | None,
    k: int,
    where: Sequence[str],
    instruction: str | None,
    opened: Mapping[str, Any],
    html: Path | None,
    picture: Path | None,
) -> Found:
    """Searches as the command line asks.

    Args:
        place: The index: DIR, owner/name or KIND:PLACE.
        typed: Words, image files, and whether an image was typed first.
        queries: A file of queries, instead.
        k: Documents a query.
        where: Filters as they were typed.
        instruction: Put before the queries.
        opened: How the index is opened.
        html: A page to write.
        picture: A picture to write.

    Returns:
        What was found.

    Raises:
        ValueError: If both or none of typed words and a file are there, or any of it cannot be read.
    """
    asked = _asked(typed, queries)
    filters = parse_where(where)
    index = SearchIndex.open(place, **opened)
    results = index.find(asked, k, filters, instruction)
    named = Path(place).resolve().name if Path(place).exists() else place
    found = Found(named, len(index), index.store.properties.shown_model, k, filters, asked, results)
    if html is not None:
        write_page(found, html)
    if picture is not None:
        found.draw(picture)
    return found


def run_index(
    documents: Documents | None,
    out: str,
    mode: str,
    encoding: Encoding | None,
    deleted: Path | None,
    given: Mapping[str, Any],
    command: str,
) -> Indexed:
    """Makes or changes an index as the command line asks.

    Args:
        documents: The dataset; None where documents are only deleted.
        out: The index's folder, or KIND:PLACE.
        mode: `new`, `add`, `update` or `delete`.
        encoding: How documents are encoded; its model is empty where none was named.
        deleted: The file of ids to delete.
        given: Further arguments of `build_index`.
        command: The command typed, for the card.

    Returns:
        What came of it.

    Raises:
        ValueError: If something that the mode needs is missing.
    """
    if mode == "delete":
        if deleted is None:
            raise ValueError("name the file of ids with --delete")
        return delete_documents(read_ids(deleted), out, command)
    if documents is None:
        raise ValueError("name the dataset to index, or ids to delete with --delete FILE")
    if mode == "new":
        if encoding is None or not encoding.model:
            raise ValueError("name the model that makes vectors with --model")
        return build_index(documents, out, encoding, command=command, **given)
    made = [f"--{name}" for name in ("search", "prefix", "oversample", "dtype") if name in given["options"]]
    made += ["--instruction"] if given["instruction"] is not None else []
    if made:
        raise ValueError(f"{', '.join(made)}: an index keeps what it was made with; leave it out, or make a new one")
    model = encoding.model or None if encoding is not None else None
    return update_index(documents, out, encoding, model=model, replace_known=mode == "update", command=command)


def _asked(typed: tuple[str | None, Sequence[Path], bool], queries: Path | None) -> list[Query]:
    """Reads the one query that was typed, or a file of them."""
    if queries is None:
        return [read_query(typed_query(*typed))]
    if typed[0] is not None or typed[1]:
        raise ValueError("found both a typed query and --queries, expected one of them")
    return read_queries(queries)
