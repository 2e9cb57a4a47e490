"""The Checkpoint Merger tab: says what can be done instead of merging here."""

from __future__ import annotations

from html import escape

import gradio as gr

WORDS = (
    "Merging checkpoints is not part of this program yet. Merged checkpoints from other programs work: put them into "
    "models/Stable-diffusion and refresh the checkpoint list. To mix styles without a file, use several LoRAs."
)


def build_merger() -> None:
    """Lays the tab out in the current context."""
    with gr.Column(elem_classes="sheet", elem_id="modelmerger_sheet"):
        gr.HTML(f'<p class="empty-note">{escape(WORDS)}</p>', elem_id="modelmerger_empty", padding=False)
