"""A user's first minutes with mouse and keyboard: a picture, its record, the same picture again, on any screen."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

PROMPT = "a red ball on a beach, photo"

Open = Callable[..., Page]
Screenshot = Callable[[Page, str], Path]


def generate(page: Page, site: Site, prompt: str | None = PROMPT, *, tab: str = "txt2img") -> Path:
    """Types `prompt` (None: leaves what is there), presses Ctrl+Enter and waits for the picture; its file."""
    known = set(site.pictures())
    press_generate(page, prompt, tab=tab)
    deadline = time.monotonic() + 180
    while not (fresh := [path for path in site.pictures() if path not in known]):
        assert time.monotonic() < deadline, "no picture was saved"
        page.wait_for_timeout(100)
    seed = fresh[-1].stem.rpartition("-")[2]
    expect(page.locator(f"#html_info_{tab}")).to_contain_text(seed)
    finish(page, tab=tab)
    return fresh[-1]


def press_generate(page: Page, prompt: str | None, *, tab: str = "txt2img") -> None:
    field = page.locator(f"#{tab}_prompt textarea")
    if prompt is not None:
        field.fill(prompt)
    field.focus()
    page.keyboard.press("Control+Enter")


def start_long(page: Page, prompt: str, *, steps: int = 60, batches: int = 2) -> None:
    """Starts a job that is still running when the page shows it."""
    set_number(page, "txt2img_steps", steps)
    set_number(page, "txt2img_batch_count", batches)
    press_generate(page, prompt)
    page.wait_for_selector("#txt2img_interrupt:visible")


def finish(page: Page, *, tab: str = "txt2img") -> None:
    page.wait_for_selector(f"#{tab}_generate:visible", timeout=180_000)
    page.wait_for_selector(f"#{tab}_progress [data-active='0']", state="attached", timeout=180_000)


def open_tab(page: Page, name: str) -> None:
    """Chooses a tab, from the overflow menu where the screen is narrow."""
    # Sub-tabs may have the name of a tab.
    tab = page.get_by_role("tab", name=name, exact=True).and_(page.locator('[id^="tab_"]'))
    if not tab.is_visible():
        page.locator("#tabs .overflow-menu > button").first.click()
        page.locator("#tabs .overflow-dropdown button", has_text=name).click()
        return
    tab.click()


def drop_file(page: Page, target: str, file: Path) -> None:
    """Drops `file` on an element, as from the file manager."""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    transfer = page.evaluate_handle(
        """([data, name]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "image/png" }));
            return transfer;
        }""",
        [data, file.name],
    )
    page.dispatch_event(f"{target} button", "drop", {"dataTransfer": transfer})


def set_number(page: Page, elem_id: str, value: int) -> None:
    page.fill(f"#{elem_id} input[type=number]", str(value))
    page.keyboard.press("Tab")


def test_a_prompt_becomes_a_picture_in_the_outputs(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page()
    picture = generate(page, site)
    expect(page.locator("#txt2img_gallery img").first).to_be_visible()
    expect(page.locator("#html_info_txt2img")).to_contain_text(PROMPT)
    assert PROMPT in Image.open(picture).info["parameters"]
    screenshot(page, "desktop-light-txt2img")


def test_progress_is_shown_in_the_page_and_its_title(open_page: Open, screenshot: Screenshot) -> None:
    page = open_page()
    start_long(page, "a long way")
    page.wait_for_selector("#txt2img_live_preview img")
    expect(page.locator("#txt2img_progress")).to_contain_text(re.compile(r"step \d+ of 60"))
    expect(page).to_have_title(re.compile(r"^\[\d+%"))
    screenshot(page, "desktop-light-running")
    page.click("#txt2img_interrupt")
    finish(page)


def test_a_dropped_picture_is_made_again_bit_for_bit(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page()
    page.fill("#txt2img_neg_prompt textarea", "blurry, text")
    set_number(page, "txt2img_steps", 8)
    set_number(page, "txt2img_cfg_scale", 5)
    first = generate(page, site)

    fresh = open_page()
    open_tab(fresh, "PNG Info")
    drop_file(fresh, "#pnginfo_image", first)
    expect(fresh.locator("#pnginfo_html_info")).to_contain_text(PROMPT)
    screenshot(fresh, "desktop-light-png-info")
    fresh.click("#pnginfo_send_to_txt2img")
    expect(fresh.locator("#txt2img_prompt textarea")).to_have_value(PROMPT)
    expect(fresh.locator("#txt2img_neg_prompt textarea")).to_have_value("blurry, text")
    expect(fresh.locator("#txt2img_steps input[type=number]")).to_have_value("8")
    second = generate(fresh, site, None)
    assert second != first
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))


def test_a_reload_in_mid_job_finds_the_job_again(open_page: Open, screenshot: Screenshot) -> None:
    page = open_page()
    start_long(page, "a job that outlives the page")
    page.reload()
    page.wait_for_selector("#txt2img_interrupt:visible")
    screenshot(page, "desktop-light-reattached")
    finish(page)
    expect(page.locator("#html_info_txt2img")).to_contain_text("a job that outlives the page")


def test_two_browsers_share_the_queue_and_each_gets_its_own_picture(open_page: Open) -> None:
    one, two = open_page(), open_page()
    start_long(one, "the first one's picture")
    start_long(two, "the second one's picture")
    expect(two.locator("#txt2img_progress")).to_contain_text("In queue")
    finish(one)
    finish(two)
    expect(one.locator("#html_info_txt2img")).to_contain_text("the first one's picture")
    expect(two.locator("#html_info_txt2img")).to_contain_text("the second one's picture")


def test_a_second_generate_waits_and_both_are_delivered(open_page: Open) -> None:
    page = open_page()
    start_long(page, "a queue of two", steps=120, batches=1)
    page.click("#txt2img_queue")
    finish(page)
    expect(page.locator("#txt2img_gallery .thumbnails .thumbnail-item")).to_have_count(2)


def test_escape_interrupts(open_page: Open) -> None:
    page = open_page()
    start_long(page, "too long")
    page.keyboard.press("Escape")
    finish(page)
    expect(page.locator("#html_log_txt2img")).to_contain_text("Interrupted")


def test_ctrl_up_raises_the_weight_of_the_word(open_page: Open) -> None:
    page = open_page()
    prompt = page.locator("#txt2img_prompt textarea")
    prompt.fill("red ball")
    prompt.press("End")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("red (ball:1.1)")
    prompt.press("Control+ArrowUp")
    expect(prompt).to_have_value("red (ball:1.2)")
    prompt.press("Control+ArrowDown")
    prompt.press("Control+ArrowDown")
    expect(prompt).to_have_value("red ball")


def test_an_error_is_one_clear_sentence(open_page: Open) -> None:
    page = open_page()
    open_tab(page, "img2img")
    press_generate(page, "no picture to start from", tab="img2img")
    expect(page.locator(".toast-body")).to_contain_text("Drop one on the picture field first.")


def test_the_phone_has_one_column_and_generate_in_reach(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page(width=390, height=844)
    button = page.locator("#txt2img_generate")
    expect(button).to_be_in_viewport()
    page.mouse.wheel(0, 1200)
    expect(button).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("scrollTo(0, 0)")
    generate(page, site)
    screenshot(page, "phone-light-txt2img")
    for name in ("img2img", "inpaint", "PNG Info", "Settings"):
        open_tab(page, name)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_dark_mode_follows_the_system(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page(dark=True)
    generate(page, site)
    lightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    )
    assert lightness < 3 * 60
    screenshot(page, "desktop-dark-txt2img")
    open_tab(page, "Settings")
    expect(page.locator(".settings-page.shown")).to_have_count(1)
    screenshot(page, "desktop-dark-settings")


def test_settings_search_finds_a_setting_and_apply_keeps_it(open_page: Open, site: Site) -> None:
    page = open_page()
    open_tab(page, "Settings")
    page.fill("#settings_search input, #settings_search textarea", "jpeg_quality")
    field = page.locator("#setting_jpeg_quality input[type=number]")
    expect(field).to_be_visible()
    field.fill("61")
    page.keyboard.press("Tab")
    page.click("#settings_submit")
    expect(page.locator("#settings_result")).to_contain_text("Changed")
    assert '"jpeg_quality": 61' in (site.data / "config.json").read_text()


def test_a_picture_goes_to_img2img_and_becomes_another(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page()
    generate(page, site)
    page.click("#txt2img_send_to_img2img")
    expect(page.locator("#img2img_image img")).to_be_visible(timeout=30_000)
    expect(page.locator("#img2img_prompt textarea")).to_have_value(PROMPT)
    generate(page, site, None, tab="img2img")
    expect(page.locator("#img2img_gallery img").first).to_be_visible()
    screenshot(page, "desktop-light-img2img")
