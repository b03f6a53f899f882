"""What stands before the application: who may come in, how much may be in the house, how long it may take."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from nyx_hf.serving_errors import ApiError
from nyx_hf.serving_metrics import Metrics
from nyx_hf.serving_settings import ServingSettings

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/health")
PAGE = "/page"
# nothing is loaded from elsewhere, whatever the page's framework writes into it
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:; "
    "frame-ancestors 'self'"
)
PATHS = ("/", "/health", "/metrics", "/openapi.json", "/search", "/v1/embeddings", "/v1/models", "/v1/rerank")


class Gate:
    """An ASGI middleware.

    Args:
        app: The application.
        settings: The limits.
        metrics: Where requests are counted.

    Attributes:
        closed: Whether the server is stopping: new requests get 503.
    """

    def __init__(self, app: App, settings: ServingSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._held = 0
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._metrics.in_flight > 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or sends it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(f"{PAGE}/") or scope["path"] == PAGE:
            await self._app(scope, receive, _with_policy(send))  # the page has its own login and limits
        elif scope["path"] in OPEN:
            await self._app(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["path"] in PATHS else "other"
        start, statuses = time.perf_counter(), [0]

        async def counted(event: Event) -> None:
            if event["type"] == "http.response.start":
                statuses[0] = event["status"]
            await send(event)

        self._metrics.in_flight += 1
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._admitted(scope, receive, counted)
        except TimeoutError:
            if not statuses[0]:
                late = ApiError(504, f"the answer took over {self._settings.timeout:g} s: send less, or try again")
                await late.response()(scope, receive, counted)
        except ApiError as error:
            self._metrics.rejected[(("reason", error.code or ""),)] += 1
            await error.response()(scope, receive, counted)
        finally:
            self._metrics.in_flight -= 1
            self._metrics.requests[(("path", path), ("status", str(statuses[0])))] += 1
            self._metrics.seconds.add(time.perf_counter() - start)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.closed:
            again = {"Retry-After": "5", "Connection": "close"}
            raise ApiError(503, "the server is stopping: ask another", code="stopping", headers=again)
        self._check_token(headers.get(b"authorization", b""))
        if self._metrics.in_flight > self._settings.max_requests:
            raise _busy(f"{self._settings.max_requests} requests are being answered")
        held = 0
        try:
            body = bytearray()
            length = headers.get(b"content-length", b"0")
            self._check_size(int(length[:20]) if length.isdigit() else 0)
            while True:
                event = await receive()
                if event["type"] != "http.request":
                    return  # the client has gone
                piece = event.get("body", b"")
                body += piece
                held += len(piece)
                self._held += len(piece)
                self._check_size(held)
                if self._held > self._settings.max_held:
                    raise _busy("the bodies of requests fill the memory that is set aside")
                if not event.get("more_body", False):
                    break
            await self._app(scope, _replayed(bytes(body), receive), send)
        finally:
            self._held -= held

    def _check_token(self, given: bytes) -> None:
        wanted = self._settings.token
        if wanted is not None and not hmac.compare_digest(given, b"Bearer " + wanted.encode()):
            raise ApiError(
                401,
                "the token is missing or wrong: send `Authorization: Bearer …`",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_body:
            raise ApiError(
                413,
                f"found a body of over {self._settings.max_body:,} bytes: send fewer contents, or smaller images",
                code="body_too_large",
            )


def _busy(why: str) -> ApiError:
    return ApiError(429, f"{why}: try again", code="busy", headers={"Retry-After": "1"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    events: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Event:
        return events.pop() if events else await receive()

    return replay


def _with_policy(send: Send) -> Send:
    async def with_policy(event: Event) -> None:
        if event["type"] == "http.response.start":
            event["headers"] = [*event["headers"], (b"content-security-policy", _POLICY.encode())]
        await send(event)

    return with_policy
