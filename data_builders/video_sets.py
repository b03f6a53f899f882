"""MMEB-V2's 18 video sets: classification, questions, retrieval and moments, with the candidates of the benchmark."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.mmeb_sets import group_of
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.data_builders.video_folders import MissingError, Videos
from nyx_hf.data_builders.video_set_layouts import COMPOSED, FRAMES_REPOSITORY, Kind, VideoSet, video_set


@dataclass
class VideoSetsConfig(PublicSettings, datasets.BuilderConfig):
    """Which set to build, and how many frames to keep."""

    subset: str = option("MSR-VTT", "One of the 18 sets.")
    frames: int = option(8, "Frames kept of a video or clip, spread evenly; the benchmark's number is 8.")
    videos: str | None = option(
        None,
        f"Folder of unpacked frames or video files: {FRAMES_REPOSITORY}, its video-tasks/frames, or the set's own; "
        f"LOCAL/{FRAMES_REPOSITORY} if left out.",
    )


class VideoSetsBuilder(PublicBuilder):
    """One video set: `VideoSetsBuilder(config_name="triplets", subset="MSR-VTT", videos="MMEB-V2")`."""

    NAME = "mmeb-video"
    SUMMARY = "MMEB-V2's video sets: classification, question answering, retrieval and moment retrieval, as frames."
    PRETTY_NAME = "Video sets of MMEB-V2"
    BUILDER_CONFIG_CLASS = VideoSetsConfig
    BUILDER_CONFIGS = builder_configs(VideoSetsConfig)

    @property
    def repository(self) -> str:
        """The repository of the set's rows."""
        return video_set(self.config.subset).repository

    def splits(self) -> tuple[str, ...]:
        """Gives `test`."""
        return ("test",)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one set."""
        name = self.config.subset
        one, videos, task = video_set(name), self._videos(upstream), group_of(name).task
        for row in _rows(one, upstream):
            try:
                record = _KINDS[one.kind](row, one, videos)
            except MissingError as reason:
                yield Dropped(str(reason))
            else:
                yield replace(record, task=task, source=name)

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads what each query is ranked against besides its own: the label set, the videos past the limit."""
        one = video_set(self.config.subset)
        for label in one.labels.split():
            yield _text(label)
        if one.kind == "retrieval" and self.config.limit is not None:  # without a limit, records name all videos
            videos = self._videos(upstream)
            for row in _rows(one, upstream):
                try:
                    yield [videos.part(one.frames_of(row), one.file_of(row))]
                except MissingError:  # counted with its record, where that is read
                    continue

    def _videos(self, upstream: Upstream) -> Videos:
        given = self.config.videos
        if given is None and upstream.local is not None:
            given = upstream.local / FRAMES_REPOSITORY
        folder = None if given is None else Path(given).expanduser()
        if folder is None or not folder.is_dir():
            found = "no folder of videos is named" if folder is None else f"{folder.name}: there is no such folder"
            raise ValueError(f"{found}: pass --videos with the unpacked frames of {FRAMES_REPOSITORY}")
        return Videos(folder, video_set(self.config.subset).places.split(), self.config.frames)


def _classification(row: Row, one: VideoSet, videos: Videos) -> Record:
    """A video asks for its label: against the whole label set, or the choices that the row has."""
    label = row[one.text]
    others = [] if one.labels else [_text(other) for other in row["neg_text"] if other != label]
    video = videos.part(one.frames_of(row), one.file_of(row))
    return Record([video], [_text(label)], others, instruction=one.instruction)


def _question(row: Row, one: VideoSet, videos: Videos) -> Record:
    """A video and a question ask for one of the row's options."""
    text, options, right = _QUESTIONS[one.repository](row)
    if not 0 <= right < len(options):
        raise MissingError("question: its answer is none of the choices")
    query = [videos.part(one.frames_of(row), one.file_of(row)), *_text(text)]
    others = [_text(other) for place, other in enumerate(options) if place != right]
    answers = [options[right]]
    return Record(query, [_text(answers[0])], others, instruction=one.instruction, answers=answers, options=options)


def _retrieval(row: Row, one: VideoSet, videos: Videos) -> Record:
    """A caption, the first where there are several, asks for its video among all."""
    captions = row[one.text]
    caption = captions if isinstance(captions, str) else next(iter(captions), "")
    video = videos.part(one.frames_of(row), one.file_of(row))
    return Record(_text(caption), [[video]], instruction=one.instruction)


