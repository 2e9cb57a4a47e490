"""Nothing is lost: values, jobs and pictures over a reload, undo, the prompts used, and saved defaults."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ROOT, Site, free_port, wait_for_answer
from tests.browser.test_first_picture import drop_file, finish, generate, open_tab, press_generate, set_number

Open = Callable[..., Page]


def reload(page: Page) -> None:
    page.wait_for_timeout(700)
    page.reload()
    page.wait_for_selector("#page_options [data-opened='1']", state="attached")


def choose(page: Page, elem_id: str, entry: str) -> None:
    page.click(f"#{elem_id} input")
    page.get_by_role("option", name=entry, exact=True).click()


def number(page: Page, elem_id: str) -> str:
    return page.locator(f"#{elem_id} input[type=number]").input_value()


def text(page: Page, elem_id: str) -> str:
    return page.locator(f"#{elem_id} textarea").input_value()


def test_what_was_set_is_there_after_a_reload(open_page: Open) -> None:
    page = open_page()
    page.fill("#txt2img_prompt textarea", "a prompt that stays")
    set_number(page, "txt2img_steps", 33)
    choose(page, "txt2img_sampling", "Euler a")
    page.check("#txt2img_hr input")
    choose(page, "script_list", "Prompt matrix")
    page.check("#script_txt2img_prompt_matrix_put_at_start input")
    open_tab(page, "img2img")
    page.fill("#img2img_prompt textarea", "another one")
    page.get_by_role("tab", name="Sketch", exact=True).click()
    reload(page)
    expect(page.locator("#img2img_prompt textarea")).to_have_value("another one")
    expect(page.get_by_role("tab", name="Sketch", exact=True)).to_have_attribute("aria-selected", "true")
    open_tab(page, "txt2img")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a prompt that stays")
    expect(page.locator("#txt2img_sampling input")).to_have_value("Euler a")
    expect(page.locator("#txt2img_hr input")).to_be_checked()
    expect(page.locator("#script_txt2img_prompt_matrix_put_at_start input")).to_be_checked()
    assert number(page, "txt2img_steps") == "33"
    other = open_page()
    assert text(other, "txt2img_prompt") == ""


def test_values_that_cannot_be_read_or_used_are_left_aside_and_named(open_page: Open) -> None:
    page = open_page()
    kept = {"txt2img_steps": "many", "txt2img_sampling": "No such sampler", "txt2img_cfg_scale": 4}
    page.evaluate(
        "kept => localStorage.setItem('webui-kept:txt2img', JSON.stringify({ version: 1, values: kept }))", kept
    )
    page.evaluate("localStorage.setItem('webui-kept:img2img', '{broken')")
    reload(page)
    said = page.locator("#webui_messages")
    expect(said).to_contain_text("What this browser kept for img2img was damaged.")
    expect(said).to_contain_text("Sampling method: No such sampler is no longer there; DPM++ 2M is chosen.")
    expect(page.locator("#txt2img_sampling input")).to_have_value("DPM++ 2M")
    assert (number(page, "txt2img_steps"), number(page, "txt2img_cfg_scale")) == ("20", "4")
    assert page.evaluate("localStorage.getItem('webui-kept:img2img:damaged')") == "{broken"


def test_a_reload_in_mid_job_gives_progress_preview_and_every_picture(open_page: Open, site: Site) -> None:
    page, known = open_page(), len(site.pictures())
    set_number(page, "txt2img_steps", 150)
    set_number(page, "txt2img_batch_count", 12)
    press_generate(page, "many pictures and a reload")
    page.wait_for_selector("#txt2img_gallery img", timeout=120_000)
    page.reload()
    expect(page.locator("#txt2img_progress")).to_contain_text(re.compile(r"step \d+ of 150"))
    expect(page.locator("#txt2img_live_preview img")).to_be_visible()
    expect(page.locator("#txt2img_gallery img").first).to_be_visible()
    assert text(page, "txt2img_prompt") == "many pictures and a reload"
    page.click("#txt2img_interrupt")
    finish(page)
    expect(page.locator("#html_log_txt2img")).to_contain_text("Interrupted")
    made = [picture for picture in site.pictures()[known:] if "grid" not in picture.name]
    assert page.locator("#txt2img_gallery img").count() >= len(made) >= 1


def test_undo_brings_back_what_clear_paste_and_reset_replaced(open_page: Open) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    record = "a pasted cat\nSteps: 41, Sampler: Euler a, CFG scale: 3, Seed: 5, Size: 64x64"
    page.fill("#txt2img_prompt textarea", record)
    page.click("#paste")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a pasted cat")
    assert number(page, "txt2img_steps") == "41"
    page.click("#webui_messages button.act")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(record)
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("20")

    set_number(page, "txt2img_steps", 7)
    page.click("#txt2img_reset")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("20")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("")
    page.click("#txt2img_undo")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("7")
    page.click("#txt2img_clear_prompt")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("")
    page.click("#txt2img_undo")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(record)
    expect(page.locator("#txt2img_undo")).to_be_disabled()


def test_undo_takes_a_sent_picture_back(open_page: Open, site: Site) -> None:
    page = open_page()
    open_tab(page, "img2img")
    page.fill("#img2img_prompt textarea", "what stood here")
    open_tab(page, "txt2img")
    generate(page, site, "sent to img2img")
    page.click("#txt2img_send_to_img2img")
    page.wait_for_function("webui.canvas.editor('img2img_image')?.picture")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("sent to img2img")
    page.click("#webui_messages button.act")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("what stood here")
    page.wait_for_function("webui.canvas.editor('img2img_image').picture === null")


def test_clearing_asks_first(open_page: Open) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.click("#txt2img_clear_prompt")
    page.fill("#txt2img_prompt textarea", "not to be lost")
    page.click("#txt2img_clear_prompt")
    page.wait_for_timeout(500)
    assert asked == ["Clear both prompts?"]
    assert text(page, "txt2img_prompt") == "not to be lost"


def test_a_prompt_is_put_back_from_the_history(open_page: Open, site: Site) -> None:
    page = open_page()
    generate(page, site, "the first prompt")
    generate(page, site, "the second prompt")
    page.click("#txt2img_history")
    entries = page.locator("dialog.prompt-history .entry")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("the second prompt")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("the first prompt")
    page.click("#txt2img_undo")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("the second prompt")


def test_a_picture_that_the_server_lost_comes_from_the_browser(open_page: Open, site: Site) -> None:
    page = open_page()
    picture = generate(page, site, "a picture to look at")
    open_tab(page, "PNG Info")
    drop_file(page, "#pnginfo_image", picture)
    expect(page.locator("#pnginfo_html_info")).to_contain_text("a picture to look at")
    page.wait_for_timeout(700)
    kept = json.loads(page.evaluate("localStorage.getItem('webui-kept:pnginfo')"))
    Path(kept["values"]["pnginfo_image"]["path"]).unlink()
    reload(page)
    expect(page.locator("#pnginfo_html_info")).to_contain_text("a picture to look at")


def test_saved_defaults_are_there_for_every_browser(open_page: Open, site: Site) -> None:
    page = open_page()
    set_number(page, "txt2img_cfg_scale", 4)
    choose(page, "txt2img_sampling", "Euler a")
    open_tab(page, "Settings")
    page.get_by_role("button", name="Defaults", exact=True).click()
    page.click("#ui_defaults_view")
    expect(page.locator("#ui_defaults_review tbody tr")).to_have_count(2)
    page.click("#ui_defaults_apply")
    expect(page.locator("#ui_defaults_review")).to_contain_text("2 defaults were saved.")
    saved = json.loads((site.data / "ui-config.json").read_text())
    assert saved["txt2img/CFG Scale/value"] == 4
    assert saved["customscript/sampler.py/txt2img/Sampling method/value"] == "Euler a"
    fresh = open_page()
    expect(fresh.locator("#txt2img_sampling input")).to_have_value("Euler a")
    assert number(fresh, "txt2img_cfg_scale") == "4"
    page.click("#ui_defaults_forget")
    expect(page.locator("#ui_defaults_review")).to_contain_text("own defaults")
    assert number(open_page(), "txt2img_cfg_scale") == "7"


@contextmanager
def serving(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A page on the stand-in engine that can be killed."""
    command = [sys.executable, "-m", "tests.browser.serve_fake", str(port), str(folder), "0.5"]
    with (folder / "program.log").open("a") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/", process, folder / "program.log")
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.usefixtures("site")
def test_a_killed_server_leaves_no_hanging_button(browser: Browser, tmp_path: Path) -> None:
    port, context = free_port(), browser.new_context()
    page = context.new_page()
    with serving(port, tmp_path):
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#page_options [data-opened='1']", state="attached")
        press_generate(page, "interrupted by a power cut")
        page.wait_for_selector("#txt2img_interrupt:visible")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    with serving(port, tmp_path):
        page.wait_for_selector("#txt2img_generate:visible", timeout=60_000)
        expect(page.locator("#txt2img_interrupt")).to_be_hidden()
        expect(page.locator("#txt2img_prompt textarea")).to_have_value("interrupted by a power cut")
    context.close()
