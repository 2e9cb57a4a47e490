"""Moves values between places of the page: paste, send to, PNG Info. Everything is `{field: value}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from schema.errors import InvalidRequest
from ui.events import Answer
from ui.overrides import override_chips
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

NOTHING_TO_PASTE = "There is nothing to paste: the prompt box is empty and no picture was made yet."
SENT_FIELDS = ("prompt", "negative_prompt", "styles", "steps", "sampler_name", "scheduler", "cfg_scale")
"""What goes along when a picture is sent to another tab, besides seed and size where the settings say so."""


def show_infotext(manager: PipelineManager, tab: GenerationTab[Any], infotext: str) -> Answer:
    """The event answer that fills every field of `tab` from `infotext`; a toast tells what was not used.

    Raises:
        InvalidRequest: If the text is empty.
    """
    if not infotext.strip():
        raise InvalidRequest(NOTHING_TO_PASTE)
    pasted = manager.paste(infotext, tab.form.model)
    if pasted.notes:
        gr.Info("\n".join(pasted.notes), title="", duration=8)
    shown = tab.show(pasted.values) | tab.show_overrides(override_chips(pasted.overrides))
    return shown | tab.scripts.show(infotext)


def sent_values(infotext_values: Mapping[str, Any], *, seed: bool) -> dict[str, Any]:
    """What goes along with a picture that is sent to another tab.

    Source: A1111 modules/infotext_utils.py, connect_paste_params_buttons.
    """
    names = (*SENT_FIELDS, "seed") if seed else SENT_FIELDS
    return {name: infotext_values[name] for name in names if name in infotext_values}
