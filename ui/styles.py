"""The style editor: named texts that join a prompt, made, changed and removed in one dialog for all tabs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from schema.errors import InvalidRequest
from schema.styles import PLACEHOLDER, Style
from ui.components import open_dropdown
from ui.events import Answer, on
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TITLE, NAME, NAME_HINT = "Styles", "Style", "Choose one, or type the name of a new one."
PROMPT, NEGATIVE = "Prompt", "Negative prompt"
PROMPT_HINT = PLACEHOLDER + " stands for what is in the prompt box; without it, the style is added after it."
SAVE, DELETE, COPY, USE, CLOSE = "Save", "Delete", "Take from the prompts", "Add to the tab", "Close"
SAVED, DELETED = "Style '{name}' was saved.", "Style '{name}' was deleted."
NO_NAME, UNKNOWN = "Give the style a name.", "There is no style '{name}'."


def build_style_editor(manager: PipelineManager, tabs: Sequence[GenerationTab[Any]]) -> None:
    """Lays the dialog out in the current context; assets/styles.js shows it. Every tab's list follows a change.

    Source: A1111 modules/ui_prompt_styles.py.
    """
    with gr.Column(elem_id="style_editor", elem_classes="style-editor", min_width=0):
        gr.HTML(f"<h3>{TITLE}</h3>", padding=False)
        name = open_dropdown(
            choices=manager.choices("styles"),
            value=None,
            allow_custom_value=True,
            label=NAME,
            info=NAME_HINT,
            elem_id="styles_edit_select",
        )
        prompt = gr.Textbox(label=PROMPT, info=PROMPT_HINT, lines=3, max_lines=8, elem_id="styles_edit_prompt")
        negative = gr.Textbox(label=NEGATIVE, lines=2, max_lines=6, elem_id="styles_edit_neg_prompt")
        with gr.Row(elem_classes="style-buttons"):
            save = gr.Button(SAVE, variant="primary", elem_id="styles_edit_save", size="md", min_width=90)
            copy = gr.Button(COPY, elem_id="styles_edit_copy", size="md", min_width=120)
            use = gr.Button(USE, elem_id="styles_edit_use", size="md", min_width=120)
            delete = gr.Button(DELETE, elem_id="styles_edit_delete", size="md", min_width=90)
            gr.Button(CLOSE, elem_id="styles_edit_close", size="md", min_width=90)
        said = gr.HTML("", elem_id="styles_edit_result", elem_classes="run-log", padding=False)
    lists = [name, *(tab.form["styles"] for tab in tabs)]

    def renewed() -> Answer:
        return {component: gr.update(choices=manager.choices("styles")) for component in lists}

    def show(chosen: str | None) -> Answer:
        style = manager.style(chosen or "")
        return {prompt: style.prompt, negative: style.negative_prompt} if style else {said: ""}

    def keep(chosen: str | None, text: str, negative_text: str) -> Answer:
        wanted = (chosen or "").strip()
        if not wanted:
            raise InvalidRequest(NO_NAME)
        manager.save_style(Style(name=wanted, prompt=text, negative_prompt=negative_text))
        return {**renewed(), said: _sentence(SAVED, wanted)}

    def remove(chosen: str | None) -> Answer:
        if manager.style(chosen or "") is None:
            raise InvalidRequest(UNKNOWN.format(name=chosen or ""))
        manager.delete_style(chosen or "")
        entries = manager.choices("styles")
        emptied = {name: gr.update(choices=entries, value=None), prompt: "", negative: ""}
        return {**renewed(), **emptied, said: _sentence(DELETED, chosen or "")}

    on(name.input, show, inputs=[name], outputs=[prompt, negative, said])
    on(save.click, keep, inputs=[name, prompt, negative], outputs=[*lists, said])
    on(delete.click, remove, inputs=[name], outputs=[*lists, prompt, negative, said])
    on(copy.click, None, outputs=[prompt, negative], js="() => webui.styles.prompts()")
    on(use.click, None, inputs=[name], js="(name) => webui.styles.use(name)")


def _sentence(words: str, name: str) -> str:
    return f'<p role="status">{escape(words.format(name=name))}</p>'
