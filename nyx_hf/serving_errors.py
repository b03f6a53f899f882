"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

# steps of pydantic's paths that are no keys of the body: the forms that it tried
_FORM = re.compile(r"str|[A-Z]\w*|\w+\[.*|function-.*")
_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """A request that is not answered as it asked.

    Args:
        status: HTTP status.
        message: What was found, what was expected and what to do, in one line.
        param: Which key of the body is meant.
        code: A short name that programs can tell errors by.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer; what JSON cannot carry (lone surrogates) is replaced."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        body = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        clean = {key: value and value.encode("utf-8", "replace").decode() for key, value in body.items()}
        return JSONResponse({"error": clean}, self.status, self.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Lets every error of an application leave in this shape.

    Args:
        app: The application.
    """

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return validation_error(error.errors()).response()

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return ApiError(error.status_code, str(error.detail), headers=error.headers).response()

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return ApiError(500, f"the server failed ({type(error).__name__}): its log says where").response()

    app.add_exception_handler(ApiError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)


def validation_error(found: Sequence[Mapping[str, Any]]) -> ApiError:
    """Says what is wrong with a body. Where it may have several forms, the form that it comes closest to is meant.

    Args:
        found: What pydantic says.

    Returns:
        The error, 400.
    """
    nearest = max(found, key=lambda error: len(error["loc"]))  # the first of the longest
    steps = [str(step) for step in nearest["loc"] if step != "body" and not _FORM.fullmatch(str(step))]
    place = ".".join(step[:64] for step in steps)
    message = " ".join(nearest["msg"].split())
    return ApiError(400, f"{place}: {message}" if place else message, param=place or None, code="invalid_body")
