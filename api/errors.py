"""Errors to status codes and bodies, in A1111's shape."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from schema.errors import WebuiError

log = logging.getLogger(__name__)

LONGEST_SHOWN = 60
"""Characters of a refused text that are repeated in the answer; longer ones are pictures or prompts."""


def _body(error: str, detail: str, errors: str = "") -> dict[str, str]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def _validation_answer(problems: Sequence[Mapping[str, Any]], *, within: tuple[str, ...] = ()) -> JSONResponse:
    """FastAPI's answer to a body that does not fit, without the input: it may be a picture, or no JSON value (NaN)."""
    detail = [
        {"loc": [*within, *problem["loc"]], "msg": _sentence(problem, within), "type": problem["type"]}
        for problem in problems
    ]
    return JSONResponse({"detail": detail}, status_code=422)


def _sentence(problem: Mapping[str, Any], within: tuple[str, ...]) -> str:
    """The problem with the field's name in front and a short value behind: "steps: Input should be ... (got 0)"."""
    field = ".".join(part for part in (*within, *problem["loc"])[1:] if isinstance(part, str))
    value = problem.get("input")
    is_short = isinstance(value, int | float) or (isinstance(value, str) and len(value) <= LONGEST_SHOWN)
    return f"{field}: " * bool(field) + problem["msg"] + (f" (got {value!r})" if is_short else "")


def add_error_handlers(app: FastAPI) -> None:
    """Registers the handlers that turn every error of a route into JSON.

    Source: A1111 modules/api/api.py, api_middleware (the body's four keys).
    """

    @app.exception_handler(WebuiError)
    def on_webui_error(request: Request, error: WebuiError) -> JSONResponse:
        return JSONResponse(_body(type(error).__name__, str(error), str(error)), status_code=error.status)

    @app.exception_handler(RequestValidationError)
    def on_invalid_body(request: Request, error: RequestValidationError) -> JSONResponse:
        return _validation_answer(error.errors())

    @app.exception_handler(ValidationError)
    def on_invalid_value(request: Request, error: ValidationError) -> JSONResponse:
        return _validation_answer(error.errors(include_context=False, include_url=False), within=("body",))

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(_body("HTTPException", str(error.detail)), status_code=error.status_code)

    @app.exception_handler(Exception)
    def on_defect(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(_body(type(error).__name__, "", str(error)), status_code=500)

    _ = on_webui_error, on_invalid_body, on_invalid_value, on_http_error, on_defect
