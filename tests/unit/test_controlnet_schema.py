"""The declared unit: defaults, enums in every spelling, pictures, and its words in records of every release."""

import json
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from api.controlnet_units import control_units
from schema.controlnet import ControlMode, ControlNetUnit, HiresOption, InputMode, UnitResizeMode, read_choice
from schema.fields import fields_of
from schema.infotext import format_infotext, parse_infotext
from schema.infotext_controlnet import UnitRecord, is_unit_key, pasted_units, unit_infotext, written_units
from schema.paste import to_request_values
from schema.requests import Txt2ImgRequest
from schema.settings import Settings

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"
LINE = (
    "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1.0, Resize Mode: Crop and Resize, "
    "Processor Res: 512, Threshold A: 100, Threshold B: 200, Guidance Start: 0.0, Guidance End: 1.0, "
    "Pixel Perfect: False, Control Mode: Balanced"
)
RECORD = UnitRecord(
    module="canny",
    model="control_v11p_sd15_canny [d14c016b]",
    weight=1.0,
    resize_mode=UnitResizeMode.INNER_FIT,
    processor_res=512,
    threshold_a=100,
    threshold_b=200,
    guidance_start=0.0,
    guidance_end=1.0,
    pixel_perfect=False,
    control_mode=ControlMode.BALANCED,
)


def test_defaults_are_those_of_the_extension():
    unit = ControlNetUnit()
    assert (unit.enabled, unit.module, unit.model, unit.weight) == (False, "none", "None", 1.0)
    assert (unit.processor_res, unit.threshold_a, unit.threshold_b) == (-1, -1, -1)
    assert (unit.guidance_start, unit.guidance_end, unit.hr_option) == (0.0, 1.0, HiresOption.BOTH)
    assert unit.resize_mode is UnitResizeMode.INNER_FIT and unit.control_mode is ControlMode.BALANCED
    assert unit.save_detected_map and unit.inpaint_crop_input_image


def test_every_field_the_page_shows_declares_a_label():
    labels = [field.control.label for field in fields_of(ControlNetUnit)]
    assert len(labels) == len(set(labels)) >= 16
    assert {"Enable", "Low VRAM", "Pixel Perfect", "Control Type", "Preprocessor", "Model", "Control Weight"} < {
        *labels
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, "Just Resize"), (1, "Crop and Resize"), (2, "Resize and Fill"), (3, "Just Resize")]
    + [("ResizeMode.INNER_FIT", "Crop and Resize"), ("envelope (outer fit)", "Resize and Fill")],
)
def test_resize_modes_are_read_in_every_spelling(given, expected):
    assert read_choice(UnitResizeMode, given).value == expected


@pytest.mark.parametrize("given", [True, -1, 3.0, None, "", "crop", "ResizeMode.NONE"])
def test_other_values_are_no_choice(given):
    with pytest.raises(ValueError, match="choose one of"):
        read_choice(UnitResizeMode, given)


def test_list_of_pictures_becomes_several_inputs():
    picture = Image.new("RGB", (8, 8))
    unit = ControlNetUnit.model_validate({"image": [{"image": picture}, {"image": picture, "mask": picture}]})
    assert unit.input_mode is InputMode.MERGE and unit.image is None
    assert len(unit.batch_images) == 2 and unit.batch_masks[0] is None and unit.batch_masks[1] is picture


def test_end_must_not_be_before_start_even_by_default():
    with pytest.raises(ValidationError, match="start"):
        ControlNetUnit(guidance_start=0.6, guidance_end=0.5)


def test_missing_enabled_means_enabled_once_something_is_said():
    assert [unit["enabled"] for unit in control_units([{}, {"weight": 1}, {"model": "x"}, {"image": "x"}])] == [
        False,
        False,
        True,
        True,
    ]
    assert control_units([{"enabled": False, "model": "x"}])[0]["enabled"] is False


def test_flat_values_are_cut_into_units():
    flat = [True, "canny", "a", 1.0, None, 1, False, 512, 1, 2, 0, 1, False, 0]
    units = control_units([False, False, *flat, *flat])
    assert [(unit["module"], unit["control_mode"]) for unit in units] == [("canny", 0)] * 2


def test_line_is_written_as_the_extension_does():
    assert unit_infotext(RECORD) == LINE
    with pytest.raises(ValueError, match="comma"):
        unit_infotext(UnitRecord(**{**vars(RECORD), "model": "a, b"}))


def test_line_survives_writing_and_pasting():
    text = format_infotext("a cat", "", {"Steps": 20, "Sampler": "Euler", "Seed": 1, "ControlNet 0": LINE})
    pasted = to_request_values(parse_infotext(text), Txt2ImgRequest, settings=Settings())
    (unit,) = pasted.values["controlnet"]
    assert unit.enabled and unit.model == RECORD.model and unit.threshold_b == 200
    assert pasted.unused == () and not any("ControlNet" in note for note in pasted.notes)


def test_setting_keeps_units_out_of_pasting():
    text = format_infotext("a cat", "", {"Steps": 20, "Sampler": "Euler", "Seed": 1, "ControlNet 0": LINE})
    settings = Settings(control_net_sync_field_args=False)
    pasted = to_request_values(parse_infotext(text), Txt2ImgRequest, settings=settings)
    assert "controlnet" not in pasted.values and pasted.unused == ()


def test_recorded_infotext_gives_its_unit():
    cases = json.loads((DATA / "infotext_parse.json").read_text(encoding="utf-8"))["cases"]
    texts = [case["input"]["text"] for case in cases if "ControlNet 0" in json.dumps(case["input"])]
    assert texts
    for text in texts:
        (unit,) = pasted_units(parse_infotext(text).fields, [])
        assert (unit.module, unit.pixel_perfect, unit.threshold_a) == ("canny", True, 100.0)


def test_older_forms_are_read():
    notes = []
    (unit,) = pasted_units(
        {
            "ControlNet 0": "preprocessor: depth, model: control_sd15_depth [fef5e48e], weight: 0.8, starting/ending: "
            "(0.1, 0.9), resize mode: Just Resize, pixel perfect: True, control mode: My prompt is more important, "
            "preprocessor params: (384, 0.5, 64)"
        },
        notes,
    )
    assert (unit.guidance_start, unit.guidance_end, unit.processor_res, unit.threshold_b) == (0.1, 0.9, 384, 64)
    assert unit.control_mode is ControlMode.PROMPT and unit.resize_mode is UnitResizeMode.RESIZE and not notes
    keys = {"ControlNet-1 Enabled": "True", "ControlNet-1 Module": "openpose", "ControlNet-1 Guidance End": "0.7"}
    units = pasted_units(keys, notes)
    assert [each.enabled for each in units] == [False, True] and units[1].module == "openpose"
    assert all(is_unit_key(key) for key in keys) and not is_unit_key("ControlNet")


def test_forge_adds_an_option_and_leaves_out_defaults():
    text = "Module: canny, Model: x, Weight: 1, Resize Mode: Crop and Resize, Hr Option: High res only"
    (unit,) = pasted_units({"ControlNet 0": text}, [])
    assert unit.hr_option is HiresOption.HIGH_RES_ONLY and unit.processor_res == -1
    assert written_units({"ControlNet 0": text})[0]["hr_option"] == "High res only"


def test_bad_text_is_a_note_and_nothing_else():
    notes = []
    assert pasted_units({"ControlNet 0": "Module: canny, Weight: 9", "ControlNet 1": "Weight: x"}, notes) == []
    assert len(notes) == 2 and notes[0].startswith("ControlNet 0 cannot be read")
