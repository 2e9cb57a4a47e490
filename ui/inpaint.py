"""The inpaint tab: a mask over a picture says what is painted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.masks import sketch_mask, sketch_picture
from schema.requests import Img2ImgRequest
from ui.canvas import Drawing, picture_editor
from ui.components import open_slider
from ui.control_tools import bind_control
from ui.events import Event
from ui.file_batch import render_mask_fields
from ui.form import Form
from ui.hires import switched_group
from ui.img2img import render_strength
from ui.layout import build_generation_tab
from ui.resize import Resize, bind_resize, build_resize
from ui.sources import Modes, SourceTab, source_modes

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "inpaint"
EDITOR = "Picture and mask: paint over what should change"
SKETCH = "Picture and sketch: what you paint is changed, starting from its colours"
BASE, MASK = "Picture", "Mask: white is painted anew"
TRANSPARENCY = "Mask transparency"
BLUR_ID = f"{TAB}_mask_blur"
MASK_COLOR, SKETCH_COLOR = "img2img_inpaint_mask_brush_color", "img2img_inpaint_sketch_default_brush_color"

SOFT_FIELDS = (
    "schedule_bias",
    "preservation_strength",
    "transition_contrast_boost",
    "mask_influence",
    "difference_threshold",
    "difference_contrast",
)


def build_inpaint(manager: PipelineManager, browser: gr.BrowserState) -> SourceTab:
    """Lays the tab out in the current context and binds its own events."""
    form = Form(Img2ImgRequest, TAB, manager.choices)
    parts: list[tuple[Modes, gr.HTML, gr.Slider]] = []
    sizes: list[Resize] = []

    def lay_out_source() -> None:
        parts.append(_build_modes())
        form.render("resize_mode")
        render_mask_fields(form)

    tab = build_generation_tab(
        form,
        manager,
        browser,
        source=lay_out_source,
        groups=lambda: build_soft_inpainting(form),
        strength=lambda: render_strength(form),
        size=lambda: sizes.append(build_resize(form)),
    )
    (modes, mask_upload, transparency), resize = parts[0], sizes[0]
    bind_resize(form, resize, modes)
    bind_control(tab.control, form, lambda event: (modes.drawing(event) or Drawing()).picture(), modes.inputs)

    def read(event: Event) -> Img2ImgRequest:
        drawing: Drawing = modes.drawing(event) or Drawing()
        source: dict[str, Any]
        match event[modes.chosen]:
            case "inpaint sketch":
                source = sketched(
                    drawing, transparency=float(event[transparency]), blur=float(event[form["mask_blur"]])
                )
            case "upload":
                source = {"init_images": [drawing.picture()], "mask": event[mask_upload].picture()}
            case _:
                source = {"init_images": [drawing.picture()], "mask": drawing.mask()}
        return tab.request(event, **source, **resize.size(event, source["init_images"][0]))

    tab.runner.bind(read, {*tab.inputs, *modes.inputs, *resize.inputs, mask_upload, transparency})
    return SourceTab(tab=tab, source=modes.editors["inpaint"], modes=modes)


def sketched(drawing: Drawing, *, transparency: float, blur: float) -> dict[str, Any]:
    """Source picture and mask of an inpaint sketch, as the request's fields.

    Args:
        transparency: 0..100, of the mask.
        blur: Radius that drawing and mask are softened with.

    Source: A1111 modules/img2img.py, img2img.
    """
    original, sketch = drawing.picture(), drawing.sketch()
    mask = sketch_mask(sketch, original, transparency=transparency)
    return {"init_images": [sketch_picture(sketch, original, mask, blur=blur)], "mask": mask}


def _build_modes() -> tuple[Modes, gr.HTML, gr.Slider]:
    with source_modes(TAB, "inpaint") as modes:
        with modes.mode("inpaint", "Inpaint", "img2img_inpaint_tab"):
            modes.editor("inpaint", "mask", EDITOR, "img2maskimg", color_option=MASK_COLOR, blur=BLUR_ID)
            modes.copy_row("inpaint")
        with modes.mode("inpaint sketch", "Inpaint sketch", "img2img_inpaint_sketch_tab"):
            modes.editor("inpaint sketch", "sketch", SKETCH, "inpaint_sketch", color_option=SKETCH_COLOR)
            transparency = open_slider(
                0, 100, value=0, step=1, label=TRANSPARENCY, elem_id="img2img_mask_alpha", buttons=[]
            )
            modes.copy_row("inpaint sketch")
        with modes.mode("upload", "Inpaint upload", "img2img_inpaint_upload_tab"), gr.Row(equal_height=False):
            modes.editor("upload", "picture", BASE, "img_inpaint_base")
            mask_upload = picture_editor("picture", MASK, "img_inpaint_mask")
    return modes, mask_upload, transparency


def build_soft_inpainting(form: Form[Img2ImgRequest]) -> None:
    """The soft inpainting group."""
    with switched_group("soft_inpainting"):
        with gr.Row(elem_classes="switch-head"):
            form.render("soft_inpainting.enabled", container=False, scale=0, min_width=150)
        with gr.Column(elem_classes="switch-body"):
            with gr.Row():
                form.render(*(f"soft_inpainting.{name}" for name in SOFT_FIELDS[:3]), min_width=150)
            with gr.Row():
                form.render(*(f"soft_inpainting.{name}" for name in SOFT_FIELDS[3:]), min_width=150)
