"""Answers the handwritten records by reading the digits, with a classifier that saw the training scans alone."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from PIL import Image
from sklearn.svm import SVC

from nyx_hf.data_builders.answering import Question, Reply, option_of
from nyx_hf.data_builders.digits import DigitsConfig, draw_scans
from nyx_hf.data_builders.digits_text import WORDS
from nyx_hf.data_builders.document_words import CAPITALISED, texts_and_images
from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.images_nyx import ImageError, load_image

VERSION = 1
"""Grows with every change of what is answered."""

_SIZE = 28  # pixels a side that every scan is brought to
_DIGIT = re.compile(rf"(?<!\w)(?:{'|'.join(WORDS)})(?!\w)|\d", re.I)
_NAME = re.compile(rf"(?<!\w){CAPITALISED} {CAPITALISED}")


class DigitReader:
    """Reads the code of a query and those of the documents, and names the person of the best document with that code.

    Where no document has it, it names the person of the first, as a model does that answers from what it is shown.

    Args:
        seed: Seed of the dataset that is answered: none of its test scans was seen in training.
        test_scans: Test scans of that dataset, likewise.
    """

    name = "digit-reader"
    remote = False

    def __init__(self, seed: int = 0, test_scans: int = 300) -> None:
        self._config = DigitsConfig(name="corpus", seed=seed, test_scans=test_scans, image_size=_SIZE)
        self._read: dict[bytes, int | None] = {}

    @property
    def revision(self) -> str | None:
        """The version, and the seed of what was trained on."""
        return f"version {VERSION}, seed {self._config.seed}"

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """Answers questions.

        Args:
            questions: Queries that give a code, each with records.

        Returns:
            A reply to each, in order.
        """
        contents = [content for question in questions for content in (question.query, *question.documents)]
        parts = [part for content in contents for part in texts_and_images(content)]
        self.digits([part for part in parts if isinstance(part, bytes)])  # all at once, which is faster
        return [self._reply(question) for question in questions]

    def digits(self, files: Iterable[bytes]) -> list[int | None]:
        """Reads scans, each once.

        Args:
            files: Encoded images.

        Returns:
            The digit that each shows; None for a file that is no image.
        """
        wanted = list(files)
        new = [file for file in dict.fromkeys(wanted) if file not in self._read]
        pixels = {file: _pixels(file) for file in new}
        images = {file: found for file, found in pixels.items() if found is not None}
        self._read |= dict.fromkeys(new)
        if images:
            said = self._classifier.predict(np.stack(list(images.values())))
            self._read |= dict(zip(images, said.tolist(), strict=True))
        return [self._read[file] for file in wanted]

    @cached_property
    def _classifier(self) -> SVC:
        scans = draw_scans(self._config)["train"]
        pairs = [(_pixels(scan.image["bytes"]), digit) for digit in sorted(scans) for scan in scans[digit]]
        return SVC(C=10, gamma="scale").fit([pixels for pixels, _ in pairs], [digit for _, digit in pairs])

    def _reply(self, question: Question) -> Reply:
        if not question.documents:
            return Reply(None, "answer: no documents")
        code = self._code(question.query)
        legible = bool(code) and None not in code  # what cannot be read equals nothing
        right = (record for record in question.documents if legible and self.digits(_images(record)) == code)
        name = person_of(next(right, question.documents[0]))
        if name is None:
            return Reply(None, "answer: the document names nobody")
        if not question.options:
            return Reply(name)
        option = option_of(name, question.options)
        return Reply(option, None if option is not None else "answer: none of the options")

    def _code(self, query: Sequence[Row]) -> list[int | None]:
        """Reads a query's code: words, numerals and scans, in their order."""
        code: list[int | None] = []
        for part in texts_and_images(query):
            if isinstance(part, bytes):
                code += self.digits([part])
            else:
                code += [int(said) if said.isdigit() else WORDS.index(said.lower()) for said in _DIGIT.findall(part)]
        return code


def person_of(record: Sequence[Row]) -> str | None:
    """Finds who a record is about.

    Args:
        record: Its content.

    Returns:
        The first two words in a row that begin with capitals; None where there are none.
    """
    found = (_NAME.search(part) for part in texts_and_images(record) if isinstance(part, str))
    return next((match.group() for match in found if match is not None), None)


def _images(content: Sequence[Row]) -> list[bytes]:
    return [part for part in texts_and_images(content) if isinstance(part, bytes)]


def _pixels(file: bytes) -> np.ndarray | None:
    """Gives an image's ink from 0 to 1, float32 (784,)."""
    try:
        grey = load_image(file).convert("L").resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)
    except ImageError:
        return None
    ink: np.ndarray = 1 - np.asarray(grey, np.float32).ravel() / 255
    return ink
