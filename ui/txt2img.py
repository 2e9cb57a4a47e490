"""The txt2img tab: a prompt makes a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from schema.requests import Txt2ImgRequest
from ui.control_tools import bind_control
from ui.form import Form
from ui.hires import bind_hires_sizes, build_hires
from ui.layout import build_generation_tab
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "txt2img"


def build_txt2img(manager: PipelineManager, browser: gr.BrowserState) -> GenerationTab[Txt2ImgRequest]:
    """Lays the tab out in the current context and binds its own events."""
    form = Form(Txt2ImgRequest, TAB, manager.choices)
    sizes: list[gr.HTML] = []
    tab = build_generation_tab(form, manager, browser, groups=lambda: sizes.append(build_hires(form)))
    bind_hires_sizes(form, sizes[0])
    bind_control(tab.control, form)
    tab.runner.bind(tab.request, tab.inputs)
    return tab
