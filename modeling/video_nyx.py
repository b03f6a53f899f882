"""Loads videos as a few RGB frames, sampled evenly from a file or taken from a list that is sampled already."""

import io
import math
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from .images_nyx import MAX_PIXELS, ImageError, check_size, image_size, is_image, load_image
from .sources_nyx import SourceError, describe, is_undecoded, open_file

FPS = 2.0
MAX_FRAMES = 64
MAX_BYTES = 256 * 2**20  # of one fetched video
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv")
# FFmpeg also plays lists (HLS, concat) that make it open other files and addresses: none of them is here
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class VideoError(SourceError):
    """A video that cannot be used; the message says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Frames:
    """The frames of one video.

    Args:
        images: RGB images of one size, in order; at least one.
        fps: Frames a second of `images` in the video's own time; None where frames were given without a time.
    """

    images: list[Image.Image]
    fps: float | None = None


def is_frames(value: Any) -> bool:
    """Whether `value` is frames: a list or tuple, or an array (T, H, W, C) or (T, C, H, W)."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.ndim == 4
    return isinstance(value, (list, tuple))


def is_video(value: Any) -> bool:
    """Whether `value` has a form that `load_frames` takes. Nothing is opened; a string counts as path or URI."""
    if is_frames(value):
        return len(value) > 0 and all(is_image(frame) for frame in value)
    if isinstance(value, (str, bytes, bytearray)):
        return bool(value)
    return isinstance(value, (os.PathLike, io.IOBase)) or is_undecoded(value)


def is_video_path(value: Any) -> bool:
    """Whether `value` is a path (or an undecoded file with a path) that ends as video files do."""
    path = value.get("path") if is_undecoded(value) else value
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix.lower() in SUFFIXES


def load_frames(source: Any, *, fps: float = FPS, max_frames: int = MAX_FRAMES, allow_urls: bool = False) -> Frames:
    """Loads a video as RGB frames.

    A file is sampled evenly over its whole length, `fps` frames a second of its own time but at most `max_frames`, by
    the frames' timestamps (so a variable frame rate is honoured). Frames that are given as a list count as sampled
    already: they are thinned out evenly only where they are more than `max_frames`.

    Args:
        source: A list or tuple of anything `load_image` takes; an array (T, H, W, C) or (T, C, H, W); or a video file,
            read through PyAV: a path, bytes, a binary file, a data URI, a dict of `bytes` and `path`, an http(s) URL
            where allowed.
        fps: Frames a second to take from a file.
        max_frames: The most frames to return.
        allow_urls: Whether http(s) URLs may be fetched.

    Returns:
        The frames, at least one, all of one size.

    Raises:
        VideoError: The source is of another type, missing, corrupt, empty, too large, or its frames differ in size.
        ImportError: A file is to be read and PyAV is not installed.
        ValueError: `fps` or `max_frames` is not positive.
    """
    _check_sampling(fps, max_frames)
    if is_frames(source):
        return Frames(_listed_frames(source, max_frames, allow_urls))
    with _video_errors(source), _opened(source, allow_urls) as file:
        times, length = _frame_times(file)
        count = _count(len(times), length, fps, max_frames)
        starts = [times[0] + length * k / count for k in range(count)]
        images = list(_frames_at(file, starts))
        return Frames(images, float(count / length) if length else None)


def video_shape(
    source: Any, *, fps: float = FPS, max_frames: int = MAX_FRAMES, allow_urls: bool = False
) -> tuple[int, int, int]:
    """Tells the shape of what `load_frames` returns, decoding of a file only its first frames and of a list none.

    Args:
        source: As in `load_frames`.
        fps: As in `load_frames`.
        max_frames: As in `load_frames`.
        allow_urls: As in `load_frames`.

    Returns:
        Number of frames, width and height in pixels.

    Raises:
        VideoError: As in `load_frames`, as far as this much reading tells.
        ImportError: A file is to be read and PyAV is not installed.
        ValueError: `fps` or `max_frames` is not positive.
    """
    _check_sampling(fps, max_frames)
    if is_frames(source):
        _check_listed(source)
        try:
            return min(len(source), max_frames), *image_size(source[0], allow_urls=allow_urls)
        except ImageError as error:
            raise VideoError(f"frame 0: {error}") from error
    with _video_errors(source), _opened(source, allow_urls) as file:
        times, length = _frame_times(file)
        [first] = _frames_at(file, times[:1])
        return _count(len(times), length, fps, max_frames), *first.size


