"""Tokens that know where they come from: the user's text, an instruction, or the template around them.

Texts are marked before the template is rendered and found again in its output. So only the user's text is ever cut,
the instruction can be left out of a mean, and special-token strings inside a text stay text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FIXED, TEXT, INSTRUCTION = 0, 1, 2

# Unicode noncharacters: parsing replaces them in users' texts, so in a rendered template they can only be ours.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"({_OPEN}{{1,2}})([^{_OPEN}{_CLOSE}]*){_CLOSE}")


@dataclass
class Tokens:
    """Token ids and what each is.

    Args:
        ids: Token ids.
        kinds: `FIXED`, `TEXT` or `INSTRUCTION` for each.
    """

    ids: list[int]
    kinds: list[int]


def mark(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies messages with every text set between marks, an instruction's with the opening mark doubled.

    Args:
        messages: Chat messages with typed parts.

    Returns:
        Messages for the template.
    """
    marked = []
    for message in messages:
        opening = _OPEN * 2 if message["role"] == "system" else _OPEN
        parts = [
            {**part, "text": f"{opening}{part['text']}{_CLOSE}"} if part["type"] == "text" else part
            for part in message["content"]
        ]
        marked.append({**message, "content": parts})
    return marked


def pieces(rendered: str, videos: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Splits a rendered template into fixed, text and instruction pieces, marks taken out.

    Args:
        rendered: The template's output, with marks.
        videos: For each video in order, what stands in place of its placeholder; empty keeps the placeholder.

    Returns:
        Kind and text of each piece, in order, none empty.
    """
    replacements = iter(videos)

    def fixed(text: str) -> tuple[int, str]:
        return FIXED, re.sub(r"<\|video_pad\|>", lambda found: next(replacements, "") or found[0], text)

    found, end = [], 0
    for match in _MARKED.finditer(rendered):
        found.append(fixed(rendered[end : match.start()]))
        found.append((INSTRUCTION if len(match[1]) == 2 else TEXT, match[2]))
        end = match.end()
    found.append(fixed(rendered[end:]))
    return [piece for piece in found if piece[1]]


def tokenize(tokenizer: Any, parts: Sequence[tuple[int, str]]) -> Tokens:
    """Tokenizes pieces as one string, as stock processors do, and remembers what each token belongs to.

    A token over a border belongs to the piece it starts in. Where a user's text or instruction holds a special
    token's string, each piece is tokenized alone, so that the string stays text.

    Args:
        tokenizer: A fast tokenizer.
        parts: Kind and text of each piece.

    Returns:
        The tokens.
    """
    specials = tokenizer.all_special_tokens
    if any(kind != FIXED and any(special in text for special in specials) for kind, text in parts):
        return _tokenize_apart(tokenizer, parts)
    encoded = tokenizer("".join(text for _, text in parts), return_offsets_mapping=True, verbose=False)
    return Tokens(list(encoded["input_ids"]), list(_kinds(parts, encoded["offset_mapping"])))


def cut_tail(tokens: Tokens, limit: int) -> bool:
    """Drops text tokens from the end until at most `limit` tokens are left, or no text is.

    Args:
        tokens: Tokens; changed in place.
        limit: Most tokens.

    Returns:
        Whether anything was dropped.
    """
    excess = len(tokens.ids) - limit
    doomed = [at for at, kind in enumerate(tokens.kinds) if kind == TEXT][-excess:] if excess > 0 else []
    for at in reversed(doomed):
        del tokens.ids[at], tokens.kinds[at]
    return bool(doomed)


def _kinds(parts: Sequence[tuple[int, str]], offsets: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The kind of each token by the character it starts at."""
    number, end = 0, len(parts[0][1]) if parts else 0
    for start, _ in offsets:
        while start >= end and number + 1 < len(parts):
            number += 1
            end += len(parts[number][1])
        yield parts[number][0]


def _tokenize_apart(tokenizer: Any, parts: Sequence[tuple[int, str]]) -> Tokens:
    """Each piece alone, special-token strings read only in the template's own pieces."""
    tokens = Tokens([], [])
    for kind, text in parts:
        encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=kind != FIXED, verbose=False)
        tokens.ids += encoded["input_ids"]
        tokens.kinds += [kind] * len(encoded["input_ids"])
    return tokens
