"""Gradio components whose bounds and choices are guides for the eye; the request model is what decides."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gradio.events import Dependency

class OpenSlider(gr.Slider):
    """A slider that hands over what was typed: the model's own bounds answer, with the field's name in the sentence."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | None:  # type: ignore[override]
        """The number as typed, whole where the slider counts in whole steps."""
        if payload is None:
            return None
        return round(payload) if self.precision == 0 and float(payload).is_integer() else payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class OpenDropdown(gr.Dropdown):
    """A dropdown whose list may have grown since the page was made; names are checked where they are used."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The chosen name, or names."""
        return payload

    def postprocess(self, value: Any) -> Any:
        """The name, or names, as they are: one that is not in the list is shown empty until it is."""
        return value
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
class PictureInput(gr.Image):
    """A picture field that hands over the uploaded file unread, so that our own bounds apply when it is decoded."""

    is_template = True

    def preprocess(self, payload: ImageData | None) -> str | None:  # type: ignore[override]
        """Path of the uploaded file, or a data URL, or None."""
        if payload is None:
            return None
        return payload.url if payload.url and payload.url.startswith("data:") else payload.path
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

    