"""The top row of a generation tab: prompts with token counters, Generate, Interrupt, Skip, and the prompt tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from ui.events import on
from ui.form import Form
from ui.keep import NOT_KEPT

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

PLACEHOLDERS = {
    "prompt": "Prompt: what the picture shows (Ctrl+Enter generates, Alt+Enter skips, Esc interrupts)",
    "negative_prompt": "Negative prompt: what it should not show",
}
GENERATE, INTERRUPT, SKIP, QUEUE = "Generate", "Interrupt", "Skip", "Queue one more"
PASTE, CLEAR, APPLY_STYLES = "Paste generation data", "Clear prompts", "Apply styles to the prompts"
EDIT_STYLES, FOREVER, DROPPED = "Edit styles", "Generate forever", "Picture to read the generation data from"
HISTORY, UNDO, RESET = "Prompt history", "Undo", "Reset to defaults"
TOKENS = "{count} of {limit} tokens"


@dataclass(frozen=True, kw_only=True)
class RunButtons:
    """The buttons that start and stop a tab's jobs."""

    generate: gr.Button
    queue: gr.Button
    interrupt: gr.Button
    skip: gr.Button

    @property
    def run_buttons(self) -> list[Component]:
        """The buttons that change places while a job runs."""
        return [self.generate, self.queue, self.interrupt, self.skip]

    def running(self, active: bool) -> dict[Any, Any]:
        """The event answer that shows Interrupt and Skip (`active`) or Generate."""
        return {
            self.generate: gr.update(visible="hidden" if active else True),
            self.queue: gr.update(visible=True if active else "hidden"),
            self.interrupt: gr.update(visible=True if active else "hidden"),
            self.skip: gr.update(visible=True if active else "hidden"),
        }


@dataclass(frozen=True, kw_only=True)
class PromptRow(RunButtons):
    """The row's buttons; its text fields belong to the form."""

    paste: gr.Button
    apply_styles: gr.Button
    dropped: gr.File


def build_run_buttons(tab: str, *, forever: bool = False) -> RunButtons:
    """Lays Generate, Interrupt, Skip and Queue out in the current context.

    Args:
        forever: Whether there is a button for Generate forever; assets/habits.js is what presses Generate again.
    """
    with gr.Row(elem_id=f"{tab}_generate_box", elem_classes="generate-box"):
        generate = gr.Button(GENERATE, variant="primary", elem_id=f"{tab}_generate", min_width=80)
        interrupt = gr.Button(INTERRUPT, variant="stop", elem_id=f"{tab}_interrupt", visible="hidden", min_width=80)
        skip = gr.Button(SKIP, elem_id=f"{tab}_skip", visible="hidden", min_width=60)
        queue = tool_button(QUEUE, "plus", f"{tab}_queue", visible="hidden")
        if forever:
            tool_button(FOREVER, "forever", f"{tab}_forever", elem_classes="forever")
    return RunButtons(generate=generate, queue=queue, interrupt=interrupt, skip=skip)


def build_prompt_row(form: Form[Any], manager: PipelineManager) -> PromptRow:
    """Lays the row out in the current context and binds the token counters."""
    tab = form.prefix
    # Where assets/habits.js puts a file that was dropped on the prompts.
    dropped = gr.File(elem_id=f"{tab}_prompt_image", label=DROPPED, elem_classes=[NOT_KEPT, "prompt-drop"])
    with gr.Row(elem_id=f"{tab}_toprow", elem_classes="toprow"):
        with gr.Column(scale=6, min_width=320, elem_classes="prompts"):
            for name in ("prompt", "negative_prompt"):
                with gr.Column(elem_classes="prompt-box", min_width=0):
                    form.render(name, placeholder=PLACEHOLDERS[name], show_label=False, container=False)
                    _bind_counter(form, name, manager)
        with gr.Column(scale=2, min_width=260, elem_id=f"{tab}_actions_column", elem_classes="actions"):
            buttons = build_run_buttons(tab, forever=True)
            with gr.Row(elem_id=f"{tab}_tools", elem_classes="tools"):
                paste = tool_button(PASTE, "paste", "paste" if tab == "txt2img" else f"{tab}_paste")
                # The browser does these four alone: assets/undo.js and assets/history.js.
                tool_button(CLEAR, "trash", f"{tab}_clear_prompt", elem_classes="keep-clear")
                tool_button(HISTORY, "history", f"{tab}_history", elem_classes="keep-history")
                undo_buttons(tab)
                apply_styles = tool_button(APPLY_STYLES, "clipboard", f"{tab}_style_apply")
                tool_button(EDIT_STYLES, "brush", f"{tab}_styles_edit_button", elem_classes="edit-styles")
                form.render("styles", show_label=False, container=False, scale=5, min_width=120)
    return PromptRow(
        generate=buttons.generate,
        queue=buttons.queue,
        interrupt=buttons.interrupt,
        skip=buttons.skip,
        paste=paste,
        apply_styles=apply_styles,
        dropped=dropped,
    )


def undo_buttons(tab: str) -> None:
    """Lays out Undo and Reset to defaults for the controls of a tab of the page."""
    tool_button(UNDO, "undo", f"{tab}_undo", elem_classes="keep-undo", interactive=False)
    tool_button(RESET, "reset", f"{tab}_reset", elem_classes="keep-reset")


def tool_button(label: str, icon: str, elem_id: str, *, elem_classes: str = "", **options: Any) -> gr.Button:
    """A square button that shows `icon` (a class in style.css) and says `label` to screen readers and as a tooltip."""
    classes = ["tool", f"icon-{icon}", *elem_classes.split()]
    return gr.Button(label, elem_id=elem_id, elem_classes=classes, scale=0, min_width=40, size="md", **options)


def _bind_counter(form: Form[Any], name: str, manager: PipelineManager) -> None:
    kind = "token_counter" if name == "prompt" else "negative_token_counter"
    counter = gr.HTML(counter_html(0, 75), elem_id=f"{form.prefix}_{kind}", elem_classes="token-counter", padding=False)

    def count(text: str) -> str:
        if manager.settings.settings.disable_token_counters:
            return ""
        return counter_html(*manager.token_count(text, negative=name == "negative_prompt"))

    on(form[name].change, count, inputs=[form[name]], outputs=[counter], trigger_mode="always_last")  # type: ignore[attr-defined]


def counter_html(count: int, limit: int) -> str:
    """`n/75`, marked when the prompt is longer than one window."""
    words = TOKENS.format(count=count, limit=limit)
    return f'<span class="{"long" if limit > 75 else ""}" title="{words}" aria-label="{words}">{count}/{limit}</span>'
