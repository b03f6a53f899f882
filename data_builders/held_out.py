"""What training may not look at: documents by which other splits are tested."""

import re
from collections.abc import Mapping, Sequence

from datasets import Dataset

from nyx_hf.data_builders.pages import content_hash
from nyx_hf.data_builders.ranking import stored_rows
from nyx_hf.data_builders.schema import Row

_TESTED = {"test", "testing", "validation", "valid", "val", "dev", "eval"}


def document_of(row_id: str) -> str:
    """Gives the document that a page's or chunk's id names: all before the first `#`."""
    return row_id.split("#", 1)[0]


def is_held_out(split: str) -> bool:
    """Tells by a split's name whether models are tested or chosen by it: `test`, `validation`, `dev_text`."""
    return not _TESTED.isdisjoint(re.split(r"[._]", split.lower()))


def held_out_documents(triplets: Mapping[str, Dataset], split: str) -> set[str]:
    """Names the documents that answer other splits' queries.

    Args:
        triplets: Triplets by split, all of one corpus.
        split: The split to train on.

    Returns:
        Documents, as `document_of` names them: all their chunks are held out.
    """
    others = (table for name, table in triplets.items() if name != split)
    return {document_of(one) for table in others for ids in table["positive_ids"] for one in ids}


def check_apart(corpora: Mapping[str, Dataset], split: str) -> None:
    """Refuses a corpus to train on that shares a content with another split's.

    Args:
        corpora: Corpora by split, each searched by the queries of its own.
        split: The corpus to train on.

    Raises:
        ValueError: If a content is in both; it names the document.
    """
    known = {
        _said(row["content"]): (name, row["id"])
        for name, table in corpora.items()
        if name != split
        for row in stored_rows(table)
    }
    if not known:
        return
    for row in stored_rows(corpora[split]):
        if found := known.get(_said(row["content"])):
            raise ValueError(
                f"found the document {row['id']!r} of corpus/{split} in corpus/{found[0]} too, there as {found[1]!r}, "
                "expected corpora that share none: what is trained on would be tested on; leave it out of "
                f"corpus/{split} and of its triplets, and build the dataset anew"
            )


def _said(content: Sequence[Row]) -> str:
    """Hashes texts, images and frames; where an image's file once lay says nothing."""
    images = ([part["image"], *(part["video"] or [])] for part in content)
    shown = ([image["bytes"] for image in some if image] for some in images)
    return content_hash([[part["type"], part["text"], *files] for part, files in zip(content, shown, strict=True)])
