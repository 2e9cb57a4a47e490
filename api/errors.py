"""Errors to status codes and bodies, in A1111's shape."""

import logging

from fastapi import FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from schema.errors import WebuiError

log = logging.getLogger(__name__)


def _body(error: str, detail: str, errors: str = "") -> dict[str, str]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def add_error_handlers(app: FastAPI) -> None:
    """Registers the handlers that turn every error of a route into JSON.

    Source: A1111 modules/api/api.py, api_middleware (the body's four keys).
    """

    @app.exception_handler(WebuiError)
    def on_webui_error(request: Request, error: WebuiError) -> JSONResponse:
        return JSONResponse(_body(type(error).__name__, str(error), str(error)), status_code=error.status)

    @app.exception_handler(ValidationError)
    def on_invalid_value(request: Request, error: ValidationError) -> JSONResponse:
        detail = [
            {"loc": ["body", *item["loc"]], "msg": item["msg"], "type": item["type"]}
            for item in error.errors(include_context=False, include_input=False, include_url=False)
        ]
        return JSONResponse(jsonable_encoder({"detail": detail}), status_code=422)

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(_body("HTTPException", str(error.detail)), status_code=error.status_code)

    @app.exception_handler(Exception)
    def on_defect(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(_body(type(error).__name__, "", str(error)), status_code=500)

    _ = on_webui_error, on_invalid_value, on_http_error, on_defect
