"""The ControlNet groups of the page over HTTP: what is set in a unit is what the request asks for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from schema.controlnet import ControlNetUnit, InputMode
from schema.fields import fields_of
from schema.settings import Settings
from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tests.contract.ui_client import PageClient, served
from ui.app import mount_page
from ui.controlnet_units import IDS

CANNY_MODEL = "control_v11p_sd15_canny [d14c016b]"
SET: dict[str, Any] = {
    "enabled": True,
    "low_vram": True,
    "pixel_perfect": True,
    "control_type": "Canny",
    "module": "canny",
    "model": CANNY_MODEL,
    "weight": 1.35,
    "guidance_start": 0.2,
    "guidance_end": 0.7,
    "processor_res": 640,
    "threshold_a": 33.0,
    "threshold_b": 144.0,
    "control_mode": "My prompt is more important",
    "resize_mode": "Resize and Fill",
    "hr_option": "Low res only",
    "inpaint_crop_input_image": False,
    "union_control_type": "Hard Edge",
    "loopback": True,
}
"""A value other than the default for every declared field."""

RECORD = (
    "a cat\nSteps: 5, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 128x128, "
    'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny, Weight: 0.55, Resize Mode: Just Resize, '
    "Processor Res: 320, Threshold A: 40, Threshold B: 80, Guidance Start: 0.1, Guidance End: 0.9, "
    'Pixel Perfect: True, Control Mode: Balanced"'
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeManager]]:
    folder = tmp_path_factory.mktemp("page")
    manager = FakeManager(folder / "outputs", settings=SettingsStore(folder / "config.json"), step_s=0.0)
    app = FastAPI()
    mount_page(app, manager, allowed_paths=[str(folder / "outputs")])
    with served(app) as url:
        yield url, manager


@pytest.fixture
def client(page: tuple[str, FakeManager], request: pytest.FixtureRequest) -> PageClient:
    return PageClient(page[0], request.node.name)


def unit_id(tab: str, number: int, field: str = "") -> str:
    return f"{tab}_controlnet_ControlNet-{number}" + (f"_{IDS[field]}" if field else "")


def png(width: int = 64, height: int = 48, mode: str = "RGB") -> bytes:
    pixels = np.zeros((height, width, len(mode)), np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return buffer.getvalue()


def generate(page: tuple[str, FakeManager], client: PageClient, tab: str = "txt2img", **values: Any) -> Any:
    client.fire(f"{tab}_generate", **{f"{tab}_prompt": "x", f"{tab}_steps": 1} | values)
    return page[1].seen[-1]


def in_unit(values: dict[str, Any], tab: str = "txt2img", number: int = 0) -> dict[str, Any]:
    return {unit_id(tab, number, name): value for name, value in values.items()}


def test_the_table_names_every_declared_field() -> None:
    assert set(SET) == {field.name for field in fields_of(ControlNetUnit)}
    assert all(value != getattr(ControlNetUnit(), name) for name, value in SET.items())


@pytest.mark.parametrize("tab", ["txt2img", "inpaint"])
def test_every_field_of_a_unit_reaches_the_request(page: tuple[str, FakeManager], client: PageClient, tab: str) -> None:
    there = {name: value for name, value in SET.items() if unit_id(tab, 1, name) in client_ids(client)}
    source = {"img2maskimg": {"picture": client.upload("a.png", png())}} if tab == "inpaint" else {}
    request = generate(page, client, tab, **in_unit(there, tab, 1), **source)
    unit = request.controlnet[1]
    assert {name: getattr(unit, name) for name in there} == there
    assert [each.enabled for each in request.controlnet] == [False, True, False]
    absent = {"txt2img": {"inpaint_crop_input_image"}, "inpaint": {"hr_option"}}[tab]
    assert set(SET) - set(there) == absent


def client_ids(client: PageClient) -> set[str]:
    return {str(props.get("elem_id")) for props in client.props.values()}


def test_without_an_enabled_unit_there_are_none(page: tuple[str, FakeManager], client: PageClient) -> None:
    assert generate(page, client, **in_unit({"weight": 0.4, "module": "canny"})).controlnet == []


def test_a_value_out_of_bounds_is_refused_by_name_and_unit(page: tuple[str, FakeManager], client: PageClient) -> None:
    number = len(page[1].seen)
    with pytest.raises(AssertionError, match=r"ControlNet unit 0: Control Weight must be at most 2, not 7"):
        generate(page, client, **in_unit({"enabled": True, "weight": 7}))
    assert len(page[1].seen) == number


def test_picture_mask_and_region_are_read(page: tuple[str, FakeManager], client: PageClient) -> None:
    stem = unit_id("txt2img", 0)
    editor = {"picture": client.upload("a.png", png()), "layer": client.upload("b.png", png(mode="RGBA"))}
    region = {"picture": client.upload("c.png", png(32, 24))}
    values = {
        f"{stem}_input_image": editor,
        f"{stem}_effective_region_mask": region,
        f"{stem}_controlnet_mask_upload_checkbox": True,
    }
    unit = generate(page, client, **in_unit({"enabled": True}), **values).controlnet[0]
    assert unit.image.size == (64, 48)
    assert np.asarray(unit.mask)[18, 24] == 255
    assert np.asarray(unit.mask)[0, 0] == 0
    assert unit.effective_region_mask.size == (32, 24)
    values[f"{stem}_controlnet_mask_upload_checkbox"] = False
    assert generate(page, client, **in_unit({"enabled": True}), **values).controlnet[0].effective_region_mask is None


def test_img2img_uses_its_own_picture_unless_the_unit_has_an_independent_one(
    page: tuple[str, FakeManager], client: PageClient
) -> None:
    stem = unit_id("img2img", 0)
    values = {
        "img2img_image": {"picture": client.upload("a.png", png())},
        f"{stem}_input_image": {"picture": client.upload("b.png", png(32, 32))},
    }
    enabled = in_unit({"enabled": True}, "img2img")
    assert generate(page, client, "img2img", **enabled, **values).controlnet[0].image is None
    values[f"{stem}_controlnet_same_img2img_checkbox"] = True
    assert generate(page, client, "img2img", **enabled, **values).controlnet[0].image.size == (32, 32)


def test_a_folder_makes_a_batch(page: tuple[str, FakeManager], client: PageClient) -> None:
    folder = page[1].outputs.parent / "poses"
    folder.mkdir()
    for name in ("2.png", "10.png"):
        (folder / name).write_bytes(png())
    stem = unit_id("txt2img", 0)
    values = {f"{stem}_input_mode": "batch", f"{stem}_batch_image_dir": str(folder)}
    unit = generate(page, client, **in_unit({"enabled": True}), **values).controlnet[0]
    assert (unit.input_mode, len(unit.batch_images)) == (InputMode.BATCH, 2)


@pytest.mark.parametrize("folder", ["/etc", "", "../.."])
def test_a_folder_elsewhere_or_none_is_refused(page: tuple[str, FakeManager], client: PageClient, folder: str) -> None:
    stem = unit_id("txt2img", 0)
    values = {f"{stem}_input_mode": "batch", f"{stem}_batch_image_dir": folder}
    with pytest.raises(AssertionError):
        generate(page, client, **in_unit({"enabled": True}), **values)


def test_several_pictures_at_once(page: tuple[str, FakeManager], client: PageClient) -> None:
    stem = unit_id("txt2img", 0)
    files = [client.upload(name, png()) for name in ("a.png", "b.png", "c.png")]
    values = {f"{stem}_input_mode": "merge", f"{stem}_merge_files": files}
    unit = generate(page, client, **in_unit({"enabled": True}), **values).controlnet[0]
    assert (unit.input_mode, len(unit.batch_images)) == (InputMode.MERGE, 3)


def test_run_preprocessor_shows_the_map(client: PageClient) -> None:
    stem = unit_id("txt2img", 0)
    picture = {"picture": client.upload("a.png", png())}
    values = {f"{stem}_input_image": picture, **in_unit({"module": "canny", "processor_res": 128})}
    answer = client.fire(f"{stem}_controlnet_trigger_preprocessor", **values)[0]
    assert answer[f"{stem}_controlnet_preprocessor_preview_checkbox"] is True
    assert 'data-width="171" data-height="128"' in answer[f"{stem}_generated_image"]


def test_run_preprocessor_in_img2img_takes_the_tabs_own_picture(client: PageClient) -> None:
    stem = unit_id("img2img", 2)
    values = {
        "img2img_image": {"picture": client.upload("a.png", png(80, 40))},
        **in_unit({"module": "invert"}, "img2img", 2),
    }
    answer = client.fire(f"{stem}_controlnet_trigger_preprocessor", **values)[0]
    assert 'data-width="80" data-height="40"' in answer[f"{stem}_generated_image"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("densepose (pruple bg &amp; purple torso)", ""),
        ("depth_hand_refiner", "cannot run here"),
        ("canny", "There is no control picture yet"),
    ],
)
def test_why_there_is_no_map_stands_in_the_unit(client: PageClient, module: str, words: str) -> None:
    stem = unit_id("txt2img", 0)
    picture = {} if module == "canny" else {f"{stem}_input_image": {"picture": client.upload("a.png", png())}}
    answer = client.fire(f"{stem}_controlnet_trigger_preprocessor", **picture, **in_unit({"module": module}))[0]
    assert 'role="alert"' in answer[f"{stem}_generated_image"]
    assert words in answer[f"{stem}_generated_image"]


def test_a_pasted_record_fills_its_units_and_switches_the_others_off(client: PageClient) -> None:
    answer = client.fire("paste", txt2img_prompt=RECORD)[0]
    shown = {name: answer[unit_id("txt2img", 0, name)] for name in ("weight", "resize_mode", "enabled")}
    assert shown == {"weight": 0.55, "resize_mode": "Just Resize", "enabled": True}
    slider = answer[unit_id("txt2img", 0, "threshold_a")]
    assert (slider["value"], slider["minimum"], slider["maximum"], slider["label"]) == (40, 1, 255, "Low Threshold")
    assert answer[unit_id("txt2img", 0, "module")]["value"] == "canny"
    assert answer[unit_id("txt2img", 0, "model")]["value"] == CANNY_MODEL
    assert answer[unit_id("txt2img", 1, "enabled")] is False


def test_presets_are_saved_listed_loaded_and_deleted(page: tuple[str, FakeManager], client: PageClient) -> None:
    name, stem = "txt2img_controlnet_preset", "txt2img_controlnet_preset"
    sent = json.dumps({IDS["weight"]: 0.45, IDS["module"]: "canny"})
    saved = client.fire(f"{stem}_save", **{name: "soft", "controlnet_preset_sent": sent})[0]
    assert saved[name]["choices"] == [["soft", "soft"]]
    assert (page[1].settings.path.parent / "controlnet-presets.json").is_file()
    loaded = client.fire(f"{stem}_load", **{name: "soft", "controlnet_preset_sent": "2"})[0]
    assert loaded[unit_id("txt2img", 2, "weight")] == 0.45
    assert loaded[unit_id("txt2img", 2, "module")]["value"] == "canny"
    assert loaded[unit_id("txt2img", 2, "threshold_b")]["value"] == 200
    gone = client.fire(f"{stem}_delete", **{name: "soft"})[0]
    assert gone[name]["choices"] == []


def test_an_edited_pose_is_drawn_by_the_engine(client: PageClient) -> None:
    stem = unit_id("inpaint", 1)
    points = [value for index in range(18) for value in (0.1 + index * 0.04, 0.5, 1)]
    pose = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 64, "canvas_height": 32}
    answer = client.fire("controlnet_pose_send", controlnet_pose_sent=json.dumps({"unit": stem, "pose": pose}))[0]
    assert json.loads(answer["controlnet_pose_drawn"])["unit"] == stem
    assert "&quot;canvas_width&quot;: 64" in answer[f"{stem}_generated_image"]


def test_the_browser_knows_every_preprocessor_and_type(page: tuple[str, FakeManager], client: PageClient) -> None:
    script = next(d["js"] for d in client.config["dependencies"] if "controlnet.opened(" in str(d["js"]))
    spec = json.loads(script[script.index("{") : script.rindex(")")])
    assert list(spec["modules"]) == page[1].control.module_labels()
    assert spec["modules"]["canny"]["sliders"][1] == ["Low Threshold", 1, 255, 100, 1]
    assert spec["modules"]["none"]["sliders"] == [None, None, None]
    found = json.loads(client.fire("txt2img_controlnet_renew")[0]["controlnet_lists"])
    assert found["types"]["Canny"]["models"] == ["None", CANNY_MODEL, "controlnet-union-sdxl-1.0 [15e6ad5d]"]
    assert found["types"]["SparseCtrl"]["problem"]
    assert found["missing"]["openpose_full"]["can"] is True


def test_the_setting_says_how_many_units_there_are(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "config.json")
    store.update({"control_net_unit_count": 10})
    manager = FakeManager(tmp_path / "outputs", settings=store, step_s=0.0)
    app = FastAPI()
    mount_page(app, manager)
    with served(app) as url:
        ids = client_ids(PageClient(url, "ten"))
    for tab in ("txt2img", "img2img", "inpaint"):
        assert unit_id(tab, 9, "module") in ids
        assert unit_id(tab, 10, "module") not in ids
    assert Settings().control_net_unit_count == 3
