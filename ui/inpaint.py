"""The inpaint tab: a mask drawn over a picture says what is painted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from schema.requests import Img2ImgRequest
from ui.events import Event
from ui.form import Form
from ui.hires import switched_group
from ui.img2img import SourceTab, render_strength
from ui.init_images import drawn_mask
from ui.layout import build_generation_tab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "inpaint"
EDITOR = "Picture and mask: paint over what should change"
MASK_COLOR = ("rgb(217, 72, 28)", 0.75)
"""Seen on light and dark pictures, and lets the picture through."""

MASK_BLUR = 4
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
    parts: list[gr.ImageEditor] = []

    def lay_out_source() -> None:
        parts.append(build_editor())
        form.render("resize_mode")
        with gr.Row():
            form.render("inpainting_mask_invert", "inpainting_fill", min_width=200)
        with gr.Row():
            form.render("inpaint_full_res", min_width=200)
            form.render("inpaint_full_res_padding", min_width=150)
        form.render("mask_blur", value=MASK_BLUR)

    tab = build_generation_tab(
        form,
        manager,
        browser,
        source=lay_out_source,
        groups=lambda: build_soft_inpainting(form),
        strength=lambda: render_strength(form),
    )
    editor = parts[0]

    def read(event: Event) -> Img2ImgRequest:
        picture, mask = drawn_mask(event[editor])
        return tab.request(event, init_images=[picture], mask=mask, image_cfg_scale=None)

    tab.runner.bind(read, {*tab.inputs, editor})
    return SourceTab(tab=tab, source=editor)


def build_editor() -> gr.ImageEditor:
    """The picture with one brush; what is drawn is the mask."""
    return gr.ImageEditor(
        label=EDITOR,
        type="pil",
        image_mode="RGBA",
        format="png",
        sources=["upload", "clipboard"],
        transforms=None,
        layers=False,
        brush=gr.Brush(colors=[MASK_COLOR], color_mode="fixed"),
        canvas_size=(1024, 1024),
        height=480,
        elem_id="img2maskimg",
        elem_classes="source-picture",
    )


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
