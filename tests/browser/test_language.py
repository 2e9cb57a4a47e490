"""The page in another language: chosen in Settings, everywhere translated, and what people write left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from preprocessors.catalogue import PREPROCESSORS
from schema.settings import Settings
from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tests.contract.ui_client import served
from tools.catalogue import PROPER
from ui.app import mount_page
from ui.localization import NAMES
from ui.localization import words as translations

TABS = ("txt2img", "img2img", "inpaint", "extras", "pnginfo", "modelmerger", "train", "settings")
SHOWN = """
() => {
  const found = [];
  const names = ["title", "aria-label", "aria-description", "aria-roledescription", "placeholder", "alt"];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (element.closest("script, style, textarea, .record p, .record ul") || !element.checkVisibility()) continue;
    if (node.nodeType === Node.TEXT_NODE) found.push(node.data.trim());
    else {
      for (const name of names) if (node.getAttribute(name)) found.push(node.getAttribute(name).trim());
      if (node.matches("input[role=combobox]")) found.push(node.value.trim());
    }
  }
  return found;
}
"""

OPEN_ALL = """
() => {
  for (const group of document.querySelectorAll("button.label-wrap:not(.open)"))
    if (group.checkVisibility()) group.click();
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeManager]]:
    folder = tmp_path_factory.mktemp("language")
    store = SettingsStore(folder / "config.json")
    manager = FakeManager(folder / "outputs", settings=store, step_s=0.01)
    (folder / "localizations").mkdir(exist_ok=True)
    (folder / "localizations" / "de.json").write_text('{"Generate": "Erzeugen"}', encoding="utf-8")
    app = FastAPI()
    mount_page(app, manager, allowed_paths=[str(folder / "outputs")])  # type: ignore[arg-type]
    with served(app) as url:
        yield url, manager


@pytest.fixture
def page(browser: Browser, place: tuple[str, FakeManager]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    yield opened(page, place[0])
    context.close()


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("#txt2img_generate", state="attached")
    page.wait_for_selector("#page_options [data-opened='1']", state="attached")
    page.wait_for_timeout(500)
    return page


def open_tab(page: Page, name: str) -> None:
    page.click(f"#tab_{name}-button") if page.is_visible(f"#tab_{name}-button") else page.click("[role=tab] >> nth=0")
    page.wait_for_timeout(300)


def choose_language(page: Page, shown: str) -> None:
    """Sets the language in Settings, and opens the page anew."""
    open_tab(page, "settings")
    page.fill("#settings_search :is(textarea, input)", "localization")
    page.click("#setting_localization input")
    page.click(f"ul[role=listbox] >> text='{shown}'")
    page.click("#settings_submit")
    expect(page.locator("#settings_result [role=status]")).to_be_visible()
    page.wait_for_timeout(300)


def words_of(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)}


def untranslated(page: Page, manager: FakeManager) -> set[str]:
    """What is visible and no name, or has Latin words that neither names nor translations have."""
    names = (
        {entry for entries in manager.lists.values() for entry in entries} | PROPER | {*NAMES.values(), "de", "broken"}
    )
    names |= {entry.label for entry in PREPROCESSORS} | set(Settings.model_fields)
    names |= {word for entry in manager.curated() for word in (entry.name, entry.licence)}
    vocabulary = words_of(" ".join([*translations("zh-CN", []).texts.values(), *names]))

    def is_left(text: str) -> bool:
        words, is_chinese = words_of(text), re.search("[\u4e00-\u9fff]", text)
        is_name = text.partition(" · ")[0] in names
        return bool(words) and not is_name and not (is_chinese and words <= vocabulary)

    return {text for text in page.evaluate(SHOWN) if is_left(text)}


def test_chosen_in_settings_every_tab_is_chinese_and_english_again_afterwards(
    page: Page, place: tuple[str, FakeManager]
):
    url, manager = place
    assert page.evaluate("document.documentElement.lang") == "en"
    expect(page.locator("#txt2img_generate")).to_contain_text("Generate")
    choose_language(page, "简体中文 (zh-CN)")
    assert manager.settings.settings.localization == "zh-CN"
    opened(page, url)
    try:
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        left: dict[str, set[str]] = {}
        for tab in TABS:
            open_tab(page, tab)
            page.evaluate(OPEN_ALL)
            page.wait_for_timeout(500)
            left[tab] = untranslated(page, manager)
        assert left == {tab: set() for tab in TABS}
        choose_language(page, "English")
        assert manager.settings.settings.localization == "None"
        opened(page, url)
        assert page.evaluate("document.documentElement.lang") == "en"
        expect(page.locator("#txt2img_generate")).to_contain_text("Generate")
    finally:
        manager.settings.update({"localization": "None"})


def test_what_people_write_and_choose_stays_as_it_is(page: Page, place: tuple[str, FakeManager]):
    url, manager = place
    manager.settings.update({"localization": "zh-CN"})
    try:
        opened(page, url)
        open_tab(page, "txt2img")
        page.fill("#txt2img_prompt textarea", "Prompt")
        expect(page.locator("#txt2img_generate")).to_contain_text("生成")
        page.check("#txt2img_hr input")
        assert page.input_value("#txt2img_hr_upscaler input") == "潜空间"
        page.click("#txt2img_generate")
        expect(page.locator("#html_info_txt2img .record .prompt")).to_have_text("Prompt")
        expect(page.locator("#html_info_txt2img .record ul")).to_contain_text("Seed")
        expect(page.locator("#html_info_txt2img .record button")).to_have_text("复制")
        assert page.input_value("#txt2img_prompt textarea") == "Prompt"
        assert manager.seen[-1].hr_upscaler == "Latent"
        assert manager.seen[-1].prompt == "Prompt"
    finally:
        manager.settings.update({"localization": "None"})


def test_a_file_of_a1111_translates_what_it_knows(page: Page, place: tuple[str, FakeManager]):
    url, manager = place
    manager.settings.update({"localization": "de"})
    try:
        opened(page, url)
        assert page.evaluate("document.documentElement.lang") == "de"
        expect(page.locator("#txt2img_generate")).to_contain_text("Erzeugen")
        expect(page.locator("#txt2img_skip")).to_contain_text("Skip")
    finally:
        manager.settings.update({"localization": "None"})


def test_a_damaged_file_leaves_the_page_english_and_says_why(
    page: Page, place: tuple[str, FakeManager], tmp_path: Path
):
    url, manager = place
    (manager.paths.localizations[0] / "broken.json").write_text("{", encoding="utf-8")
    manager.settings.update({"localization": "broken"})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    try:
        opened(page, url)
        expect(page.locator("#txt2img_generate")).to_contain_text("Generate")
        assert any("broken.json cannot be read" in words for words in said)
    finally:
        manager.settings.update({"localization": "None"})
