"""Handwritten records: a small retrieval dataset of interleaved text and images, made from real scans, offline.

A document is a person's record whose three-digit code is written by hand, in three scans. A query gives the code in
words or numerals, in other scans of the same digits, or in a mix of both; nothing but the code leads to its record.
"""

import io
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import sklearn
from PIL import Image
from sklearn.datasets import load_digits

from nyx_hf.data_builders.builder import Made, RetrievalBuilder, builder_configs, option
from nyx_hf.data_builders.digits_text import QUESTIONS, RECORDS, SUMMARY, WORDS, draw_person
from nyx_hf.data_builders.schema import Row
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source

TASKS = ("text→interleaved", "images→interleaved", "interleaved→interleaved")
SPLITS = ("train", "test")
FEEDBACK = "feedback"
Code = tuple[int, int, int]
CODES: tuple[Code, ...] = tuple(itertools.product(range(10), range(10), range(10)))  # 000 … 999


@dataclass
class DigitsConfig(datasets.BuilderConfig):
    """What to make: the config's name (`corpus`, `queries` or `triplets`) and the settings of the dataset.

    Attributes:
        seed: Decides everything that is drawn.
        limit: At most this many queries of each split, three a record; the numbers of records otherwise.
        train_documents: Records to train on; their codes may repeat.
        test_documents: Records to test on, at most 1000: each has a code of its own.
        image_size: Width and height of a scan in pixels, enlarged from 8 × 8.
        test_scans: How many of the 1,797 scans are kept for the test split alone.
        negatives: Hard negatives a triplet, the nearest codes first: other digits in one place where there are such.
        feedback_documents: Records of a further split, `feedback`, at most 1000: each has a code of its own. They are
            for a second stage of training.
        feedback_scans: How many scans are kept for that split alone, where there is one.
    """

    seed: int = option(0, "Decides everything that is drawn.")
    limit: int | None = option(None, "At most this many queries of each split.")
    train_documents: int = option(4000, "Records to train on.")
    test_documents: int = option(400, "Records to test on, at most 1000.")
    image_size: int = option(28, "Pixels a side of a scan.")
    test_scans: int = option(300, "Scans kept for the test split alone, of 1,797.")
    negatives: int = option(2, "Hard negatives a triplet.")
    feedback_documents: int = option(0, "Further records to train on, in a split of their own: for a second stage.")
    feedback_scans: int = option(300, "Scans kept for that split alone.")

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {
            "train_documents": (1, None),
            "test_documents": (1, len(CODES)),
            "image_size": (8, None),
            "test_scans": (300, 1497),
            "negatives": (0, None),
            "feedback_documents": (0, len(CODES)),
            "feedback_scans": (300, 1197),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value < low or (high is not None and value > high):
                raise ValueError(f"found {name}={value}, expected {f'{low} to {high}' if high else f'at least {low}'}")
        if self.limit is not None:
            records = max(1, self.limit // len(TASKS))
            self.train_documents = min(self.train_documents, records)
            self.test_documents = min(self.test_documents, records)
            self.feedback_documents = min(self.feedback_documents, records)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return (*SPLITS, FEEDBACK) if self.feedback_documents else SPLITS


class DigitsBuilder(RetrievalBuilder):
    """The handwritten records as `datasets` builds them: `DigitsBuilder(config_name="corpus", seed=1)`."""

    NAME = "digits"
    SUMMARY = "Records with handwritten codes, from scikit-learn's digits: real images, no network."
    BUILDER_CONFIG_CLASS = DigitsConfig
    BUILDER_CONFIGS = builder_configs(DigitsConfig)

    def splits(self) -> tuple[str, ...]:
        """Gives `train` and `test`, and `feedback` where it is asked for."""
        splits: tuple[str, ...] = self.config.splits
        return splits

    def make(self) -> Made:
        """Makes all rows."""
        made = make_digits(self.config)
        return Made(made["corpus"], made["queries"], made["triplets"], _facts(self.config, made))


def build_digits(
    out_dir: str | Path,
    *,
    seed: int = 0,
    train_documents: int = 4000,
    test_documents: int = 400,
    image_size: int = 28,
    negatives: int = 2,
    feedback_documents: int = 0,
    overwrite: bool = False,
) -> Path:
    """Writes the handwritten records as a dataset folder.

    Args:
        out_dir: The folder to make.
        seed: See `DigitsConfig`, as for the next five.
        train_documents: Records to train on.
        test_documents: Records to test on.
        image_size: Pixels a side of a scan.
        negatives: Hard negatives a triplet.
        feedback_documents: Records of the split `feedback`.
        overwrite: Whether a dataset that stands there may be replaced.

    Returns:
        The folder, which `load_dataset(folder, "corpus")` reads.

    Raises:
        FileExistsError: If `out_dir` holds something that may not be replaced.
        ValueError: If a setting is out of range.
    """
    builder = DigitsBuilder(
        config_name="corpus",
        seed=seed,
        train_documents=train_documents,
        test_documents=test_documents,
        image_size=image_size,
        negatives=negatives,
        feedback_documents=feedback_documents,
    )
    return builder.write(out_dir, overwrite=overwrite)


def make_digits(config: DigitsConfig) -> dict[str, dict[str, list[Row]]]:
    """Makes all rows.

    Args:
        config: The settings; its name is not looked at.

    Returns:
        Rows by config and split.
    """
    rows: dict[str, dict[str, list[Row]]] = {"corpus": {}, "queries": {}, "triplets": {}}
    scans = draw_scans(config)
    for split in config.splits:
        rng = random.Random(f"{config.seed}/{split}")
        if split == "train":
            codes = rng.choices(CODES, k=config.train_documents)
        else:
            codes = rng.sample(CODES, config.test_documents if split == "test" else config.feedback_documents)
        records = [_record(f"{split}-d{number:05d}", code, scans[split], rng) for number, code in enumerate(codes)]
        rows["corpus"][split] = [{"id": record.id, "content": record.content} for record in records]
        rows["queries"][split], rows["triplets"][split] = _questions(split, records, scans[split], config, rng)
    return rows


@dataclass(frozen=True)
class Scan:
    """One handwritten digit.

    Attributes:
        number: Its number among scikit-learn's 1,797.
        image: Its picture as a stored image.
    """

    number: int
    image: Row


@dataclass(frozen=True)
class _Record:
    """A document, with what its content was made from."""

    id: str
    name: str
    code: Code
    scans: tuple[int, ...]
    content: list[Row]


def draw_scans(config: DigitsConfig) -> dict[str, dict[int, list[Scan]]]:
    """Draws the scans of a dataset.

    Args:
        config: The settings; `seed`, `image_size`, and the scans of each split decide.

    Returns:
        Scans by split and digit; no scan is in both splits.
    """
    digits = load_digits()
    order = list(range(len(digits.target)))
    random.Random(f"{config.seed}/scans").shuffle(order)
    kept = config.test_scans + (config.feedback_scans if config.feedback_documents else 0)
    shares = {"test": order[: config.test_scans], "train": order[kept:], FEEDBACK: order[config.test_scans : kept]}
    drawn: dict[str, dict[int, list[Scan]]] = {split: defaultdict(list) for split in shares}
    for split, numbers in shares.items():
        for number in numbers:
            image = _picture(digits.images[number], config.image_size)
            drawn[split][int(digits.target[number])].append(Scan(number, image))
    return drawn


def _picture(ink: np.ndarray, size: int) -> Row:
    """Draws a scan of ink from 0 to 16, float (8, 8), as dark on white: a stored image of `size` pixels a side."""
    grey = np.round(255 - ink * (255 / 16)).astype(np.uint8)  # (8, 8)
    png = io.BytesIO()
    Image.fromarray(grey).resize((size, size), Image.Resampling.LANCZOS).convert("RGB").save(png, format="PNG")
    return {"bytes": png.getvalue(), "path": None}


def _record(record_id: str, code: Code, scans: dict[int, list[Scan]], rng: random.Random) -> _Record:
    """Writes a record; who it is about is drawn apart from the code, and tells nothing about it."""
    person = draw_person(rng)
    before, after = (words.format(**person) for words in rng.choice(RECORDS))
    chosen = [rng.choice(scans[digit]) for digit in code]
    content = [_text(before), *(_image(scan) for scan in chosen), _text(after)]
    return _Record(record_id, person["name"], code, tuple(scan.number for scan in chosen), content)


def _questions(
    split: str, records: Sequence[_Record], scans: dict[int, list[Scan]], config: DigitsConfig, rng: random.Random
) -> tuple[list[Row], list[Row]]:
    """Asks for each record in three ways: queries and triplets."""
    by_code: dict[Code, list[_Record]] = defaultdict(list)
    for record in records:
        by_code[record.code].append(record)
    queries: list[Row] = []
    triplets: list[Row] = []
    for record in records:
        right = [record, *(other for other in by_code[record.code] if other is not record)]
        seen = {number for other in right for number in other.scans}
        for task in TASKS:
            query_id = f"{split}-q{len(queries):05d}"
            shown = [
                rng.choice([s for s in scans[digit] if s.number not in seen] or scans[digit]) for digit in record.code
            ]
            answers = list(dict.fromkeys(other.name for other in right))
            content = _query(task, record.code, shown, rng)
            queries.append({"id": query_id, "content": content, "answers": answers, "task": task, "source": "digits"})
            wrong = _nearest(record.code, by_code, config.negatives, rng)
            triplets.append(
                {
                    "query_id": query_id,
                    "positive_ids": [other.id for other in right],
                    "negative_ids": [other.id for other in wrong],
                    "positive_scores": [1.0] * len(right),
                    "negative_scores": [_equal_digits(record.code, other.code) for other in wrong],
                    "scorer": "share of equal digits",
                }
            )
    return queries, triplets


def _query(task: str, code: Code, shown: Sequence[Scan], rng: random.Random) -> list[Row]:
    """Writes a query for a code, of which `shown` are scans, in one of the three ways."""
    if task == "images→interleaved":
        return [_image(scan) for scan in shown]
    before, after = rng.choice(QUESTIONS)
    written = [WORDS[digit] for digit in code] if rng.random() < 0.5 else [str(digit) for digit in code]
    pictured = set() if task == "text→interleaved" else set(rng.sample(range(3), rng.choice((1, 2))))
    content: list[Row] = []
    text = before
    for place in range(3):
        if place in pictured:
            content += [_text(text), _image(shown[place])]
            text = ""
        else:
            text += written[place]
        text += " " if place < 2 else after
    return [*content, _text(text)]


def _nearest(code: Code, by_code: dict[Code, list[_Record]], count: int, rng: random.Random) -> list[_Record]:
    """Draws records whose code differs in as few places as there are any, never in none."""
    drawn: list[_Record] = []
    for places in (1, 2, 3):
        if len(drawn) < count:
            near = [record for other in _differing(code, places) for record in by_code.get(other, ())]
            drawn += rng.sample(near, min(count - len(drawn), len(near)))
    return drawn


def _equal_digits(code: Code, other: Code) -> float:
    """The share of places that hold the same digit: a teacher's score that is known to be right."""
    return sum(one == another for one, another in zip(code, other, strict=True)) / len(code)


def _differing(code: Code, places: int) -> Iterator[Code]:
    """Lists the codes that have other digits in exactly so many places."""
    for changed in itertools.combinations(range(3), places):
        first, second, third = (
            [other for other in range(10) if other != digit] if place in changed else [digit]
            for place, digit in enumerate(code)
        )
        yield from itertools.product(first, second, third)


def _text(text: str) -> Row:
    return {"type": "text", "text": text}


def _image(scan: Scan) -> Row:
    return {"type": "image", "image": scan.image}


def _facts(config: DigitsConfig, made: dict[str, dict[str, list[Row]]]) -> DatasetFacts:
    """What the card says."""
    names = ["seed", "train_documents", "test_documents", "image_size", "negatives"]
    names += ["feedback_documents", "feedback_scans"] if config.feedback_documents else []
    options = " ".join(f"--{name.replace('_', '-')} {getattr(config, name)}" for name in names)
    tasks = Counter(str(row["task"]) for rows in made["queries"].values() for row in rows)
    return DatasetFacts(
        name="handwritten-records",
        pretty_name="Handwritten records",
        summary=SUMMARY,
        license="cc-by-4.0",
        sources=[
            Source(
                "Optical Recognition of Handwritten Digits (UCI Machine Learning Repository)",
                "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
                "cc-by-4.0",
            ),
        ],
        configs={},
        default_config="preview",
        tags=["synthetic"],
        command=f"nyx-hf build digits --out digits {options}",
        seed=config.seed,
        revisions={"scikit-learn (`load_digits`)": sklearn.__version__},
        counts={
            **{f"{split} documents": len(rows) for split, rows in made["corpus"].items()},
            **{f"queries, {task}": count for task, count in tasks.items()},
            **{
                f"{split} scans": sum(map(len, scans.values())) for split, scans in draw_scans(config).items() if scans
            },
        },
    )
