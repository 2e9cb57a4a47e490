"""The img2img tab: a picture and a prompt make a new picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from pipelines.jobs import Job
from schema.requests import Img2ImgRequest
from ui.canvas import Drawing
from ui.control_tools import bind_control
from ui.events import Event
from ui.file_batch import FileBatchRow, build_file_batch
from ui.form import Form
from ui.layout import build_generation_tab
from ui.resize import Resize, bind_resize, build_resize
from ui.sources import Modes, SourceTab, source_modes

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "img2img"
SOURCE = "Picture to start from"
SKETCH = "Picture and sketch: what you paint becomes part of it"
SKETCH_COLOR = "img2img_sketch_default_brush_color"
BATCH = "batch"


def build_img2img(manager: PipelineManager, browser: gr.BrowserState) -> SourceTab:
    """Lays the tab out in the current context and binds its own events."""
    form = Form(Img2ImgRequest, TAB, manager.choices)
    parts: list[tuple[Modes, FileBatchRow]] = []
    sizes: list[Resize] = []

    def lay_out_source() -> None:
        with source_modes(TAB, "img2img") as modes:
            with modes.mode("img2img", "img2img", "img2img_img2img_tab"):
                modes.editor("img2img", "picture", SOURCE, "img2img_image")
                modes.copy_row("img2img")
            with modes.mode("sketch", "Sketch", "img2img_img2img_sketch_tab"):
                modes.editor("sketch", "sketch", SKETCH, "img2img_sketch", color_option=SKETCH_COLOR)
                modes.copy_row("sketch")
            with modes.mode(BATCH, "Batch", "img2img_batch_tab"):
                files = build_file_batch(form)
        parts.append((modes, files))
        form.render("resize_mode")

    tab = build_generation_tab(
        form,
        manager,
        browser,
        source=lay_out_source,
        strength=lambda: render_strength(form),
        size=lambda: sizes.append(build_resize(form)),
    )
    (modes, files), resize = parts[0], sizes[0]
    bind_resize(form, resize, modes)
    bind_control(tab.control, form, lambda event: (modes.drawing(event) or Drawing()).picture(), modes.inputs)

    def read(event: Event) -> Img2ImgRequest:
        drawing: Drawing = modes.drawing(event) or Drawing()
        picture = drawing.sketch()
        return tab.request(event, init_images=[picture], **resize.size(event, picture))

    def submit(event: Event, owner: str) -> Job:
        if event[modes.chosen] != BATCH:
            return manager.submit(read(event), owner=owner)
        batch = files.read(event, manager, resize.factor(event))
        return manager.submit_files(tab.request(event), batch, owner=owner)

    tab.runner.bind(read, {*tab.inputs, *modes.inputs, *resize.inputs, *files.inputs}, submit)
    return SourceTab(tab=tab, source=modes.editors["img2img"], modes=modes)


def render_strength(form: Form[Img2ImgRequest]) -> None:
    """Denoising strength, and the image CFG scale, which shows itself when a model for editing is in use."""
    form.render("denoising_strength", min_width=150)
    form.render("image_cfg_scale", min_width=150, value=1.5, elem_classes="edit-only")
