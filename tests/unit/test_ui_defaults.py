"""ui-config.json: A1111's keys are found for our controls, and only what can be used is used."""

import json
from pathlib import Path
from typing import Any

import pytest

from schema.ui_defaults import Control, key_stems, read_defaults, stems, written_defaults

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "api" / "ui-config.json").read_text())


def control(
    tab: str, label: str, *, id: str = "", names: dict[str, Any] | None = None, slider: bool = False
) -> Control:
    return Control(
        id=id or f"{tab}_{label.lower().replace(' ', '_')}",
        tab=tab,
        label=label,
        accepts=lambda value: not isinstance(value, str) or value != "no such",
        names=names or {},
        is_slider=slider,
    )


STEPS = control("txt2img", "Sampling steps", slider=True)
MODE = control("inpaint", "Mask mode", names={"Inpaint masked": 0, "Inpaint not masked": 1})


@pytest.mark.parametrize(
    ("one", "stem"),
    [
        (STEPS, "customscript/sampler.py/txt2img/Sampling steps"),
        (control("txt2img", "Width"), "txt2img/Width"),
        (
            control("img2img", "Checkpoint", id="img2img_refiner_checkpoint"),
            "customscript/refiner.py/img2img/Checkpoint",
        ),
        (control("txt2img", "Hires checkpoint", id="hr_checkpoint"), "txt2img/Checkpoint"),
        (control("txt2img", "X type", id="script_txt2img_xyz_plot_x_type"), "customscript/xyz_grid.py/txt2img/X type"),
        (control("img2img", "Loops", id="script_loopback_loops"), "customscript/loopback.py/img2img/Loops"),
        (control("extras", "Resize"), "customscript/postprocessing_upscale.py/extras/Resize"),
    ],
)
def test_controls_have_the_keys_that_a1111_writes(one: Control, stem: str) -> None:
    assert stems(one)[0] == stem
    assert f"{stem}/value" in RECORDED


def test_a_tab_that_a1111_has_not_takes_the_values_of_the_tab_it_came_from() -> None:
    found = read_defaults({"img2img/Mask mode/value": "Inpaint not masked"}, [MODE])
    assert found.changes == {MODE.id: {"value": 1}}
    found = read_defaults({"img2img/Mask mode/value": "Inpaint not masked", "inpaint/Mask mode/value": 0}, [MODE])
    assert found.changes == {MODE.id: {"value": 0}}


def test_keys_of_older_releases_are_read_too() -> None:
    assert read_defaults({"txt2img/Sampling steps/value": 31}, [STEPS]).changes == {STEPS.id: {"value": 31}}


def test_a_slider_takes_its_range_and_only_hiding_is_taken_over() -> None:
    values = {
        f"txt2img/Sampling steps/{name}": value
        for name, value in {"minimum": 2, "maximum": 60, "step": 2, "visible": True}.items()
    }
    assert read_defaults(values, [STEPS]).changes == {STEPS.id: {"minimum": 2, "maximum": 60, "step": 2}}
    assert read_defaults({"txt2img/Sampling steps/visible": False}, [STEPS]).changes == {STEPS.id: {"visible": False}}


def test_what_cannot_be_used_is_named_and_left_out() -> None:
    values = {
        "txt2img/Sampling steps/value": "no such",
        "txt2img/Sampling steps/minimum": 9,
        "txt2img/Sampling steps/maximum": 3,
        "txt2img/Somebody else's/value": 1,
    }
    found = read_defaults(values, [STEPS])
    assert found.changes == {}
    assert [sentence.split(".")[0] for sentence in found.refused] == [
        "txt2img: Sampling steps cannot be 'no such'",
        "txt2img: Sampling steps cannot go from 9 to 3 in steps of None",
    ]
    assert found.unknown == ("txt2img/Somebody else's/value",)


def test_two_controls_of_one_label_do_not_share_a_key() -> None:
    one, two = control("img2img", "Mask blur", id="a"), control("img2img", "Mask blur", id="b")
    keys = key_stems([one, two])
    assert keys["a"][0] == "img2img/Mask blur"
    assert keys["b"] == ("img2img/Mask blur@b",)


def test_saved_values_are_in_a1111s_words_and_read_back() -> None:
    entries = written_defaults({STEPS.id: 33, MODE.id: 1}, [STEPS, MODE])
    assert entries == {
        "customscript/sampler.py/txt2img/Sampling steps/value": 33,
        "inpaint/Mask mode/value": "Inpaint not masked",
    }
    assert read_defaults(entries, [STEPS, MODE]).changes == {STEPS.id: {"value": 33}, MODE.id: {"value": 1}}
