"""What img2img and inpaint start from: sub-tabs with an editor each, and copying a picture from one to another."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components import Component

from schema.requests import Img2ImgRequest
from ui.canvas import Kind, picture_editor
from ui.events import Answer, Event, on
from ui.keep import NOT_KEPT
from ui.tab import GenerationTab

COPY_TO = "Copy picture to:"
COPY_TARGETS = ("img2img", "sketch", "inpaint", "inpaint sketch")
"""Sub-tabs that a picture can be copied to; the names are those on the buttons."""

# A JS-only event may answer with an update of a component, as a handler does.
COPY_JS = """async () => {
  const copied = await window.webui.canvas.copy(SOURCE, TARGET);
  const update = (changes) => ({ __type__: "update", ...(copied ? changes : {}) });
  return [update({ selected: TAB }), update({ selected: MODE }), update({ value: MODE })];
}"""


@dataclass(kw_only=True)
class Modes:
    """The sub-tabs of one tab.

    Attributes:
        tab: Id of the tab they are in.
        chosen: Id of the sub-tab that is open.
        editors: Sub-tab's id to its main editor; sub-tabs without one are left out.
        copies: Button, the sub-tab it is in, and the name of the sub-tab it copies to.
    """

    tab: str
    tabs: gr.Tabs
    chosen: gr.Textbox
    first: str
    editors: dict[str, gr.HTML] = field(default_factory=dict[str, gr.HTML])
    copies: list[tuple[gr.Button, str, str]] = field(default_factory=list[tuple[gr.Button, str, str]])

    @contextmanager
    def mode(self, mode: str, label: str, elem_id: str) -> Generator[None]:
        """A sub-tab; choosing it is noted in `chosen`."""
        with gr.Tab(label, id=mode, elem_id=elem_id) as tab:
            yield
        on(tab.select, None, outputs=[self.chosen], js=f"() => {json.dumps(mode)}")

    def editor(self, mode: str, kind: Kind, label: str, elem_id: str, **options: Any) -> gr.HTML:
        """The main editor of sub-tab `mode`."""
        self.editors[mode] = picture_editor(kind, label, elem_id, **options)
        return self.editors[mode]

    def copy_row(self, mode: str) -> None:
        """The buttons that copy the picture of `mode` to the other sub-tabs of the page."""
        with gr.Row(elem_classes="copy-row"):
            gr.HTML(COPY_TO, elem_classes="copy-words", padding=False)
            for name in COPY_TARGETS:
                if name != mode:
                    elem_id = f"{mode}_copy_to_{name}".replace(" ", "_")
                    button = gr.Button(name, elem_id=elem_id, size="sm", scale=0, min_width=60)
                    self.copies.append((button, mode, name))

    def drawing(self, event: Event) -> Any:
        """The `Drawing` of the open sub-tab's editor, or None where it has none."""
        editor = self.editors.get(event[self.chosen])
        return event[editor] if editor is not None else None

    @property
    def inputs(self) -> set[Component]:
        """Everything `drawing` reads."""
        return {self.chosen, *self.editors.values()}


@dataclass(frozen=True, kw_only=True)
class SourceTab:
    """A generation tab that starts from a picture.

    Attributes:
        source: The editor that pictures are sent to; that of the first sub-tab.
    """

    tab: GenerationTab[Img2ImgRequest]
    source: gr.HTML
    modes: Modes

    def receive(self, picture: Any) -> Answer:
        """The event answer that puts `picture` (a file or an image) into the first sub-tab and opens it."""
        first = self.modes.first
        return {self.source: picture, self.modes.tabs: gr.Tabs(selected=first), self.modes.chosen: first}

    @property
    def receivers(self) -> list[Any]:
        """The outputs of `receive`."""
        return [self.source, self.modes.tabs, self.modes.chosen]


@contextmanager
def source_modes(tab: str, first: str) -> Generator[Modes]:
    """The sub-tabs of `tab`, laid out in the current context; `first` is open at the start."""
    chosen = gr.Textbox(first, visible="hidden", elem_id=f"{tab}_selected_mode", elem_classes=NOT_KEPT)
    with gr.Tabs(elem_id=f"mode_{tab}", selected=first) as tabs:
        yield Modes(tab=tab, tabs=tabs, chosen=chosen, first=first)


def bind_copies(page_tabs: gr.Tabs, *sources: SourceTab) -> None:
    """Binds every "Copy picture to" button; the browser does it alone.

    Args:
        page_tabs: The tabs of the page, which the copy may change.
    """
    found = {mode: source for source in sources for mode in source.modes.editors}
    for source in sources:
        for button, mode, name in source.modes.copies:
            target = found[name].modes
            words = {
                "SOURCE": source.modes.editors[mode].elem_id,
                "TARGET": target.editors[name].elem_id,
                "TAB": target.tab,
                "MODE": name,
            }
            script = COPY_JS
            for key, word in words.items():
                script = script.replace(key, json.dumps(word))
            on(button.click, None, outputs=[page_tabs, target.tabs, target.chosen], js=script)
