"""Every tab, dark and light, is free of what keeps people with screen readers or poor sight out (axe-core)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Site
from tests.browser.test_first_picture import generate, open_tab

Open = Callable[..., Page]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TABS = ("txt2img", "img2img", "inpaint", "Extras", "PNG Info", "Checkpoint Merger", "Train", "Settings")


def problems(page: Page) -> list[str]:
    """What axe-core calls serious or critical, one line for each element."""
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_tab_has_a_serious_or_critical_violation(open_page: Open, site: Site, dark: bool) -> None:
    page = open_page(dark=dark)
    page.evaluate(AXE)
    generate(page, site)
    found: dict[str, list[str]] = {}
    for name in TABS:
        open_tab(page, name)
        page.wait_for_timeout(400)
        found[name] = problems(page)
    page.fill("#settings_search :is(textarea, input)", "e")
    page.wait_for_timeout(400)
    found["every setting"] = problems(page)
    assert found == {name: [] for name in found}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_dialog_has_a_serious_or_critical_violation(open_page: Open, site: Site, dark: bool) -> None:
    page = open_page(dark=dark)
    page.evaluate(AXE)
    generate(page, site)
    page.check("#txt2img_hr input")
    page.click("#txt2img_viewer")
    page.keyboard.press("i")
    found = {"viewer": problems(page)}
    page.keyboard.press("Escape")
    page.click("#txt2img_styles_edit_button")
    page.wait_for_timeout(300)
    found["styles"] = problems(page)
    page.click("#styles_edit_close")
    page.click("#txt2img_ratios")
    found["menu"] = problems(page)
    assert found == {name: [] for name in found}
