"""The Extras tab: pictures made larger, faces restored, and pictures made ready to train on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from pipelines.img2img_batch import batch_files
from schema.errors import InvalidRequest
from schema.extras import ExtrasRequest
from schema.results import GeneratedImage
from ui.components import picture_input
from ui.errors import sentence
from ui.events import Answer, Event, on
from ui.form import Form
from ui.handlers import Runner, Watched
from ui.hires import switched_group
from ui.init_images import read_upload
from ui.output_panel import OutputPanel, build_output_panel, picture_source
from ui.png_info import PngInfo
from ui.prompt_row import build_run_buttons, tool_button
from ui.sources import Modes, source_modes
from ui.tab import NO_PICTURE, picture_at

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAB = "extras"
SINGLE, BATCH, FOLDER = "single_image", "batch_process", "batch_from_directory"
SOURCE, SOURCES = "Picture", "Pictures"
INPUT_DIR, OUTPUT_DIR = "Input directory", "Output directory"
FOLDER_HINT = "A folder of pictures on the server, below the data folder"
OUTPUT_HINT = "Left empty, results go to the folder for Extras"
SCALE_BY, SCALE_TO, SWAP = "Scale by", "Scale to", "Swap width and height"
REFRESH = "Look for new upscalers"
GFPGAN, CODEFORMER = "GFPGAN", "CodeFormer"
NEEDS = (
    "<p>Weights in models/{folder}, with the face detector; both can be had under Settings, “Get a model”. "
    "Licence: {licence}.</p>"
)
FOR_TRAINING = "For training: split, crop, flip"
NO_IMAGE = "There is no picture yet. Drop one on the picture field first."
NO_FILES = "There are no pictures yet. Drop some on the field first."
NO_FOLDER = "There is no input directory. Name a folder of pictures first."
NOTHING_CHOSEN = "Nothing is chosen that would change the picture: choose an upscaler, or switch a face restorer on."

_SCALE = re.compile(r"(\d)x|x(\d)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ExtrasTab:
    """The tab's components.

    Attributes:
        image: The picture of the first sub-tab.
        faces: The switches of GFPGAN and CodeFormer.
    """

    form: Form[ExtrasRequest]
    panel: OutputPanel
    runner: Runner
    modes: Modes
    image: gr.Image
    files: gr.File
    input_dir: gr.Textbox
    output_dir: gr.Textbox
    faces: dict[str, gr.Checkbox]

    @property
    def inputs(self) -> set[Component]:
        """Everything `request` reads."""
        sources = {self.image, self.files, self.input_dir, self.output_dir, self.modes.chosen}
        return {*self.form.inputs, *sources, *self.faces.values()}

    def request(self, event: Event, manager: PipelineManager) -> ExtrasRequest:
        """The request of an event.

        Raises:
            InvalidRequest: If there is no picture, nothing to do, or a value breaks a bound.
            ForbiddenPath: If a folder may not be used.
        """
        off = {f"{name}_visibility": 0.0 for name, switch in self.faces.items() if not event[switch]}
        try:
            request = self.form.read(event, **off, **self._sources(event, manager))
        except ValidationError as error:
            raise InvalidRequest(sentence(error, ExtrasRequest)) from error
        does_something = (
            (request.upscale_enabled and request.upscaler_1 not in ("", "None"))
            or request.gfpgan_visibility > 0
            or request.codeformer_visibility > 0
            or request.split_oversized
            or request.focal_crop
            or request.autosized_crop
            or request.create_flipped_copies
        )
        if not does_something:
            raise InvalidRequest(NOTHING_CHOSEN)
        return request

    def receive(self, picture: Any) -> Answer:
        """The event answer that puts `picture` (a file or an image) into the first sub-tab and opens it."""
        return {self.image: picture, self.modes.tabs: gr.Tabs(selected=SINGLE), self.modes.chosen: SINGLE}

    @property
    def receivers(self) -> list[Any]:
        """The outputs of `receive`."""
        return [self.image, self.modes.tabs, self.modes.chosen]

    def _sources(self, event: Event, manager: PipelineManager) -> dict[str, Any]:
        match event[self.modes.chosen]:
            case "batch_process":
                if not event[self.files]:
                    raise InvalidRequest(NO_FILES)
                return {"files": [Path(file) for file in event[self.files]]}
            case "batch_from_directory":
                named, output = (str(event[box] or "").strip() for box in (self.input_dir, self.output_dir))
                if not named:
                    raise InvalidRequest(NO_FOLDER)
                return {
                    "files": batch_files(manager.user_folder(named)),
                    "output_dir": manager.user_folder(output) if output else None,
                }
            case _:
                if not event[self.image]:
                    raise InvalidRequest(NO_IMAGE)
                return {"images": [read_upload(event[self.image])], "show_extras_results": True}


def build_extras(manager: PipelineManager, browser: gr.BrowserState) -> ExtrasTab:
    """Lays the tab out in the current context and binds its own events."""
    form = Form(ExtrasRequest, TAB, manager.choices)
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=5, min_width=340, elem_id="extras_settings", elem_classes="settings-column"):
            with source_modes(TAB, SINGLE) as modes:
                with modes.mode(SINGLE, "Single Image", "extras_single_tab"):
                    image = picture_input(SOURCE, "extras_image")
                with modes.mode(BATCH, "Batch Process", "extras_batch_process_tab"):
                    files = gr.File(
                        label=SOURCES, file_count="multiple", file_types=["image"], elem_id="extras_image_batch"
                    )
                with modes.mode(FOLDER, "Batch from Directory", "extras_batch_directory_tab"):
                    input_dir = gr.Textbox(label=INPUT_DIR, info=FOLDER_HINT, elem_id="extras_batch_input_dir")
                    output_dir = gr.Textbox(label=OUTPUT_DIR, info=OUTPUT_HINT, elem_id="extras_batch_output_dir")
                    form.render("show_extras_results")
            _build_upscaling(form, manager)
            faces = _build_faces(form)
            _build_training(form)
        with gr.Column(scale=6, min_width=340):
            row = build_run_buttons(TAB)
            panel = build_output_panel(TAB)
    runner = Runner(manager=manager, tab=TAB, row=row, panel=panel, browser=browser, watched=gr.State(Watched()))
    tab = ExtrasTab(
        form=form,
        panel=panel,
        runner=runner,
        modes=modes,
        image=image,
        files=files,
        input_dir=input_dir,
        output_dir=output_dir,
        faces=faces,
    )
    runner.bind(lambda event: tab.request(event, manager), tab.inputs)
    return tab


def bind_send_to_extras(
    extras: ExtrasTab, tabs: gr.Tabs, panels: Sequence[OutputPanel], png_info: PngInfo | None = None
) -> None:
    """Binds "Send to Extras" under each gallery and on PNG Info."""
    outputs = [*extras.receivers, tabs]
    for panel in panels:

        def send(pictures: list[GeneratedImage], selected: int) -> Answer:
            return {**extras.receive(picture_source(picture_at(pictures, selected))), tabs: gr.Tabs(selected=TAB)}

        on(panel.send_extras.click, send, inputs=[panel.pictures, panel.selected], outputs=outputs)
    if png_info is not None:

        def send_file(path: str | None) -> Answer:
            if not path:
                raise InvalidRequest(NO_PICTURE)
            return {**extras.receive(path), tabs: gr.Tabs(selected=TAB)}

        on(png_info.send[TAB].click, send_file, inputs=[png_info.image], outputs=outputs)


def _build_upscaling(form: Form[ExtrasRequest], manager: PipelineManager) -> None:
    with switched_group("extras_upscale_group"):
        with gr.Row(elem_classes="switch-head"):
            form.render("upscale_enabled", container=False, scale=0, min_width=120, elem_id="extras_upscale")
        with gr.Column(elem_classes="switch-body"):
            form.render("resize_mode", visible="hidden")
            with gr.Tabs(elem_id="extras_resize_mode_tabs", selected="0") as tabs:
                with gr.Tab(SCALE_BY, id="0", elem_id="extras_scale_by_tab") as by, gr.Row():
                    form.render("upscaling_resize", min_width=150)
                    form.render("max_side_length", min_width=150)
                with gr.Tab(SCALE_TO, id="1", elem_id="extras_scale_to_tab") as to:
                    with gr.Row(elem_classes="size-row"):
                        with gr.Column(min_width=120):
                            form.render("upscaling_resize_w", "upscaling_resize_h")
                        with gr.Column(min_width=40, elem_classes="swap-column"):
                            swap = tool_button(SWAP, "swap", "extras_res_switch_btn")
                    form.render("upscaling_crop")
            with gr.Row(elem_classes="with-tool"):
                # As on A1111's page; the API's default stays "None".
                form.render("upscaler_1", min_width=150, value="Lanczos")
                refresh = tool_button(REFRESH, "refresh", "extras_refresh_upscalers")
            with gr.Row():
                form.render("upscaler_2", min_width=150)
                form.render("extras_upscaler_2_visibility", min_width=150, elem_id="extras_upscaler_2_visibility")
    mode, sides = form["resize_mode"], [form["upscaling_resize_w"], form["upscaling_resize_h"]]
    for tab, value in ((by, 0), (to, 1)):
        on(tab.select, None, outputs=[mode], js=f"() => {value}")
    on(
        mode.change,  # type: ignore[attr-defined]
        None,
        inputs=[mode],
        outputs=[tabs],
        js='(mode) => ({ __type__: "update", selected: String(Number(mode) || 0) })',
    )

    def look_again() -> Answer:
        manager.refresh("upscalers")
        return form.lists("upscalers")

    on(refresh.click, look_again, inputs=None, outputs=[form["upscaler_1"], form["upscaler_2"]])
    on(swap.click, None, inputs=sides, outputs=sides, js="(width, height) => [height, width]")

    def factor_of(name: str) -> Answer:
        found = _SCALE.search(name or "")
        if not found or not manager.settings.settings.set_scale_by_when_changing_upscaler:
            return {form["upscaling_resize"]: gr.skip()}
        return {form["upscaling_resize"]: float(found[1] or found[2])}

    on(form["upscaler_1"].change, factor_of, inputs=[form["upscaler_1"]], outputs=[form["upscaling_resize"]])  # type: ignore[attr-defined]


def _build_faces(form: Form[ExtrasRequest]) -> dict[str, gr.Checkbox]:
    switches: dict[str, gr.Checkbox] = {}
    groups = (
        ("gfpgan", GFPGAN, NEEDS.format(folder="GFPGAN", licence="Apache-2.0"), ("gfpgan_visibility",)),
        (
            "codeformer",
            CODEFORMER,
            NEEDS.format(folder="Codeformer", licence="S-Lab License 1.0, not for commercial use"),
            ("codeformer_visibility", "codeformer_weight"),
        ),
    )
    for name, label, note, fields in groups:
        with switched_group(f"extras_{name}_group"):
            with gr.Row(elem_classes="switch-head"):
                switches[name] = gr.Checkbox(
                    label=label, value=False, elem_id=f"extras_{name}_enable", container=False, scale=0
                )
            with gr.Column(elem_classes="switch-body"):
                with gr.Row():
                    for field in fields:
                        # As on A1111's page: switched on, a restorer is fully visible.
                        value = {"value": 1.0} if field.endswith("visibility") else {}
                        form.render(field, min_width=150, **value)
                gr.HTML(note, elem_classes="group-note", padding=False)
    return switches


def _build_training(form: Form[ExtrasRequest]) -> None:
    groups = (
        ("split_oversized", (("split_threshold", "overlap_ratio"),)),
        (
            "focal_crop",
            (("focal_face_weight", "focal_entropy_weight"), ("focal_edges_weight", "focal_debug")),
        ),
        (
            "autosized_crop",
            (
                ("multicrop_mindim", "multicrop_maxdim"),
                ("multicrop_minarea", "multicrop_maxarea"),
                ("multicrop_objective", "multicrop_threshold"),
            ),
        ),
        ("create_flipped_copies", (("flips",),)),
    )
    with gr.Accordion(FOR_TRAINING, open=False, elem_id="extras_training"):
        for switch, rows in groups:
            with switched_group(f"extras_{switch}_group"):
                with gr.Row(elem_classes="switch-head"):
                    form.render(switch, container=False, scale=0, min_width=120)
                with gr.Column(elem_classes="switch-body"):
                    for names in rows:
                        with gr.Row():
                            for name in names:
                                form.render(name, min_width=150)
