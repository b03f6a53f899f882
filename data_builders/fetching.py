"""Images fetched from the web, carefully: no private network, no endless file, no endless wait, and each one once."""

import hashlib
import io
import ipaddress
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from PIL import Image

from nyx_hf._version import __version__
from nyx_hf.data_builders.folder_images import ImageLimits, UnusableImageError, checked_image

Resolver = Callable[[str, int], Sequence[str]]
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # worth another try, and no lasting verdict
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 65_536


class FetchError(ValueError):
    """An image that could not be had; the message is the reason that is counted."""

    def __init__(self, reason: str, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


def resolve(host: str, port: int) -> list[str]:
    """Looks a host up: its addresses as text."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True)
class ImageFetcher:
    """Fetches images; it can be pickled.

    A host is looked up once, every address that it has is checked, and the connection goes to a checked address: a
    name that points elsewhere a moment later gains nothing. Redirects are followed by hand, each checked anew.

    Attributes:
        cache: Folder of fetched images and of lasting failures, by the address's hash.
        timeout: Seconds to connect, and between two pieces.
        deadline: Seconds for one image in all.
        attempts: Times that a server which is busy is asked.
        redirects: Redirects followed, at most.
        workers: Images fetched at the same time.
        limits: What an image must be.
        allow_private: Whether addresses of private networks and of this machine may be asked.
        resolver: Looks hosts up.
    """

    cache: Path
    timeout: float = 10.0
    deadline: float = 30.0
    attempts: int = 3
    redirects: int = 5
    workers: int = 16
    limits: ImageLimits = field(default_factory=ImageLimits)
    allow_private: bool = False
    resolver: Resolver = resolve

    def fetch(self, urls: Sequence[str]) -> list[bytes | FetchError]:
        """Fetches images.

        Args:
            urls: Their addresses.

        Returns:
            For each the encoded file, or why there is none.
        """
        distinct = list(dict.fromkeys(urls))
        with ThreadPoolExecutor(self.workers) as pool:
            found = dict(zip(distinct, pool.map(self._one, distinct), strict=True))
        return [found[url] for url in urls]

    def _one(self, url: str) -> bytes | FetchError:
        path = self.cache / (name := hashlib.sha256(url.encode("utf-8", "replace")).hexdigest())[:2] / name
        if path.is_file():
            return path.read_bytes()
        failed = path.with_suffix(".failed")
        if failed.is_file():
            return FetchError(failed.read_text(encoding="utf-8"))
        try:
            file = self._tried(url)
        except FetchError as error:
            if error.lasting:
                _keep(failed, str(error).encode())
            return error
        _keep(path, file)
        return file

    def _tried(self, url: str) -> bytes:
        """Asks again, waiting longer each time, where that may help."""
        end = time.monotonic() + self.deadline
        for attempt in range(1, self.attempts + 1):
            try:
                return self._checked(self._followed(url, end))
            except FetchError as error:
                wait = min(2.0**attempt / 4, max(0.0, end - time.monotonic()))
                if error.lasting or attempt == self.attempts or not wait:
                    raise
                time.sleep(wait)
        raise FetchError("image: cannot be reached", lasting=False)

    def _checked(self, file: bytes) -> bytes:
        try:
            good = checked_image(file, self.limits)
            with Image.open(io.BytesIO(good)) as image:
                image.load()  # cut-off files have good headers
        except UnusableImageError as error:
            raise FetchError(str(error)) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise FetchError("image: corrupt") from error
        return good

    def _followed(self, url: str, end: float) -> bytes:
        for _ in range(self.redirects + 1):
            status, answer = self._get(url, end)
            if status == 200:
                return bytes(answer)
            url = urljoin(url, answer)
        raise FetchError("image: too many redirects")

    def _get(self, url: str, end: float) -> tuple[int, Any]:
        """Makes one request: status 200 and the file, or a redirect's status and where it leads."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise FetchError("image: broken address") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise FetchError("image: no plain http(s) address")
        address = self._address(host, port)
        common: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=self.timeout, read=self.timeout),
            "retries": False,
        }
        pool: urllib3.HTTPConnectionPool
        if parts.scheme == "https":
            pool = urllib3.HTTPSConnectionPool(address, port, server_hostname=host, assert_hostname=host, **common)
        else:
            pool = urllib3.HTTPConnectionPool(address, port, **common)
        named = host if parts.port is None else f"{host}:{parts.port}"
        headers = {"Host": named, "User-Agent": f"nyx_hf/{__version__}", "Accept": "image/*"}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = pool.urlopen("GET", path, headers=headers, redirect=False, preload_content=False)
            try:
                return self._read(answer, end)
            finally:
                answer.close()
        except urllib3.exceptions.TimeoutError as error:
            raise FetchError("image: timed out", lasting=False) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if isinstance(error, FetchError):
                raise
            raise FetchError("image: cannot be reached", lasting=False) from error
        finally:
            pool.close()

    def _read(self, answer: Any, end: float) -> tuple[int, Any]:
        if answer.status in _REDIRECTS and (to := answer.headers.get("location")):
            return answer.status, to
        if answer.status != 200:
            raise FetchError(f"image: HTTP {answer.status}", lasting=answer.status not in _PASSING)
        pieces, size = [], 0
        # what has come, not whole chunks of it: a server that drips would hold those back
        while piece := answer.read1(_CHUNK, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > self.limits.max_bytes:
                raise FetchError("image: file too large")
            if time.monotonic() > end:
                raise FetchError("image: timed out", lasting=False)
        return 200, b"".join(pieces)

    def _address(self, host: str, port: int) -> str:
        """Looks a host up and refuses it if any of its addresses is not open to everybody."""
        try:
            addresses = self.resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise FetchError("image: no such host", lasting=False) from error
        if not addresses:
            raise FetchError("image: no such host", lasting=False)
        if not self.allow_private and not all(map(is_public, addresses)):
            raise FetchError("image: private address")
        return addresses[0]


def is_public(address: str) -> bool:
    """Tells whether an IP address belongs to the open internet: not to this machine, a private network or a gateway.

    Args:
        address: IPv4 or IPv6, as the resolver gives it.

    Returns:
        Whether it may be asked. An IPv4 address inside an IPv6 one counts as itself.
    """
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _keep(path: Path, file: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(file)
    Path(beside).replace(path)
