"""What the ControlNet groups do: lists that follow each other, "run preprocessor", presets, downloads of weights."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from pipelines.control.service import DetectedMap, Parameter
from schema.control_presets import FIELDS, FILE, ControlPresets
from schema.errors import InvalidRequest, UnknownName, WebuiError
from ui.controlnet_units import IDS, SLIDERS, ControlUnits, Source, Unit
from ui.downloads import POLL_S, Fetch, progress_words, size_words
from ui.errors import toast
from ui.events import Answer, Event, on
from ui.form import Form

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

NO_PICTURE = "There is no control picture yet. Drop one on the unit first."
MAP_ALT = "Map made by the preprocessor"
AS_INPUT, SEND_SIZE, SAVE_MAP, EDIT_POSE, CLOSE = (
    "Preview as input",
    "Send dimensions",
    "Save map",
    "Edit pose",
    "Close",
)
FETCHED = "{name} is ready."

WORDS = {
    "on": "{count} units on",
    "one_on": "1 unit on",
    "no_models": "No control model for {type} is here. Put .safetensors or .pth files into {folder} and press refresh.",
    "no_models_all": "No control model is here. Put .safetensors or .pth files into {folder} and press refresh.",
    "unavailable": "{module} cannot run here: {reason}",
    "missing": "{module} needs files that are not here yet: {files}.",
    "on_first_use": "They are fetched on first use.",
    "put_there": "Put them into {folder}.",
    "download": "Download ({size})",
    "no_image": "{module} makes no picture; its work is done while generating.",
    "pose_editor": "Pose editor",
    "size": "{width} × {height}",
}
"""What assets/controlnet.js says."""

SETTLED = ("module", "model", *SLIDERS, "control_mode", "union_control_type")
"""Fields whose presentation follows type, preprocessor and model; `webui.controlnet` answers for them and the note."""


def bind_control(
    units: ControlUnits,
    form: Form[Any],
    source: Source | None = None,
    source_inputs: set[Component] | None = None,
) -> None:
    """Binds what happens inside each unit of a tab.

    Args:
        source: The tab's own picture, for units without one.
    """
    for unit in units.units:
        _bind_lists(unit)
        _bind_run(units, unit, form, source, source_inputs or set())
        enabled = unit.form["enabled"]
        on(unit.image.upload, None, outputs=[enabled], js="() => true")  # type: ignore[attr-defined]


def _bind_lists(unit: Unit) -> None:
    """The browser alone fills lists and sliders anew when type, preprocessor or model change."""
    kind, module, model = (unit.form[name] for name in ("control_type", "module", "model"))
    outputs, name = settled_outputs(unit), json.dumps(unit.form.prefix)
    given = [kind, module, model]
    changed = partial(gr.on, [each.change for each in given])  # type: ignore[attr-defined]
    on(changed, None, inputs=given, outputs=outputs, js=f"(...at) => webui.controlnet.settled({name}, ...at)")
    on(
        kind.input,  # type: ignore[attr-defined]
        None,
        inputs=given,
        outputs=[*outputs, unit.preview],
        js=f"(...at) => webui.controlnet.typed({name}, ...at)",
    )
    on(
        module.input,  # type: ignore[attr-defined]
        None,
        inputs=given,
        outputs=[*outputs, unit.preview],
        js=f"(...at) => webui.controlnet.chosen({name}, ...at)",
    )
    # A map that no longer fits its picture or its values would mislead.
    others = [unit.form[each].input for each in (*SLIDERS, "pixel_perfect")]  # type: ignore[attr-defined]
    stale = partial(gr.on, [*others, unit.image.upload, unit.image.clear])  # type: ignore[attr-defined]
    on(stale, None, outputs=[unit.preview], js='() => ""')


def settled_outputs(unit: Unit) -> list[Component]:
    """What `webui.controlnet.settled` answers for."""
    return [*(unit.form[name] for name in SETTLED), unit.note]


def _bind_run(units: ControlUnits, unit: Unit, form: Form[Any], source: Source | None, source_inputs: set[Any]) -> None:
    manager, size = units.manager, [form["width"], form["height"]]

    def run(event: Event) -> Answer:
        shown: Answer = {unit.shows_preview: True}
        try:
            own = unit.single(event)
            if not own and source is None:
                raise InvalidRequest(NO_PICTURE)
            picture = own["image"] if own or source is None else source(event)
            width, height = (int(event[side] or 512) for side in size)
            asked = unit.filled(event, own)
            found = manager.control.detect_unit(asked, width=width, height=height, image=picture)
        except WebuiError as error:
            return {**shown, unit.preview: problem_html(str(error))}
        stem = manager.control.preprocessor(asked.module).name
        return {**shown, unit.preview: map_html(found, unit.form.prefix, stem)}

    inputs = {*unit.inputs, *size, *source_inputs}
    on(unit.run.click, run, inputs=inputs, outputs=[unit.preview, unit.shows_preview])


def map_html(found: DetectedMap, unit: str, stem: str) -> str:
    """A map with what can be done with it; assets/controlnet.js acts on the buttons.

    Args:
        unit: The unit's prefix.
        stem: Name of the preprocessor, for the file's name.
    """
    image, poses = found.image, json.dumps(found.poses) if found.poses is not None else ""
    address = data_url(image)
    size = f"{image.width} × {image.height}"
    buttons = [("input", AS_INPUT), ("size", SEND_SIZE), *([("pose", EDIT_POSE)] if poses else []), ("close", CLOSE)]
    row = "".join(f'<button type="button" data-act="{act}">{words}</button>' for act, words in buttons)
    return (
        f'<figure class="control-map" data-unit="{unit}" data-width="{image.width}" data-height="{image.height}"'
        f' data-poses="{escape(poses, quote=True)}"><img src="{address}" alt="{MAP_ALT}">'
        f'<figcaption>{size}</figcaption><div class="map-buttons">{row}'
        f'<a download="{escape(stem, quote=True)}.png" href="{address}">{SAVE_MAP}</a></div></figure>'
    )


def data_url(image: Image.Image) -> str:
    """`image` as a PNG in a `data:` address."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def problem_html(words: str) -> str:
    """Why there is no map."""
    return f'<p class="control-problem" role="alert">{escape(words)}</p>'


