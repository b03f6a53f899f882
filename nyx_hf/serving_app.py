"""The application: OpenAI's embeddings, Jina's reranking, search, health, metrics, and a page."""

import base64
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from nyx_hf._version import __version__
from nyx_hf.serving_engine import Engine, bare_model, make_engine
from nyx_hf.serving_errors import ApiError, add_error_handlers
from nyx_hf.serving_gate import PAGE, App, Gate
from nyx_hf.serving_schema import (
    Content,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ErrorAnswer,
    Request,
    RerankAnswer,
    RerankRequest,
    SearchAnswer,
    SearchRequest,
)
from nyx_hf.serving_service import Asked, Prompt, Service
from nyx_hf.serving_settings import ServingSettings

_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": what}
    for status, what in {
        400: "The body is wrong; the message says where.",
        401: "The token is missing or wrong.",
        404: "There is no such model, or no index.",
        413: "The body is too large.",
        429: "The server is busy; try again.",
        500: "The server failed.",
        503: "The server is stopping.",
        504: "The answer took too long.",
    }.items()
}


def make_app(
    settings: ServingSettings, model: Any, index: Any = None, reranker: Any = None, *, page: bool = False
) -> Gate:
    """Makes the server's application.

    Args:
        settings: Limits, batches, who may ask.
        model: A `NyxModel`, or what `nyx_hf.retrievers.load_encoder` gives.
        index: A `SearchIndex`, for `/search` and the page.
        reranker: A `NyxReranker`, for `/v1/rerank`; vectors' cosine orders documents where there is none.
        page: Whether to show a page at `/page` (needs gradio and an index).

    Returns:
        An ASGI application; its threads run as long as its lifespan.

    Raises:
        ValueError: The model is none, the index has another, or a page is wanted and there is no index.
    """
    if page and index is None:
        raise ValueError("a page shows what an index finds: name one with --index, or leave --page out")
    if index is not None and bare_model(index.encoder) is not bare_model(model):
        raise ValueError("the index has a model of its own: open it with `SearchIndex.open(…, model=model)`")
    service = Service(settings, make_engine(model), index, reranker)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # FastAPI's own pages of documentation load scripts from elsewhere
    app = FastAPI(title="nyx-hf serve", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    gate = Gate(cast(App, app), settings, service.metrics)
    add_error_handlers(app)
    _add_embeddings(app, service)
    _add_ranking(app, service)
    _add_state(app, service, gate, page)
    if page:
        from nyx_hf.serving_page import mount

        mount(app, service)
    return gate


def _add_embeddings(app: FastAPI, service: Service) -> None:
    name = service.settings.name

    @app.post("/v1/embeddings", responses={200: {"model": EmbeddingsAnswer}, **_FAILURES})
    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Vectors of texts, or of contents of text, images and video."""
        _check_model(body, name)
        prompt = Prompt(body.input_type, body.prompt_name, body.instruction)
        given = body.input if body.messages is None else body.messages
        if given is None or (body.input is not None and body.messages is not None):
            raise ApiError(400, "expected either `input` or `messages`: send one of them", param="input")
        contents = given if isinstance(given, list) else [given]
        if not contents:
            raise ApiError(400, "found no content, expected at least one", param="messages")
        param = "input" if body.messages is None else "messages"
        vectors, tokens = await service.embed([Asked(one, prompt) for one in contents], body.dimensions, param)
        data = [
            {"object": "embedding", "index": number, "embedding": vector}
            for number, vector in enumerate(_written(vectors, body.encoding_format))
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": name, "usage": usage})

    @app.get("/v1/models", responses=_FAILURES)
    async def models() -> dict[str, Any]:
        """The model that is served, with what may be asked of it."""
        return {"object": "list", "data": [_model_card(name, service.engine)]}


def _add_ranking(app: FastAPI, service: Service) -> None:
    name = service.settings.name

    @app.post("/v1/rerank", responses={200: {"model": RerankAnswer}, **_FAILURES})
    async def rerank(body: RerankRequest) -> Response:
        """Documents in the order of their relevance to a query."""
        _check_model(body, name)
        ranked, tokens = await service.rerank(body.query, body.documents, body.instruction, body.top_n)
        results = [
            {"index": at, "relevance_score": score}
            | ({"document": _echoed(body.documents[at])} if body.return_documents else {})
            for at, score in ranked
        ]
        method = "embeddings" if service.reranker is None else "reranker"
        answer = {"id": f"rerank-{uuid.uuid4().hex}", "model": name, "method": method, "results": results}
        return JSONResponse(answer | {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    @app.post("/search", responses={200: {"model": SearchAnswer}, **_FAILURES})
    async def search(body: SearchRequest) -> Response:
        """Documents of the index."""
        _check_model(body, name)
        found = await service.search(body.query, body.k, body.where, body.instruction, pictures=body.thumbnails)
        results = [
            {"id": one.id, "score": one.score, "text": one.text, "metadata": one.metadata, "thumbnails": one.pictures}
            for one in found
        ]
        return JSONResponse({"model": name, "results": results})


def _add_state(app: FastAPI, service: Service, gate: Gate, page: bool) -> None:
    @app.get("/health", responses={503: {"description": "The server is stopping."}})
    async def health() -> Response:
        """Whether the server takes requests."""
        status = "stopping" if gate.closed else "ready"
        return JSONResponse({"status": status, "model": service.settings.name}, 503 if gate.closed else 200)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return PlainTextResponse(service.metrics.as_text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse(f"{PAGE}/" if page else "/health")


def _check_model(body: Request, name: str) -> None:
    if body.model is not None and body.model != name:
        raise ApiError(
            404,
            f"found the model {body.model[:80]!r}, and this server has {name!r}",
            param="model",
            code="model_not_found",
        )


def _written(vectors: np.ndarray, form: str) -> list[Any]:
    """Vectors as JSON holds them: numbers, or base64 of little-endian float32."""
    if form == "float":
        numbers: list[Any] = vectors.tolist()
        return numbers
    return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]


def _echoed(document: Content) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document.model_dump()


def _model_card(name: str, engine: Engine) -> dict[str, Any]:
    card = {"id": name, "object": "model", "created": _STARTED, "owned_by": "nyx-hf"}
    return card | {"dimensions": list(engine.dims), "prompts": sorted(engine.prompts)}


_STARTED = int(time.time())
