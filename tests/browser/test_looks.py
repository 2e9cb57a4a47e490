"""Habits and looks: viewer, Generate forever, sizes by ratio, drop on the prompt, styles, the phone, and options."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import (
    PROMPT,
    finish,
    generate,
    open_tab,
    press_generate,
    set_number,
    start_long,
)

Open = Callable[..., Page]
Screenshot = Callable[[Page, str], Path]

TABS = ("txt2img", "img2img", "inpaint", "Extras", "PNG Info", "Checkpoint Merger", "Train", "Settings")


def side(page: Page, name: str) -> int:
    return int(page.locator(f"#txt2img_{name} input[type=number]").input_value())


def apply_setting(page: Page, key: str, value: bool) -> None:
    open_tab(page, "Settings")
    page.fill("#settings_search :is(textarea, input)", key)
    page.locator(f"#setting_{key} input").set_checked(value)
    page.click("#settings_submit")
    options = "JSON.parse(document.querySelector('#page_options [data-options]').dataset.options)"
    page.wait_for_function(f"([key, value]) => {options}[key] === value", arg=[key, value])


def drop_on_prompt(page: Page, file: Path | None = None, *, address: str = "") -> None:
    """Drops a file on the prompt, or a picture dragged from a page."""
    data = base64.b64encode(file.read_bytes()).decode("ascii") if file else ""
    transfer = page.evaluate_handle(
        """([data, name, address]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            if (address) transfer.setData("text/uri-list", address);
            else transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [data, file.name if file else "", address],
    )
    page.dispatch_event("#txt2img_prompt textarea", "drop", {"dataTransfer": transfer})


def test_the_viewer_shows_the_picture_and_its_keys_work(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page()
    set_number(page, "txt2img_batch_count", 2)
    set_number(page, "txt2img_steps", 4)
    press_generate(page, PROMPT)
    page.wait_for_selector("#txt2img_interrupt:visible")
    finish(page)
    page.click('.stage img[data-testid="detailed-image"]')
    viewer = page.locator("#lightboxModal")
    expect(viewer).to_be_visible()
    first = viewer.locator(".picture").get_attribute("src")
    count = page.locator("#txt2img_gallery .thumbnails .thumbnail-item").count()
    expect(viewer.locator(".place")).to_have_text(f"1 / {count}")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".place")).to_have_text(f"2 / {count}")
    assert viewer.locator(".picture").get_attribute("src") != first
    page.keyboard.press("i")
    expect(viewer.locator(".how")).to_contain_text("Seed")
    screenshot(page, "desktop-light-viewer")
    page.keyboard.press("z")
    expect(viewer.locator(".zoom")).to_have_attribute("aria-pressed", "true")
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -300)
    assert "scale(1)" not in (viewer.locator(".picture").get_attribute("style") or "")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.locator("body").click(position={"x": 4, "y": 4})
    page.keyboard.press("f")
    expect(viewer).to_be_visible()


