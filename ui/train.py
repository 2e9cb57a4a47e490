"""The Train tab: says what can be done instead of training here."""

from __future__ import annotations

from html import escape

import gradio as gr

WORDS = (
    "Training of embeddings and hypernetworks is not part of this program yet. "
    "Trained embeddings, LoRAs and models from other programs (kohya-ss, OneTrainer) work: put them into their folders "
    "and refresh the lists. To prepare pictures for training, open Extras, “For training”."
)


def build_train() -> None:
    """Lays the tab out in the current context."""
    with gr.Column(elem_classes="sheet", elem_id="train_sheet"):
        gr.HTML(f'<p class="empty-note">{escape(WORDS)}</p>', elem_id="train_empty", padding=False)