def _check_sampling(fps: float, max_frames: int) -> None:
    if not (fps > 0 and math.isfinite(fps)):
        raise ValueError(f"found fps={fps}, expected a positive number of frames a second")
    if max_frames < 1:
        raise ValueError(f"found max_frames={max_frames}, expected at least 1")


# -------------------------------------------------------------------- frames that are given


def _check_listed(frames: Any) -> None:
    if len(frames) == 0:
        raise VideoError(
            f"found {describe(frames)}, a video without frames: give at least one, or leave the video out"
        )


def _listed_frames(frames: Any, max_frames: int, allow_urls: bool) -> list[Image.Image]:
    _check_listed(frames)
    count = min(len(frames), max_frames)
    images: list[Image.Image] = []
    for number in (len(frames) * k // count for k in range(count)):
        try:
            images.append(load_image(frames[number], allow_urls=allow_urls))
        except ImageError as error:
            raise VideoError(f"frame {number}: {error}") from error
        if images[-1].size != images[0].size:
            raise VideoError(
                f"frame {number} has {images[-1].width}x{images[-1].height} pixels and frame 0 has "
                f"{images[0].width}x{images[0].height}, expected one size: resize them, or give them as images"
            )
    return images


# -------------------------------------------------------------------- files


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are read through PyAV: pip install 'nyx-hf[video]', or give frames") from error
    return av


@contextmanager
def _video_errors(source: Any) -> Iterator[None]:
    """Turns whatever goes wrong with a video file into a `VideoError`."""
    av = _pyav()
    try:
        yield
    except VideoError:
        raise
    except SourceError as error:
        raise VideoError(str(error)) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"found {describe(source)}, which cannot be read as a video ({error}): check that the file is whole, "
            "and convert it to MP4 or WebM, or give its frames"
        ) from error


@contextmanager
def _opened(source: Any, allow_urls: bool) -> Iterator[IO[bytes]]:
    """The file that holds a video, open and seekable. FFmpeg never sees a path: some look like addresses to it."""
    file = open_file(source, allow_urls=allow_urls, max_bytes=MAX_BYTES)
    if isinstance(file, Path):
        with file.open("rb") as opened:
            yield opened
    else:
        yield file if file.seekable() else io.BytesIO(file.read())


@contextmanager
def _stream(file: IO[bytes]) -> Iterator[tuple[Any, Any]]:
    """The container in `file` and its first video stream."""
    file.seek(0)
    options = {"format_whitelist": CONTAINERS}
    with _pyav().open(file, options=options, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise VideoError("found a file without a video stream: check that it is a video")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise VideoError("found a video in a codec that FFmpeg does not know: convert it to MP4 or WebM")
        check_size((stream.codec_context.width, stream.codec_context.height))
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a stream may change its size midway
        stream.thread_type = "AUTO"
        yield container, stream


def _frame_times(file: IO[bytes]) -> tuple[list[Fraction], Fraction]:
    """Start of every frame and length of the whole video, in seconds, without decoding a pixel."""
    with _stream(file) as (container, stream):
        stamps = [
            packet.dts if packet.pts is None else packet.pts
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        base = stream.time_base
    times = sorted(stamp * base for stamp in stamps if stamp is not None)
    if not times:
        raise VideoError("found a video without frames: check that the file is whole")
    # the last frame is shown as long as the others are on average
    length = (times[-1] - times[0]) * len(times) / max(len(times) - 1, 1)
    return times, length


def _count(available: int, length: Fraction, fps: float, max_frames: int) -> int:
    return max(1, min(round(length * Fraction(fps)), available, max_frames))


def _frames_at(file: IO[bytes], times: list[Fraction]) -> Iterator[Image.Image]:
    """Decodes the frames that are on screen at each of the ascending `times`."""
    wanted = deque(times)
    shown, size = None, (0, 0)
    with _stream(file) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            size = size if number else (frame.width, frame.height)
            while shown is not None and wanted and frame.pts is not None and wanted[0] < frame.pts * frame.time_base:
                wanted.popleft()
                yield _upright(shown, size)
            if not wanted:
                return
            shown = frame
        if shown is None:
            raise VideoError("found a video of which no frame can be decoded: check that the file is whole")
        for _ in wanted:
            yield _upright(shown, size)


def _upright(frame: Any, size: tuple[int, int]) -> Image.Image:
    """The frame as RGB of one size (a stream may change it midway), turned as the file says it is to be shown."""
    image: Image.Image = frame.to_image(width=size[0], height=size[1])
    turn = TURNS.get(round(frame.rotation / 90) % 4 * 90)  # counter-clockwise degrees, as PIL counts them
    return image if turn is None else image.transpose(turn)
