"""PNG Info in a real browser: models named, what sending would change, and a picture made again to compare."""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import Open, Screenshot, drop_file, generate, open_tab, set_number


def test_a_picture_made_again_is_identical_and_a_changed_one_is_explained(
    open_page: Open, site: Site, screenshot: Screenshot
) -> None:
    page = open_page()
    set_number(page, "txt2img_steps", 6)
    made = generate(page, site, "a green cube on snow, photo")
    set_number(page, "txt2img_steps", 9)

    open_tab(page, "PNG Info")
    drop_file(page, "#pnginfo_image", made)
    info = page.locator("#pnginfo_html_info")
    expect(info.locator(".presence.here")).to_have_count(1)
    page.click("#pnginfo_changes_group button >> nth=0")
    expect(page.locator("#pnginfo_changes tr", has_text="Sampling steps").locator("td")).to_have_text(["9", "6"])
    saved = len(site.pictures())
    page.click("#pnginfo_reproduce")
    expect(page.locator("#pnginfo_verdict")).to_contain_text("Identical")
    assert len(site.pictures()) == saved, "a comparison saves nothing"
    expect(page.locator("#pnginfo_compare_pictures img")).to_have_count(3)
    page.wait_for_timeout(500)
    page.locator("#pnginfo_verdict").scroll_into_view_if_needed()
    screenshot(page, "desktop-light-compare")

    other = site.data / "other.png"
    texts = PngInfo()
    record = str(Image.open(made).info["parameters"])
    texts.add_text("parameters", record.replace("Model: ", "Model: not-").replace("Model hash: ", "Model hash: 0"))
    pixels = np.asarray(Image.open(made)).copy()
    pixels[:40] = 255 - pixels[:40]
    Image.fromarray(pixels).save(other, pnginfo=texts)
    fresh = open_page(dark=True)
    open_tab(fresh, "PNG Info")
    drop_file(fresh, "#pnginfo_image", other)
    expect(fresh.locator("#pnginfo_html_info .presence.missing")).to_have_count(1)
    fresh.click("#pnginfo_reproduce")
    expect(fresh.locator("#pnginfo_verdict")).to_contain_text("PSNR")
    expect(fresh.locator("#pnginfo_verdict")).to_contain_text("is missing")
    fresh.locator("#pnginfo_compare_pictures").scroll_into_view_if_needed()
    fresh.wait_for_timeout(800)
    screenshot(fresh, "desktop-dark-compare")


def test_a_picture_goes_from_png_info_to_extras(open_page: Open, site: Site, screenshot: Screenshot) -> None:
    page = open_page(width=390, height=844)
    made = generate(page, site, "a blue cup, photo")
    open_tab(page, "PNG Info")
    drop_file(page, "#pnginfo_image", made)
    expect(page.locator("#pnginfo_html_info")).to_contain_text("a blue cup")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "phone-light-png-info")
    page.click("#pnginfo_send_to_extras")
    expect(page.locator("#extras_image img")).to_be_visible()
