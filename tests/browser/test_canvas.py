"""The picture editor by mouse and keyboard: what is painted lands where it should, is undone, and is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import Open, Screenshot, open_tab

EDITOR = "img2maskimg"

# Pixels of the layer that are painted: their number and the box around them.
PAINTED = """(name) => {
  const { canvas, context } = webui.canvas.editor(name).layer;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const box = [Infinity, Infinity, -1, -1];
  let count = 0;
  for (let index = 0; index < data.length / 4; index++) {
    if (data[index * 4 + 3] < 128) continue;
    const [x, y] = [index % canvas.width, Math.floor(index / canvas.width)];
    count++;
    box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x + 1); box[3] = Math.max(box[3], y + 1);
  }
  return { count, box };
}"""


def picture_file(folder: Path, width: int = 320, height: int = 200) -> Path:
    """A picture with much in it."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([columns * 255 // width, rows * 255 // height, (columns + rows) % 256], axis=-1)
    path = folder / "source.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def open_editor(page: Page, file: Path, editor: str = EDITOR) -> None:
    """Puts `file` into an editor of the open tab."""
    page.set_input_files(f"#{editor} input[type=file]", file)
    page.wait_for_selector(f"#{editor} .canvas-editor.filled")
    page.wait_for_timeout(200)


def on_screen(page: Page, x: float, y: float, editor: str = EDITOR) -> tuple[float, float]:
    """Where pixel (x, y) of the picture is on the screen, from the place of the picture's element."""
    box = page.locator(f"#{editor} .canvas-stage > img").bounding_box()
    size = page.evaluate("(name) => webui.canvas.editor(name).picture", editor)
    assert box is not None
    return box["x"] + x * box["width"] / size["width"], box["y"] + y * box["height"] / size["height"]


def brush(page: Page, size: int, editor: str = EDITOR) -> None:
    """Sets the brush to about `size` pixels of the picture."""
    page.evaluate("([name, size]) => { webui.canvas.editor(name).size = size; }", [editor, size])


def draw(page: Page, *points: tuple[float, float], editor: str = EDITOR) -> None:
    """One stroke through pixels of the picture."""
    page.locator(f"#{editor} .canvas-view").scroll_into_view_if_needed()
    first, *others = (on_screen(page, x, y, editor) for x, y in points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def painted(page: Page, editor: str = EDITOR) -> tuple[int, list[int]]:
    found = page.evaluate(PAINTED, editor)
    return found["count"], found["box"]


def wait_until_kept(page: Page, editor: str = EDITOR) -> None:
    page.wait_for_timeout(600)
    page.wait_for_selector(f"#{editor} [data-kept]")


@pytest.fixture
def inpaint(open_page: Open, tmp_path: Path) -> Page:
    page = open_page()
    open_tab(page, "inpaint")
    page.wait_for_selector(f"#{EDITOR} .canvas-editor")
    open_editor(page, picture_file(tmp_path))
    return page


def test_a_stroke_is_undone_and_redone_by_keys(inpaint: Page) -> None:
    brush(inpaint, 20)
    draw(inpaint, (100, 100), (200, 100))
    count, box = painted(inpaint)
    assert count == pytest.approx(100 * 20 + 3.14159 * 100, rel=0.05)
    assert box == pytest.approx([90, 90, 210, 110], abs=2)
    inpaint.keyboard.press("Control+z")
    assert painted(inpaint)[0] == 0
    inpaint.keyboard.press("Control+Shift+z")
    assert painted(inpaint)[0] == count


def test_the_eraser_inversion_and_clearing(inpaint: Page) -> None:
    brush(inpaint, 30)
    draw(inpaint, (50, 100), (250, 100))
    count, _ = painted(inpaint)
    inpaint.keyboard.press("e")
    draw(inpaint, (150, 60), (150, 140))
    erased, _ = painted(inpaint)
    assert count - 30 * 36 < erased < count - 30 * 24
    inpaint.click(f"#{EDITOR} [aria-label='Invert the mask']")
    assert painted(inpaint)[0] == pytest.approx(320 * 200 - erased, abs=400)
    inpaint.click(f"#{EDITOR} [aria-label='Clear what was drawn']")
    assert painted(inpaint)[0] == 0
    inpaint.keyboard.press("Control+z")
    assert painted(inpaint)[0] == pytest.approx(320 * 200 - erased, abs=400)


def test_rectangle_lasso_and_fill(inpaint: Page) -> None:
    inpaint.keyboard.press("Escape")
    inpaint.hover(f"#{EDITOR} .canvas-view")
    inpaint.keyboard.press("m")
    draw(inpaint, (40, 40), (140, 120))
    assert painted(inpaint)[1] == pytest.approx([40, 40, 140, 120], abs=1)
    inpaint.keyboard.press("Control+z")
    inpaint.keyboard.press("l")
    draw(inpaint, (40, 40), (140, 40), (140, 140))
    assert painted(inpaint)[0] == pytest.approx(5000, rel=0.05)
    inpaint.keyboard.press("Control+z")
    inpaint.keyboard.press("b")
    brush(inpaint, 6)
    draw(inpaint, (40, 40), (140, 40), (140, 120), (40, 120), (40, 40))
    ring, box = painted(inpaint)
    inpaint.keyboard.press("g")
    inpaint.mouse.click(*on_screen(inpaint, 90, 80))
    filled, box_after = painted(inpaint)
    assert box_after == box
    assert filled == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=0.02)
    assert filled > 3 * ring


