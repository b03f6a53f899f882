"""Finds an image among others: the same file, or one that looks the same."""

import hashlib
from collections.abc import Sequence

import imagehash

from nyx_hf.data_builders.near_duplicates import Likeness
from nyx_hf.modeling.images_nyx import ImageError, load_image


class SameImages:
    """Finds images again; how each looks is worked out once.

    Args:
        bits: Most bits, of 64, that the perceptual hashes of two images may differ in.
    """

    def __init__(self, bits: int = Likeness.image_bits) -> None:
        self._bits = bits
        self._looks: dict[bytes, int | None] = {}

    def places(self, file: bytes, others: Sequence[bytes]) -> list[int]:
        """Finds an image.

        Args:
            file: The encoded image.
            others: Encoded images.

        Returns:
            The places of those that are the same file; where there is none, of those that look the same.
        """
        same = [place for place, other in enumerate(others) if other == file]
        look = self._look(file) if others and not same else None
        if look is None:
            return same
        looks = [self._look(other) for other in others]
        return [place for place, other in enumerate(looks) if other is not None and self._alike(look, other)]

    def _alike(self, look: int, other: int) -> bool:
        return (look ^ other).bit_count() <= self._bits

    def _look(self, file: bytes) -> int | None:
        """Hashes how an image looks, 64 bits; None for a file that is no image."""
        key = hashlib.sha256(file).digest()
        if key not in self._looks:
            self._looks[key] = _perceptual_hash(file)
        return self._looks[key]


def _perceptual_hash(file: bytes) -> int | None:
    try:
        return int(str(imagehash.phash(load_image(file))), 16)
    except ImageError:
        return None
