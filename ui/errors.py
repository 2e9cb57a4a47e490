"""Turns errors into toasts of one sentence: the only broad `except` of the page."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
from pydantic import BaseModel, ValidationError

from schema.errors import WebuiError
from schema.fields import fields_of

log = logging.getLogger(__name__)

TITLE = "That did not work"
UNEXPECTED = "Something unexpected went wrong ({kind}: {message}). The log on the server has the details."


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """`handler` with its errors shown as toasts; plain functions and async generators keep their kind."""
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def guarded_stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            try:
                async for answer in handler(*args, **kwargs):
                    yield answer
            except Exception as error:
                raise toast(error) from error

        return guarded_stream

    @functools.wraps(handler)
    def guarded_call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise toast(error) from error

    return guarded_call


def toast(error: Exception) -> gr.Error:
    """The toast for `error`: its own sentence where it was written for the user."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, ValidationError):
        return gr.Error(sentence(error), title=TITLE, print_exception=False)
    if isinstance(error, WebuiError):
        return gr.Error(str(error), title=TITLE, print_exception=False)
    log.exception("A page event failed", exc_info=error)
    message = UNEXPECTED.format(kind=type(error).__name__, message=error)
    return gr.Error(message, title=TITLE, print_exception=False)


def sentence(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """One sentence for the first value that broke a bound, naming the field by its label where `model` tells it."""
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else ""
    label = next((field.control.label for field in fields_of(model) if field.name == name), name) if model else name
    value, context = first.get("input"), first.get("ctx", {})
    match first["type"]:
        case "less_than_equal":
            return f"{label} must be at most {context['le']:g}, not {value}."
        case "greater_than_equal":
            return f"{label} must be at least {context['ge']:g}, not {value}."
        case "finite_number":
            return f"{label} must be a number, not {value}."
        case _:
            return f"{label}: {first['msg'].removeprefix('Value error, ')} (got {value!r})."
