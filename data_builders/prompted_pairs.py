"""The generator that asks a model: raw pairs, refinement and distractors, malformed answers asked for again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nyx_hf.data_builders.answers import AnswerError, read_answer
from nyx_hf.data_builders.generators import PAIR, Request
from nyx_hf.data_builders.options import options_fault
from nyx_hf.data_builders.pages import dropped_row, images_of
from nyx_hf.data_builders.pair_rules import normal_tags
from nyx_hf.data_builders.prompts import (
    VERSION,
    asked_again,
    distract_request,
    pairs_request,
    refine_request,
)
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.vlm_cache import CachedVLM

_OFFICIAL_LONGEST_ANSWER = 5


@dataclass
class PromptedPairs:
    """Makes pairs with a vision-language model.

    Attributes:
        vlm: The model, its answers cached.
        seed: Seed of its answers.
        preset: `official` limits answers to five words and asks once more about chunks with several images.
        retries: Times that a malformed answer is asked for again.
    """

    vlm: CachedVLM
    seed: int = 0
    preset: Literal["paper", "official"] = "paper"
    retries: int = 2

    @property
    def name(self) -> str:
        """The model's name."""
        return self.vlm.vlm.name

    @property
    def revision(self) -> str | None:
        """The model's commit."""
        return self.vlm.vlm.revision

    @property
    def remote(self) -> bool:
        """Whether pages leave this machine."""
        return self.vlm.vlm.remote

    def settings(self) -> dict[str, Any]:
        """Gives the prompts' version and what else answers depend on."""
        return {"prompts": VERSION, "seed": self.seed, "preset": self.preset, "retries": self.retries}

    def pairs(self, chunks: Sequence[Row]) -> list[list[Row]]:
        """Asks for up to five pairs a chunk."""
        asked = [(number, pairs_request(chunk, self.seed)) for number, chunk in enumerate(chunks)]
        if self.preset == "official":
            asked += [
                (number, pairs_request(chunk, self.seed, several=True))
                for number, chunk in enumerate(chunks)
                if len(images_of(chunk["content"])) > 1
            ]
        rows: list[list[Row]] = [[] for _ in chunks]
        for (number, _), answer in zip(asked, self._ask([request for _, request in asked]), strict=True):
            chunk = chunks[number]
            if isinstance(answer, AnswerError):
                rows[number].append(dropped_row(chunk["id"], f"chunk, {answer}", PAIR))
            elif not answer["pairs"]:
                rows[number].append(dropped_row(chunk["id"], "chunk: nothing to ask about", PAIR))
            else:
                rows[number] += [
                    _pair(chunk, pair, len(rows[number]) + place) for place, pair in enumerate(answer["pairs"])
                ]
        return rows

    def refine(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Asks for each pair made shorter; those that the model would not keep are dropped."""
        longest = _OFFICIAL_LONGEST_ANSWER if self.preset == "official" else None
        requests = [refine_request(pair, chunk, self.seed, longest) for pair, chunk in zip(pairs, chunks, strict=True)]
        return [[_refined(pair, answer)] for pair, answer in zip(pairs, self._ask(requests), strict=True)]

    def distract(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Asks for three wrong answers to each question."""
        requests = [distract_request(pair, chunk, self.seed) for pair, chunk in zip(pairs, chunks, strict=True)]
        return [[_distracted(pair, answer)] for pair, answer in zip(pairs, self._ask(requests), strict=True)]

    def _ask(self, requests: Sequence[Request]) -> list[Any]:
        """Gives each request's JSON value, or the error of its last answer."""
        results: list[Any] = [None] * len(requests)
        open_requests = dict(enumerate(requests))
        for attempt in range(1, 2 + self.retries):
            answers = self.vlm.answer(list(open_requests.values()))
            again: dict[int, Request] = {}
            for (number, request), answer in zip(open_requests.items(), answers, strict=True):
                try:
                    if answer.text is None or answer.failure is not None:
                        raise AnswerError(answer.failure or "answer: none")
                    results[number] = read_answer(answer.text, request.schema)
                except AnswerError as error:
                    results[number] = error
                    again[number] = asked_again(requests[number], str(error), attempt)
            open_requests = again
            if not again:
                break
        return results


def _pair(chunk: Row, pair: Row, place: int) -> Row:
    ids = {"id": f"{chunk['id']}?{place}", "chunk_id": chunk["id"], "page_id": chunk["page_id"]}
    kind = "image" if "<image " in normal_tags(pair["question"]) else "text"
    said = {"question": normal_tags(pair["question"]).strip(), "answer": pair["answer"].strip(), "kind": kind}
    return {**dict.fromkeys(PAIR), **ids, **said}


def _refined(pair: Row, answer: Any) -> Row:
    if isinstance(answer, AnswerError):
        return {**pair, "dropped": f"refine, {answer}"}
    if not answer["keep"] or not answer["question"].strip() or not answer["answer"].strip():
        return {**pair, "dropped": "refine: not kept by the model"}
    return {**pair, "question": normal_tags(answer["question"]).strip(), "answer": answer["answer"].strip()}


def _distracted(pair: Row, answer: Any) -> Row:
    if isinstance(answer, AnswerError):
        return {**pair, "dropped": f"options, {answer}"}
    distractors = [one.strip() for one in answer["distractors"]]
    return {**pair, "distractors": distractors, "dropped": options_fault(pair["answer"], distractors)}
