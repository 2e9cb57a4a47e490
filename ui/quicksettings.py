"""The bar above the tabs: which checkpoint is used, whether it is loading, and what could not be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from schema.settings import NOT_SHOWN, Settings
from ui.components import open_dropdown
from ui.events import Answer, Event, on
from ui.form import Form
from ui.prompt_row import tool_button
from ui.settings import CHECKPOINT as CHECKPOINT_KEY
from ui.settings import changed_values
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

CHECKPOINT, REFRESH = "Stable Diffusion checkpoint", "Refresh the list of checkpoints"
THEME = "Switch between light and dark"
LOADING, READY, PROBLEMS = "Loading {title}", "Ready", "{count} files cannot be used"
ONE_PROBLEM = "1 file cannot be used"
UNTOUCHED = 512
"""Where the size sliders stand in a fresh page."""

POLL_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Quicksettings:
    """The bar's components.

    Attributes:
        native: State: the side in pixels that the size sliders were last set to by the model.
    """

    manager: PipelineManager
    checkpoint: gr.Dropdown
    refresh: gr.Button
    status: gr.HTML
    problems: gr.HTML
    native: gr.State
    form: Form[Settings]

    def bind(self, opened: Callable[..., Any], tabs: Sequence[GenerationTab[Any]]) -> None:
        """Binds choosing, refreshing and the page's first look; `tabs` take their size from the model.

        Args:
            opened: Event of the page being open, with the values that the browser kept.
        """
        sizes = [tab.form[name] for tab in tabs for name in ("width", "height")]

        async def follow(native: int, *shown: int) -> AsyncIterator[Answer]:
            status = self.manager.model_status()
            while status.loading:
                yield {self.status: status_html(status)}
                await asyncio.sleep(POLL_S)
                status = self.manager.model_status()
            answer: Answer = {
                self.status: status_html(status),
                self.checkpoint: status.title or None,
                self.native: status.native_size,
            }
            if status.native_size != native:
                # Only sizes that nobody touched follow the model.
                answer |= {
                    size: status.native_size for size, now in zip(sizes, shown, strict=True) if now in (native, None)
                }
            yield answer

        def choose(title: str) -> None:
            if title and title != self.manager.model_status().title:
                self.manager.load_checkpoint(title)

        outputs = [self.status, self.checkpoint, self.native, *sizes]
        chosen = on(self.checkpoint.input, choose, inputs=[self.checkpoint], trigger_mode="always_last")
        on(chosen.success, follow, inputs=[self.native, *sizes], outputs=outputs)
        read_again, lists = self.renewal(tabs)
        on(self.refresh.click, read_again, outputs=lists)
        on(opened, follow, inputs=[self.native, *sizes], outputs=outputs)
        self._bind_options(opened)

    def _bind_options(self, opened: Callable[..., Any]) -> None:
        """Each option of the bar is in force as soon as it is changed; a page just opened shows its value."""

        def change(event: Event) -> None:
            store = self.manager.settings
            store.update(changed_values(self.form, event, store.settings), restricted=True)

        def show() -> Answer:
            now = self.manager.settings.settings
            return self.form.updates({name: getattr(now, name) for name in self.form.components})

        for component in self.form.components.values():
            is_typed = isinstance(component, gr.Slider | gr.Textbox | gr.Number)
            for name in ("release", "blur", "submit") if is_typed else ("input",):
                if hasattr(component, name):
                    on(getattr(component, name), change, inputs=self.form.inputs)
        if self.form.components:
            on(opened, show, outputs=self.form.outputs)

    def renew(self, tabs: Sequence[GenerationTab[Any]], *, read_again: bool = False) -> Answer:
        """The event answer with all live lists of the page, after looking through the folders (`read_again`)."""
        if read_again:
            self.manager.refresh("checkpoints")
        answer: Answer = {
            self.checkpoint: gr.update(choices=checkpoint_entries(self.manager)),
            self.problems: self._problems_html(),
        }
        for tab in tabs:
            answer |= tab.form.lists(changed_only=not read_again)
        return answer

    def renewal(self, tabs: Sequence[GenerationTab[Any]]) -> tuple[Callable[[], Answer], list[Component]]:
        """What a download binds when it is done: `renew` after looking through the folders, and its outputs."""
        lists = [component for tab in tabs for component in tab.form.live]
        return (lambda: self.renew(tabs, read_again=True)), [self.checkpoint, self.problems, *lists]

    def _problems_html(self) -> str:
        problems = self.manager.problem_files()
        if not problems:
            return ""
        title = ONE_PROBLEM if len(problems) == 1 else PROBLEMS.format(count=len(problems))
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(reason)}</dd>" for name, reason in problems)
        return f"<details><summary>{title}</summary><dl>{rows}</dl></details>"


def build_quicksettings(manager: PipelineManager) -> Quicksettings:
    """Lays the bar out in the current context."""
    status = manager.model_status()
    with gr.Row(elem_id="quicksettings", equal_height=True):
        gr.HTML('<div class="brand" aria-hidden="true">diffusers<b>webui</b></div>', padding=False, elem_id="brand")
        checkpoint = open_dropdown(
            choices=checkpoint_entries(manager),
            value=status.title or None,
            label=CHECKPOINT,
            elem_id="setting_sd_model_checkpoint",
            min_width=220,
            scale=3,
        )
        refresh = tool_button(REFRESH, "refresh", "refresh_sd_model_checkpoint")
        form = Form(Settings, "setting", manager.choices)
        with gr.Row(elem_classes="quick-options"):
            for name in dict.fromkeys(manager.settings.settings.quicksettings_list):
                if name in Settings.model_fields.keys() - NOT_SHOWN - {CHECKPOINT_KEY}:
                    form.render(name, value=getattr(manager.settings.settings, name), min_width=120)
        with gr.Column(min_width=160, scale=3, elem_classes="model-notes"):
            state = gr.HTML(status_html(status), elem_id="model_status", padding=False)
            problems = gr.HTML("", elem_id="model_problems", padding=False)
        # The page's script does the switching and remembers it in the browser.
        tool_button(THEME, "contrast", "theme_toggle")
    return Quicksettings(
        manager=manager,
        checkpoint=checkpoint,
        refresh=refresh,
        status=state,
        problems=problems,
        native=gr.State(UNTOUCHED),
        form=form,
    )


def checkpoint_entries(manager: PipelineManager) -> list[tuple[str, str]]:
    """What the list shows and what it stands for: titles, without their folder where the settings say so."""
    short = manager.settings.settings.sd_checkpoint_dropdown_use_short
    return [(title.rpartition("/")[2] if short else title, title) for title in manager.choices("checkpoints")]


def status_html(status: Any) -> str:
    """A dot and words: loading, ready, or what is wrong."""
    if status.problem:
        return f'<span class="dot bad"></span><span role="alert">{escape(status.problem)}</span>'
    if status.loading:
        words = status.text or LOADING.format(title=status.title)
        return f'<span class="dot busy"></span><span role="status">{escape(words)}</span>'
    facts = f' data-native="{status.native_size}"' + (' data-edit="1"' if status.is_edit else "")
    return f'<span class="dot good"{facts}></span><span role="status">{escape(status.text or READY)}</span>'
