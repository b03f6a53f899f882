"""What makes questions, answers and distractors: the protocols, and nothing of any one model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from datasets import Features, List, Value

from nyx_hf.data_builders.schema import Row

PAIR = Features(
    {
        "id": Value("string"),
        "chunk_id": Value("string"),
        "page_id": Value("string"),
        "question": Value("string"),
        "answer": Value("string"),
        "kind": Value("string"),
        "distractors": List(Value("string")),
        "dropped": Value("string"),
    }
)
"""A question and its answer. `<image k>` in the question stands for the k-th image of its chunk, from 1."""


@dataclass(frozen=True)
class Request:
    """One thing asked of a model.

    Attributes:
        system: What the model is told to be and do.
        content: The user's message: parts as the schema has them, text and images (`{"bytes", "path"}`) in order.
        schema: JSON schema of the answer.
        max_tokens: Length at which the answer is cut.
        temperature: 0 takes the likeliest token always.
        seed: Seed of what is drawn.
    """

    system: str
    content: Sequence[Row]
    schema: dict[str, Any]
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What came back for a request.

    Attributes:
        text: What the model wrote; None where none came.
        failure: Why there is no text, in words that do not differ from request to request: `timed out`, `refused`.
        prompt_tokens: Tokens read, where the server says so.
        completion_tokens: Tokens written, likewise.
    """

    text: str | None
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class VLM(Protocol):
    """A vision-language model that answers requests."""

    @property
    def name(self) -> str:
        """The model's name and where it runs, for the card."""
        ...

    @property
    def revision(self) -> str | None:
        """Its commit, where it has one."""
        ...

    @property
    def remote(self) -> bool:
        """Whether pages leave this machine."""
        ...

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answers requests: the number of each and its answer, as they come; one that fails gets a failure.

        Raises:
            GeneratorError: If going on is of no use.
        """
        ...


class GeneratorError(RuntimeError):
    """A model that cannot be asked, or no longer; the message says what to do."""


@dataclass
class Usage:
    """What was asked of a model and what came back.

    Attributes:
        requests: Requests that were answered or failed.
        cached: Requests answered from the cache.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        failures: Requests that came to nothing, by reason.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        """Counts one answer."""
        self.requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        if answer.failure is not None:
            self.failures[answer.failure] += 1


class PairGenerator(Protocol):
    """Makes question–answer pairs from chunks. Each method gives one list for each row that went in."""

    @property
    def name(self) -> str:
        """What the card says made the rows."""
        ...

    @property
    def revision(self) -> str | None:
        """Its commit, where it has one."""
        ...

    @property
    def remote(self) -> bool:
        """Whether pages leave this machine."""
        ...

    def settings(self) -> dict[str, Any]:
        """Gives what its output depends on besides the rows: part of every cache key."""
        ...

    def pairs(self, chunks: Sequence[Row]) -> list[list[Row]]:
        """Makes raw pairs: rows of `PAIR`, those that came to nothing with `dropped` set; at most five a chunk."""
        ...

    def refine(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Makes pairs short and self-contained, or drops them; `chunks[i]` is the chunk of `pairs[i]`."""
        ...

    def distract(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Adds three distractors of the answer's kind to each pair, or drops it."""
        ...
