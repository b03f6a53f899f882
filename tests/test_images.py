"""Images of every kind load as the right RGB pixels, and hostile ones end in one clear error."""

import base64
import io
import resource
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from nyx_hf.modeling import sources_nyx
from nyx_hf.modeling.images_nyx import ImageError, check_aspect, image_size, is_image, load_image
from nyx_hf.modeling.sources_nyx import SourceError, open_file


def photo(width: int = 7, height: int = 5, channels: int = 3) -> np.ndarray:
    """A picture in which no two pixels, rows or columns are alike, seeded."""
    return np.random.default_rng(0).permutation(width * height * channels).astype(np.uint8).reshape(height, width, -1)


PHOTO = Image.fromarray(photo())  # 7 wide, 5 high


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(source: Any, **options: Any) -> np.ndarray:
    image = load_image(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


# -------------------------------------------------------------------- where an image comes from


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(PHOTO)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    code = base64.b64encode(data).decode()
    with path.open("rb") as file, Image.open(path) as lazy:
        sources = [
            PHOTO,
            lazy,
            path,
            str(path),
            data,
            bytearray(data),
            io.BytesIO(data),
            file,
            {"bytes": data, "path": None},
            {"bytes": data, "path": "elsewhere.png"},
            {"bytes": None, "path": str(path)},
            {"path": path},
            f"data:image/png;base64,{code}",
            f"DATA:;BASE64,{code.rstrip('=')}",
            f"data:image/png;base64,{code[:20]}\n{code[20:]}",
            "data:image/png," + "".join(f"%{byte:02x}" for byte in data),
            photo(),
            torch.from_numpy(photo()).permute(2, 0, 1),
            torch.from_numpy(photo()),
            photo().transpose(2, 0, 1),
            photo().astype(np.float32) / 255,
            torch.from_numpy(photo()).permute(2, 0, 1).double().requires_grad_() / 255,
        ]
        for source in sources:
            assert is_image(source)
            assert image_size(source) == (7, 5)
            assert np.array_equal(pixels(source), photo())
        assert not file.closed  # the caller's file stays the caller's


def test_an_rgb_image_is_returned_as_it_is() -> None:
    assert load_image(PHOTO) is PHOTO
    assert load_image(load_image(encoded(PHOTO))).tobytes() == PHOTO.tobytes()


def test_arrays_of_grey_and_alpha() -> None:
    grey = photo(channels=1)
    assert np.array_equal(pixels(grey), grey.repeat(3, axis=2))
    assert np.array_equal(pixels(grey[:, :, 0]), grey.repeat(3, axis=2))
    assert np.array_equal(pixels(torch.from_numpy(grey).permute(2, 0, 1)), grey.repeat(3, axis=2))
    clear = np.concatenate([photo(), np.zeros((5, 7, 1), np.uint8)], axis=2)
    assert (pixels(clear) == 255).all()
    assert np.array_equal(
        pixels(torch.tensor([[[0.0, 0.5], [1.0, 0.25]]], dtype=torch.bfloat16))[:, :, 0], [[0, 128], [255, 64]]
    )


def test_arrays_that_fit_both_layouts() -> None:
    square = photo(3, 3)
    assert np.array_equal(pixels(square), square)
    assert np.array_equal(pixels(torch.from_numpy(square)), square.transpose(1, 2, 0))
    assert not np.array_equal(square, square.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\) and dtype uint8, expected at least one pixel"),
        (np.zeros((5, 4, 2), np.uint8), r"shape \(5, 4, 2\).*expected \(H, W\) or \(H, W, C\) with C of 1, 3 or 4"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"expected \(H, W\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 4), np.int64), r"dtype int64, expected uint8 or floats in 0..1: convert it"),
        (np.full((4, 4, 3), 255.0), "values from 255 to 255, expected floats in 0..1: scale them"),
        (np.full((4, 4, 3), -0.5), "values from -0.5 to -0.5"),
        (np.full((4, 4, 3), np.nan), "values from nan to nan"),
        (torch.zeros(3, 0, 4), "expected at least one pixel"),
        (torch.full((3, 4, 4), 2.0), "values from 2 to 2"),
    ],
)
def test_bad_arrays(array: Any, message: str) -> None:
    for load in (load_image, image_size):
        with pytest.raises(ImageError, match=message):
            load(array)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "found None, expected a path, bytes or a binary file"),
        (3, "found int 3"),
        ({"bytes": None, "path": None}, "found None"),
        (io.StringIO("text"), "found StringIO"),
        ("", "there is no file at"),
        ("absent.png", "there is no file at 'absent.png': check the path, or pass the file's bytes"),
        (Path("/"), "there is no file at '/'"),
        ("x" * 5000, "cannot be a path"),
        ("nul\0byte", "there is no file|cannot be a path"),
        (
            "file:///etc/hostname",
            "found 'file:///etc/hostname', expected a path, a data URI or an http.s. URL: download",
        ),
        ("ftp://127.0.0.1/a.png", "found 'ftp://127.0.0.1/a.png', expected a path"),
        ("https://127.0.0.1/a.png", "found the URL 'https://127.0.0.1/a.png', and URLs are off: pass allow_urls=True"),
        ({"bytes": None, "path": "HTTP://127.0.0.1/a.png"}, "URLs are off"),
        ("data:image/png;base64,!!!", "base64 is broken"),
        ("data:image/png;base64,", "without data, expected data:<type>;base64,<data>"),
        ("data:image/png", "without data"),
        (
            "data:image/png;base64,QUJD",
            r"found the string 'data:image/png;base64,QUJD', expected an image file in PNG",
        ),
        (b"", "found 0 bytes that begin with b'', expected an image file in PNG, JPEG.*: convert it to PNG"),
        (b"<!DOCTYPE html><html>", "found 21 bytes that begin with b'<!DOCTYPE ht', expected an image file"),
    ],
)
def test_bad_sources(source: Any, message: str) -> None:
    for load in (load_image, image_size):
        with pytest.raises(ImageError, match=message):
            load(source)


