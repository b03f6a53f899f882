"""Exact and near duplicates among chunks: by the shingles of their text, and by how their images look."""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
from datasketch import MinHash, MinHashLSH
from PIL import Image

from nyx_hf.data_builders.pages import images_of, text_of

_PERMUTATIONS = 128
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Likeness:
    """When two chunks count as one.

    Attributes:
        similarity: Least Jaccard similarity of their texts' shingles, estimated by MinHash; 1 finds equal texts alone.
        shingle: Words of a shingle.
        image_bits: Most bits, of 64, that the perceptual hashes of two images may differ in.
    """

    similarity: float = 0.85
    shingle: int = 4
    image_bits: int = 4


def find_duplicates(chunks: Iterable[Mapping[str, Any]], likeness: Likeness | None = None) -> dict[str, str]:
    """Finds chunks that say the same as one before them: alike in text, and in every image, in order.

    Args:
        chunks: Rows with `id` and `content`, in order; they are looked at one by one.
        likeness: When two count as one.

    Returns:
        For each duplicate the id of the chunk that it repeats: the first of its kind, which is no duplicate itself.
    """
    likeness = likeness or Likeness()
    # the index finds candidates, with more of them below its threshold; an index for equal texts alone cannot be made
    index = MinHashLSH(threshold=min(likeness.similarity, 0.9), num_perm=_PERMUTATIONS)
    kept: dict[str, tuple[MinHash, list[np.ndarray]]] = {}
    exact: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    for chunk in chunks:
        text, files = _normal(text_of(chunk["content"])), images_of(chunk["content"])
        same = exact.setdefault(_exact_key(text, files), chunk["id"])
        if same != chunk["id"]:
            duplicates[chunk["id"]] = duplicates.get(same, same)
            continue
        signature, looks = _signature(text, likeness.shingle), [_look(file) for file in files]
        found = sorted(index.query(signature)) if likeness.similarity < 1 else []
        like = [one for one in found if _alike(signature, looks, *kept[one], likeness)]
        if like:
            duplicates[chunk["id"]] = like[0]
        else:
            kept[chunk["id"]] = (signature, looks)
            index.insert(chunk["id"], signature)
    return duplicates


def is_near_text(text: str, other: str, likeness: Likeness | None = None) -> bool:
    """Tells whether two texts say nearly the same, by the exact similarity of their shingles."""
    likeness = likeness or Likeness()
    one, two = (_shingles(_normal(each), likeness.shingle) for each in (text, other))
    return len(one & two) >= likeness.similarity * len(one | two)


def _alike(
    signature: MinHash, looks: list[np.ndarray], other: MinHash, other_looks: list[np.ndarray], likeness: Likeness
) -> bool:
    if len(looks) != len(other_looks) or signature.jaccard(other) < likeness.similarity:
        return False
    bits = (np.count_nonzero(one != two) for one, two in zip(looks, other_looks, strict=True))
    return all(count <= likeness.image_bits for count in bits)


def _normal(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _exact_key(text: str, files: list[bytes]) -> str:
    return hashlib.sha256(b"\0".join([text.encode(), *(hashlib.sha256(file).digest() for file in files)])).hexdigest()


def _shingles(text: str, size: int) -> set[str]:
    words = text.split()
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def _signature(text: str, size: int) -> MinHash:
    signature = MinHash(num_perm=_PERMUTATIONS, seed=1)
    signature.update_batch(sorted(shingle.encode() for shingle in _shingles(text, size)))
    return signature


def _look(file: bytes) -> np.ndarray:
    """Hashes how an image looks: bool (64,)."""
    with Image.open(io.BytesIO(file)) as image:
        rgba = "RGBA" if image.has_transparency_data else "RGB"  # PIL warns of a palette with transparency
        look: np.ndarray = imagehash.phash(image.convert(rgba).convert("RGB")).hash.flatten()
    return look
