"""U-MARVEL's unseen sets (Tables 8, 9 and 11), as LamRA's evaluation lays them out (code-kunkun/LamRA_Eval)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream
from nyx_hf.data_builders.video_folders import MissingError
from nyx_hf.data_builders.zero_shot_captions import flickr30k, sharegpt4v, urban1k, videos, visdial
from nyx_hf.data_builders.zero_shot_composed import circo, circo_pool, fashioniq_pool, fashioniq_rounds, genecis
from nyx_hf.data_builders.zero_shot_matching import cc_neg, sugarcrepe
from nyx_hf.data_builders.zero_shot_media import Asked, Media, Piece
from nyx_hf.data_builders.zero_shot_tasks import LAMRA, Task, task_named

LAYOUTS: dict[str, Callable[[Media], Iterator[Asked]]] = {
    "sharegpt4v": sharegpt4v,
    "urban1k": urban1k,
    "flickr30k": flickr30k,
    "circo": circo,
    "genecis": genecis,
    "visdial": visdial,
    "fashioniq-rounds": fashioniq_rounds,
    "cc-neg": cc_neg,
    "sugarcrepe": sugarcrepe,
    "video": videos,
}
"""What reads a set, by the task's `layout`."""
_POOLS: dict[str, Callable[[Media], Iterator[Piece]]] = {"circo": circo_pool, "fashioniq-rounds": fashioniq_pool}
_KEPT = 16  # parts that are read once where queries follow each other that share them


@dataclass
class ZeroShotConfig(PublicSettings, datasets.BuilderConfig):
    """Which task to build, and where its images are."""

    task: str = option("flickr30k-t2i", "One of the tasks; a name that is none of them lists all.")
    images: str | None = option(
        None,
        f"Folder or archive of the images, or folder of the videos; LOCAL/{LAMRA} (unpacked) if left out, of "
        "FashionIQ LOCAL/TIGER-Lab/M-BEIR, of videos the frames at LOCAL/TIGER-Lab/MMEB-V2.",
    )
    frames: int = option(12, "Frames kept of a video, spread evenly.")


class ZeroShotBuilder(PublicBuilder):
    """One task: `ZeroShotBuilder(config_name="triplets", task="circo", local="hub")`."""

    NAME = "zero-shot"
    SUMMARY = "U-MARVEL's unseen sets (Tables 8 and 9): captions, dialogs, composed images, matching, videos."
    PRETTY_NAME = "Unseen sets of U-MARVEL"
    CITATIONS = ("u-marvel",)
    BUILDER_CONFIG_CLASS = ZeroShotConfig
    BUILDER_CONFIGS = builder_configs(ZeroShotConfig)

    @property
    def repository(self) -> str:
        """The repository of the task's rows."""
        return task_named(self.config.task).repository

    def splits(self) -> tuple[str, ...]:
        """Gives `test`."""
        return ("test",)

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads a task's queries, each with what answers it and, where it has some, its own wrong candidates."""
        task, media = task_named(self.config.task), self._media(upstream)
        part = lru_cache(_KEPT)(media.part)
        for asked in LAYOUTS[task.layout](media):
            try:
                yield _record(asked, task, part)
            except MissingError as reason:
                yield Dropped(str(reason))

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row] | Dropped]:
        """Reads candidates that no query names, and those past the limit."""
        task, media = task_named(self.config.task), self._media(upstream)
        for piece in _pool(task, media, whole=self.config.limit is None):
            try:
                yield [media.part(piece)]
            except MissingError as reason:
                yield Dropped(f"candidate, {reason}")

    def _media(self, upstream: Upstream) -> Media:
        config = self.config
        place = None if config.images is None else Path(config.images).expanduser()
        return Media(task_named(config.task), upstream, place, config.frames)


def _pool(task: Task, media: Media, *, whole: bool) -> Iterator[Piece]:
    """Names documents that records did not bring, each once; a query's own candidates all come with it."""
    if task.layout in _POOLS:
        yield from _POOLS[task.layout](media)
    elif not task.own and not whole:
        yield from dict.fromkeys(piece for asked in LAYOUTS[task.layout](media) for piece in asked.right)


def _record(asked: Asked, task: Task, part: Callable[[Piece], Row]) -> Record:
    wrong = [piece for piece in asked.wrong if piece not in asked.right]
    if not asked.right or "" in (*asked.query, *asked.right):
        raise MissingError("row: a text is missing")
    if task.own and not wrong:
        raise MissingError("row: the wrong candidates are the right one")
    return Record(
        [part(piece) for piece in asked.query],
        [[part(piece)] for piece in asked.right],
        [[part(piece)] for piece in wrong],
        instruction=task.instruction,
        task=task.kind,
        source=task.name,
    )
