"""What a server does, without HTTP: contents to vectors, documents in order, search."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nyx_hf.data_builders.embedding_cache import Side
from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.search_queries import read_query
from nyx_hf.serving_batching import Batcher
from nyx_hf.serving_content import Body, addresses, fetch, to_item
from nyx_hf.serving_engine import Engine, Planned
from nyx_hf.serving_errors import ApiError
from nyx_hf.serving_metrics import Metrics
from nyx_hf.serving_results import Shown, shown
from nyx_hf.serving_settings import ServingSettings

_TOGETHER = 32  # documents that a reranker scores before others have their turn


@dataclass(frozen=True)
class Prompt:
    """How contents are meant.

    Attributes:
        side: Whether they are queries or documents, where that is said.
        name: Name of one of the model's prompts.
        text: An instruction in full; it wins.
        sought: Whether an index is searched for it, which reads queries its own way: an instruction in the content
            wins over all, and nothing may not be sought.
    """

    side: Side | None = None
    name: str | None = None
    text: str | None = None
    sought: bool = False


@dataclass(frozen=True)
class Asked:
    """A content of a request, and how it is meant."""

    body: Body
    prompt: Prompt = Prompt()


class Service:
    """Answers what the routes ask, while `running` lasts.

    Args:
        settings: The limits.
        engine: The retriever.
        index: What is searched (`SearchIndex`), or None.
        reranker: What orders documents (`NyxReranker`), or None: then vectors do.
    """

    def __init__(self, settings: ServingSettings, engine: Engine, index: Any = None, reranker: Any = None) -> None:
        self.settings, self.engine, self.index, self.reranker = settings, engine, index, reranker
        self.metrics = Metrics()
        self._batcher = Batcher(engine, settings, self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Holds the threads."""
        self._planner, self._searcher = ThreadPoolExecutor(1, "plan"), ThreadPoolExecutor(1, "search")
        try:
            async with self._batcher.running():
                yield
        finally:
            self._planner.shutdown()
            self._searcher.shutdown()

    async def embed(self, asked: Sequence[Asked], dimensions: int | None, param: str) -> tuple[np.ndarray, int]:
        """Encodes contents.

        Args:
            asked: The contents.
            dimensions: Width of the vectors; None means the model's default.
            param: Which key of the body holds them, for messages.

        Returns:
            Vectors of length 1, (N, dimensions) float32, and the tokens that were read.

        Raises:
            ApiError: A content cannot be encoded, the width is none of the model's, or there is no room.
        """
        width = self._width(dimensions)
        with self._room(len(asked)):
            _, plans = await self._planned(asked, param)
            return await self._encoded(plans, width, param), sum(map(len, plans))

    async def _encoded(self, plans: Sequence[Planned], width: int, param: str) -> np.ndarray:
        """Encodes in batches with others' contents: (N, width), of length 1."""
        vectors: list[np.ndarray] = []
        for number, found in enumerate(await self._batcher.encode(plans)):
            if isinstance(found, ContentError):
                raise _bad(found, number, param)
            if isinstance(found, BaseException):
                raise found
            vectors.append(found)
        cut = np.stack(vectors)[:, :width]  # (N, width)
        lengths: np.ndarray = np.linalg.norm(cut, axis=1, keepdims=True)
        unit: np.ndarray = cut / np.maximum(lengths, 1e-12)
        return unit

    async def rerank(
        self, query: Body, documents: Sequence[Body], instruction: str | None, top_n: int | None
    ) -> tuple[list[tuple[int, float]], int]:
        """Orders documents by a query.

        Args:
            query: The query.
            documents: The documents.
            instruction: The query's instruction; the prompt named `query` where it is None.
            top_n: How many to give.

        Returns:
            Place and score of each document, the best first, and the tokens that were read.

        Raises:
            ApiError: A content cannot be read, or there is no room.
        """
        prompt = Prompt("query", text=instruction)
        asked = [Asked(query, prompt), *(Asked(document, Prompt("document")) for document in documents)]
        if self.reranker is None:
            vectors, tokens = await self.embed(asked, None, "documents")
            scores = vectors[1:] @ vectors[0]  # (N,)
        else:
            with self._room(len(asked)):
                items, plans = await self._planned(asked, "documents")
                scores, tokens = np.empty(len(documents)), sum(map(len, plans))
                for start in range(0, len(documents), _TOGETHER):
                    some = items[1:][start : start + _TOGETHER]
                    try:
                        found = await self._batcher.compute(self.reranker.scores, items[0], some, instruction)
                    except ContentError as error:
                        raise ApiError(400, error.message, param="documents", code="bad_content") from error
                    scores[start : start + len(some)] = found
        best = np.argsort(-scores, kind="stable")[:top_n]
        return [(int(at), float(scores[at])) for at in best], tokens

    async def search(
        self,
        query: Body,
        k: int,
        where: Mapping[str, Any] | None = None,
        instruction: str | None = None,
        *,
        pictures: bool,
    ) -> list[Shown]:
        """Searches the index.

        Args:
            query: The query.
            k: How many documents to give.
            where: Which documents count: a value or a list of them for each column.
            instruction: Put before the query; what the index was made with if left out.
            pictures: Whether to make thumbnails.

        Returns:
            The documents, the best first.

        Raises:
            ApiError: There is no index, the query cannot be read, or `where` is wrong.
        """
        if self.index is None:
            raise ApiError(404, "this server has no index: start it with --index", code="no_index")
        properties = self.index.store.properties
        listed = where and {name: one if isinstance(one, list) else [one] for name, one in where.items()}
        told = properties.instruction if instruction is None else instruction
        with self._room(1):
            try:
                _, plans = await self._planned([Asked(query, Prompt("query", text=told, sought=True))], "query")
                [vector] = await self._encoded(plans, properties.dims, "query")
                search = partial(self._searched, vector, k, listed, pictures)
                return await asyncio.get_running_loop().run_in_executor(self._searcher, search)
            except ValueError as error:
                raise ApiError(400, " ".join(str(error).split()), code="bad_search") from error

    def _searched(self, vector: np.ndarray, k: int, where: Any, pictures: bool) -> list[Shown]:
        [found] = self.index.nearest(vector[None], k, where)
        return [shown(result, pictures) for result in found]

    def _room(self, contents: int) -> AbstractContextManager[None]:
        if contents > self.settings.max_items + 1:  # a query goes with as many documents
            raise ApiError(
                400,
                f"found {contents} contents, expected at most {self.settings.max_items}: send several requests",
                code="too_many_items",
            )
        return self._batcher.room(contents)

    async def _planned(self, asked: Sequence[Asked], param: str) -> tuple[list[Any], list[Planned]]:
        """Contents as models take them, and planned; the work is done on the planner's thread."""
        fetched = {}
        if self.settings.allow_urls and (urls := addresses([one.body for one in asked])):
            fetched = await asyncio.to_thread(fetch, urls, self.settings)
        loop = asyncio.get_running_loop()
        items, plans = [], []
        for number, one in enumerate(asked):  # one by one, so that requests take turns
            instruction = self._instruction(one.prompt)
            try:
                item, plan = await loop.run_in_executor(self._planner, self._plan, one, instruction, number, fetched)
            except ContentError as error:
                raise _bad(error, number, param) from error
            if len(plan) > self.settings.max_tokens:
                raise ApiError(
                    400,
                    f"item {number}: found {len(plan)} tokens, expected at most {self.settings.max_tokens}: send less",
                    param=f"{param}.{number}",
                    code="context_length_exceeded",
                )
            items.append(item)
            plans.append(plan)
        return items, plans

    def _plan(self, one: Asked, instruction: str | None, number: int, fetched: Any) -> tuple[Any, Planned]:
        item = to_item(one.body, number, self.settings, fetched)
        if one.prompt.sought:
            query = read_query(item, number)
            item, instruction = {"content": query.content}, query.instruction or instruction
        return item, self.engine.plan(item, one.prompt.side, instruction, number)

    def _instruction(self, prompt: Prompt) -> str | None:
        if prompt.text is not None:
            return prompt.text
        prompts = self.engine.prompts
        if prompt.name is not None and prompt.name not in prompts:
            raise ApiError(
                400,
                f"found the prompt name {prompt.name[:80]!r}, and this model has "
                f"{', '.join(sorted(prompts)) or 'none'}: name one, or send `instruction`",
                param="prompt_name",
                code="unknown_prompt",
            )
        return prompts.get(prompt.name or prompt.side or "")

    def _width(self, dimensions: int | None) -> int:
        if dimensions is None:
            return self.engine.default_dim
        if dimensions not in self.engine.dims:
            raise ApiError(
                400,
                f"found dimensions {dimensions}, expected one of {', '.join(map(str, self.engine.dims))}",
                param="dimensions",
                code="unknown_dimensions",
            )
        return dimensions


def _bad(error: ContentError, number: int, param: str) -> ApiError:
    placed = ContentError(error.message, index=number, part=error.part)
    return ApiError(400, " ".join(str(placed).split()), param=f"{param}.{number}", code="bad_content")
