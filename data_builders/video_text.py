"""Videos with their texts: captions, questions, and long videos cut into clips (RzenEmbed §3.4.2).

"We divide long videos into multiple short clips, each with a corresponding description. Since these clips originate
from the same source video, they serve as natural hard negatives for one another." A long video with one description of
the whole stays whole.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.public_builder import OwnBuilder, OwnSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import files_under
from nyx_hf.data_builders.upstream import LayoutError, Upstream
from nyx_hf.modeling.video_nyx import VideoError, load_frames

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_DENSE = 8.0  # frames a second that a file is read at before clips are cut from it
_MOST = 4096


@dataclass
class VideoTextConfig(OwnSettings, datasets.BuilderConfig):
    """What to read, and how many frames to keep."""

    path: str = option("", "JSONL file; see docs/data.md for its three kinds of rows.")
    videos: str | None = option(None, "Folder of video files, or of folders of frames; the file's own if left out.")
    kind: Literal["captions", "questions"] = option(
        "captions", "Whether texts describe the videos (text asks for video), or ask of them (video and question)."
    )
    frames: int = option(8, "Frames kept of a video or clip, spread evenly.")
    task: str | None = option(None, "Task of the queries; video retrieval or video question answering if left out.")


class VideoTextBuilder(OwnBuilder):
    """Videos with texts: `VideoTextBuilder(config_name="triplets", path="clips.jsonl", videos="videos")`."""

    NAME = "video-text"
    SUMMARY = "Videos with captions, with questions, or cut into described clips that are each other's hard negatives."
    PRETTY_NAME = "Videos with texts"
    CITATIONS = ("rzenembed",)
    BUILDER_CONFIG_CLASS = VideoTextConfig
    BUILDER_CONFIGS = builder_configs(VideoTextConfig)

    @property
    def repository(self) -> str:
        """The file that is read."""
        return f"video-text:{Path(self.config.path).name}"

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads rows: a video with a caption, with a conversation, or with described segments."""
        if not self.config.path:
            raise ValueError("no file is named: pass --path with the JSONL of videos and their texts")
        path = Path(self.config.path).expanduser()
        folder = path.parent if self.config.videos is None else Path(self.config.videos).expanduser()
        if not path.is_file() or not folder.is_dir():
            raise ValueError(f"{(path if not path.is_file() else folder).name}: there is no such file or folder")
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield from self._row(_parsed(path, number, line), folder, path.stem)

    def _row(self, row: Row, folder: Path, source: str) -> Iterator[Record | Dropped]:
        try:
            video = _Video(folder, row)
        except (VideoError, LayoutError) as error:
            yield Dropped(f"video: {'cannot be read' if isinstance(error, VideoError) else str(error)}")
            return
        if segments := row.get("segments"):
            yield from self._clips(video, segments, source)
        for text, answer in _texts(row):
            whole = [{"type": "video", "video": video.frames(self.config.frames)}]
            if self.config.kind == "captions":
                yield self._record(_text(answer or text), whole, [], source)  # an answer to "describe it" is a caption
            elif answer:
                yield self._record([*whole, *_text(text)], _text(answer), [], source, answers=[answer])
            else:
                yield Dropped("question: it has no answer")

    def _clips(self, video: "_Video", segments: Sequence[Row], source: str) -> Iterator[Record | Dropped]:
        """Makes a record of each described segment, with the other clips of the video as its negatives."""
        clips = []
        for segment in segments:
            images = video.frames(self.config.frames, float(segment["start"]), float(segment["end"]))
            if images and str(segment.get("caption") or "").strip():
                clips.append((str(segment["caption"]), [{"type": "video", "video": images}]))
            else:
                yield Dropped("clip: no frame or no caption")
        for number, (caption, clip) in enumerate(clips):
            others = [other for place, (_, other) in enumerate(clips) if place != number]
            yield self._record(_text(caption), clip, others, source)

    def _record(
        self, query: list[Row], positive: list[Row], negatives: list[list[Row]], source: str, **more: Any
    ) -> Record:
        plain = "video retrieval" if self.config.kind == "captions" else "video question answering"
        return Record(query, [positive], negatives, task=self.config.task or plain, source=source, **more)


class _Video:
    """A video's frames with their times, from a file or a folder of frames."""

    def __init__(self, folder: Path, row: Row) -> None:
        path = folder / str(row["video"])
        if path.is_dir():
            self._images: list[Any] = list(files_under(path, _IMAGES))
            seconds = float(row.get("duration") or len(self._images))
            self._times = [seconds * (place + 0.5) / len(self._images) for place in range(len(self._images))]
        elif path.is_file():
            frames = load_frames(str(path), fps=_DENSE, max_frames=_MOST)
            self._images = list(frames.images)
            self._times = [place / (frames.fps or 1.0) for place in range(len(self._images))]
        else:
            raise LayoutError("is missing")
        if not self._images:
            raise LayoutError("has no frame")

    def frames(self, count: int, start: float = 0.0, end: float = float("inf")) -> list[Any]:
        """Gives frames of a stretch of seconds, at most so many, spread evenly."""
        inside = [image for image, time in zip(self._images, self._times, strict=True) if start <= time < end]
        if len(inside) <= count:
            return inside
        return [inside[int((place + 0.5) * len(inside) / count)] for place in range(count)]


def _texts(row: Row) -> Iterator[tuple[str, str | None]]:
    """Gives a row's texts: its caption, or the turns of its conversation, question and answer."""
    if row.get("caption"):
        yield str(row["caption"]), None
    if row.get("question"):
        yield str(row["question"]), row.get("answer")
    turns = row.get("conversations") or []
    for asked, answered in zip(turns[::2], turns[1::2], strict=False):
        question = str(asked["value"]).replace("<video>", "").strip()
        yield question, str(answered["value"])


def _parsed(path: Path, number: int, line: str) -> Row:
    try:
        row: Row = json.loads(line)
    except ValueError as error:
        raise LayoutError(f"{path.name} line {number}: no JSON ({error})") from error
    if "video" not in row or not any(key in row for key in ("caption", "segments", "conversations", "question")):
        raise LayoutError(
            f"{path.name} line {number}: found {', '.join(map(repr, row))}, expected 'video' and one of 'caption', "
            "'question', 'conversations', 'segments'"
        )
    return row


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text.strip()}]