@pytest.mark.parametrize("pixel_ratio", [1, 2])
def test_after_zooming_the_brush_paints_the_pixels_under_it(
    browser: Browser, site: Site, tmp_path: Path, pixel_ratio: int
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=pixel_ratio)
    page = context.new_page()
    page.goto(site.url)
    page.wait_for_selector("#txt2img_generate:visible")
    open_tab(page, "inpaint")
    page.wait_for_selector(f"#{EDITOR} .canvas-editor")
    open_editor(page, picture_file(tmp_path))
    before = page.evaluate("(name) => webui.canvas.editor(name).place.scale", EDITOR)
    page.mouse.move(*on_screen(page, 250, 50))
    anchor = on_screen(page, 250, 50)
    page.keyboard.down("Alt")
    for _ in range(6 * pixel_ratio):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Alt")
    page.wait_for_timeout(200)
    assert page.evaluate("(name) => webui.canvas.editor(name).place.scale", EDITOR) > 2 * before
    assert on_screen(page, 250, 50) == pytest.approx(anchor, abs=3)
    brush(page, 10)
    draw(page, (252, 48))
    assert painted(page)[1] == pytest.approx([247, 43, 257, 53], abs=1)
    page.keyboard.press("r")
    page.keyboard.down("Space")
    x, y = on_screen(page, 100, 100)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 20, steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    assert on_screen(page, 100, 100) == pytest.approx((x + 30, y + 20), abs=1)
    context.close()


def test_picture_and_mask_survive_a_tab_switch_and_a_reload(inpaint: Page, site: Site) -> None:
    brush(inpaint, 24)
    draw(inpaint, (60, 60), (200, 150))
    drawn = painted(inpaint)
    open_tab(inpaint, "txt2img")
    open_tab(inpaint, "inpaint")
    assert painted(inpaint) == drawn
    wait_until_kept(inpaint)
    inpaint.goto(site.url)
    inpaint.wait_for_selector("#txt2img_generate:visible, #inpaint_generate:visible")
    open_tab(inpaint, "inpaint")
    inpaint.wait_for_selector(f"#{EDITOR} .canvas-editor.filled")
    inpaint.wait_for_function("(name) => webui.canvas.editor(name).layer.used !== null", arg=EDITOR)
    assert painted(inpaint) == drawn