def test_unreadable_files(tmp_path: Path) -> None:
    closed = io.BytesIO(encoded(PHOTO))
    closed.close()
    with pytest.raises(ImageError, match=r"cannot be read as an image.*closed"):
        load_image(closed)
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(PHOTO))
    with Image.open(path) as image:
        pass
    with pytest.raises(ImageError, match="cannot be read as an image"):
        load_image(image)  # the file behind it is gone
    with pytest.raises(SourceError, match="no file"):
        open_file(tmp_path / "absent")


# -------------------------------------------------------------------- colours


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    found = pixels(encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), kind))
    assert (abs(found.astype(int) - [255, 0, 0]) < 12).all()


@pytest.mark.parametrize(
    ("mode", "white", "black"),
    [
        ("1", 1, 0),
        ("L", 255, 0),
        ("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("YCbCr", (255, 128, 128), (0, 128, 128)),
        ("HSV", (0, 0, 255), (0, 0, 0)),
        ("LAB", (255, 128, 128), (0, 128, 128)),
        ("RGBX", (255, 255, 255, 0), (0, 0, 0, 0)),
        ("RGBa", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("I;16", 65535, 0),
        ("I;16B", 65535, 0),
        ("I", 65535, 0),
        ("F", 1.0, 0.0),
    ],
)
def test_every_mode_becomes_rgb(mode: str, white: Any, black: Any) -> None:
    assert (pixels(Image.new(mode, (3, 2), white)) >= 254).all()  # LAB is rounded
    assert (pixels(Image.new(mode, (3, 2), black)) <= 1).all()


def test_one_bit() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image)).tolist() == [[[0] * 3, [255] * 3]]


def test_palette_with_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 10, 10, 10, 200])
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image)).tolist() == [[[200, 10, 10], [10, 10, 200]]]
    assert pixels(encoded(image, transparency=0)).tolist() == [[[255] * 3, [10, 10, 200]]]
    assert pixels(encoded(image, transparency=b"\x80\xff")).tolist() == [[[227, 132, 132], [10, 10, 200]]]
    assert pixels(encoded(image, "GIF", transparency=0)).tolist() == [[[255] * 3, [10, 10, 200]]]


@pytest.mark.parametrize(
    ("mode", "opaque", "clear", "half", "shown"),
    [
        ("RGBA", (9, 8, 7, 255), (9, 8, 7, 0), (0, 0, 0, 128), [9, 8, 7]),
        ("LA", (9, 255), (9, 0), (0, 128), [9, 9, 9]),
    ],
)
def test_transparent_pixels_lie_on_white(mode: str, opaque: Any, clear: Any, half: Any, shown: list[int]) -> None:
    image = Image.new(mode, (3, 1))
    for at, value in enumerate((opaque, clear, half)):
        image.putpixel((at, 0), value)
    for source in (image, encoded(image)):
        assert pixels(source).tolist() == [[shown, [255] * 3, [127] * 3]]


