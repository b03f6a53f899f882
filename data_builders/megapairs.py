"""MegaPairs: an image and a difference in words lead to another image (RzenEmbed §3.4.1, IT → I)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import LayoutError, Upstream

_KEYS = ("q_img", "q_text", "t_img")


@dataclass
class MegaPairsConfig(PublicSettings, datasets.BuilderConfig):
    """Where its annotations and images are."""

    path: str = option("", "The annotations, a JSONL file of q_img, q_text, t_img and hns, as downloaded.")
    images: str | None = option(None, "Folder or archive of the images; the annotations' folder if left out.")
    negatives: int = option(1, "Hard negatives a row, of those that it names.")


class MegaPairsBuilder(PublicBuilder):
    """MegaPairs: each of an image pair's texts is a query of its own."""

    NAME = "megapairs"
    SUMMARY = "MegaPairs (JUNJIE99/MegaPairs): an image and a difference in words lead to another image."
    PRETTY_NAME = "MegaPairs"
    LICENCE = "mit"
    CITATIONS = ("rzenembed",)
    BUILDER_CONFIG_CLASS = MegaPairsConfig
    BUILDER_CONFIGS = builder_configs(MegaPairsConfig)

    @property
    def repository(self) -> str:
        """The set's repository."""
        return "JUNJIE99/MegaPairs"

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads the annotations."""
        if not self.config.path:
            raise ValueError("no annotations are named: pass --path with MegaPairs's JSONL file")
        path = Path(self.config.path).expanduser()
        if not path.is_file():
            raise ValueError(f"{path.name}: there is no such file of annotations; check --path")
        given = self.config.images
        images = ImageFiles([path.parent if given is None else Path(given).expanduser()])
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row: Row = json.loads(line)
                if missing := [key for key in _KEYS if key not in row]:
                    raise LayoutError(f"{path.name} line {number}: {', '.join(map(repr, missing))} is missing")
                yield from self._row(row, images)

    def _row(self, row: Row, images: ImageFiles) -> Iterator[Record | Dropped]:
        shown, target = images.read(row["q_img"]), images.read(row["t_img"])
        if shown is None or target is None:
            yield Dropped("row: image file is missing")
            return
        wrong = [images.read(name) for name in (row.get("hns") or [])[: self.config.negatives]]
        texts = [row["q_text"]] if isinstance(row["q_text"], str) else row["q_text"]
        for text in texts:
            query = [_image(shown), {"type": "text", "text": text}]
            negatives = [[_image(file)] for file in wrong if file is not None]
            yield Record(query, [[_image(target)]], negatives, task="image retrieval", source="MegaPairs")


def _image(file: bytes) -> Row:
    return {"type": "image", "image": file}