# ---- for all tabs of the page ----


def bind_control_page(page: gr.Blocks, manager: PipelineManager, groups: Sequence[ControlUnits]) -> None:
    """Binds what concerns all groups: live lists, pictures of units not opened yet, presets, downloads.

    A page that is opened costs the more the more controls an event answers for, so lists are fetched when a group is
    opened, and pictures are given back where there are any.
    """
    lists = gr.Textbox(visible=False, elem_id="controlnet_lists")
    presets = ControlPresets(manager.settings.path.with_name(FILE))
    spec = json.dumps(page_spec(manager, groups), ensure_ascii=False)
    on(page.load, None, js=f"() => webui.controlnet.opened({spec})")
    for group in groups:
        _bind_renewal(manager, group, lists, presets)
        _bind_fetching(manager, group, lists)
    _bind_presets(manager, groups, presets)


def _bind_renewal(manager: PipelineManager, group: ControlUnits, lists: gr.Textbox, presets: ControlPresets) -> None:
    # The browser presses these, when a group is opened and for pictures that it has kept.
    with gr.Row(elem_classes="control-buttons"):
        again = gr.Button("renew", elem_id=f"{group.tab}_controlnet_renew")
        pictures = gr.Button("pictures", elem_id=f"{group.tab}_controlnet_pictures")
    names = group.presets.name

    def renew() -> Answer:
        return {lists: lists_json(manager), names: gr.update(choices=presets.names)}

    def look_again() -> Answer:
        manager.control.model_names(update=True)
        return renew()

    refreshed = partial(gr.on, [unit.refresh.click for unit in group.units])
    for trigger, renewal in ((again.click, renew), (refreshed, look_again)):
        seen = on(trigger, renewal, inputs=None, outputs=[lists, names])
        _bind_listed(seen, group, lists)
    editors = [editor for unit in group.units for editor in (unit.image, unit.region)]
    on(pictures.click, None, outputs=editors, js=f"() => webui.controlnet.pictures({json.dumps(group.tab)})")


def _bind_listed(seen: Any, group: ControlUnits, lists: gr.Textbox) -> None:
    """Brings every unit of a group in line with lists that are new after the event `seen`."""
    chosen = [unit.form[name] for unit in group.units for name in ("control_type", "module", "model")]
    shown = [component for unit in group.units for component in settled_outputs(unit)]
    listed = f"(lists, ...at) => webui.controlnet.listed({json.dumps(group.tab)}, lists, at)"
    on(seen.then, None, inputs=[lists, *chosen], outputs=shown, js=listed)


def page_spec(manager: PipelineManager, groups: Sequence[ControlUnits]) -> dict[str, Any]:
    """What the browser has to know of units and preprocessors."""

    def slider(parameter: Parameter | None) -> list[Any] | None:
        if parameter is None:
            return None
        return [parameter.label, parameter.minimum, parameter.maximum, parameter.default, parameter.step]

    modules = {
        entry.label: {
            "sliders": [slider(entry.resolution), slider(entry.slider(1)), slider(entry.slider(2))],
            "free": entry.model_free,
            "mode": entry.shows_control_mode,
            "image": entry.returns_image,
            "unavailable": entry.unavailable,
            "note": entry.note,
        }
        for entry in manager.control.preprocessors
    }
    units = {group.tab: [unit.form.prefix for unit in group.units] for group in groups}
    return {"words": WORDS, "units": units, "ids": dict(IDS), "settled": SETTLED, "modules": modules}