def test_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((0, 0), (4, 5, 6))
    assert pixels(encoded(image, transparency=(1, 2, 3))).tolist() == [[[4, 5, 6], [255] * 3]]
    grey = struct.pack(">HH", 257 * 100, 1234)
    assert pixels(png(2, 1, b"\0" + grey, 16, 0, chunk(b"tRNS", b"\x04\xd2")))[0, :, 0].tolist() == [100, 255]
    colour = struct.pack(">6H", *[257 * 100] * 3, *[1234] * 3)
    loaded = pixels(png(2, 1, b"\0" + colour, 16, 2, chunk(b"tRNS", struct.pack(">3H", 1234, 1234, 1234))))
    assert loaded[0, 0].tolist() == [100] * 3


def test_sixteen_bits() -> None:
    values = np.array([[0, 257, 257 * 100, 65535]], np.uint16)
    grey = [0, 1, 100, 255]
    big = io.BytesIO(b"P5 4 1 65535 " + values.astype(">u2").tobytes())
    for source in (
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
        Image.fromarray(values),
        big,
    ):
        assert pixels(source)[0].tolist() == [[value] * 3 for value in grey]
    colour = png(4, 1, b"\0" + values.repeat(3).astype(">u2").tobytes(), 16, 2)
    assert pixels(colour)[0, :, 1].tolist() == grey
    assert pixels(Image.fromarray(np.array([[0.0, 1.0]], np.float32)))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ImageError, match=r"values from 0 to 7, expected floats in 0\.\.1"):
        load_image(Image.fromarray(np.array([[0.0, 7.0]], np.float32)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_every_format_opens(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this build of PIL has no AVIF")
    data = encoded(Image.new("RGB", (16, 12), (250, 120, 30)), kind)
    assert image_size(data) == (16, 12)
    assert (abs(pixels(data).astype(int) - [250, 120, 30]) < 12).all()


def test_formats_that_run_programs_stay_shut() -> None:
    data = encoded(PHOTO, "EPS")
    assert Image.open(io.BytesIO(data)).format == "EPS"  # PIL itself would open it, and run Ghostscript
    with pytest.raises(ImageError, match="expected an image file in PNG"):
        load_image(data)


def test_one_pixel() -> None:
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert pixels(encoded(Image.new("RGB", (1, 1), (255, 0, 0)), kind)).tolist() == [[[255, 0, 0]]]
    assert pixels(np.zeros((1, 1, 1), np.uint8)).shape == (1, 1, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (abs(pixels(data).astype(int) - [255, 0, 0]) < 12).all()


# -------------------------------------------------------------------- orientation

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # what each orientation asks of the stored pixels
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: partial(np.rot90, k=-1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: partial(np.rot90, k=1),
    9: lambda stored: stored,  # no such orientation
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}[kind]
    data = encoded(PHOTO, kind, exif=exif, **options)
    stored = photo().astype(int) if kind != "JPEG" else np.asarray(Image.open(io.BytesIO(data))).astype(int)
    wanted = UPRIGHT[orientation](stored)
    lazy, decoded = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    decoded.load()
    for source in (data, lazy, decoded, Image.open(io.BytesIO(data)).convert("RGB")):
        if isinstance(source, Image.Image) and source.format is None and kind == "TIFF":
            continue  # PIL has turned it and forgotten the tag
        assert image_size(source) == wanted.shape[1::-1]
        image = load_image(source)
        assert np.array_equal(np.asarray(image), wanted)
        assert np.array_equal(np.asarray(load_image(image)), wanted)  # not turned twice


def test_exif_behind_the_pixels_and_broken_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(PHOTO)
    late = plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    assert image_size(late) == load_image(late).size == (7, 5)
    for broken in (b"II*\0\xff\xff\xff\xff", b"garbage", b"", b"MM\0*\0\0\0\x08\xff\xff"):
        data = png(7, 5, b"".join(b"\0" + row.tobytes() for row in photo()), 8, 2, chunk(b"eXIf", broken))
        assert image_size(data) == (7, 5)
        assert np.array_equal(pixels(data), photo())


# -------------------------------------------------------------------- hostile files


def test_a_header_of_sixty_thousand_squared_allocates_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = png(60000, 60000, b"\0" * 100)
    for load in (load_image, image_size):
        with pytest.raises(ImageError, match=r"over the limit of [0-9,]+ pixels.*resize it first"):
            load(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_the_pixel_limit() -> None:
    warned = png(10000, 9000, b"\0" * 100)  # PIL would only warn
    with pytest.raises(
        ImageError, match=r"found 10000x9000 = 90,000,000 pixels, over the limit of 89,478,485: resize"
    ):
        load_image(warned)
    with pytest.raises(ImageError, match="found 7x5 = 35 pixels, over the limit of 34"):
        load_image(PHOTO, max_pixels=34)
    with pytest.raises(ImageError, match="over the limit of 34"):
        image_size(photo(), max_pixels=34)
    assert load_image(PHOTO, max_pixels=35) is PHOTO
    with pytest.raises(ImageError, match="found 0x5 pixels, expected at least one pixel"):
        load_image(Image.new("RGB", (0, 5)))


def test_bombs_warned_of_as_errors(recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="over the limit"):
            load_image(png(10000, 9000, b"\0" * 100))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError, match=r"cannot be read as an image|expected an image file"):
            load_image(data[: int(len(data) * share)])


def test_truncated_jpeg_says_so() -> None:
    data = encoded(Image.fromarray(photo(64, 64)), "JPEG")
    with pytest.raises(ImageError, match=r"OSError: .*truncated.*: check that the file is whole"):
        load_image(data[: len(data) // 2])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
def test_corrupt_files_load_or_raise_image_errors(kind: str, data: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    good = bytearray(encoded(PHOTO, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif})))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        size = image_size(bytes(good), max_pixels=10**6)
        image = load_image(bytes(good), max_pixels=10**6)
    except ImageError:
        return
    assert (image.mode, image.size) == ("RGB", size)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=80))
def test_junk_is_an_image_error(data: bytes, text: str) -> None:
    for source in (data, f"data:{text}", {"bytes": data, "path": text}):
        with pytest.raises(ImageError):
            load_image(source)


def test_aspect() -> None:
    check_aspect((200, 1))
    check_aspect((1, 200))
    for size in ((201, 1), (3, 601)):
        message = f"found {size[0]}x{size[1]} pixels, expected sides that differ at most 200-fold: crop it, or pad"
        with pytest.raises(ImageError, match=message):
            check_aspect(size)
        for load in (load_image, image_size):
            with pytest.raises(ImageError, match=message):
                load(Image.new("RGB", size))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_sizes_are_read_without_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO, kind, exif=exif)
    plain = encoded(PHOTO, kind)

    def refuse(self: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    assert image_size(data) == (5, 7)
    assert image_size(plain) == (7, 5)
    with pytest.raises(ImageError, match="AssertionError: decoded"):  # the guard itself guards
        load_image(plain)


# -------------------------------------------------------------------- URLs


@contextmanager
def serving(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """A web server on this machine that gives each path its status, headers and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources_nyx, "FETCH_SECONDS", 5.0)
    data = encoded(PHOTO)
    answers = {
        "/a.png": (200, {"Content-Length": str(len(data))}, data),
        "/moved": (302, {"Location": "/a.png"}, b""),
        "/file": (302, {"Location": "file:///etc/hostname"}, b""),
        "/ftp": (302, {"Location": "ftp://127.0.0.1/a.png"}, b""),
        "/loop": (302, {"Location": "/loop"}, b""),
        "/page": (200, {}, b"<html>"),
        "/gone": (404, {}, b""),
        "/cut.png": (200, {"Content-Length": "99999"}, data[: len(data) // 2]),
    }
    with serving(answers) as root:
        for path in ("/a.png", "/moved"):
            assert np.array_equal(pixels(f"{root}{path}", allow_urls=True), photo())
            assert image_size(f"{root}{path}", allow_urls=True) == (7, 5)
        for path, message in {
            "/file": "could not be fetched .*'file:///etc/hostname' is not allowed",
            "/ftp": "redirects to 'ftp://127.0.0.1/a.png'",
            "/loop": "could not be fetched",
            "/page": "expected an image file",
            "/gone": "could not be fetched .*404.*: check it, or pass the file's path",
            "/cut.png": "cannot be read as an image",
        }.items():
            with pytest.raises(ImageError, match=message):
                load_image(f"{root}{path}", allow_urls=True)
        with pytest.raises(ImageError, match="URLs are off"):
            load_image(f"{root}/a.png")
        with pytest.raises(SourceError, match="is larger than 10 bytes: download it"):
            open_file(f"{root}/a.png", allow_urls=True, max_bytes=10)
        monkeypatch.setattr(sources_nyx, "FETCH_SECONDS", 0.0)
        with pytest.raises(ImageError, match=r"took over 0 s|could not be fetched"):
            load_image(f"{root}/a.png", allow_urls=True)
    with pytest.raises(ImageError, match="could not be fetched"):
        load_image(f"{root}/a.png", allow_urls=True)  # nobody is there any more
    with pytest.raises(ImageError, match="could not be fetched"):
        load_image("http://exa mple/ü.png", allow_urls=True)
