"""The form binds every declared field to a component, in both directions, by name."""

from typing import Any

import gradio as gr
import pytest
from pydantic import ValidationError

from schema.requests import Img2ImgRequest, Txt2ImgRequest
from schema.settings import Settings
from ui.form import Form

LISTS = {
    "samplers": ["DPM++ 2M", "Euler"],
    "schedules": ["Automatic", "Karras"],
    "checkpoints": ["mini [0123456789]"],
    "hires_checkpoints": ["Use same checkpoint", "mini [0123456789]"],
    "hires_samplers": ["Use same sampler", "Euler"],
    "hires_schedules": ["Use same scheduler", "Karras"],
    "hires_upscalers": ["Latent", "Lanczos"],
}


def choices(name: str) -> list[str]:
    return LISTS.get(name, [])


def laid_out(model: type) -> Form[Any]:
    form = Form(model, "tab", choices)
    with gr.Blocks():
        form.render(*form.names)
    return form


def event_of(form: Form[Any], **changes: Any) -> dict[Any, Any]:
    event = {component: component.value for component in form.components.values()}
    return event | {form[name]: value for name, value in changes.items()}


@pytest.mark.parametrize("model", [Txt2ImgRequest, Img2ImgRequest])
def test_a_form_that_nobody_touched_gives_the_defaults_of_the_model(model: type) -> None:
    form = laid_out(model)
    shown_instead = {"refiner_switch_at", "image_cfg_scale", "mask_blur"}
    read = form.read(event_of(form))
    assert read.model_dump(exclude=shown_instead) == model().model_dump(exclude=shown_instead)


def test_a_changed_component_changes_its_field_and_no_other() -> None:
    form = laid_out(Txt2ImgRequest)
    before = form.read(event_of(form)).model_dump()
    after = form.read(event_of(form, width=768)).model_dump()
    assert {name for name in after if after[name] != before[name]} == {"width"}
    assert after["width"] == 768


def test_every_declared_field_can_be_rendered_and_is_unrendered_before() -> None:
    form = Form(Img2ImgRequest, "img2img", choices)
    assert form.unrendered == set(form.names)
    with gr.Blocks():
        form.render("steps", "soft_inpainting.enabled")
    assert form.unrendered == set(form.names) - {"steps", "soft_inpainting.enabled"}


def test_nested_fields_are_read_into_their_group() -> None:
    form = laid_out(Img2ImgRequest)
    event = event_of(form)
    event[form["soft_inpainting.enabled"]] = True
    event[form["soft_inpainting.schedule_bias"]] = 2.5
    read = form.read(event)
    assert (read.soft_inpainting.enabled, read.soft_inpainting.schedule_bias) == (True, 2.5)


def test_updates_take_nested_values_and_models_alike() -> None:
    form = laid_out(Img2ImgRequest)
    group = Img2ImgRequest().soft_inpainting.model_copy(update={"schedule_bias": 3.0})
    assert form.updates({"soft_inpainting": group})[form["soft_inpainting.schedule_bias"]] == 3.0
    assert form.updates({"soft_inpainting": {"enabled": True}}) == {form["soft_inpainting.enabled"]: True}


def test_radios_hold_the_index_of_their_label() -> None:
    form = laid_out(Img2ImgRequest)
    assert form["resize_mode"].choices[2] == ("Resize and fill", 2)
    assert form["inpaint_full_res"].choices == [("Whole picture", False), ("Only masked", True)]
    assert form.read(event_of(form, inpainting_fill=3)).inpainting_fill == 3


def test_words_for_leaving_a_field_out_become_none_and_back() -> None:
    form = laid_out(Txt2ImgRequest)
    assert form["hr_sampler_name"].value == "Use same sampler"
    assert form["refiner_checkpoint"].value == "None"
    read = form.read(event_of(form, hr_sampler_name="Euler", refiner_checkpoint="mini [0123456789]"))
    assert (read.hr_sampler_name, read.refiner_checkpoint) == ("Euler", "mini [0123456789]")
    assert form.updates({"hr_sampler_name": None}) == {form["hr_sampler_name"]: "Use same sampler"}


def test_a_value_beyond_a_slider_widens_it() -> None:
    form = laid_out(Txt2ImgRequest)
    update = form.updates({"steps": 400})[form["steps"]]
    assert (update["value"], update["maximum"]) == (400, 400)
    assert form.read(event_of(form, steps=400)).steps == 400


def test_a_value_beyond_the_request_is_refused_by_the_request() -> None:
    form = laid_out(Txt2ImgRequest)
    with pytest.raises(ValidationError):
        form.read(event_of(form, steps=10_000))


def test_element_names_are_those_of_a1111() -> None:
    form = laid_out(Txt2ImgRequest)
    expected = {"negative_prompt": "tab_neg_prompt", "n_iter": "tab_batch_count", "enable_hr": "tab_hr"}
    assert {name: form[name].elem_id for name in expected} == expected


def test_names_that_are_no_field_are_left_out_of_updates() -> None:
    assert laid_out(Txt2ImgRequest).updates({"no_such_field": 1}) == {}


def test_lists_answer_only_for_what_changed_when_asked_so() -> None:
    lists = {name: list(entries) for name, entries in LISTS.items()}
    form = Form(Txt2ImgRequest, "tab", lambda name: lists.get(name, []))
    with gr.Blocks():
        form.render(*form.names)
    assert form.lists(changed_only=True) == {}
    lists["samplers"].append("Heun")
    assert set(form.lists(changed_only=True)) == {form["sampler_name"]}
    assert form.lists("schedules").keys() == {form["scheduler"]}


def test_every_setting_has_a_component_that_holds_its_default() -> None:
    form = laid_out(Settings)
    assert form.unrendered == set()
    read = form.values(event_of(form))
    assert read["samples_format"] == "png"
    assert read["CLIP_stop_at_last_layers"] == 1
