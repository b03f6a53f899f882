"""Finds the file behind a source: a path, bytes, an open file, a data URI, or a URL where URLs are allowed."""

import base64
import io
import os
import reprlib
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_to_bytes
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch

MAX_BYTES = 32 * 2**20  # of one fetched file
FETCH_SECONDS = 20.0


class SourceError(ValueError):
    """A source that cannot be used; the message says what was found, what was expected and what to do."""


def describe(value: Any) -> str:
    """Names a value in a few words, for error messages."""
    if value is None:
        return "None"
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    if isinstance(value, str):
        return f"the string {value[:80]!r}" + "…" * (len(value) > 80)
    if isinstance(value, Mapping):
        return f"a dict with the keys {reprlib.repr(sorted(map(str, value)))}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes that begin with {bytes(value[:12])!r}"
    return f"{type(value).__name__} {reprlib.repr(value)}"


def is_undecoded(value: Any) -> bool:
    """Whether `value` is a media file as datasets leaves it undecoded: a dict of `bytes` and `path` alone."""
    return (
        isinstance(value, Mapping)
        and set(value) <= {"bytes", "path"}
        and any(part is not None for part in value.values())
    )


def open_file(source: Any, *, allow_urls: bool = False, max_bytes: int = MAX_BYTES) -> Path | IO[bytes]:
    """Finds the file behind a source.

    Args:
        source: A path, data URI, URL, bytes, binary file, or a dict of `bytes` and `path`.
        allow_urls: Whether an http(s) URL may be fetched.
        max_bytes: The largest file that is fetched.

    Returns:
        The path of an existing regular file, or an open binary file.

    Raises:
        SourceError: There is no such file, it may not be fetched, or `source` is something else.
    """
    if isinstance(source, Mapping):
        source = source["bytes"] if source.get("bytes") is not None else source.get("path")
    if isinstance(source, (bytes, bytearray)):
        return io.BytesIO(source)
    if isinstance(source, io.IOBase) and not isinstance(source, io.TextIOBase):
        return source  # type: ignore[return-value]  # every binary file object is an IO[bytes]
    if isinstance(source, str) and source[:5].lower() == "data:":
        return io.BytesIO(_data_uri(source))
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        if not allow_urls:
            raise SourceError(f"found the URL {source[:200]!r}, and URLs are off: pass allow_urls=True to fetch it")
        return io.BytesIO(_fetch(source, max_bytes))
    if isinstance(source, str) and "://" in source:
        raise SourceError(
            f"found {source[:200]!r}, expected a path, a data URI or an http(s) URL: download it and pass its path"
        )
    if not isinstance(source, (str, os.PathLike)):
        raise SourceError(f"found {describe(source)}, expected a path, bytes or a binary file")
    try:
        is_file = Path(source).is_file()
    except (OSError, ValueError) as error:
        raise SourceError(f"found {describe(source)}, which cannot be a path ({error}): pass a file's path") from error
    if not is_file:
        raise SourceError(f"there is no file at {str(source)[:200]!r}: check the path, or pass the file's bytes")
    return Path(source)


def _data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    try:
        data = unquote_to_bytes(body)
        if head.lower().endswith(";base64"):
            data = b"".join(data.split())
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError as error:
        raise SourceError(
            f"found the data URI {uri[:60]!r}…, whose base64 is broken ({error}): encode it again"
        ) from error
    if not comma or not data:
        raise SourceError(f"found the data URI {uri[:60]!r} without data, expected data:<type>;base64,<data>")
    return data


class _HttpOnly(HTTPRedirectHandler):
    """Follows redirects to http and https alone (the standard handler follows ftp too)."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise SourceError(f"{req.full_url[:200]!r} redirects to {newurl[:200]!r}, expected an http(s) URL")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, max_bytes: int) -> bytes:
    """Downloads `url`; the time limit is for the whole file, so that a dripping server cannot hold the caller."""
    deadline = time.monotonic() + FETCH_SECONDS
    data = bytearray()
    try:
        request = Request(url, headers={"User-Agent": "nyx-hf"})
        with build_opener(_HttpOnly).open(request, timeout=FETCH_SECONDS) as response:
            while chunk := response.read1(1 << 16):
                data += chunk
                if len(data) > max_bytes:
                    raise SourceError(
                        f"{url[:200]!r} is larger than {max_bytes:,} bytes: download it and pass its path"
                    )
                if time.monotonic() > deadline:
                    raise SourceError(f"{url[:200]!r} took over {FETCH_SECONDS:g} s: download it and pass its path")
    except SourceError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise SourceError(
            f"{url[:200]!r} could not be fetched ({error}): check it, or pass the file's path"
        ) from error
    return bytes(data)
