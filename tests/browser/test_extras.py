"""Extras in a real browser: a dropped picture enlarged by a filter and by a network, results sent on."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import Open, Screenshot, drop_file, open_tab, set_number
from tests.numerics.pictures import synthetic


def choose(page: Page, elem_id: str, entry: str) -> None:
    """Chooses an entry of a dropdown."""
    page.click(f"#{elem_id} input")
    page.locator(f"#{elem_id} [role=option]", has_text=entry).click()
    expect(page.locator(f"#{elem_id} input")).to_have_value(entry)


def enlarge(page: Page, site: Site) -> Image.Image:
    """Presses Generate and waits for the result; the saved file."""
    known = set(site.pictures())
    page.click("#extras_generate")
    expect(page.locator("#extras_gallery img").first).to_be_visible()
    page.wait_for_selector("#extras_generate:visible")
    (fresh,) = set(site.pictures()) - known
    return Image.open(fresh)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    synthetic(120, 80).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("upscaler", ["Lanczos", "toy-2x"])
def test_a_dropped_picture_becomes_twice_as_large(
    open_page: Open, site: Site, screenshot: Screenshot, photo: Path, upscaler: str
) -> None:
    page = open_page(dark=upscaler != "Lanczos")
    open_tab(page, "Extras")
    drop_file(page, "#extras_image", photo)
    expect(page.locator("#extras_image img")).to_be_visible()
    choose(page, "extras_upscaler_1", upscaler)
    set_number(page, "extras_upscaling_resize", 2)
    result = enlarge(page, site)
    assert result.size == (240, 160)
    assert result.info["postprocessing"] == f"Postprocess upscale by: 2.0, Postprocess upscaler: {upscaler}"
    expect(page.locator("#html_info_extras")).to_contain_text(f"Postprocess upscaler: {upscaler}")
    screenshot(page, "desktop-dark-extras" if upscaler != "Lanczos" else "desktop-light-extras")


def test_scale_to_crops_and_the_result_goes_to_img2img(
    open_page: Open, site: Site, screenshot: Screenshot, photo: Path
) -> None:
    page = open_page(width=390, height=844)
    open_tab(page, "Extras")
    drop_file(page, "#extras_image", photo)
    page.get_by_role("tab", name="Scale to", exact=True).click()
    set_number(page, "extras_upscaling_resize_w", 128)
    set_number(page, "extras_upscaling_resize_h", 128)
    assert enlarge(page, site).size == (128, 128)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "phone-light-extras")
    page.click("#extras_send_to_img2img")
    expect(page.locator("#img2img_width input[type=number]")).to_have_value("128")


def test_missing_weights_are_named_with_their_address(open_page: Open, photo: Path, screenshot: Screenshot) -> None:
    page = open_page()
    open_tab(page, "Extras")
    drop_file(page, "#extras_image", photo)
    page.check("#extras_gfpgan_enable input")
    page.click("#extras_generate")
    words = page.locator("#html_log_extras .error")
    expect(words).to_contain_text("GFPGANv1.4.pth is missing")
    expect(words).to_contain_text("models/GFPGAN")
    screenshot(page, "desktop-light-extras-missing")


def test_values_and_picture_survive_a_reload(open_page: Open, photo: Path) -> None:
    page = open_page()
    open_tab(page, "Extras")
    drop_file(page, "#extras_image", photo)
    expect(page.locator("#extras_image img")).to_be_visible()
    page.get_by_role("tab", name="Scale to", exact=True).click()
    set_number(page, "extras_upscaling_resize_w", 192)
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_selector("#page_options [data-opened='1']", state="attached")
    expect(page.locator("#extras_upscaling_resize_w input[type=number]")).to_have_value("192")
    expect(page.locator("#extras_image img")).to_be_attached()
