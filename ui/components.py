"""Gradio components whose bounds and choices are guides for the eye; the request model is what decides.

Behaviour is set on the instance: Gradio writes a stub file beside every module that derives from a component.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


def open_slider(minimum: float, maximum: float, **options: Any) -> gr.Slider:
    """A slider that hands over what was typed: the model's own bounds answer, with the field's name in the sentence."""
    slider = gr.Slider(minimum, maximum, **options)
    is_whole = slider.precision == 0

    def as_typed(payload: float | None) -> Any:
        if payload is None:
            return None
        return round(payload) if is_whole and float(payload).is_integer() else payload

    slider.preprocess = as_typed
    return slider


def open_dropdown(**options: Any) -> gr.Dropdown:
    """A dropdown whose list may have grown since the page was made; names are checked where they are used."""
    dropdown = gr.Dropdown(**options)
    dropdown.preprocess = _unchanged
    dropdown.postprocess = _unchanged  # type: ignore[assignment]
    return dropdown


def picture_input(label: str, elem_id: str) -> gr.Image:
    """A field to drop, choose or paste one picture.

    Its value is the path of the uploaded file, or a data URL: the file is not read before our own bounds apply.
    """
    image = gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "clipboard"],
        buttons=["fullscreen"],
        elem_id=elem_id,
        elem_classes="source-picture",
    )
    image.preprocess = _uploaded_file
    return image


def _unchanged(payload: Any) -> Any:
    return payload


def _uploaded_file(payload: ImageData | None) -> Any:
    if payload is None:
        return None
    return payload.url if payload.url and payload.url.startswith("data:") else payload.path
