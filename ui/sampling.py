"""The groups that txt2img, img2img and inpaint share: sampler, size, batch, guidance, seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.events import Event, on
from ui.form import Form
from ui.prompt_row import tool_button

RATIOS = "Sizes by ratio of the sides"
SWAP, DICE, RECYCLE, EXTRA = "Swap width and height", "Random seed", "Reuse the seed of the selected picture", "Extra"
DICE_SUB, RECYCLE_SUB = "Random variation seed", "Reuse the variation seed of the selected picture"


@dataclass(frozen=True, kw_only=True)
class SeedRow:
    """The seed group's buttons that need the gallery."""

    reuse: gr.Button
    reuse_sub: gr.Button
    extra: gr.Checkbox


def build_sampler(form: Form[Any]) -> None:
    """Sampling method, schedule type and steps."""
    with gr.Row(elem_id=f"{form.prefix}_sampler_row"):
        form.render("sampler_name", "scheduler", min_width=130)
        form.render("steps", min_width=150, scale=2)


def build_size_and_batch(form: Form[Any]) -> None:
    """Width and height with the swap button, batch count and size, CFG scale."""
    tab = form.prefix
    with gr.Row(elem_classes="size-row"):
        with gr.Column(scale=4, min_width=200):
            form.render("width", "height")
        with gr.Column(scale=0, min_width=40, elem_classes="swap-column"):
            swap = tool_button(SWAP, "swap", f"{tab}_res_switch_btn")
            tool_button(RATIOS, "ratio", f"{tab}_ratios", elem_classes="ratios")
        with gr.Column(scale=3, min_width=160):
            form.render("n_iter", "batch_size")
    pair = [form["width"], form["height"]]
    on(swap.click, None, inputs=pair, outputs=pair, js="(width, height) => [height, width]")


def build_seed(form: Form[Any]) -> SeedRow:
    """Seed with dice and recycle, and the variation seed group behind the Extra checkbox."""
    tab = form.prefix
    with gr.Column(elem_id=f"{tab}_seed_group", elem_classes="switched plain", min_width=0):
        with gr.Row(elem_classes="switch-head seed-row", equal_height=False):
            form.render("seed", min_width=120, scale=3)
            dice = tool_button(DICE, "dice", f"{tab}_random_seed")
            reuse = tool_button(RECYCLE, "recycle", f"{tab}_reuse_seed")
            extra = gr.Checkbox(label=EXTRA, elem_id=f"{tab}_subseed_show", container=False, scale=0, min_width=80)
            form.render("tiling", container=False, scale=0, min_width=80)
        with gr.Column(elem_id=f"{tab}_seed_extras", elem_classes="switch-body"):
            with gr.Row(elem_classes="seed-row"):
                form.render("subseed", min_width=120, scale=3)
                dice_sub = tool_button(DICE_SUB, "dice", f"{tab}_random_subseed")
                reuse_sub = tool_button(RECYCLE_SUB, "recycle", f"{tab}_reuse_subseed")
            form.render("subseed_strength")
            with gr.Row():
                form.render("seed_resize_from_w", "seed_resize_from_h", min_width=150)
    for button, name in ((dice, "seed"), (dice_sub, "subseed")):
        on(button.click, None, outputs=[form[name]], js="() => -1")
    return SeedRow(reuse=reuse, reuse_sub=reuse_sub, extra=extra)


EXTRA_FIELDS = {"subseed": -1, "subseed_strength": 0.0, "seed_resize_from_w": 0, "seed_resize_from_h": 0}
"""What the fields behind Extra mean while it is off."""


def seed_values(event: Event, seed_row: SeedRow) -> dict[str, Any]:
    """What the Extra switch overrides in the request.

    Source: A1111 modules/processing_scripts/seed.py, setup.
    """
    return {} if event[seed_row.extra] else dict(EXTRA_FIELDS)


def needs_extra(values: Mapping[str, Any]) -> bool:
    """Whether `values` to be shown include something behind Extra."""
    return any(values.get(name, off) not in (off, None) for name, off in EXTRA_FIELDS.items())
