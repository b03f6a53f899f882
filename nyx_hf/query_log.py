"""A log of real queries, each with a document that answered it, as questions beside those made from the pages."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.builder import Made
from nyx_hf.data_builders.held_out import document_of
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.nyxqa_stages import Corpus
from nyx_hf.data_builders.pages import content_hash, text_of
from nyx_hf.data_builders.schema import Row

TASK = "query log"
_LEAST_WORDS = 5  # fewer stand in too many places to say which document is meant

QueryLog = Mapping[str, Sequence[str]]
"""For each query the documents that answered it, by id or by text."""


def read_query_log(path: Path) -> QueryLog:
    """Reads a log.

    Args:
        path: JSONL, a line `{"query": …, "document": …}`; the document is named by its id or given as text. A query
            that stands there several times has several right documents.

    Returns:
        The log.

    Raises:
        ValueError: If there is no such file, or a line is not like that.
    """
    if not path.is_file():
        raise ValueError(f"found no file at {path}, expected a log of queries; check --queries")
    log: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        query, document = _parsed(line, f"{path.name} line {number}")
        if document not in log[query]:
            log[query].append(document)
    if not log:
        raise ValueError(f"found no line in {path}, expected one for each query; leave --queries out")
    return dict(log)


def add_logged(made: Made, log: QueryLog, corpus: Corpus) -> Made:
    """Adds a log's queries to a dataset: each to the split that its documents' pages are in.

    Args:
        made: The dataset; it is private from now on, whatever its pages are: queries are people's own words.
        log: The log.
        corpus: What the dataset's corpus was made of.

    Returns:
        The dataset with the queries; what was left out is counted, by reason.

    Raises:
        ValueError: If no query of the log can be used.
    """
    places = _Places.of(corpus)
    queries = {split: list(rows) for split, rows in made.queries.items()}
    triplets = {split: list(rows) for split, rows in made.triplets.items()}
    asked = {_text(row) for rows in queries.values() for row in rows}
    dropped: Counter[str] = Counter()
    for query, documents in log.items():
        right = sorted({chunk for document in documents for chunk in places.find(document)})
        splits = {places.splits[chunk] for chunk in right}
        if not right:
            dropped["query log: no such document"] += 1
        elif len(splits) > 1:  # it could neither be trained on nor tested with
            dropped["query log: documents of several splits"] += 1
        elif _key(query) in asked:
            dropped["query log: asked before"] += 1
        else:
            [split] = splits
            row = _query(query, right[0])
            queries.setdefault(split, []).append(row)
            triplets.setdefault(split, []).append({"query_id": row["id"], "positive_ids": right, "negative_ids": []})
    added = len(log) - dropped.total()
    if not added:
        raise ValueError(
            f"found no query of the log that can be used ({dict(dropped)}), expected documents of the corpus such as "
            f"{next(iter(places.splits))!r}, or their text; check the log's `document`"
        )
    facts = replace(
        made.facts,
        counts={**made.facts.counts, "questions, from a query log": added},
        dropped={**made.facts.dropped, **dropped},
        own_pages=True,
    )
    return Made(made.corpus, queries, triplets, facts)


@dataclass
class _Places:
    """Where a corpus says what.

    Attributes:
        splits: The split of each chunk.
        named: Chunks by their own id, their page's and their document's.
        texts: The words of each chunk.
    """

    splits: dict[str, str] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, corpus: Corpus) -> "_Places":
        places = cls()
        for chunk in corpus.chunks:
            name = chunk["id"]
            places.splits[name] = corpus.split_of(chunk["page_id"])
            places.texts[name] = _key(text_of(chunk["content"]))
            for known in {name, chunk["page_id"], document_of(name)}:
                places.named[known].append(name)
        return places

    def find(self, document: str) -> list[str]:
        """Gives the chunks of an id, or those that say a text or a part of it."""
        if document in self.named:
            return self.named[document]
        text = _key(document)
        if len(text.split()) < _LEAST_WORDS:
            return []
        return [name for name, said in self.texts.items() if text in said or (said and said in text)]


def _parsed(line: str, place: str) -> tuple[str, str]:
    expected = 'expected {"query": …, "document": …}, both texts; mend or drop the line'
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: found no JSON ({error}), {expected}") from error
    said = [row.get(name) if isinstance(row, dict) else None for name in ("query", "document")]
    query, document = (" ".join(one.split()) if isinstance(one, str) else "" for one in said)
    if not query or not document:
        raise ValueError(f"{place}: found {line.strip()[:80]}, {expected}")
    return query, document


def _query(text: str, chunk: str) -> Row:
    """Makes a row of a query; it is asked with the instruction that the other questions have."""
    return {
        "id": f"log-{content_hash(text)[:16]}",
        "content": [{"type": "text", "text": text}],
        "instruction": ANSWER,
        "task": TASK,
        "source": chunk.rsplit("#", 1)[0],
    }


def _text(row: Mapping[str, Any]) -> str:
    return _key(" ".join(part["text"] for part in row["content"] if part["type"] == "text"))


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()