def _moment(row: Row, one: VideoSet, videos: Videos) -> Record:
    """A text and a video ask for a clip of it: folders beside the video's own, the right one named `positive…`."""
    folder = one.frames_of(row)
    query = [videos.part(f"{folder}/query"), *_text(row[one.text])]
    right: list[str] = []
    wrong: list[str] = []
    for name in videos.folders(folder):
        if name != "query":
            (right if name.startswith("positive") else wrong).append(f"{folder}/{name}")
    return _clips(query, right, wrong, videos, one.instruction)


def _composed_moment(row: Row, one: VideoSet, videos: Videos) -> Record:
    """A text, perhaps with an image or a clip, asks for the clips that the row lists."""

    def frames(path: str) -> str:
        return f"{one.frames}/{path.removesuffix('.mp4').replace('/', '_')}"

    beside = row["input_frames"] or ""
    kind = PurePosixPath(beside).suffix
    query = _text(row[one.text])
    if kind == ".mp4":
        query.insert(0, videos.part(frames(beside)))
    elif kind == ".jpg":
        query.insert(0, videos.image(f"query_{beside}"))
    right, wrong = (
        [frames(clip["output_path"]) for clip in row[side]] for side in ("positive_frames", "negative_frames")
    )
    return _clips(query, right, wrong, videos, COMPOSED.get(kind, one.instruction))


def _clips(query: list[Row], right: list[str], wrong: list[str], videos: Videos, instruction: str) -> Record:
    if not right:
        raise MissingError("query: no clip is right for it")
    positives, negatives = ([[videos.part(path, what="clip")] for path in side] for side in (right, wrong))
    return Record(query, positives, negatives, instruction=instruction)


_KINDS: dict[Kind, Callable[[Row, VideoSet, Videos], Record]] = {
    "classification": _classification,
    "question": _question,
    "retrieval": _retrieval,
    "moment": _moment,
    "composed moment": _composed_moment,
}

Question = tuple[str, list[str], int]
"""A question as it is asked, its options as candidates, and the place of the right one."""


def _mvbench(row: Row) -> Question:
    options = list(row["candidates"])
    return _listed(row["question"], options), _lettered(options), _place(options, row["answer"])


def _nextqa(row: Row) -> Question:
    options = [row[f"a{number}"] for number in range(5)]
    return _listed(row["question"], options), options, int(row["answer"])


def _video_mme(row: Row) -> Question:
    options = list(row["options"])
    return "\n".join([row["question"], *options]), _bare(options), _place(list("ABCD"), row["answer"])


def _egoschema(row: Row) -> Question:
    options = list(row["option"])
    return row["question"] + " ".join(options), _bare(options), int(row["answer"])


def _activitynetqa(row: Row) -> Question:
    options = ["yes", "no"]
    return f"{row['question']}? (A) yes; (B) no.", options, _place(options, row["answer"])


_QUESTIONS: dict[str, Callable[[Row], Question]] = {
    "VLM2Vec/MVBench": _mvbench,
    "VLM2Vec/Video-MME": _video_mme,
    "VLM2Vec/NExTQA": _nextqa,
    "VLM2Vec/EgoSchema": _egoschema,
    "VLM2Vec/ActivityNetQA": _activitynetqa,
}


def _lettered(options: Sequence[str]) -> list[str]:
    return [f"({chr(ord('A') + place)}) {text}" for place, text in enumerate(options)]


def _listed(question: str, options: Sequence[str]) -> str:
    return "\n".join([question, "Options:", *_lettered(options)])


def _bare(options: Sequence[str]) -> list[str]:
    """Takes the letters off options: `A. Apples.` is `Apples`."""
    return [(text if dot else whole).strip(". ") for whole in options for _, dot, text in [whole.partition(". ")]]


def _place(options: list[str], right: str) -> int:
    return options.index(right) if right in options else -1


def _rows(one: VideoSet, upstream: Upstream) -> Iterator[Row]:
    rows = (
        {**row, "subset": config, "part": part}
        for config, part in one.configs.items()
        for row in upstream.rows(one.repository, config, one.split, one.columns.split())
    )
    return islice(rows, one.most)


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text}]
