"""Shares of pages for train, validation and test."""

import math

SPLITS = ("train", "validation", "test")


def parse_shares(text: str) -> dict[str, float]:
    """Reads shares such as `0.8,0.1,0.1`.

    Args:
        text: Numbers for train, validation and test, with commas between.

    Returns:
        The share of each split that has one; they sum to 1.

    Raises:
        ValueError: If they are not three numbers that sum to 1.
    """
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != len(SPLITS) or min(shares) < 0 or shares[0] == 0 or not math.isclose(sum(shares), 1):
        raise ValueError(f"found shares={text!r}, expected three numbers that sum to 1, such as 0.8,0.1,0.1")
    return {split: share for split, share in zip(SPLITS, shares, strict=True) if share}
