"""Videos become the right frames at the right times, and broken ones one clear error."""

import base64
import builtins
import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nyx_hf.modeling import video_nyx
from nyx_hf.modeling.video_nyx import Frames, VideoError, is_video, load_frames, video_shape

STEP = 10  # grey level between neighbouring frames of the encoded videos: more than a codec's error
WIDE, HIGH = 64, 48


def grey(level: int, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def levels(frames: Frames) -> list[int]:
    """The mean grey of each frame."""
    return [round(float(np.asarray(image).mean())) for image in frames.images]


def numbers(frames: Frames) -> list[int]:
    """Which frames of an encoded video these are, told by their grey."""
    return [round(level / STEP) for level in levels(frames)]


def encode(
    frames: list[np.ndarray],
    kind: str = "mp4",
    codec: str = "mpeg4",
    rate: int = 10,
    stamps: list[int] | None = None,
) -> bytes:
    """A video file: at `rate` frames a second, or with frame k shown from `stamps[k]` milliseconds on."""
    av = pytest.importorskip("av", reason="video files need PyAV: pip install 'nyx-hf[video]'")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        if stamps:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def ramp(count: int, kind: str = "mp4", **options: Any) -> bytes:
    """A video whose frame k has the grey k * STEP."""
    return encode([np.full((HIGH, WIDE, 3), k * STEP, np.uint8) for k in range(count)], kind, **options)


# -------------------------------------------------------------------- frames that are given


def test_listed_frames_are_taken_as_they_are(tmp_path: Path) -> None:
    images = [grey(level) for level in (0, 50, 100)]
    path = tmp_path / "frame.png"
    images[1].save(path)
    buffer = io.BytesIO()
    images[2].save(buffer, "PNG")
    found = load_frames([images[0], path, {"bytes": buffer.getvalue(), "path": None}])
    assert levels(found) == [0, 50, 100]
    assert found.fps is None
    assert {image.mode for image in found.images} == {"RGB"}
    assert load_frames(tuple(images)).images == images
    assert video_shape(images) == (3, 8, 6)


def test_arrays_of_frames() -> None:
    movie = np.stack([np.asarray(grey(level)) for level in (0, 50, 100)])  # (T, H, W, C)
    first = torch.from_numpy(movie).permute(0, 3, 1, 2)  # (T, C, H, W)
    for source in (
        movie,
        list(movie),
        torch.from_numpy(movie),
        first,
        first.numpy(),
        first.float() / 255,
        movie / 255,
    ):
        assert is_video(source)
        assert levels(load_frames(source)) == [0, 50, 100]
        assert load_frames(source).images[0].size == (8, 6)
        assert video_shape(source) == (3, 8, 6)


def test_long_lists_are_thinned_out_evenly() -> None:
    images = [grey(level) for level in range(10)]
    assert levels(load_frames(images, max_frames=5)) == [0, 2, 4, 6, 8]
    assert levels(load_frames(images, max_frames=3)) == [0, 3, 6]
    assert levels(load_frames(images, max_frames=1)) == [0]
    assert levels(load_frames(images, max_frames=10)) == list(range(10))
    assert video_shape(images, max_frames=3)[0] == 3


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 200), st.integers(1, 80))
def test_thinning_is_even_and_within_the_limit(length: int, limit: int) -> None:
    chosen = levels(load_frames([grey(level, (1, 1)) for level in range(length)], max_frames=limit))
    assert len(chosen) == min(length, limit)
    gaps = np.diff(chosen)
    assert chosen[0] == 0
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
    assert length - chosen[-1] <= -(-length // len(chosen))  # the end is not left out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], r"found list \[\], a video without frames: give at least one"),
        (np.zeros((0, 4, 4, 3), np.uint8), "a video without frames"),
        ([grey(0), 3], "frame 1: found int 3, expected a path"),
        ([b"junk"], "frame 0: found 4 bytes that begin with b'junk', expected an image file"),
        ([grey(0), "absent.png"], "frame 1: there is no file at 'absent.png'"),
        ([grey(0), grey(0, (6, 8))], "frame 1 has 6x8 pixels and frame 0 has 8x6, expected one size: resize"),
        (np.zeros((2, 5, 5, 2)), r"frame 0: found an array of shape .*expected \(H, W\)"),
        ([grey(0, (300, 1))], "frame 0: found 300x1 pixels, expected sides"),
    ],
)
def test_bad_frames(source: Any, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        load_frames(source)


def test_bad_sampling() -> None:
    for load in (load_frames, video_shape):
        for fps in (0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=r"found fps=.*expected a positive number of frames a second"):
                load([grey(0)], fps=fps)
        with pytest.raises(ValueError, match="found max_frames=0, expected at least 1"):
            load([grey(0)], max_frames=0)


def test_forms() -> None:
    for source in (
        "a.mp4",
        Path("a"),
        b"x",
        io.BytesIO(),
        {"bytes": b"x", "path": None},
        ["a.png"],
        np.zeros((1, 2, 2, 3)),
    ):
        assert is_video(source)
    for source in (None, 3, "", b"", [], [3], np.zeros((2, 2, 3)), {"path": None}, grey(0)):
        assert not is_video(source)


# -------------------------------------------------------------------- files


def test_files_are_sampled_by_their_own_time() -> None:
    data = ramp(20)  # two seconds
    found = load_frames(data)
    assert numbers(found) == [0, 5, 10, 15]
    assert found.fps == 2.0
    assert numbers(load_frames(data, fps=5)) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert numbers(load_frames(data, fps=10)) == numbers(load_frames(data, fps=1000)) == list(range(20))
    assert load_frames(data, fps=1000).fps == 10.0
    capped = load_frames(data, fps=10, max_frames=4)
    assert (numbers(capped), capped.fps) == ([0, 5, 10, 15], 2.0)
    slow = load_frames(data, fps=0.01)
    assert (numbers(slow), slow.fps) == ([0], 0.5)
    for image in found.images:
        assert (image.mode, image.size) == ("RGB", (WIDE, HIGH))


def test_every_source_gives_the_same_frames(tmp_path: Path) -> None:
    data = ramp(10)
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    wanted = load_frames(data)
    assert numbers(wanted) == [0, 5]
    with path.open("rb") as file:
        for source in (
            path,
            str(path),
            file,
            io.BytesIO(data),
            bytearray(data),
            {"bytes": data, "path": None},
            {"bytes": None, "path": str(path)},
            f"data:video/mp4;base64,{base64.b64encode(data).decode()}",
        ):
            assert is_video(source)
            assert load_frames(source) == wanted
            assert video_shape(source) == (2, WIDE, HIGH)
        assert not file.closed


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "mpeg4"),
        ("matroska", "libx264"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("mpegts", "mpeg2video"),
        ("mpeg", "mpeg1video"),
    ],
)
def test_containers_and_codecs(kind: str, codec: str) -> None:
    av = pytest.importorskip("av", reason="video files need PyAV")
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    data = ramp(24, kind, codec=codec, rate=24)
    found = load_frames(data, fps=4)
    assert [abs(number - wanted) <= 1 for number, wanted in zip(numbers(found), [0, 6, 12, 18], strict=True)] == [
        True
    ] * 4
    assert found.fps == pytest.approx(4, rel=0.05)
    assert video_shape(data, fps=4) == (4, WIDE, HIGH)


