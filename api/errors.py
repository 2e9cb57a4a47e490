"""Errors to status codes and bodies, in A1111's shape."""

import logging
from collections.abc import Sequence

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from schema.errors import WebuiError

log = logging.getLogger(__name__)


def _body(error: str, detail: str, errors: str = "") -> dict[str, str]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def _validation_answer(problems: Sequence[tuple[tuple[int | str, ...], str, str]]) -> JSONResponse:
    """FastAPI's answer to a body that does not fit, without the input: it may be a picture, or no JSON value (NaN)."""
    detail = [{"loc": list(where), "msg": message, "type": kind} for where, message, kind in problems]
    return JSONResponse({"detail": detail}, status_code=422)


def add_error_handlers(app: FastAPI) -> None:
    """Registers the handlers that turn every error of a route into JSON.

    Source: A1111 modules/api/api.py, api_middleware (the body's four keys).
    """

    @app.exception_handler(WebuiError)
    def on_webui_error(request: Request, error: WebuiError) -> JSONResponse:
        return JSONResponse(_body(type(error).__name__, str(error), str(error)), status_code=error.status)

    @app.exception_handler(RequestValidationError)
    def on_invalid_body(request: Request, error: RequestValidationError) -> JSONResponse:
        return _validation_answer([(tuple(item["loc"]), item["msg"], item["type"]) for item in error.errors()])

    @app.exception_handler(ValidationError)
    def on_invalid_value(request: Request, error: ValidationError) -> JSONResponse:
        found = error.errors(include_context=False, include_input=False, include_url=False)
        return _validation_answer([(("body", *item["loc"]), item["msg"], item["type"]) for item in found])

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(_body("HTTPException", str(error.detail)), status_code=error.status_code)

    @app.exception_handler(Exception)
    def on_defect(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(_body(type(error).__name__, "", str(error)), status_code=500)

    _ = on_webui_error, on_invalid_body, on_invalid_value, on_http_error, on_defect
