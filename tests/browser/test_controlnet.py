"""ControlNet units by mouse and keyboard: maps, generating with them, poses, presets, and all of it after a reload."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import Open, Screenshot, generate, open_tab, set_number

UNIT = "txt2img_controlnet_ControlNet-0"
MODULE, MODEL = f"#{UNIT}_controlnet_preprocessor_dropdown input", f"#{UNIT}_controlnet_model_dropdown input"
MAP = f"#{UNIT}_generated_image .control-map"
HEAD = "#txt2img_controlnet > button.label-wrap"


def picture_file(folder: Path) -> Path:
    """A yellow rectangle and a red circle on blue, 256 x 192."""
    picture = Image.new("RGB", (256, 192), (30, 60, 90))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((60, 50, 150, 140), fill=(240, 220, 60))
    draw.ellipse((150, 40, 230, 120), fill=(200, 40, 40))
    path = folder / "shapes.png"
    picture.save(path)
    return path


def open_unit(page: Page, file: Path | None = None) -> None:
    """Opens the group, and puts `file` into the first unit."""
    page.click(HEAD)
    page.wait_for_selector(f"#{UNIT}_input_image .canvas-editor")
    if file is not None:
        page.set_input_files(f"#{UNIT}_input_image input[type=file]", file)
        page.wait_for_selector(f"#{UNIT}_input_image .canvas-editor.filled")


def choose_type(page: Page, name: str) -> None:
    page.locator(f"#{UNIT}_controlnet_type_filter_radio").get_by_text(name, exact=True).click()


def run(page: Page) -> None:
    page.click(f"#{UNIT}_controlnet_trigger_preprocessor")
    page.wait_for_selector(f"{MAP} img")


def map_pixels(page: Page) -> np.ndarray:
    """(H, W, 3) of the map that is shown."""
    data = page.locator(f"{MAP} img").evaluate(
        "async (image) => [...new Uint8Array(await (await fetch(image.src)).arrayBuffer())]"
    )
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))


@pytest.fixture
def page(open_page: Open, tmp_path: Path) -> Page:
    opened = open_page()
    open_unit(opened, picture_file(tmp_path))
    return opened


def test_a_picture_switches_the_unit_on_and_the_group_says_so(page: Page) -> None:
    expect(page.locator(f"#{UNIT}_controlnet_enable_checkbox input")).to_be_checked()
    expect(page.locator(HEAD)).to_have_attribute("data-units", "1 unit on")
    page.locator(f"#{UNIT}_controlnet_enable_checkbox input").uncheck()
    expect(page.locator(HEAD)).to_have_attribute("data-units", "")


def test_canny_shows_white_edges_on_black_beside_the_picture(page: Page, screenshot: Screenshot) -> None:
    choose_type(page, "Canny")
    expect(page.locator(MODULE)).to_have_value("canny")
    sliders = page.locator(f"#{UNIT}_controlnet_threshold_A_slider")
    expect(sliders).to_contain_text("Low Threshold")
    set_number(page, f"{UNIT}_controlnet_preprocessor_resolution_slider", 192)
    run(page)
    pixels = map_pixels(page)
    assert pixels.shape == (192, 256, 3)
    assert set(np.unique(pixels)) == {0, 255}
    assert 0.005 < (pixels > 0).mean() < 0.1
    edges = np.argwhere(pixels[:, :, 0] > 0)
    assert edges.min(axis=0) == pytest.approx([40, 60], abs=3)
    page.locator(f"#{UNIT}").scroll_into_view_if_needed()
    screenshot(page, "desktop-light-controlnet")


def test_another_type_brings_its_own_preprocessor_and_says_what_is_missing(page: Page) -> None:
    choose_type(page, "Shuffle")
    expect(page.locator(MODULE)).to_have_value("shuffle")
    choose_type(page, "SparseCtrl")
    expect(page.locator(f"#{UNIT}_note")).to_contain_text("does not make yet")
    choose_type(page, "Segmentation")
    expect(page.locator(f"#{UNIT}_note")).to_contain_text("No control model for Segmentation is here")
    choose_type(page, "All")
    page.click(MODULE)
    assert page.get_by_role("option").count() > 60


def test_the_preview_becomes_the_input_and_its_size_the_pictures(page: Page) -> None:
    choose_type(page, "Canny")
    set_number(page, f"{UNIT}_controlnet_preprocessor_resolution_slider", 192)
    run(page)
    page.click(f"{MAP} [data-act=size]")
    expect(page.locator("#txt2img_height input[type=number]")).to_have_value("192")
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("256")
    page.click(f"{MAP} [data-act=input]")
    expect(page.locator(MODULE)).to_have_value("none")
    page.wait_for_function(f"() => webui.canvas.editor('{UNIT}_input_image').picture.height === 192")
    page.click(f"{MAP} [data-act=close]")
    expect(page.locator(MAP)).to_be_hidden()


def test_generating_with_a_unit_shows_its_values_in_the_record_and_pastes_them_back(page: Page, site: Site) -> None:
    choose_type(page, "Reference")
    expect(page.locator(MODULE)).to_have_value("reference_only")
    set_number(page, f"{UNIT}_controlnet_control_weight_slider", 0.65)
    set_number(page, "txt2img_steps", 4)
    page.click(HEAD)
    generate(page, site)
    record = page.locator("#html_info_txt2img")
    expect(record).to_contain_text("Module: reference_only")
    expect(record).to_contain_text("Weight: 0.65")
    page.click(HEAD)
    set_number(page, f"{UNIT}_controlnet_control_weight_slider", 1)
    choose_type(page, "Canny")
    page.locator("#txt2img_prompt textarea").fill("")
    page.click("#paste")
    expect(page.locator(f"#{UNIT}_controlnet_control_weight_slider input[type=number]")).to_have_value("0.65")
    expect(page.locator(MODULE)).to_have_value("reference_only")


@pytest.mark.parametrize("kind", ["Canny", "Depth", "OpenPose"])
def test_the_shipped_models_make_a_map_and_a_picture(page: Page, site: Site, kind: str) -> None:
    choose_type(page, kind)
    expect(page.locator(MODEL)).to_have_value(re.compile(f"^mini-{kind.lower()}"))
    run(page)
    assert map_pixels(page).shape[2] == 3
    set_number(page, "txt2img_steps", 3)
    generate(page, site)
    expect(page.locator("#html_info_txt2img")).to_contain_text(f"Model: mini-{kind.lower()}")
    expect(page.locator("#txt2img_gallery .thumbnails .thumbnail-item")).to_have_count(2)


def test_a_reload_keeps_values_and_picture_while_the_group_is_closed(page: Page, site: Site) -> None:
    choose_type(page, "Reference")
    set_number(page, "txt2img_steps", 2)
    page.click(HEAD)
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_selector("#page_options [data-opened='1']", state="attached")
    page.wait_for_timeout(2000)
    expect(page.locator(HEAD)).to_have_attribute("data-units", "1 unit on")
    generate(page, site)
    expect(page.locator("#html_info_txt2img")).to_contain_text("Module: reference_only")


def test_an_edited_pose_becomes_the_unit_s_picture(page: Page, screenshot: Screenshot) -> None:
    choose_type(page, "OpenPose")
    page.click(f"#{UNIT}_note [data-act=new-pose]")
    page.wait_for_selector("dialog.pose-editor[open]")
    page.click("[data-pose=add]")
    joint = page.locator("[data-joint='0.pose_keypoints_2d.4']")
    box = joint.bounding_box()
    assert box is not None
    before = page.evaluate("webui.pose.written().people[0].pose_keypoints_2d.slice(12, 14)")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] - 90, steps=4)
    page.mouse.up()
    after = page.evaluate("webui.pose.written().people[0].pose_keypoints_2d.slice(12, 14)")
    assert after[0] < before[0] - 0.02
    assert after[1] < before[1] - 0.05
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Control+z")
    assert page.evaluate("webui.pose.written().people[0].pose_keypoints_2d.slice(12, 14)") == after
    page.get_by_label("Left ear", exact=True).uncheck()
    assert page.evaluate("webui.pose.written().people[0].pose_keypoints_2d.slice(51)") == [0, 0, 0]
    screenshot(page, "desktop-light-pose-editor")
    page.click("dialog.pose-editor [data-pose=send]")
    page.wait_for_selector(f"{MAP} img")
    first = map_pixels(page)
    assert first.shape == (192, 256, 3)
    x, y = round(after[0] * 256), round(after[1] * 192)
    assert first[y - 2 : y + 3, x - 2 : x + 3].max() > 200
    expect(page.locator(MODULE)).to_have_value("none")
    page.click(f"{MAP} [data-act=pose]")
    page.click("[data-pose=remove]")
    page.click("[data-pose=add]")
    page.click("dialog.pose-editor [data-pose=send]")
    page.wait_for_function(
        "([old, selector]) => document.querySelector(selector)?.src !== old",
        arg=[page.locator(f"{MAP} img").get_attribute("src"), f"{MAP} img"],
    )
    assert not np.array_equal(map_pixels(page), first)


def test_a_preset_brings_a_units_values_back(page: Page) -> None:
    choose_type(page, "Canny")
    set_number(page, f"{UNIT}_controlnet_control_weight_slider", 0.35)
    page.fill("#txt2img_controlnet_preset input", "soft edges")
    page.keyboard.press("Enter")
    page.click("#txt2img_controlnet_preset_save")
    page.wait_for_timeout(800)
    choose_type(page, "Tile")
    set_number(page, f"{UNIT}_controlnet_control_weight_slider", 1)
    page.click("#txt2img_controlnet_preset_load")
    expect(page.locator(f"#{UNIT}_controlnet_control_weight_slider input[type=number]")).to_have_value("0.35")
    expect(page.locator(MODULE)).to_have_value("canny")


def test_the_unit_fits_a_phone_in_the_dark(open_page: Open, tmp_path: Path, screenshot: Screenshot) -> None:
    page = open_page(width=390, height=844, dark=True)
    open_tab(page, "txt2img")
    open_unit(page, picture_file(tmp_path))
    choose_type(page, "OpenPose")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(f"#{UNIT}_controlnet_type_filter_radio").scroll_into_view_if_needed()
    screenshot(page, "phone-dark-controlnet")
    page.click(f"#{UNIT}_note [data-act=new-pose]")
    page.click("[data-pose=add]")
    expect(page.locator("dialog.pose-editor [data-pose=send]")).to_be_in_viewport()
    screenshot(page, "phone-dark-pose-editor")
