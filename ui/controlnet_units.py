"""The ControlNet group of a generation tab: its units, one tab each, read into and shown from `ControlNetUnit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from PIL import Image
from pydantic import ValidationError

from pipelines.control.service import Parameter
from pipelines.img2img_batch import batch_files
from schema.controlnet import NO_MODEL, ControlNetUnit, InputMode
from schema.errors import InvalidRequest, UnknownName
from schema.requests import GenerationRequest
from ui.canvas import Drawing, picture_editor
from ui.errors import sentence
from ui.events import Answer, Event
from ui.form import Form
from ui.init_images import read_upload
from ui.keep import NOT_KEPT, changes
from ui.prompt_row import tool_button

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TITLE, UNIT = "ControlNet", "ControlNet Unit {number}"
OF_UNIT = "ControlNet unit {number}: {sentence}"
IMAGE, REGION = (
    "Control picture: paint on it to mask, or to draw the control",
    "Effective Region Mask: white is acted on",
)
INPUT_MODES = (("Single Image", "simple"), ("Batch", "batch"), ("Multi-Inputs", "merge"))
INDEPENDENT = "Upload independent control image"
BATCH_FOLDER, MERGE_FILES = "Input Directory", "Pictures for Multi-Inputs"
PREVIEW, RUN, REFRESH = "Allow Preview", "Run preprocessor", "Refresh control models"
USE_REGION = "Effective Region Mask"
PRESET, PRESET_INFO = "Preset", "Values of one unit under a name; acts on the unit that is open."
LOAD, SAVE, DELETE = "Load the preset into the open unit", "Save the open unit as a preset", "Delete the preset"
NO_FOLDER = "The input directory is empty. Name a folder below the data folder, or choose another input."
NO_FILES = "There are no pictures for Multi-Inputs. Add some, or choose another input."

IDS: Mapping[str, str] = {
    "enabled": "controlnet_enable_checkbox",
    "low_vram": "controlnet_low_vram_checkbox",
    "pixel_perfect": "controlnet_pixel_perfect_checkbox",
    "inpaint_crop_input_image": "controlnet_crop_input_image_checkbox",
    "control_type": "controlnet_type_filter_radio",
    "module": "controlnet_preprocessor_dropdown",
    "model": "controlnet_model_dropdown",
    "weight": "controlnet_control_weight_slider",
    "guidance_start": "controlnet_start_control_step_slider",
    "guidance_end": "controlnet_ending_control_step_slider",
    "processor_res": "controlnet_preprocessor_resolution_slider",
    "threshold_a": "controlnet_threshold_A_slider",
    "threshold_b": "controlnet_threshold_B_slider",
    "control_mode": "controlnet_control_mode_radio",
    "resize_mode": "controlnet_resize_mode_radio",
    "hr_option": "controlnet_hr_option_radio",
    "union_control_type": "controlnet_union_control_type_dropdown",
    "loopback": "controlnet_loopback_checkbox",
}
"""Declared field → `elem_id` after the unit's prefix, as in the extension where that has the control."""

SLIDERS = ("processor_res", "threshold_a", "threshold_b")
"""Fields whose label, range and use depend on the preprocessor."""