def test_variable_frame_rates_are_honoured() -> None:
    stamps = [0, 100, 200, 300, 400, 2400, 2500, 2600, 2700, 3600]  # frame 4 stands still for two seconds
    found = load_frames(ramp(10, "matroska", codec="mpeg4", stamps=stamps), fps=2)  # 4 s: a frame each half second
    assert numbers(found) == [0, 4, 4, 4, 4, 6, 8, 8]


def test_one_frame_and_one_pixel_pair() -> None:
    found = load_frames(ramp(1))
    assert (numbers(found), found.fps) == ([0], None)
    assert video_shape(ramp(1)) == (1, WIDE, HIGH)


@pytest.mark.parametrize(
    ("matrix", "turn"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)]
)
def test_rotated_videos_stand_upright(matrix: tuple[int, ...], turn: int) -> None:
    """Phones store the sensor's rows and note in the track header how to turn them: (0, 1, -1, 0) is 90° clockwise."""
    stored = np.zeros((HIGH, WIDE, 3), np.uint8)
    stored[: HIGH // 2, : WIDE // 2] = 200  # the upper left quarter is bright
    data = encode([stored] * 4)
    a, b, c, d = (value << 16 for value in matrix)
    start = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[start : start + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = data[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[start + 36 :]
    wanted = np.rot90(stored, turn)
    image = load_frames(data).images[0]
    assert np.abs(np.asarray(image).astype(int) - wanted).mean() < 8
    assert video_shape(data)[1:] == image.size == wanted.shape[1::-1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "found None, expected a path, bytes"),
        (3, "found int 3"),
        ("absent.mp4", "there is no file at 'absent.mp4'"),
        ("https://127.0.0.1/a.mp4", "URLs are off: pass allow_urls=True"),
        ("rtsp://127.0.0.1/a", "found 'rtsp://127.0.0.1/a', expected a path"),
        (b"", "cannot be read as a video"),
        (
            b"junk" * 99,
            r"found 396 bytes .* cannot be read as a video \(.*\): check that the file is whole, and convert",
        ),
    ],
)
def test_bad_files(source: Any, message: str) -> None:
    pytest.importorskip("av", reason="video files need PyAV")
    for load in (load_frames, video_shape):
        with pytest.raises(VideoError, match=message):
            load(source)


def test_truncated_video() -> None:
    data = ramp(24)
    with pytest.raises(VideoError, match="cannot be read as a video"):
        load_frames(data[: len(data) // 2])  # MP4 keeps its index at the end


def test_sound_alone_is_no_video() -> None:
    av = pytest.importorskip("av", reason="video files need PyAV")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="without a video stream"):
        load_frames(buffer.getvalue())


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="video files need PyAV")
    (tmp_path / "secret.mp4").write_bytes(ramp(3))
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n")
    with av.open(str(playlist), options={"safe": "0"}) as container:
        assert container.format.name == "concat"  # FFmpeg alone would follow it
    for source in (playlist, playlist.read_bytes(), b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"):
        with pytest.raises(VideoError, match="cannot be read as a video"):
            load_frames(source)


def test_huge_frames_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ramp(2)
    monkeypatch.setattr(video_nyx.check_size, "__defaults__", (WIDE * HIGH - 1,))
    with pytest.raises(VideoError, match="found 64x48 = 3,072 pixels, over the limit of 3,071"):
        load_frames(data)


def test_a_missing_pyav_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for load in (load_frames, video_shape):
        with pytest.raises(ImportError, match=r"pip install 'nyx-hf\[video\]', or give frames"):
            load(b"a video")
    assert load_frames([grey(1)]).images == [grey(1)]  # frames need no PyAV


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.data())
def test_corrupt_files_load_or_raise_video_errors(data: Any) -> None:
    good = bytearray(ramp(6))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = load_frames(bytes(good), max_frames=4)
    except VideoError:
        return
    assert 1 <= len(found.images) <= 4
    assert len({image.size for image in found.images}) == 1
