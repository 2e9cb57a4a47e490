"""Gradio components whose bounds and choices are guides for the eye; the request model is what decides."""

from __future__ import annotations

from typing import Any

import gradio as gr


class OpenSlider(gr.Slider):
    """A slider that hands over what was typed: the model's own bounds answer, with the field's name in the sentence."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | None:  # type: ignore[override]
        """The number as typed, whole where the slider counts in whole steps."""
        if payload is None:
            return None
        return round(payload) if self.precision == 0 and float(payload).is_integer() else payload


class OpenDropdown(gr.Dropdown):
    """A dropdown whose list may have grown since the page was made; names are checked where they are used."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The chosen name, or names."""
        return payload
