"""Bodies to contents. What comes from the network is text, data URIs and, where allowed, addresses: never a path."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.fetching import FetchError, ImageFetcher
from nyx_hf.data_builders.folder_images import ImageLimits
from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.images_nyx import image_size
from nyx_hf.modeling.sources_nyx import SourceError, open_file
from nyx_hf.serving_schema import ContentBody, ImagePart, ImageUrl, Message, Part, TextPart
from nyx_hf.serving_settings import ServingSettings

Body = str | ContentBody | list[Message]
Fetched = Mapping[str, bytes | FetchError]


def addresses(bodies: Sequence[Body]) -> list[str]:
    """Lists the http(s) addresses of images in contents.

    Args:
        bodies: The contents.

    Returns:
        Each address once, in order.
    """
    found = [_url(source) for body in bodies for part in _parts(body) for source in _sources(part)]
    return [url for url in dict.fromkeys(found) if _is_address(url)]


def fetch(urls: Sequence[str], settings: ServingSettings) -> dict[str, bytes | FetchError]:
    """Fetches images; addresses of private networks and of this machine are refused, redirects checked.

    Args:
        urls: Their addresses.
        settings: The limits.

    Returns:
        For each address the file, or why there is none.
    """
    limits = ImageLimits(max_bytes=settings.max_body, max_pixels=settings.max_pixels, min_side=1)
    with tempfile.TemporaryDirectory(prefix="nyx-hf-fetched-") as folder:  # nothing is kept between requests
        fetcher = ImageFetcher(Path(folder), deadline=settings.timeout / 2, attempts=1, limits=limits)
        return dict(zip(urls, fetcher.fetch(urls), strict=True))


def to_item(body: Body, index: int, settings: ServingSettings, fetched: Fetched) -> Any:
    """Turns a body into a content as models take it.

    Args:
        body: A string, a content, or a conversation.
        index: Its place in the request, for messages.
        settings: The limits.
        fetched: Files behind addresses.

    Returns:
        The content, images as bytes.

    Raises:
        ContentError: It has too many images, or one that cannot be used.
    """
    images = sum(len(list(_sources(part))) for part in _parts(body))
    if images > settings.max_images:
        raise ContentError(f"found {images} images, expected at most {settings.max_images}: send fewer", index=index)
    if isinstance(body, str):
        return body
    if isinstance(body, ContentBody):
        return {"content": _content(body.content, index, settings, fetched)}
    return [{"role": message.role, "content": _content(message.content, index, settings, fetched)} for message in body]


def _content(content: str | list[Part], index: int, settings: ServingSettings, fetched: Fetched) -> Any:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
            continue
        try:
            images = [_image(_url(source), settings, fetched) for source in _sources(part)]
        except SourceError as error:
            raise ContentError(str(error), index=index, part=number) from error
        is_image = isinstance(part, ImagePart)
        parts.append({"type": "image", "image": images[0]} if is_image else {"type": "video", "video": images})
    return parts


def _image(url: str, settings: ServingSettings, fetched: Fetched) -> bytes:
    """An image's file, checked by its header."""
    if _is_address(url):
        if not settings.allow_urls:
            raise SourceError(f"found the address {url[:80]!r}, and this server fetches none: send a data URI")
        file = fetched[url]
        if isinstance(file, FetchError):
            raise SourceError(f"{url[:80]!r} could not be fetched ({file}): check it, or send a data URI")
    elif url[:5].lower() == "data:":
        source = open_file(url)
        assert not isinstance(source, Path)
        file = source.read()
    else:
        raise SourceError(f"found {url[:80]!r}, expected a data URI such as data:image/png;base64,…: send that")
    image_size(file, max_pixels=settings.max_pixels)
    return file


def _parts(body: Body) -> Iterator[Part]:
    contents = [body.content] if isinstance(body, ContentBody) else []
    contents += [message.content for message in body] if isinstance(body, list) else []
    for content in contents:
        yield from content if isinstance(content, list) else []


def _sources(part: Part) -> Iterator[ImageUrl | str]:
    if isinstance(part, ImagePart):
        yield part.image_url
    elif not isinstance(part, TextPart):
        yield from part.video


def _url(source: ImageUrl | str) -> str:
    return source if isinstance(source, str) else source.url


def _is_address(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))
