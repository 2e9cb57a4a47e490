"""How every event of the page is bound: errors as toasts, never in the public API, no waiting behind each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ui.errors import guarded

Event = Mapping[Any, Any]
"""What a handler with a set of inputs gets: `{component: value}`."""

Answer = dict[Any, Any]
"""What a handler gives back: `{component: value or gr.update(...)}`."""


def on(trigger: Callable[..., Any], handler: Callable[..., Any] | None, **options: Any) -> Any:
    """Binds `handler` to an event (`button.click`) and returns Gradio's dependency, for `.then` and `.success`.

    UI events are private so that Gradio's own API is not a second, unguarded way in, and have no concurrency limit:
    the engine's queue is what puts jobs in order, and a page event must never wait for one.
    """
    defaults: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    return trigger(guarded(handler) if handler else None, **defaults | options)
