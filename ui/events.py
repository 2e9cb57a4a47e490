"""How every event of the page is bound: errors as toasts, never in the public API, no waiting behind each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import get_blocks_context

from ui.errors import guarded

Event = Mapping[Any, Any]
"""What a handler with a set of inputs gets: `{component: value}`."""

Answer = dict[Any, Any]
"""What a handler gives back: `{component: value or gr.update(...)}`."""


def on(trigger: Callable[..., Any], handler: Callable[..., Any] | None, **options: Any) -> Any:
    """Binds `handler` to an event (`button.click`) and returns Gradio's dependency, for `.then` and `.success`.

    UI events are private so that Gradio's own API is not a second, unguarded way in, and have no concurrency limit:
    the engine's queue is what puts jobs in order, and a page event must never wait for one.

    Gradio keeps a loading state for every component an event ever answered to and walks the whole tree of components
    for each of them at each message; with this many components a key press would cost seconds. So all events share
    one component for it.
    """
    defaults: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "show_progress_on": _quiet_component(),
        "concurrency_limit": None,
    }
    return trigger(guarded(handler) if handler else None, **defaults | options)


def _quiet_component() -> Component:
    """The first visible component of the page being built."""
    page = get_blocks_context()
    assert page is not None, "events are bound while the page is being built"
    return next(block for block in page.blocks.values() if isinstance(block, gr.HTML))
