"""Counting tokens: with the backbone's tokenizer, or by a cautious estimate that needs none."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

WORDS = "words"
_PIECE = re.compile(
    r"(?P<capitals>[A-Z]{2,})|(?P<word>[A-Za-z][a-z]*)|(?P<letters>[^\W\d_A-Za-z]+)|(?P<space> (?=\d))"
    r"|(?P<mark>\n+|[^\w\s]|_|\d)"
)


@dataclass(frozen=True)
class TokenCounter:
    """Counts a text's tokens; it can be pickled.

    Attributes:
        name: A tokenizer's name on the Hub or its folder; `words` estimates from words, digits and marks.
        revision: The Hub's branch, tag or commit.
    """

    name: str = WORDS
    revision: str = "main"

    def count(self, text: str) -> int:
        """Counts the tokens of a text.

        Args:
            text: The text.

        Returns:
            Their number, without special tokens. An estimate is meant to be no less than what Qwen's tokenizer
            counts: of 2,290 chunks of an English manual (8 blocks each) none had more tokens than estimated, and they
            had 1.42 times fewer in the mean.

        Raises:
            ValueError: If the tokenizer cannot be had.
        """
        if self.name == WORDS:
            return _estimate(text)
        return len(_tokenizer(self.name, self.revision).encode(text, add_special_tokens=False).ids)


def _estimate(text: str) -> int:
    total = 0
    for match in _PIECE.finditer(text):
        kind, piece = match.lastgroup, match.group()
        if kind == "word":
            total += -(-len(piece) // (4 if len(piece) <= 12 else 3))  # rounded up
        elif kind == "capitals":
            total += -(-len(piece) // 2)
        elif kind == "letters":
            total += -(-len(piece.encode()) // 2)
        else:
            total += 2 if len(piece.encode()) > 2 and not piece.isspace() else 1
    return total


@lru_cache(maxsize=4)
def _tokenizer(name: str, revision: str) -> Tokenizer:
    file = Path(name) / "tokenizer.json"
    if file.is_file():
        return Tokenizer.from_file(str(file))
    try:
        return Tokenizer.from_pretrained(name, revision=revision)
    except Exception as error:  # the Rust client raises nothing more definite
        raise ValueError(
            f"the tokenizer {name!r} cannot be had ({' '.join(str(error).split())[:120]}); name a folder with its "
            f"tokenizer.json, or `{WORDS}` for a cautious estimate"
        ) from error
