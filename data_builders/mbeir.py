"""M-BEIR: sixteen retrieval tasks with four instructions each, over candidates of their own or of all tasks."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets

from nyx_hf.data_builders.builder import Made, builder_configs, option
from nyx_hf.data_builders.image_files import ImageFiles
from nyx_hf.data_builders.mbeir_tasks import task_named
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.sampling import seeded_fraction
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream

UNION = "union"
_QUERY_KEYS = ("qid", "query_txt", "query_img_path", "query_modality", "pos_cand_list", "neg_cand_list")
_DOCUMENT_KEYS = ("did", "txt", "img_path", "modality")


@dataclass
class MBEIRConfig(PublicSettings, datasets.BuilderConfig):
    """What of M-BEIR to build."""

    task: str = option(UNION, "One task, such as mscoco_task0, or union: all training data (train alone).")
    split: Literal["train", "val", "test"] = option("train", "Which of upstream's splits.")
    pool: Literal["local", "global"] = option("local", "Candidates of the task, or of all tasks.")
    whole_pool: bool = option(False, "Also keep candidates that no query names; evaluation needs them.")
    images: str | None = option(None, "Folder or archive that holds mbeir_images, unpacked from upstream's parts.")


class MBEIRBuilder(PublicBuilder):
    """M-BEIR as `datasets` builds it: `MBEIRBuilder(config_name="triplets", task="cirr_task7")`."""

    NAME = "m-beir"
    SUMMARY = "M-BEIR (TIGER-Lab/M-BEIR): 16 tasks, 64 instructions, local or global candidates."
    PRETTY_NAME = "M-BEIR"
    LICENCE = "mit"
    CITATIONS = ("m-beir",)
    BUILDER_CONFIG_CLASS = MBEIRConfig
    BUILDER_CONFIGS = builder_configs(MBEIRConfig)

    @property
    def repository(self) -> str:
        """The benchmark's repository."""
        return "TIGER-Lab/M-BEIR"

    def splits(self) -> tuple[str, ...]:
        """Gives the chosen split; `val` is called `validation`."""
        return ("validation" if self.config.split == "val" else self.config.split,)

    def make(self) -> Made:
        """Reads queries with their candidates."""
        if self.config.task == UNION and self.config.split != "train":
            raise ValueError(
                f"found task=union and split={self.config.split}, expected one task: union is to train on"
            )
        return super().make()

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads queries, each with one of its task's instructions: to train drawn by its id, to test the first."""
        config, images = self.config, self._images(upstream)
        instructions = _instructions(upstream.file(self.repository, "instructions/query_instructions.tsv"))
        pool = {row["did"]: row for row in self._lines(upstream, self._pool_file(), _DOCUMENT_KEYS)}
        for row in self._lines(upstream, self._query_file(), _QUERY_KEYS):
            yield _record(row, pool, images, instructions, config.seed, training=config.split == "train")

    def documents(self, split: str, upstream: Upstream) -> Iterator[list[Row]]:
        """Reads the other candidates, where the whole pool is wanted."""
        if self.config.whole_pool:
            images = self._images(upstream)
            for row in self._lines(upstream, self._pool_file(), _DOCUMENT_KEYS):
                if (content := _content(row["txt"], row["img_path"], images)) is not None:
                    yield content

    def _images(self, upstream: Upstream) -> ImageFiles:
        given = self.config.images
        return ImageFiles([Path(given).expanduser()] if given else _unpacked(upstream, self.repository))

    def _query_file(self) -> str:
        config = self.config
        if config.task == UNION:
            return "query/union_train/mbeir_union_up_train.jsonl"
        return f"query/{config.split}/mbeir_{task_named(config.task).name}_{config.split}.jsonl"

    def _pool_file(self) -> str:
        config = self.config
        if config.task == UNION or config.pool == "global":
            return f"cand_pool/global/mbeir_union_{config.split}_cand_pool.jsonl"
        task = task_named(config.task)
        # MSCOCO alone has a pool for each split that it is evaluated on
        part = f"_{config.split}" if task.dataset == "mscoco" and config.split != "train" else ""
        return f"cand_pool/local/mbeir_{task.name}{part}_cand_pool.jsonl"

    def _lines(self, upstream: Upstream, path: str, keys: tuple[str, ...]) -> Iterator[Row]:
        with upstream.file(self.repository, path).open(encoding="utf-8") as file:
            for number, line in enumerate(file):
                row: Row = json.loads(line)
                if number == 0:
                    upstream.check_columns(self.repository, list(row), keys, path)
                yield row


def _record(
    row: Row,
    pool: Mapping[str, Row],
    images: ImageFiles,
    instructions: Mapping[tuple[str, str, str], list[str]],
    seed: int,
    *,
    training: bool,
) -> Record | Dropped:
    """Turns a query into a record.

    To test, a query's positives are those of its own data set (OVEN and InfoSeek share some); to train, all.
    """
    dataset = row["qid"].split(":")[0]
    named = [one for one in row["pos_cand_list"] if training or one.split(":")[0] == dataset]
    right = [one for one in named if one in pool]
    if not right:
        return Dropped("query: its positives are not among the candidates")
    asked = instructions.get((dataset, row["query_modality"], pool[right[0]]["modality"]))
    if not asked:
        return Dropped("query: no instruction for its kind")
    query = _content(row["query_txt"], row["query_img_path"], images)
    positives = [_content(pool[one]["txt"], pool[one]["img_path"], images) for one in right]
    wrong = [pool[one] for one in row["neg_cand_list"] or [] if one in pool]
    negatives = [_content(one["txt"], one["img_path"], images) for one in wrong]
    if query is None or any(one is None for one in positives):
        return Dropped("query: image file is missing")
    place = int(seeded_fraction(row["qid"], seed) * len(asked)) if training else 0
    return Record(
        query,
        [one for one in positives if one is not None],
        [one for one in negatives if one is not None],
        instruction=asked[place],
        task=f"{row['query_modality']} → {pool[right[0]]['modality']}",
        source=dataset,
        id=row["qid"],
    )


def _content(text: str | None, path: str | None, images: ImageFiles) -> list[Row] | None:
    """Makes an image and its text one content, the image first; None if the image is not there."""
    parts: list[Row] = []
    if path:
        file = images.read(path)
        if file is None:
            return None
        parts.append({"type": "image", "image": file})
    if text and text.strip():
        parts.append({"type": "text", "text": text.strip()})
    return parts or None


def _instructions(file: Path) -> dict[tuple[str, str, str], list[str]]:
    """Reads the instructions by data set number, query's and candidate's modality."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    return {(row[3], row[0], row[1]): [prompt.strip() for prompt in row[4:] if prompt.strip()] for row in rows}


def _unpacked(upstream: Upstream, repository: str) -> list[Path]:
    """Finds the images beside a downloaded repository."""
    folder = None if upstream.local is None else upstream.local / repository
    if folder is None or not folder.is_dir():
        raise ValueError(
            f"{repository}: its images come in parts of one archive; download them, join and unpack "
            "(cat mbeir_images.tar.gz.part-* | tar xz), and name the folder with --images"
        )
    return [folder]
