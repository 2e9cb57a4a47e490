"""The Hires. fix and Refiner groups: a switch in the head, the controls below it while it is on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from pipelines.hires import LATENT_FACTOR, hires_size
from schema.errors import WebuiError
from ui.events import Event, on
from ui.form import Form

SIZES = "from <b>{width}×{height}</b> to <b>{wider}×{higher}</b>"
SECOND_PASS = "Other model, sampler or prompts for the second pass"
SECOND_PASS_FIELDS = {
    "hr_checkpoint_name": "hr_checkpoint",
    "hr_sampler_name": "hr_sampler",
    "hr_scheduler": "hr_scheduler",
    "hr_cfg": "hr_cfg_scale",
}
SECOND_PASS_PROMPTS = {"hr_prompt": "hires_prompt", "hr_negative_prompt": "hires_neg_prompt"}
"""Field → `elem_id`: A1111 names these without the tab's prefix."""

REFINER = "Refiner"
REFINER_SWITCH_AT = 0.8


@contextmanager
def switched_group(elem_id: str) -> Generator[None]:
    """A card whose first checkbox shows or hides everything with the class `switch-body` (style.css does it)."""
    with gr.Column(elem_id=elem_id, elem_classes="switched", min_width=0):
        yield


def build_hires(form: Form[Any]) -> gr.HTML:
    """Lays out every hires field; what comes back is the line of sizes, for `bind_hires_sizes`."""
    tab = form.prefix
    with switched_group(f"{tab}_hires_group"):
        with gr.Row(elem_classes="switch-head"):
            form.render("enable_hr", container=False, scale=0, min_width=120)
            sizes = gr.HTML("", elem_id=f"{tab}_hr_finalres", elem_classes="switch-note", padding=False)
        with gr.Column(elem_classes="switch-body"):
            with gr.Row():
                form.render("hr_upscaler", "hr_second_pass_steps", min_width=150)
                form.render("denoising_strength", min_width=150)
            with gr.Row():
                form.render("hr_scale", "hr_resize_x", "hr_resize_y", min_width=150)
            with gr.Accordion(SECOND_PASS, open=False, elem_id=f"{tab}_hires_more"):
                with gr.Row(elem_classes="second-pass-sampler"):
                    for name, elem_id in SECOND_PASS_FIELDS.items():
                        form.render(name, elem_id=elem_id, min_width=150)
                with gr.Row(elem_classes="second-pass-prompts"):
                    for name, elem_id in SECOND_PASS_PROMPTS.items():
                        form.render(name, elem_id=elem_id, min_width=200)
    return sizes


def bind_hires_sizes(form: Form[Any], sizes: gr.HTML) -> None:
    """Keeps the line "from 512×512 to 1024×1024" up to date, once all of the form is laid out."""
    watched = [form[name] for name in ("width", "height", "hr_scale", "hr_resize_x", "hr_resize_y", "enable_hr")]
    for component in watched:
        on(component.change, lambda event: _sizes(form, event), inputs=set(watched), outputs=[sizes])  # type: ignore


def build_refiner(form: Form[Any]) -> gr.Checkbox:
    """Lays out the refiner's fields; the switch is not a field, so the tab's `read` asks `refiner_values`."""
    tab = form.prefix
    with switched_group(f"{tab}_refiner_group"):
        with gr.Row(elem_classes="switch-head"):
            enabled = gr.Checkbox(label=REFINER, value=False, elem_id=f"{tab}_enable", container=False, scale=0)
        with gr.Column(elem_classes="switch-body"):
            with gr.Row():
                form.render("refiner_checkpoint", min_width=200, scale=2)
                form.render("refiner_switch_at", min_width=150, value=REFINER_SWITCH_AT)
    return enabled


def refiner_values(event: Event, enabled: gr.Checkbox) -> dict[str, Any]:
    """What the refiner's switch overrides in the request: both fields left out while it is off."""
    return {} if event[enabled] else {"refiner_checkpoint": None, "refiner_switch_at": None}


def _sizes(form: Form[Any], event: Event) -> str:
    value = {name: event[form[name]] for name in ("width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")}
    if not event[form["enable_hr"]] or any(number is None for number in value.values()):
        return ""
    width, height = int(value["width"]), int(value["height"])
    try:
        size = hires_size(
            width=width,
            height=height,
            scale=float(value["hr_scale"]),
            resize_x=int(value["hr_resize_x"]),
            resize_y=int(value["hr_resize_y"]),
        )
    except WebuiError:
        # Half-typed numbers are no reason for a toast; Generate will say what is wrong.
        return ""
    wider = size.upscaled_width - size.crop_columns * LATENT_FACTOR
    higher = size.upscaled_height - size.crop_rows * LATENT_FACTOR
    return SIZES.format(width=width, height=height, wider=wider, higher=higher)
