"""Settings that one request uses differently: chips like `Clip skip: 2`, shown while there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from schema.settings import OPTION_INFOTEXT
from ui.components import open_dropdown

LABEL = "Override settings"
INFO = "Used for this picture instead of the settings in force. Remove one to use the setting."


def build_overrides(tab: str) -> gr.Dropdown:
    """The chips of a tab, hidden until something is pasted that differs from the settings."""
    return open_dropdown(
        choices=[],
        value=[],
        multiselect=True,
        label=LABEL,
        info=INFO,
        visible=False,
        elem_id=f"{tab}_override_settings",
    )


def override_chips(overrides: Sequence[tuple[str, str, Any]]) -> list[str]:
    """Overrides as the chips that the page shows: `Clip skip: 2`."""
    return [f"{name}: {value}" for name, _key, value in overrides]


def override_settings(chips: Sequence[str] | None) -> dict[str, Any]:
    """The request's `override_settings` for chips, by the option's own key."""
    pairs = (chip.partition(": ") for chip in chips or ())
    return {OPTION_INFOTEXT.get(name, name): value for name, _, value in pairs}
