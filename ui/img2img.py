"""The img2img tab: a picture and a prompt make a new picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
from gradio.components import Component

from schema.requests import Img2ImgRequest
from ui.components import picture_input
from ui.events import Answer, Event, on
from ui.form import Form
from ui.init_images import picture_size, read_upload
from ui.layout import build_generation_tab
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "img2img"
SOURCE = "Picture to start from"


@dataclass(frozen=True, kw_only=True)
class SourceTab:
    """A generation tab that starts from a picture.

    Attributes:
        source: The component that holds the picture.
    """

    tab: GenerationTab[Img2ImgRequest]
    source: Component


def build_img2img(manager: PipelineManager, browser: gr.BrowserState) -> SourceTab:
    """Lays the tab out in the current context and binds its own events.

    The mask fields are the inpaint tab's; here they keep their defaults.
    """
    form = Form(Img2ImgRequest, TAB, manager.choices)
    parts: list[Component] = []

    def lay_out_source() -> None:
        parts.append(picture_input(SOURCE, "img2img_image"))
        form.render("resize_mode")

    tab = build_generation_tab(form, manager, browser, source=lay_out_source, strength=lambda: render_strength(form))
    source = parts[0]

    def read(event: Event) -> Img2ImgRequest:
        return tab.request(event, init_images=[read_upload(event[source])], image_cfg_scale=None)

    def take_size(path: str | None) -> Answer:
        width, height = picture_size(path)
        return tab.form.updates({"width": width, "height": height})

    tab.runner.bind(read, {*tab.inputs, source})
    on(source.upload, take_size, inputs=[source], outputs=[form["width"], form["height"]])  # type: ignore[attr-defined]
    return SourceTab(tab=tab, source=source)


def render_strength(form: Form[Img2ImgRequest]) -> None:
    """Denoising strength, and the image CFG scale that only models for editing use."""
    form.render("denoising_strength", min_width=150)
    form.render("image_cfg_scale", min_width=150, visible=False, value=1.5)