def test_a_picture_of_4096_pixels_takes_strokes_at_its_own_resolution(open_page: Open, tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    Image.linear_gradient("L").resize((4096, 4096)).convert("RGB").save(file, quality=80)
    page = open_page()
    open_tab(page, "inpaint")
    page.wait_for_selector(f"#{EDITOR} .canvas-editor")
    open_editor(page, file)
    brush(page, 200)
    draw(page, (1000, 1000), (3000, 2500))
    size = page.evaluate("(name) => webui.canvas.editor(name).layer.canvas.width", EDITOR)
    assert size == 4096
    assert painted(page)[1] == pytest.approx([900, 900, 3100, 2600], abs=16)
    page.keyboard.press("Control+z")
    assert painted(page)[0] == 0


def test_the_editor_is_worked_by_the_keyboard_alone(inpaint: Page) -> None:
    inpaint.focus(f"#{EDITOR} .canvas-view")
    brush(inpaint, 20)
    inpaint.keyboard.press("Enter")
    count, box = painted(inpaint)
    assert count > 0
    inpaint.keyboard.press("ArrowRight")
    inpaint.keyboard.press("Enter")
    assert painted(inpaint)[1][2] > box[2]
    inpaint.keyboard.press("]")
    size = inpaint.evaluate("(name) => webui.canvas.editor(name).size", EDITOR)
    assert size > 20
    for label in inpaint.locator(f"#{EDITOR} button").all():
        assert label.get_attribute("aria-label") or label.inner_text()


def test_full_screen_and_back_keep_what_was_drawn(inpaint: Page, screenshot: Screenshot) -> None:
    brush(inpaint, 24)
    draw(inpaint, (60, 60), (200, 150))
    drawn = painted(inpaint)
    screenshot(inpaint, "desktop-light-inpaint-editor")
    inpaint.keyboard.press("s")
    expect(inpaint.locator(f"#{EDITOR} .canvas-editor.full")).to_be_visible()
    inpaint.wait_for_timeout(300)
    screenshot(inpaint, "desktop-light-inpaint-full-screen")
    inpaint.keyboard.press("s")
    expect(inpaint.locator(f"#{EDITOR} .canvas-editor.full")).to_have_count(0)
    assert painted(inpaint) == drawn


def test_a_pasted_picture_goes_to_the_empty_editor(open_page: Open) -> None:
    page = open_page()
    open_tab(page, "img2img")
    page.wait_for_selector("#img2img_image .canvas-editor")
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
          canvas.getContext("2d").fillRect(0, 0, 20, 20);
          const blob = await new Promise((resolve) => canvas.toBlob(resolve));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([blob], "pasted.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator("#img2img_image .canvas-status")).to_contain_text("96 × 64")
    expect(page.locator("#img2img_width input[type=number]")).to_have_value("96")


def test_two_fingers_zoom_and_one_paints(browser: Browser, site: Site, tmp_path: Path, screenshot: Screenshot) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
    page = context.new_page()
    page.goto(site.url)
    page.wait_for_selector("#txt2img_generate:visible")
    open_tab(page, "inpaint")
    page.wait_for_selector(f"#{EDITOR} .canvas-editor")
    open_editor(page, picture_file(tmp_path))
    page.locator(f"#{EDITOR} .canvas-view").scroll_into_view_if_needed()
    touch = _toucher(page)
    x, y = on_screen(page, 160, 100)
    before = page.evaluate("(name) => webui.canvas.editor(name).place.scale", EDITOR)
    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 60, y), (x + 60, y))
    touch("touchEnd")
    assert page.evaluate("(name) => webui.canvas.editor(name).place.scale", EDITOR) == pytest.approx(
        3 * before, rel=0.1
    )
    assert painted(page)[0] == 0
    brush(page, 20)
    touch("touchStart", (x, y))
    touch("touchMove", (x + 30, y + 10))
    touch("touchEnd")
    assert painted(page)[0] > 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "phone-dark-inpaint-editor")
    context.close()


def _toucher(page: Page) -> Callable[..., None]:
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    return touch
