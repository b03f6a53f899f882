"""A vision-language model that answers from documents: how it is asked, and what is read of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from nyx_hf.data_builders.answering import Question, Reply, option_of
from nyx_hf.data_builders.answers import AnswerError, read_answer
from nyx_hf.data_builders.context_budget import ContextBudget
from nyx_hf.data_builders.generators import Answer, Request
from nyx_hf.data_builders.prompts import asked_again
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.vlm_cache import CachedVLM

_LETTERS = ascii_uppercase
_ROLE = "You answer questions. You answer with JSON alone."
_DOCUMENTS = "These documents may help; they may also be wrong ones, or say nothing of the question."
_OPEN = (
    "Answer in as few words as will do: a name, a number, a date or a short phrase, never a sentence. "
    'Reply with {"answer": "…"}.'
)
_CHOICE = 'Exactly one option is right. Reply with {"answer": "…"}, the letter of that option.'


@dataclass
class VLMAnswerer:
    """Answers with a model, each question once: what it said is kept by content.

    Attributes:
        vlm: The model with its cache.
        budget: How much of the documents it is shown.
        retries: Times that an answer which cannot be read is asked for again.
        seed: Seed of the answers.
    """

    vlm: CachedVLM
    budget: ContextBudget = field(default_factory=ContextBudget)
    retries: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        """The model and where it runs."""
        return self.vlm.vlm.name

    @property
    def revision(self) -> str | None:
        """The model's commit."""
        return self.vlm.vlm.revision

    @property
    def remote(self) -> bool:
        """Whether the model runs elsewhere."""
        return self.vlm.vlm.remote

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """Asks all questions, and those again whose answer cannot be read.

        Args:
            questions: What to ask.

        Returns:
            A reply to each, in order.

        Raises:
            GeneratorError: If the model cannot be asked; what it answered before is kept.
        """
        requests, cuts = [], []
        for question in questions:
            documents, cut = self.budget.fit(question.documents)
            requests.append(_request(question, documents, self.budget, self.seed))
            cuts.append(dict(cut))
        replies: list[Reply] = [Reply(None, "answer: none was asked for")] * len(questions)
        waiting = list(range(len(questions)))
        asked = list(requests)
        for attempt in range(1, 2 + self.retries):
            answers = self.vlm.answer([asked[number] for number in waiting])
            for number, answer in zip(waiting, answers, strict=True):
                replies[number] = _reply(answer, questions[number], requests[number].schema, cuts[number])
            waiting = [number for number in waiting if (replies[number].failure or "").startswith("answer:")]
            for number in waiting:
                asked[number] = asked_again(requests[number], str(replies[number].failure), attempt)
        return replies


def _request(question: Question, documents: Sequence[Sequence[Row]], budget: ContextBudget, seed: int) -> Request:
    content: list[Row] = [_text(_DOCUMENTS)] if documents else []
    for number, document in enumerate(documents, start=1):
        content += [_text(f"Document {number}:"), *document]
    content += [_text("Question:"), *budget.shown(question.query)]
    answer: dict[str, Any] = {"type": "string", "minLength": 1}
    if question.options:
        letters = _LETTERS[: len(question.options)]
        lines = [f"{letter}. {option}" for letter, option in zip(letters, question.options, strict=True)]
        content.append(_text("\n".join(["Options:", *lines])))
        answer = {"type": "string", "enum": list(letters)}
    content.append(_text(_CHOICE if question.options else _OPEN))
    schema = {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return Request(_ROLE, content, schema, max_tokens=128, seed=seed)


def _reply(answer: Answer, question: Question, schema: dict[str, Any], cut: dict[str, int]) -> Reply:
    """Reads an answer: the JSON that was asked for, or a bare line, which weak models give instead."""
    if answer.text is None or answer.failure is not None:
        return Reply(None, answer.failure or "request: no answer", cut)
    try:
        said = str(read_answer(answer.text, schema)["answer"])
    except AnswerError as error:
        said = answer.text.strip()
        if "{" in said or "\n" in said or not said:
            return Reply(None, str(error), cut)
        option = option_of(said, question.options or [])
    else:  # the schema knows no answer but the letters
        option = question.options[_LETTERS.index(said)] if question.options else None
    if not question.options:
        return Reply(said, cut=cut)
    return Reply(option, None if option is not None else "answer: none of the options", cut)


def _text(text: str) -> Row:
    return {"type": "text", "text": text}