Source = Callable[[Event], Image.Image]
"""The picture that a tab starts from."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The controls of one unit.

    Attributes:
        number: 0 for the first.
        form: Its declared fields.
        image, region: Editors of its picture with a mask, and of where it acts.
        independent: Whether it has a picture of its own in img2img and inpaint; None where it always has.
        shows_preview: Whether the preprocessor's map is shown.
        run, refresh: Buttons.
        preview: The map, or why there is none.
        note: What is to be known of the chosen type, preprocessor and model.
    """

    number: int
    form: Form[ControlNetUnit]
    image: gr.HTML
    region: gr.HTML
    uses_region: gr.Checkbox
    independent: gr.Checkbox | None
    input_mode: gr.Radio
    batch_folder: gr.Textbox
    merge_files: gr.File
    shows_preview: gr.Checkbox
    run: gr.Button
    refresh: gr.Button
    preview: gr.HTML
    note: gr.HTML

    @property
    def inputs(self) -> set[Component]:
        """Everything `read` reads."""
        own = {self.image, self.region, self.uses_region, self.input_mode, self.batch_folder, self.merge_files}
        return {*self.form.inputs, *own} | ({self.independent} if self.independent else set())

    def picture(self, event: Event) -> Drawing | None:
        """The unit's own picture; None where the tab's is used."""
        if self.independent is not None and not event[self.independent]:
            return None
        drawing: Drawing | None = event[self.image]
        return drawing if drawing and drawing.picture_file else None

    def read(self, event: Event, manager: PipelineManager) -> ControlNetUnit:
        """The unit of an event, its pictures read; one that is off is read no further.

        Raises:
            InvalidRequest: If a value breaks a bound, or the input has no pictures.
        """
        if not event[self.form["enabled"]]:
            return ControlNetUnit()
        return self.filled(event, self._pictures(event, manager))

    def filled(self, event: Event, pictures: Mapping[str, Any]) -> ControlNetUnit:
        """The unit of an event with these pictures.

        Raises:
            InvalidRequest: If a value breaks a bound.
        """
        drawing: Drawing | None = event[self.region] if event[self.uses_region] else None
        region = drawing.picture() if drawing and drawing.picture_file else None
        try:
            return self.form.read(event, **pictures, effective_region_mask=region)
        except ValidationError as error:
            words = sentence(error, ControlNetUnit)
            raise InvalidRequest(OF_UNIT.format(number=self.number, sentence=words)) from error

    def single(self, event: Event) -> dict[str, Any]:
        """The unit's own picture and mask, as the request's fields; nothing where it has none."""
        drawing = self.picture(event)
        if drawing is None:
            return {}
        mask = {"mask": drawing.mask()} if drawing.layer_file else {}
        return {"image": drawing.picture(), **mask}

    def _pictures(self, event: Event, manager: PipelineManager) -> dict[str, Any]:
        match InputMode(event[self.input_mode] or InputMode.SIMPLE):
            case InputMode.BATCH:
                named = str(event[self.batch_folder] or "").strip()
                files = batch_files(manager.user_folder(named)) if named else []
                mode, missing = InputMode.BATCH, NO_FOLDER
            case InputMode.MERGE:
                files, mode, missing = list(event[self.merge_files] or ()), InputMode.MERGE, NO_FILES
            case _:
                return self.single(event)
        if not files:
            raise InvalidRequest(OF_UNIT.format(number=self.number, sentence=missing))
        return {"input_mode": mode, "batch_images": [read_upload(str(file)) for file in files]}

    def show(self, unit: ControlNetUnit, manager: PipelineManager) -> Answer:
        """The event answer that shows what was set in `unit`; its pictures stay as they are.

        Lists are widened to all entries, so that a name outside the chosen type's is shown too.
        """
        given = unit.model_dump(mode="json", include=set(self.form.components) & unit.model_fields_set)
        special = {"module", "model", *SLIDERS}
        answer = self.form.updates({name: value for name, value in given.items() if name not in special})
        answer[self.form["control_type"]] = unit.control_type
        control = manager.control
        if "module" in given:
            label, sliders = _label(manager, unit.module), _sliders(manager, unit.module)
            answer[self.form["module"]] = gr.update(value=label, choices=control.module_labels())
            answer |= {self.form[name]: _slider(sliders[name], given.get(name)) for name in SLIDERS}
        if "model" in given:
            names = control.model_choices()
            answer[self.form["model"]] = gr.update(value=_listed(unit.model, names), choices=names)
        return answer


@dataclass(frozen=True, kw_only=True)
class Presets:
    """The row that keeps values of units under names."""

    name: gr.Dropdown
    load: gr.Button
    save: gr.Button
    delete: gr.Button