def test_escape_in_the_viewer_does_not_interrupt(open_page: Open, site: Site) -> None:
    page = open_page()
    generate(page, site)
    start_long(page, "a long one", steps=150, batches=1)
    page.click("#txt2img_viewer")
    expect(page.locator("#lightboxModal")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#lightboxModal")).to_be_hidden()
    page.wait_for_timeout(400)
    expect(page.locator("#txt2img_interrupt")).to_be_visible()
    expect(page.locator("#txt2img_progress")).not_to_contain_text("Stopping")
    page.click("#txt2img_interrupt")
    finish(page)


def test_interrupt_lets_the_current_picture_be_finished_where_others_would_follow(open_page: Open, site: Site) -> None:
    page = open_page()
    before = len(site.pictures())
    start_long(page, "two pictures", steps=40, batches=4)
    page.click("#txt2img_interrupt")
    expect(page.locator("#txt2img_progress")).to_contain_text("Stopping after this picture")
    finish(page)
    assert 1 <= len(site.pictures()) - before <= 2


def test_generate_forever_goes_on_until_it_is_cancelled(open_page: Open, site: Site) -> None:
    page = open_page()
    set_number(page, "txt2img_steps", 2)
    page.fill("#txt2img_prompt textarea", "again and again")
    before = len(site.pictures())
    page.click("#txt2img_generate", button="right")
    page.get_by_role("menuitem", name="Generate forever", exact=True).click()
    expect(page.locator("#txt2img_forever")).to_have_attribute("aria-pressed", "true")
    while len(site.pictures()) < before + 3:
        page.wait_for_timeout(200)
    page.click("#txt2img_forever")
    expect(page.locator("#txt2img_forever")).to_have_attribute("aria-pressed", "false")
    finish(page)
    page.wait_for_timeout(1200)
    made = len(site.pictures())
    page.wait_for_timeout(1500)
    assert len(site.pictures()) == made


def test_generate_forever_stops_at_an_error(open_page: Open) -> None:
    page = open_page()
    open_tab(page, "img2img")
    page.fill("#img2img_prompt textarea", "no picture to start from")
    page.click("#img2img_forever")
    expect(page.locator("#webui_messages")).to_contain_text("Generate forever was stopped by an error.")
    expect(page.locator("#img2img_forever")).to_have_attribute("aria-pressed", "false")


def test_a_finished_job_sounds_once_and_not_while_it_is_switched_off(open_page: Open, site: Site) -> None:
    page = open_page()
    page.evaluate(
        "window.sounds = []; document.addEventListener('webui-notify', (event) => sounds.push(event.detail.volume))"
    )
    set_number(page, "txt2img_steps", 12)
    generate(page, site)
    page.wait_for_function("sounds.length === 1")
    apply_setting(page, "notification_audio", False)
    open_tab(page, "txt2img")
    generate(page, site, "quietly")
    page.wait_for_timeout(800)
    assert page.evaluate("sounds") == [1]
    apply_setting(page, "notification_audio", True)


def test_a_ratio_keeps_the_area_of_the_models_size(open_page: Open) -> None:
    page = open_page()
    native = int(page.locator("#model_status [data-native]").get_attribute("data-native") or 0)
    for ratio, value in (("16:9", 16 / 9), ("2:3", 2 / 3), ("1:1", 1.0)):
        page.click("#txt2img_ratios")
        page.get_by_role("menuitem", name=ratio).click()
        page.wait_for_timeout(500)
        width, height = side(page, "width"), side(page, "height")
        assert width % 8 == 0 and height % 8 == 0
        assert abs(width / height - value) / value < 0.1
        assert abs(width * height - native**2) / native**2 < 0.12


def test_a_picture_dropped_on_the_prompt_fills_the_form(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = open_page()
    set_number(page, "txt2img_steps", 7)
    picture = generate(page, site, "the prompt inside the picture")
    address = page.locator('.stage img[data-testid="detailed-image"]').get_attribute("src") or ""
    for given in (picture, None):
        page.fill("#txt2img_prompt textarea", "")
        set_number(page, "txt2img_steps", 20)
        drop_on_prompt(page, given, address="" if given else address)
        expect(page.locator("#txt2img_prompt textarea")).to_have_value("the prompt inside the picture")
        expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("7")
    text = tmp_path / "settings.txt"
    text.write_text("from a text file\nSteps: 9, Sampler: Euler, CFG scale: 4, Seed: 1, Size: 128x128")
    drop_on_prompt(page, text)
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("from a text file")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("9")


def test_a_style_is_made_used_and_removed_in_the_editor(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page()
    page.fill("#txt2img_prompt textarea", "in watercolour, {prompt}")
    page.click("#txt2img_styles_edit_button")
    page.fill("#styles_edit_select input", "Watercolour")
    page.keyboard.press("Enter")
    page.click("#styles_edit_copy")
    expect(page.locator("#styles_edit_prompt textarea")).to_have_value("in watercolour, {prompt}")
    screenshot(page, "desktop-light-styles")
    page.click("#styles_edit_save")
    expect(page.locator("#styles_edit_result")).to_contain_text("Style 'Watercolour' was saved.")
    assert "Watercolour" in (site.data / "styles.csv").read_text(encoding="utf-8-sig")
    page.click("#styles_edit_use")
    expect(page.locator("#txt2img_styles .token")).to_contain_text("Watercolour")
    open_tab(page, "img2img")
    page.click("#img2img_styles input")
    expect(page.get_by_role("option", name="Watercolour")).to_be_visible()
    page.keyboard.press("Escape")
    page.click("#img2img_styles_edit_button")
    page.click("#styles_edit_delete")
    expect(page.locator("#styles_edit_result")).to_contain_text("was deleted")
    assert "Watercolour" not in (site.data / "styles.csv").read_text(encoding="utf-8-sig")


def test_the_folder_button_says_where_the_pictures_are(open_page: Open, site: Site) -> None:
    page = open_page()
    picture = generate(page, site)
    page.click("#txt2img_open_folder")
    expect(page.locator("#html_log_txt2img")).to_contain_text(str(picture.parent))


def test_options_of_the_page_act_as_soon_as_they_are_applied(open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#txt2img_token_counter span")).to_be_visible()
    apply_setting(page, "disable_token_counters", True)
    apply_setting(page, "compact_prompt_box", True)
    open_tab(page, "txt2img")
    expect(page.locator("#txt2img_token_counter span")).to_be_hidden()
    page.wait_for_selector("body.compact-prompts")
    prompts, settings = (page.locator(at).bounding_box() for at in ("#tab_txt2img .prompts", "#txt2img_settings"))
    assert prompts and settings and abs(prompts["width"] - settings["width"]) < 2
    apply_setting(page, "disable_token_counters", False)
    apply_setting(page, "compact_prompt_box", False)
    open_tab(page, "txt2img")
    expect(page.locator("#txt2img_token_counter span")).to_be_visible()


def test_defaults_come_back_for_the_options_that_are_shown(open_page: Open) -> None:
    page = open_page()
    open_tab(page, "Settings")
    search = "#settings_search :is(textarea, input)"
    for key, value in (("n_rows", 3), ("jpeg_quality", 50)):
        page.fill(search, key)
        set_number(page, f"setting_{key}", value)
    page.click("#settings_restore")
    quality = page.locator("#setting_jpeg_quality input[type=number]")
    expect(quality).to_have_value("80")
    expect(page.locator("#setting_n_rows input[type=number]")).to_have_value("3")


def test_nothing_moves_while_a_job_runs(open_page: Open) -> None:
    page = open_page()
    ids = ["txt2img_settings", "txt2img_results", "txt2img_seed", "txt2img_gallery"]
    places = """(ids) => ids.map((id) => {
        const box = document.getElementById(id).getBoundingClientRect();
        return [box.x, box.y, box.width].map(Math.round);
    })"""
    before = page.evaluate(places, ids)
    start_long(page, "steady", steps=80, batches=1)
    page.wait_for_selector("#txt2img_live_preview img")
    assert page.evaluate(places, ids) == before
    finish(page)
    assert page.evaluate(places, ids) == before


def test_no_tab_scrolls_sideways_on_a_phone(open_page: Open, screenshot: Screenshot) -> None:
    for dark in (False, True):
        page = open_page(width=390, height=844, dark=dark)
        for name in TABS:
            open_tab(page, name)
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
            screenshot(page, f"phone-{'dark' if dark else 'light'}-{name.lower().replace(' ', '-')}")


def test_generate_and_progress_stay_in_reach_on_a_phone(open_page: Open) -> None:
    page = open_page(width=390, height=844)
    start_long(page, "on the train", steps=60, batches=1)
    page.mouse.wheel(0, 1500)
    expect(page.locator("#txt2img_interrupt")).to_be_in_viewport()
    page.wait_for_function("parseFloat(getComputedStyle(document.body).getPropertyValue('--job-progress')) > 0")
    page.click("#txt2img_interrupt")
    finish(page)


def test_each_tab_has_its_screenshot(open_page: Open, screenshot: Screenshot) -> None:
    for dark in (False, True):
        page = open_page(dark=dark)
        for name in TABS:
            open_tab(page, name)
            page.wait_for_timeout(300)
            taken = screenshot(page, f"desktop-{'dark' if dark else 'light'}-{name.lower().replace(' ', '-')}-empty")
            assert taken.stat().st_size > 20_000
