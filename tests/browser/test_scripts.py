"""Scripts through the page: a plot that survives a reload and comes back from its record, and a list of prompts."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_picture import Open, Screenshot, finish, press_generate, set_number

XYZ = "#script_txt2img_xyz_plot"


def choose(page: Page, elem_id: str, name: str) -> None:
    """Chooses `name` in a dropdown, by keyboard."""
    field = page.locator(f"#{elem_id} input")
    field.focus()
    field.fill(name)
    expect(page.locator("[role=option]", has_text=name).first).to_be_visible()
    page.keyboard.press("Enter")
    expect(field).to_have_value(name)


def centre(page: Page, selector: str) -> None:
    """Scrolls to where nothing lies over the element: on a phone the Generate button covers the lower edge."""
    page.locator(selector).evaluate("element => element.scrollIntoView({ block: 'center' })")


def make_small(page: Page) -> None:
    set_number(page, "txt2img_width", 128)
    set_number(page, "txt2img_height", 128)
    set_number(page, "txt2img_steps", 2)


def sheets(site: Site) -> list[Path]:
    return [path for path in site.pictures() if path.name.startswith("xyz_grid")]


def test_a_plot_of_cfg_and_steps_arrives_and_survives_a_reload(
    open_page: Open, site: Site, screenshot: Screenshot
) -> None:
    page = open_page()
    make_small(page)
    choose(page, "script_list", "X/Y/Z plot")
    choose(page, f"{XYZ[1:]}_x_type", "CFG Scale")
    page.fill(f"{XYZ}_x_values textarea, {XYZ}_x_values input", "3-7 [2]")
    choose(page, f"{XYZ[1:]}_y_type", "Steps")
    page.fill(f"{XYZ}_y_values textarea, {XYZ}_y_values input", "2-3")
    screenshot(page, "desktop-light-xyz-plot")
    press_generate(page, "a red ball on a beach")
    page.wait_for_selector("#txt2img_interrupt:visible")
    finish(page)
    expect(page.locator("#html_info_txt2img")).to_contain_text("X/Y/Z plot")
    (sheet,) = sheets(site)
    made = Image.open(sheet)
    assert made.width >= 2 * 128 and made.height >= 2 * 128
    assert "X Type: CFG Scale" in made.info["parameters"]
    screenshot(page, "desktop-light-xyz-sheet")

    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_selector("#txt2img_generate:visible")
    expect(page.locator("#script_list input")).to_have_value("X/Y/Z plot")
    expect(page.locator(f"{XYZ}_x_type input")).to_have_value("CFG Scale")
    expect(page.locator(f"{XYZ}_x_values textarea, {XYZ}_x_values input")).to_have_value("3-7 [2]")


def test_axes_with_a_list_offer_it_and_the_buttons_fill_and_swap(open_page: Open, screenshot: Screenshot) -> None:
    page = open_page(width=390, height=844)
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    script, bar = page.locator("#script_list").bounding_box(), page.locator("#txt2img_generate_box").bounding_box()
    assert script and bar and script["y"] + script["height"] <= bar["y"], "the bar covers the list of scripts"
    choose(page, "script_list", "X/Y/Z plot")
    choose(page, f"{XYZ[1:]}_x_type", "RNG source")
    centre(page, "#txt2img_xyz_grid_fill_x_tool_button")
    page.click("#txt2img_xyz_grid_fill_x_tool_button")
    chosen = page.locator(f"{XYZ}_x_values_dropdown")
    expect(chosen).to_contain_text("GPU")
    expect(chosen).to_contain_text("NV")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    centre(page, "#txt2img_xy_grid_swap_axes_button")
    page.click("#txt2img_xy_grid_swap_axes_button")
    expect(page.locator(f"{XYZ}_y_type input")).to_have_value("RNG source")
    expect(page.locator(f"{XYZ}_y_values_dropdown")).to_contain_text("CPU")
    centre(page, f"{XYZ}_csv_mode")
    page.check(f"{XYZ}_csv_mode input")
    expect(page.locator(f"{XYZ}_y_values textarea, {XYZ}_y_values input")).to_have_value("GPU,CPU,NV")
    centre(page, f"{XYZ}_y_type")
    screenshot(page, "phone-light-xyz-plot")


def test_a_pasted_record_brings_its_script_back(open_page: Open) -> None:
    page = open_page()
    record = (
        "a cat\nSteps: 3, Sampler: Euler, CFG scale: 7.0, Seed: 5, Size: 64x64, Script: X/Y/Z plot, "
        'X Type: Steps, X Values: "2, 4", Y Type: RNG source, Y Values: "GPU,NV"'
    )
    page.fill("#txt2img_prompt textarea", record)
    page.click("#paste")
    expect(page.locator("#script_list input")).to_have_value("X/Y/Z plot")
    expect(page.locator(f"{XYZ}_x_values textarea, {XYZ}_x_values input")).to_have_value("2, 4")
    expect(page.locator(f"{XYZ}_y_values_dropdown")).to_contain_text("NV")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a cat")


def test_a_file_of_prompts_fills_the_list_and_each_line_is_a_picture(
    open_page: Open, site: Site, tmp_path: Path
) -> None:
    page = open_page()
    make_small(page)
    choose(page, "script_list", "Prompts from file or textbox")
    file = tmp_path / "prompts.txt"
    file.write_text("a green hill\n\n--prompt a blue lake --steps 3\n")
    with page.expect_file_chooser() as chooser:
        page.click("#txt2img_file")
    chooser.value.set_files(file)
    text = page.locator("#script_txt2img_prompts_from_file_or_textbox_prompt_txt textarea")
    expect(text).to_have_value("a green hill\n--prompt a blue lake --steps 3")
    known = len(site.pictures())
    press_generate(page, "")
    page.wait_for_selector("#txt2img_interrupt:visible")
    finish(page)
    records = [Image.open(path).info["parameters"] for path in site.pictures()[known:]]
    assert [record.split("\n")[0] for record in records] == ["a green hill", "a blue lake"]
