"""Img2img and inpaint through the page: masks, sketches, uploads, batches, and copying between the sub-tabs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_canvas import brush, draw, open_editor, painted, picture_file, wait_until_kept
from tests.browser.test_first_picture import Open, Screenshot, drop_file, finish, generate, open_tab, set_number

SIZE = 128
BLUR = 4
REACH = int(2.5 * BLUR + 0.5)
"""How far, in pixels, the blur carries the mask."""


def start(open_page: Open, tab: str, mode: str | None = None) -> Page:
    """A page on a sub-tab of `tab`."""
    page = open_page()
    open_tab(page, tab)
    page.wait_for_selector(f"#tab_{tab} .canvas-editor")
    if mode:
        open_mode(page, tab, mode)
    set_number(page, f"{tab}_steps", 6)
    return page


def open_mode(page: Page, tab: str, mode: str) -> None:
    page.locator(f"#mode_{tab}").get_by_role("tab", name=mode, exact=True).click()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def grown(box: list[int], by: int) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(max(0, top - by), bottom + by), slice(max(0, left - by), right + by)


@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
def test_inpainting_changes_nothing_outside_the_drawn_mask(
    open_page: Open, site: Site, tmp_path: Path, screenshot: Screenshot, area: str
) -> None:
    page = start(open_page, "inpaint")
    source = picture_file(tmp_path, SIZE, SIZE)
    open_editor(page, source)
    expect(page.locator("#inpaint_width input[type=number]")).to_have_value(str(SIZE))
    brush(page, 14)
    draw(page, (50, 60), (80, 70))
    count, box = painted(page)
    assert count > 300
    page.locator("#inpaint_inpaint_full_res").get_by_text(area, exact=True).click()
    set_number(page, "inpaint_denoising_strength", 1)
    made = generate(page, site, "a red ball on a beach", tab="inpaint")
    before, after = pixels(source), pixels(made)
    assert after.shape == before.shape
    outside = np.ones((SIZE, SIZE), bool)
    outside[grown(box, REACH)] = False
    assert np.array_equal(after[outside], before[outside])
    assert np.abs(after - before)[grown(box, 0)].mean() > 8
    screenshot(page, f"desktop-light-inpaint-{area.split()[0].lower()}")


def test_the_mask_counts_up_to_the_last_stroke(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "inpaint")
    source = picture_file(tmp_path, SIZE, SIZE)
    open_editor(page, source)
    brush(page, 20)
    draw(page, (30, 30))
    generate(page, site, "a cat", tab="inpaint")
    draw(page, (100, 100))
    made = generate(page, site, None, tab="inpaint")
    changed = np.abs(pixels(made) - pixels(source)).sum(axis=-1)
    assert changed[92:108, 92:108].mean() > 5


def test_a_picture_sent_to_inpaint_has_an_empty_mask(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "inpaint")
    open_editor(page, picture_file(tmp_path, 200, 100))
    draw(page, (20, 20), (80, 60))
    open_tab(page, "txt2img")
    set_number(page, "txt2img_steps", 4)
    generate(page, site)
    page.click("#txt2img_send_to_inpaint")
    page.wait_for_function(f"() => webui.canvas.editor('img2maskimg')?.picture?.width === {SIZE}")
    assert painted(page)[0] == 0
    expect(page.locator("#img2maskimg .canvas-stage > img")).to_be_visible()


def test_a_sketch_colours_the_result(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "img2img", "Sketch")
    source = tmp_path / "grey.png"
    Image.new("RGB", (SIZE, SIZE), (128, 128, 128)).save(source)
    open_editor(page, source, "img2img_sketch")
    page.fill("#img2img_sketch input[type=color]", "#ff0000")
    brush(page, 60, "img2img_sketch")
    draw(page, (64, 64), (66, 64), editor="img2img_sketch")
    set_number(page, "img2img_denoising_strength", 0.1)
    made = pixels(generate(page, site, "a red ball", tab="img2img"))
    red, green, _ = made[50:78, 50:78].reshape(-1, 3).mean(axis=0)
    assert red > green + 60
    red, green, _ = made[:16, :16].reshape(-1, 3).mean(axis=0)
    assert abs(red - green) < 40


def test_an_inpaint_sketch_changes_only_what_was_painted(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "inpaint", "Inpaint sketch")
    source = picture_file(tmp_path, SIZE, SIZE)
    open_editor(page, source, "inpaint_sketch")
    page.fill("#inpaint_sketch input[type=color]", "#00ff00")
    brush(page, 24, "inpaint_sketch")
    draw(page, (64, 64), (80, 64), editor="inpaint_sketch")
    _, box = painted(page, "inpaint_sketch")
    set_number(page, "inpaint_denoising_strength", 0.2)
    before, after = pixels(source), pixels(generate(page, site, "grass", tab="inpaint"))
    outside = np.ones((SIZE, SIZE), bool)
    # The sketch itself is softened by the same blur, whose tail is longer in Pillow than in the mask.
    outside[grown(box, 3 * BLUR + 2)] = False
    assert np.abs(after - before)[outside].max() <= 1
    red, green, _ = after[60:68, 66:78].reshape(-1, 3).mean(axis=0)
    assert green > red + 40


def test_an_uploaded_mask_works(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "inpaint", "Inpaint upload")
    source = picture_file(tmp_path, SIZE, SIZE)
    mask = tmp_path / "mask.png"
    white = Image.new("L", (SIZE, SIZE), 0)
    white.paste(255, (40, 40, 80, 80))
    white.save(mask)
    open_editor(page, source, "img_inpaint_base")
    open_editor(page, mask, "img_inpaint_mask")
    before, after = pixels(source), pixels(generate(page, site, "a fox", tab="inpaint"))
    outside = np.asarray(white.filter(ImageFilter.MaxFilter(2 * REACH + 1))) == 0
    assert np.array_equal(after[outside], before[outside])
    assert np.abs(after - before)[48:72, 48:72].mean() > 4


def test_a_batch_from_a_folder_makes_a_picture_of_each_file(open_page: Open, site: Site, tmp_path: Path) -> None:
    folder, results = site.data / "batch-in", site.data / "outputs" / "batch-out"
    folder.mkdir(exist_ok=True)
    for name in ("one", "two", "three"):
        picture_file(tmp_path, SIZE, SIZE).rename(folder / f"{name}.png")
    page = start(open_page, "img2img", "Batch")
    page.locator("#img2img_batch_source").get_by_text("From directory").click()
    page.fill("#img2img_batch_input_dir textarea, #img2img_batch_input_dir input", str(folder))
    page.fill("#img2img_batch_output_dir textarea, #img2img_batch_output_dir input", "outputs/batch-out")
    set_number(page, "img2img_width", SIZE)
    set_number(page, "img2img_height", SIZE)
    page.click("#img2img_generate")
    expect(page.locator("#img2img_gallery .thumbnails .thumbnail-item")).to_have_count(3)
    finish(page, tab="img2img")
    assert sorted(path.stem for path in results.glob("*.png")) == ["one", "three", "two"]


def test_a_batch_outside_the_data_folder_is_refused(open_page: Open) -> None:
    page = start(open_page, "img2img", "Batch")
    page.locator("#img2img_batch_source").get_by_text("From directory").click()
    page.fill("#img2img_batch_input_dir textarea, #img2img_batch_input_dir input", "/etc")
    page.click("#img2img_generate")
    expect(page.locator(".toast-body")).to_contain_text("outside the folders that may be used")


def test_a_picture_is_copied_between_sub_tabs_and_tabs(open_page: Open, tmp_path: Path) -> None:
    page = start(open_page, "img2img")
    open_editor(page, picture_file(tmp_path, 160, 96), "img2img_image")
    page.click("#img2img_copy_to_sketch")
    expect(page.locator("#img2img_sketch .canvas-status")).to_contain_text("160 × 96")
    page.fill("#img2img_sketch input[type=color]", "#ff0000")
    draw(page, (40, 40), (90, 60), editor="img2img_sketch")
    page.click("#sketch_copy_to_inpaint")
    expect(page.locator("#img2maskimg .canvas-status")).to_contain_text("160 × 96")
    color = page.evaluate(
        """() => {
          const context = Object.assign(document.createElement("canvas"), { width: 160, height: 96 }).getContext("2d");
          context.drawImage(webui.canvas.editor("img2maskimg").image, 0, 0);
          return [...context.getImageData(60, 48, 1, 1).data];
        }"""
    )
    assert color == [255, 0, 0, 255]
    assert painted(page)[0] == 0


def test_resize_by_scales_the_picture_and_says_so(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "img2img")
    open_editor(page, picture_file(tmp_path, 96, 64), "img2img_image")
    page.locator("#img2img_tabs_resize").get_by_role("tab", name="Resize by").click()
    set_number(page, "img2img_scale", 2)
    expect(page.locator("#img2img_scale_resolution_preview")).to_contain_text("from 96×64 to 192×128")
    made = generate(page, site, "a boat", tab="img2img")
    assert Image.open(made).size == (192, 128)


def test_the_sub_tab_that_is_seen_counts_after_a_reload(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = start(open_page, "img2img", "Sketch")
    open_editor(page, picture_file(tmp_path, SIZE, SIZE), "img2img_sketch")
    wait_until_kept(page, "img2img_sketch")
    page.reload()
    page.wait_for_selector("#img2img_generate:visible, #txt2img_generate:visible")
    open_tab(page, "img2img")
    page.wait_for_selector("#tab_img2img .canvas-editor")
    page.wait_for_timeout(500)
    seen = page.locator("#mode_img2img [role=tab][aria-selected=true]").first.inner_text()
    mode = page.locator("#img2img_selected_mode").locator("textarea, input").input_value()
    assert mode == seen.lower()
    open_mode(page, "img2img", "Sketch")
    page.wait_for_selector("#img2img_sketch .filled")
    made = generate(page, site, "a boat", tab="img2img")
    assert Image.open(made).size == (SIZE, SIZE)


def test_a_dropped_picture_fills_the_img2img_field(open_page: Open, tmp_path: Path, screenshot: Screenshot) -> None:
    page = start(open_page, "img2img")
    drop_file(page, "#img2img_image", picture_file(tmp_path, 240, 160))
    expect(page.locator("#img2img_image img")).to_be_visible()
    expect(page.locator("#img2img_width input[type=number]")).to_have_value("240")
    screenshot(page, "desktop-light-img2img-source")
