"""ScienceQA: questions with images, and a corpus of lectures or of worked examples (Nyx §4.1, appendix C)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import datasets

from nyx_hf.data_builders.builder import builder_configs, option
from nyx_hf.data_builders.instructions import EXAMPLE, LECTURE
from nyx_hf.data_builders.public_builder import PublicBuilder, PublicSettings
from nyx_hf.data_builders.records import Dropped, Record
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.upstream import Upstream

_COLUMNS = ("image", "question", "choices", "answer", "hint", "lecture")
_INSTRUCTIONS = {"lectures": LECTURE, "examples": EXAMPLE}


@dataclass
class ScienceQAConfig(PublicSettings, datasets.BuilderConfig):
    """Which of the two corpora to build."""

    corpus: Literal["lectures", "examples"] = option(
        "lectures", "What is searched: all lectures, each once, or the training questions with their answers."
    )


class ScienceQABuilder(PublicBuilder):
    """ScienceQA as `datasets` builds it: `ScienceQABuilder(config_name="queries", corpus="examples")`.

    A question's own lecture is its positive. Which example helps is not labelled: a training question's positive is
    then its own example, and other splits have questions alone, to be asked of the training examples.
    """

    NAME = "scienceqa"
    SUMMARY = "ScienceQA (derek-thomas/ScienceQA): questions with images; lectures or worked examples as corpus."
    PRETTY_NAME = "ScienceQA"
    LICENCE = "cc-by-sa-4.0"
    CITATIONS = ("scienceqa",)
    BUILDER_CONFIG_CLASS = ScienceQAConfig
    BUILDER_CONFIGS = builder_configs(ScienceQAConfig)

    @property
    def repository(self) -> str:
        """The data set's repository."""
        return "derek-thomas/ScienceQA"

    def splits(self) -> tuple[str, ...]:
        """Gives upstream's three."""
        return ("train", "validation", "test")

    def records(self, split: str, upstream: Upstream) -> Iterator[Record | Dropped]:
        """Reads one split's questions."""
        lectures = self.config.corpus == "lectures"
        for number, row in enumerate(upstream.rows(self.repository, None, split, _COLUMNS)):
            choices = list(row["choices"])
            if not 0 <= row["answer"] < len(choices):
                yield Dropped("question: its answer is none of the choices")
                continue
            if lectures and not (row["lecture"] or "").strip():
                yield Dropped("question: it has no lecture")
                continue
            positives = [_text(row["lecture"])] if lectures else [_example(row)] if split == "train" else []
            yield Record(
                _question(row),
                positives,
                instruction=_INSTRUCTIONS[self.config.corpus],
                answers=[choices[row["answer"]]],
                options=choices,
                task="science question answering",
                source="ScienceQA",
                id=f"scienceqa-{split}-{number:05d}",
            )


def _question(row: Row) -> list[Row]:
    """Gives a question: its image, its hint and its words."""
    words = "\n".join(part.strip() for part in (row["hint"], row["question"]) if part and part.strip())
    return [*_image(row["image"]), *_text(words)]


def _example(row: Row) -> list[Row]:
    """Gives a question with its choices and its answer, as an example to learn from."""
    choices = list(row["choices"])
    words = f"Question: {row['question']}\nChoices: {', '.join(choices)}\nAnswer: {choices[row['answer']]}"
    return [*_image(row["image"]), *_text(words)]


def _image(image: Any) -> list[Row]:
    return [] if image is None else [{"type": "image", "image": image}]


def _text(text: str) -> list[Row]:
    return [{"type": "text", "text": text.strip()}]
