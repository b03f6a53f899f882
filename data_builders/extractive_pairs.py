"""The offline generator: question–answer pairs out of a corpus's own words, with no model and no network."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nyx_hf.data_builders.extractive_questions import GAP, MAKERS, Draft
from nyx_hf.data_builders.generators import PAIR
from nyx_hf.data_builders.options import DISTRACTORS, normal_answer
from nyx_hf.data_builders.pages import content_hash, dropped_row, text_of
from nyx_hf.data_builders.schema import Row

_PAIRS_A_CHUNK, _OF_ONE_KIND = 5, 2
_MOST_COMMON = 3  # an answer that more chunks give says too little: "Original image"
_LARGEST_VOCABULARY = 5000


@dataclass(frozen=True)
class ExtractivePairs:
    """Makes questions from headings, captions, definitions and sentences; its distractors are the corpus's own words.

    Attributes:
        vocabulary: Answers of all chunks by kind, each once, with the number of chunks that give it.
        seed: Decides which distractors are drawn.
    """

    vocabulary: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    seed: int = 0
    name: str = "extractive: questions from captions, definitions and sentences, no model"
    revision: str | None = None
    remote: bool = False

    @classmethod
    def fitted(cls, chunks: Iterable[Row], seed: int = 0) -> "ExtractivePairs":
        """Reads the vocabulary off a corpus.

        Args:
            chunks: Rows of `CHUNK`.
            seed: Decides which distractors are drawn.

        Returns:
            A generator for these chunks.
        """
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for chunk in chunks:
            for kind, answer in {(draft.kind, draft.answer) for draft in _drafts(chunk)}:
                counts[kind][answer] += 1
        vocabulary = {kind: dict(sorted(found.most_common(_LARGEST_VOCABULARY))) for kind, found in counts.items()}
        return cls(dict(sorted(vocabulary.items())), seed)

    def settings(self) -> dict[str, Any]:
        """Gives a hash of the vocabulary, and the seed."""
        return {"vocabulary": content_hash(self.vocabulary), "seed": self.seed}

    def pairs(self, chunks: Sequence[Row]) -> list[list[Row]]:
        """Makes up to five pairs a chunk, of several kinds."""
        return [self._of(chunk) for chunk in chunks]

    def refine(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Passes pairs on: they are made short and self-contained."""
        return [[pair] for pair in pairs]

    def distract(self, pairs: Sequence[Row], chunks: Sequence[Row]) -> list[list[Row]]:
        """Draws three answers of the same kind that the chunk does not hold, those most alike in form first."""
        return [[self._distracted(pair, chunk)] for pair, chunk in zip(pairs, chunks, strict=True)]

    def _of(self, chunk: Row) -> list[Row]:
        rows: list[Row] = []
        kinds: Counter[str] = Counter()
        for draft in _drafts(chunk):
            common = self.vocabulary.get(draft.kind, {}).get(draft.answer, 1)
            # a topic or a key may well occur often; a caption that does says nothing
            if draft.kind in ("caption", "term") and common > _MOST_COMMON:
                continue
            if kinds[draft.kind] < _OF_ONE_KIND and len(rows) < _PAIRS_A_CHUNK:
                kinds[draft.kind] += 1
                row = {"id": f"{chunk['id']}?{len(rows)}", "chunk_id": chunk["id"], "page_id": chunk["page_id"]}
                rows.append({**dict.fromkeys(PAIR), **row, **vars(draft)})
        return rows or [dropped_row(chunk["id"], "chunk: nothing to ask about", PAIR)]

    def _distracted(self, pair: Row, chunk: Row) -> Row:
        rng = random.Random(f"{self.seed}/{pair['id']}")
        gold = normal_answer(f"{text_of(chunk['content'])} {pair['question']}")
        drawn: list[str] = []
        for candidate in self._candidates(pair["kind"], pair["answer"], rng):
            others = [normal_answer(one) for one in (pair["answer"], *drawn)]
            word = normal_answer(candidate)
            if not _within(word, gold) and not any(_within(word, one) or _within(one, word) for one in others):
                drawn.append(candidate)
            if len(drawn) == DISTRACTORS:
                return {**pair, "distractors": drawn}
        return {**pair, "dropped": "options: the corpus has not three of the answer's kind"}

    def _candidates(self, kind: str, answer: str, rng: random.Random) -> list[str]:
        """Orders the kind's answers: first those of the same form, each group shuffled."""
        words = list(self._by_kind.get(kind, ()))
        rng.shuffle(words)
        form = _form(answer)
        return sorted(words, key=lambda word: sum(one != two for one, two in zip(form, _form(word), strict=True)))

    @cached_property
    def _by_kind(self) -> dict[str, list[str]]:
        return {
            kind: [word for word, times in words.items() if kind != "caption" or times <= _MOST_COMMON]
            for kind, words in self.vocabulary.items()
        }


def _drafts(chunk: Mapping[str, Any]) -> list[Draft]:
    """Gives all that can be asked of a chunk, the best first; each question and each answer once."""
    drafts: dict[str, Draft] = {}
    asked: set[str] = set()
    for make in MAKERS:
        for draft in make(chunk):
            if draft.question not in asked and normal_answer(draft.answer):
                asked.add(draft.question)
                drafts.setdefault(f"{normal_answer(draft.answer)} {GAP in draft.question}", draft)
    return list(drafts.values())


def _within(short: str, long: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(short)}(?!\w)", long) is not None


def _form(answer: str) -> tuple[object, ...]:
    """Tells an answer's form: its unit or last word, its length in words, its number, steps and case."""
    words = answer.split()
    return (
        re.sub(r"[\d.,]+", "", words[-1]).casefold() if re.search(r"\d", answer) or len(words) > 1 else "",
        min(len(words), 6),
        re.sub(r"[^\d.,]", "", re.sub(r"\d", "0", answer)),  # 2.10 is like 2.08, and 640 like 800
        answer.count("→"),
        answer[:1].isupper(),
    )
