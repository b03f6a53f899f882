"""Answers out of the documents' own words, with no model and no network: what they do not say is not answered."""

from collections.abc import Sequence

from nyx_hf.data_builders.answering import Question, Reply
from nyx_hf.data_builders.document_words import DocumentWords, texts_and_images, words_of
from nyx_hf.data_builders.evidence import Asked, Evidence
from nyx_hf.data_builders.same_images import SameImages
from nyx_hf.data_builders.short_answers import short_answer

VERSION = 1
"""Grows with every change of what is answered."""

_NO_DOCUMENTS = "answer: no documents"
_NO_OPTION = "answer: the documents hold no option"
_NOTHING = "answer: the documents say nothing of the question"


class ExtractiveAnswerer:
    """Reads documents by their words and images, and answers with what stands where they speak of the question.

    Of options, it takes the one that is mentioned nearest to the question's words and images. Without options, it
    fills the question's gap from where the documents are worded alike, reads the caption of its image, or gives a
    phrase of the line that says most of what is asked. It never guesses: what no document says it does not answer.
    """

    name = "extractive"
    revision: str | None = f"version {VERSION}"
    remote = False

    def __init__(self) -> None:
        self._same = SameImages()

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """Answers questions.

        Args:
            questions: What to answer, each from its own documents.

        Returns:
            A reply to each, in order.
        """
        return [self._reply(question) for question in questions]

    def _reply(self, question: Question) -> Reply:
        if not question.documents:
            return Reply(None, _NO_DOCUMENTS)
        documents = DocumentWords.of(question.documents)
        parts = list(texts_and_images(question.query))
        asked = Asked.of(" ".join(part for part in parts if isinstance(part, str)))
        images = self._found([part for part in parts if isinstance(part, bytes)], documents)
        evidence = Evidence(asked, documents, images, question.options or ())
        if question.options:
            return _chosen(question.options, evidence)
        answer = short_answer(evidence)
        return Reply(answer, None if answer is not None else _NOTHING)

    def _found(self, images: Sequence[bytes], documents: DocumentWords) -> list[list[int]]:
        """Finds the question's images in the documents: the lines of each."""
        lines, files = [line for line, _ in documents.images], [file for _, file in documents.images]
        return [[lines[place] for place in self._same.places(image, files)] for image in images]


def _chosen(options: Sequence[str], evidence: Evidence) -> Reply:
    """Takes the option with the best mention; of equals the earlier mention, the longer one, the earlier option."""
    mentions = []
    for number, option in enumerate(options):
        words = words_of(option)
        for place in evidence.documents.find(words):
            mentions.append((evidence.support(place, place + len(words)), -place, len(words), -number))
    if not mentions:
        return Reply(None, _NO_OPTION)
    best = max(mentions)
    return Reply(options[-best[-1]]) if best[0] > 0 else Reply(None, _NOTHING)
