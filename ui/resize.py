"""The size of a picture made from another: resized to a width and height, or by a factor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from pipelines.resize import scale_by
from schema.requests import Img2ImgRequest
from ui.components import open_slider
from ui.events import Event, on
from ui.form import Form
from ui.keep import NOT_KEPT
from ui.prompt_row import tool_button
from ui.sampling import RATIOS, SWAP
from ui.sources import Modes

TO, BY = "Resize to", "Resize by"
SCALE = "Scale"
DETECT = "Take the size of the picture"
FROM_TO = "from WIDTH×HEIGHT to WIDER×HIGHER"
NO_PICTURE = "no picture is chosen yet"


@dataclass(frozen=True, kw_only=True)
class Resize:
    """The group's parts that are no fields of the form.

    Attributes:
        chosen: "to" or "by": which sub-tab is open.
        note: Size before and after, in words.
    """

    chosen: gr.Textbox
    scale: gr.Slider
    note: gr.HTML
    swap: gr.Button
    detect: gr.Button

    @property
    def inputs(self) -> set[Component]:
        """Everything `size` reads."""
        return {self.chosen, self.scale}

    def factor(self, event: Event) -> float | None:
        """What sides are multiplied with; None while width and height count."""
        return float(event[self.scale]) if event[self.chosen] == "by" else None

    def size(self, event: Event, picture: Image.Image) -> dict[str, Any]:
        """Width and height of the request where a factor decides them, else nothing."""
        factor = self.factor(event)
        return {} if factor is None else dict(zip(("width", "height"), scale_by(picture, factor), strict=True))


def build_resize(form: Form[Img2ImgRequest]) -> Resize:
    """Lays the group out in the current context, with batch count and size."""
    tab = form.prefix
    with gr.Row(elem_classes="size-row", elem_id=f"{tab}_column_size"):
        with gr.Column(scale=4, min_width=200):
            chosen = gr.Textbox("to", visible="hidden", elem_id=f"{tab}_resize_chosen", elem_classes=NOT_KEPT)
            with gr.Tabs(elem_id=f"{tab}_tabs_resize", selected="to"):
                with gr.Tab(TO, id="to", elem_id=f"{tab}_tab_resize_to") as to:
                    with gr.Row(elem_classes="size-row"):
                        with gr.Column(scale=4, min_width=160):
                            form.render("width", "height")
                        with gr.Column(scale=0, min_width=40, elem_classes="swap-column"):
                            swap = tool_button(SWAP, "swap", f"{tab}_res_switch_btn")
                            tool_button(RATIOS, "ratio", f"{tab}_ratios", elem_classes="ratios")
                            detect = tool_button(DETECT, "detect-size", f"{tab}_detect_image_size_btn")
                with gr.Tab(BY, id="by", elem_id=f"{tab}_tab_resize_by") as by:
                    scale = open_slider(
                        0.05, 4.0, step=0.05, value=1.0, label=SCALE, elem_id=f"{tab}_scale", buttons=[]
                    )
                    note = gr.HTML(
                        NO_PICTURE,
                        elem_id=f"{tab}_scale_resolution_preview",
                        elem_classes="scaled-size",
                        padding=False,
                    )
        with gr.Column(scale=3, min_width=160):
            form.render("n_iter", "batch_size")
    on(to.select, None, outputs=[chosen], js='() => "to"')
    on(by.select, None, outputs=[chosen], js='() => "by"')
    return Resize(chosen=chosen, scale=scale, note=note, swap=swap, detect=detect)


def bind_resize(form: Form[Img2ImgRequest], resize: Resize, modes: Modes) -> None:
    """Binds the buttons, and what follows the picture: width and height when one is put in, the size in words."""
    pair = [form["width"], form["height"]]
    on(resize.swap.click, None, inputs=pair, outputs=pair, js="(width, height) => [height, width]")
    editors = list(modes.editors.values())
    order = json.dumps(list(modes.editors))
    open_value = f"(mode, values) => values[{order}.indexOf(mode)] ?? null"
    take = f"(mode, width, height, ...values) => webui.canvas.size(({open_value})(mode, values)) ?? [width, height]"
    on(resize.detect.click, None, inputs=[modes.chosen, *pair, *editors], outputs=pair, js=take)
    words = f"{json.dumps(FROM_TO)}, {json.dumps(NO_PICTURE)}"
    say = f"(mode, scale, ...values) => webui.canvas.scaled(({open_value})(mode, values), scale, {words})"
    triggers: list[Any] = [resize.scale.change, modes.chosen.change]
    for editor in editors:
        own = "(width, height, value) => webui.canvas.size(value) ?? [width, height]"
        on(editor.upload, None, inputs=[*pair, editor], outputs=pair, js=own)
        triggers += [editor.change, editor.clear]
    for trigger in triggers:
        on(trigger, None, inputs=[modes.chosen, resize.scale, *editors], outputs=[resize.note], js=say)