@dataclass(frozen=True, kw_only=True)
class ControlUnits:
    """The units of one tab.

    Attributes:
        tab: Name of the generation tab.
        fetching: Progress of a download of weights.
    """

    manager: PipelineManager
    tab: str
    units: Sequence[Unit]
    presets: Presets
    fetching: gr.HTML

    @property
    def inputs(self) -> set[Component]:
        """Everything `read` reads."""
        return {component for unit in self.units for component in unit.inputs}

    @property
    def outputs(self) -> list[Component]:
        """Everything `show` may change."""
        return [component for unit in self.units for component in unit.form.outputs]

    @property
    def forms(self) -> list[Form[Any]]:
        """The forms of all units."""
        return [unit.form for unit in self.units]

    def read(self, event: Event) -> list[ControlNetUnit]:
        """The request's units by their place on the page; empty while none is on.

        Raises:
            InvalidRequest: As `Unit.read`.
        """
        units = [unit.read(event, self.manager) for unit in self.units]
        return units if any(unit.enabled for unit in units) else []

    def show(self, units: Sequence[ControlNetUnit]) -> Answer:
        """The event answer that shows `units` from the first on and switches the others off."""
        answer: Answer = {}
        for own in self.units:
            if own.number < len(units) and units[own.number].enabled:
                answer |= own.show(units[own.number], self.manager)
            else:
                answer[own.form["enabled"]] = False
        return answer


def build_control_units(form: Form[Any], manager: PipelineManager) -> ControlUnits:
    """Lays the group out in the current context; `control_tools.bind_control` brings it to life.

    A unit's tab is put on the page when it is opened first, so units that nobody opens cost next to nothing.
    """
    tab = form.prefix
    names = ("control_types", "controlnet_modules", "controlnet_models")
    lists = {name: manager.choices(name) for name in names}
    units: list[Unit] = []
    with gr.Accordion(TITLE, open=False, elem_id=f"{tab}_controlnet", elem_classes="control-group"):
        presets = _build_presets(tab)
        fetching = gr.HTML("", elem_id=f"{tab}_controlnet_fetching", elem_classes="control-fetching", padding=False)
        with gr.Tabs(elem_id=f"{tab}_controlnet_tabs", selected="unit-0"):
            for number in range(manager.settings.settings.control_net_unit_count):
                unit_id = f"{tab}_controlnet_ControlNet-{number}"
                with (
                    gr.Tab(UNIT.format(number=number), id=f"unit-{number}"),
                    gr.Column(elem_id=unit_id, elem_classes=["control-unit", f"control-{tab}"], min_width=0),
                ):
                    own = Form(ControlNetUnit, unit_id, lambda name: lists.get(name, []))
                    units.append(_build_unit(own, form.model, number))
    return ControlUnits(manager=manager, tab=tab, units=units, presets=presets, fetching=fetching)


def _build_presets(tab: str) -> Presets:
    stem = f"{tab}_controlnet_preset"
    with gr.Row(elem_classes="control-presets", equal_height=False):
        name = gr.Dropdown(
            choices=[],
            value=None,
            allow_custom_value=True,
            label=PRESET,
            info=PRESET_INFO,
            elem_id=stem,
            elem_classes=NOT_KEPT,
            scale=3,
            min_width=160,
        )
        load = tool_button(LOAD, "paste", f"{stem}_load")
        changes(load, tab)
        save = tool_button(SAVE, "save", f"{stem}_save")
        delete = tool_button(DELETE, "trash", f"{stem}_delete")
    return Presets(name=name, load=load, save=save, delete=delete)