def lists_json(manager: PipelineManager) -> str:
    """The lists of every control type, and which preprocessors lack files, for the browser."""
    control = manager.control
    types = {
        name: {
            "modules": choices.module_list,
            "models": choices.model_list,
            "module": choices.default_option,
            "model": choices.default_model,
            "problem": choices.problem,
        }
        for name, choices in control.types().items()
    }
    missing: dict[str, Any] = {}
    for entry in control.preprocessors:
        files = control.weights.missing(entry.weights)
        if files:
            size = sum(file.size_bytes for file in files)
            can = control.weights.download is not None and all(file.repo for file in files)
            missing[entry.label] = {
                "files": [file.place for file in files],
                "size": size_words(size) if size else "",
                "can": can,
            }
    folders = (manager.paths.controlnet[0], manager.paths.annotators[0])
    models, weights = ("/".join(folder.parts[-2:]) for folder in folders)
    return json.dumps({"types": types, "missing": missing, "models": models, "weights": weights}, ensure_ascii=False)


def _bind_presets(manager: PipelineManager, groups: Sequence[ControlUnits], presets: ControlPresets) -> None:
    names = [group.presets.name for group in groups]
    # What the browser sends along: the open unit's number, or its values.
    sent = gr.Textbox(visible=False, elem_id="controlnet_preset_sent")

    for group in groups:

        def load(name: str, number: str, group: ControlUnits = group) -> Answer:
            unit = group.units[min(int(number or 0), len(group.units) - 1)]
            return unit.show(presets.get(name or ""), manager)

        def save(name: str, values: str) -> Answer:
            presets.save(name or "", field_values(values))
            return {each: gr.update(choices=presets.names, value=(name or "").strip()) for each in names}

        def delete(name: str) -> Answer:
            presets.delete(name or "")
            return {each: gr.update(choices=presets.names, value=None) for each in names}

        row, tab = group.presets, json.dumps(group.tab)
        both = [row.name, sent]
        on(
            row.load.click,
            load,
            inputs=both,
            outputs=group.outputs,
            js=f"(name) => [name, webui.controlnet.openUnit({tab})]",
        )
        on(
            row.save.click,
            save,
            inputs=both,
            outputs=names,
            js=f"async (name) => [name, await webui.controlnet.values({tab})]",
        )
        on(row.delete.click, delete, inputs=[row.name], outputs=names)


def field_values(text: str) -> dict[str, Any]:
    """Field → value out of what the browser sends of a unit (`elem_id` after its prefix → value).

    Raises:
        InvalidRequest: If it is not a JSON object.
    """
    fields = {ending: name for name, ending in IDS.items()}
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidRequest("The values of the unit could not be read. Try again.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The values of the unit could not be read. Try again.")
    values = {fields[name]: value for name, value in found.items() if fields.get(name) in FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _bind_fetching(manager: PipelineManager, group: ControlUnits, lists: gr.Textbox) -> None:
    running: dict[str, Fetch] = {}
    # The button that people press stands in a unit's note, which the browser writes.
    with gr.Row(elem_classes="control-buttons"):
        get = gr.Button("fetch", elem_id=f"{group.tab}_controlnet_fetch")
    wanted = gr.Textbox(visible=False, elem_id=f"{group.tab}_controlnet_wanted")

    async def fetch(label: str) -> AsyncIterator[Answer]:
        try:
            name = manager.control.preprocessor(label).name
        except UnknownName as error:
            raise InvalidRequest(str(error)) from error
        one = running.get(name)
        if one is None or one.done.is_set():
            one = running[name] = start(partial(manager.control.fetch_weights, name), label)
        while not one.done.is_set():
            yield {group.fetching: progress_words(one)}
            await asyncio.sleep(POLL_S)
        if one.error is not None:
            yield {group.fetching: problem_html(str(toast(one.error).message))}
        else:
            done = f'<p role="status">{escape(FETCHED.format(name=label))}</p>'
            yield {group.fetching: done, lists: lists_json(manager)}

    seen = on(
        get.click,
        fetch,
        inputs=[wanted],
        outputs=[group.fetching, lists],
        js="() => webui.controlnet.fetching()",
    )
    _bind_listed(seen, group, lists)


def start(work: Callable[[Callable[[int, int], None], threading.Event], Any], label: str) -> Fetch:
    """Begins `work(on_progress, cancel)`, which fetches something called `label`, in the background."""
    one = Fetch(name=label)

    def run() -> None:
        try:
            work(one.report, one.cancel)
        except (WebuiError, OSError) as error:
            one.error = error
        finally:
            one.done.set()

    threading.Thread(target=run, name=f"download {label}", daemon=True).start()
    return one
