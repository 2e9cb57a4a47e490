"""Presets of ControlNet units, and what the page makes of maps, poses and values that the browser sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pipelines.control.plan import UnitPlan, unit_infotexts
from pipelines.control.service import DetectedMap
from preprocessors.catalogue import PREPROCESSORS
from schema.control_presets import FIELDS, ControlPresets
from schema.controlnet import ControlMode, ControlNetUnit, HiresOption, UnitResizeMode
from schema.errors import InvalidRequest
from schema.fields import fields_of
from ui.control_tools import field_values, map_html, problem_html
from ui.controlnet_units import IDS
from ui.pose_editor import JOINTS, read_pose

VALUES = {"module": "canny", "weight": 0.6, "threshold_a": 60, "control_mode": "ControlNet is more important"}


@pytest.fixture
def presets(tmp_path: Path) -> ControlPresets:
    return ControlPresets(tmp_path / "presets.json")


def test_every_declared_field_of_a_unit_has_an_element_id() -> None:
    assert set(IDS) == {field.name for field in fields_of(ControlNetUnit)}
    assert len(set(IDS.values())) == len(IDS)


def test_a_preset_holds_every_value_but_the_switch() -> None:
    assert set(IDS) - {"enabled"} == FIELDS


def test_a_saved_preset_comes_back_after_a_restart(presets: ControlPresets, tmp_path: Path) -> None:
    presets.save(" edges ", dict(VALUES))
    unit = ControlPresets(tmp_path / "presets.json").get("edges")
    assert unit.enabled
    assert (unit.module, unit.weight, unit.threshold_a, unit.control_mode) == ("canny", 0.6, 60, ControlMode.CONTROL)
    assert presets.names == ["edges"]


def test_a_preset_says_only_what_it_was_given(presets: ControlPresets) -> None:
    presets.save("edges", {"module": "canny"})
    assert presets.get("edges").model_fields_set == {"enabled", "module"}


def test_deleting_a_preset_leaves_the_others(presets: ControlPresets) -> None:
    presets.save("b", {"weight": 1.5})
    presets.save("A", {"weight": 0.5})
    presets.delete("b")
    assert presets.names == ["A"]
    with pytest.raises(InvalidRequest, match="no preset 'b'"):
        presets.get("b")


@pytest.mark.parametrize(("name", "values"), [("", {}), ("x" * 101, {}), ("a\nb", {}), ("x", {"weight": 7})])
def test_a_preset_that_cannot_be_used_is_refused(presets: ControlPresets, name: str, values: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest):
        presets.save(name, values)
    assert presets.names == []


def test_a_damaged_preset_file_is_set_aside_and_does_not_stop_saving(presets: ControlPresets, tmp_path: Path) -> None:
    (tmp_path / "presets.json").write_text("{half", encoding="utf-8")
    assert presets.names == []
    presets.save("edges", dict(VALUES))
    assert (tmp_path / "presets.json.damaged").read_text(encoding="utf-8") == "{half"
    assert presets.names == ["edges"]


def test_values_of_the_browser_become_fields() -> None:
    sent = {IDS["weight"]: 0.5, IDS["enabled"]: True, "stranger": 1, IDS["model"]: None}
    assert field_values(json.dumps(sent)) == {"weight": 0.5}


@pytest.mark.parametrize("text", ["[1]", "{half", "7"])
def test_values_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        field_values(text)


def test_a_map_carries_its_size_its_pose_and_a_link_to_save_it() -> None:
    poses = {"people": [], "canvas_width": 16, "canvas_height": 8, "animals": []}
    html = map_html(DetectedMap(image=Image.new("RGB", (16, 8)), poses=poses), "unit-a", "openpose")
    assert 'data-width="16" data-height="8"' in html
    assert "&quot;canvas_width&quot;: 16" in html
    assert 'download="openpose.png" href="data:image/png;base64,' in html
    assert 'data-act="pose"' in html
    assert 'data-act="pose"' not in map_html(DetectedMap(image=Image.new("RGB", (8, 8))), "unit-a", "canny")


def test_a_label_with_a_comma_is_recorded_by_its_name() -> None:
    entry = next(entry for entry in PREPROCESSORS if "," in entry.label)
    plan = UnitPlan(
        number=0,
        preprocessor=entry,
        module=entry.label,
        file=None,
        weight=1.0,
        mode=ControlMode.BALANCED,
        resize_mode=UnitResizeMode.RESIZE,
        hr_option=HiresOption.BOTH,
        resolution=512,
        a=0.5,
        b=0.5,
        start=0.0,
        end=1.0,
    )
    notes: list[str] = []
    assert f"Module: {entry.name}, " in str(unit_infotexts([plan], notes)["ControlNet 0"])
    assert notes == []


def test_a_problem_is_shown_as_text() -> None:
    assert "&lt;b&gt;" in problem_html("<b>")


def test_a_pose_is_read_with_the_unit_it_is_for() -> None:
    pose = {"people": [], "canvas_width": 8, "canvas_height": 8}
    assert read_pose(json.dumps({"unit": "u", "pose": pose})) == ("u", pose)
    assert len(JOINTS) == 18


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unit": "u"}', '{"pose": [1]}', "x" * 2_000_001])
def test_a_pose_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        read_pose(text)