def _build_unit(form: Form[ControlNetUnit], request: type[GenerationRequest], number: int) -> Unit:
    has_source, has_hires = "init_images" in request.model_fields, "enable_hr" in request.model_fields
    is_inpaint = form.prefix.startswith("inpaint")

    def field(name: str, **options: Any) -> None:
        form.render(name, elem_id=f"{form.prefix}_{IDS[name]}", **options)

    def element(name: str) -> str:
        return f"{form.prefix}_{name}"

    with gr.Row(elem_classes="control-switches"):
        field("enabled", scale=0, min_width=90)
        for name in ("low_vram", "pixel_perfect", *(["inpaint_crop_input_image"] if is_inpaint else [])):
            field(name, scale=0, min_width=120, info=None)
        preview_id = element("controlnet_preprocessor_preview_checkbox")
        shows_preview = gr.Checkbox(label=PREVIEW, elem_id=preview_id, scale=0, min_width=130)
        region_id = element("controlnet_mask_upload_checkbox")
        uses_region = gr.Checkbox(label=USE_REGION, elem_id=region_id, scale=0, min_width=180)
        independent = (
            gr.Checkbox(label=INDEPENDENT, elem_id=element("controlnet_same_img2img_checkbox"), scale=0, min_width=250)
            if has_source
            else None
        )
    with gr.Column(elem_classes="control-input", min_width=0):
        choices: list[Any] = list(INPUT_MODES)
        input_mode = gr.Radio(
            choices, value="simple", label="Input mode", show_label=False, elem_id=element("input_mode")
        )
        with gr.Column(elem_classes="control-batch", min_width=0):
            batch_folder = gr.Textbox(label=BATCH_FOLDER, elem_id=element("batch_image_dir"))
            field("loopback")
        merge_files = gr.File(
            label=MERGE_FILES,
            file_count="multiple",
            file_types=["image"],
            elem_id=element("merge_files"),
            elem_classes="control-merge",
            height=140,
        )
    with gr.Row(elem_classes="control-pictures", equal_height=False):
        with gr.Column(elem_classes="control-own", min_width=220):
            image = picture_editor("mask", IMAGE, element("input_image"))
        with gr.Column(elem_classes="control-preview", min_width=220):
            preview = gr.HTML("", elem_id=element("generated_image"), padding=False)
        with gr.Column(elem_classes="control-region", min_width=220):
            region = picture_editor("picture", REGION, element("effective_region_mask"))
    field("control_type", elem_classes="control-types")
    with gr.Row(elem_classes="control-models", equal_height=False):
        field("module", scale=3, min_width=160)
        run = tool_button(RUN, "run", element("controlnet_trigger_preprocessor"), elem_classes="needs-canvas")
        field("model", scale=4, min_width=180)
        refresh = tool_button(REFRESH, "refresh", element("controlnet_refresh_models"))
    note = gr.HTML("", elem_id=element("note"), elem_classes="control-note", padding=False)
    field("union_control_type", visible=False)
    field("weight")
    with gr.Row():
        for name in ("guidance_start", "guidance_end"):
            field(name, min_width=180)
    with gr.Row(elem_classes="control-sliders"):
        for name in SLIDERS:
            # -1 (as the preprocessor has it) is no value of a slider; a preprocessor that has one sets it when chosen.
            least, _most = form.field(name).control.shown or (0, 0)
            field(name, min_width=140, visible=False, value=least)
    field("control_mode")
    field("resize_mode")
    if has_hires:
        field("hr_option", elem_classes="control-hires")
    return Unit(
        number=number,
        form=form,
        image=image,
        region=region,
        uses_region=uses_region,
        independent=independent,
        input_mode=input_mode,
        batch_folder=batch_folder,
        merge_files=merge_files,
        shows_preview=shows_preview,
        run=run,
        refresh=refresh,
        preview=preview,
        note=note,
    )


def _sliders(manager: PipelineManager, name: str) -> dict[str, Parameter | None]:
    """What a preprocessor makes of the three sliders; nothing of it is known for one that is not there."""
    try:
        entry = manager.control.preprocessor(name)
    except UnknownName:
        return dict.fromkeys(SLIDERS)
    return dict(zip(SLIDERS, (entry.resolution, entry.slider(1), entry.slider(2)), strict=True))


def _slider(parameter: Parameter | None, value: float | None) -> Any:
    """The update that shows a slider as a preprocessor has it, or hides it; the bounds rule holds for its value."""
    if parameter is None:
        return gr.update(visible=False)
    return gr.update(
        value=parameter.settled(value),
        visible=True,
        label=parameter.label,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        step=parameter.step,
    )


def _label(manager: PipelineManager, name: str) -> str:
    """What the page calls a preprocessor; a name that is not known stays, and Generate says so."""
    try:
        return manager.control.preprocessor(name).label
    except UnknownName:
        return name


def _listed(name: str, names: Sequence[str]) -> str:
    """The entry of a model list that `name` means, with or without its hash."""
    stem = name.partition(" [")[0].casefold()
    return next((each for each in names if each.partition(" [")[0].casefold() == stem), name or NO_MODEL)
