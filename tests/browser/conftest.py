"""The running program and a real browser.

`WEBUI_TEST_ENGINE=fake` serves the page on a manager without an engine, for work on the page alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.contract.ui_client import free_port

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180
ANSWER_TIMEOUT_MS = 60_000
"""How long the page may take to show something: continuous integration shares its processors."""

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


expect.set_options(timeout=ANSWER_TIMEOUT_MS)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The running program.

    Attributes:
        data: Its data folder; pictures are in `outputs`.
    """

    url: str
    data: Path

    def pictures(self) -> list[Path]:
        """Every picture saved so far, oldest first."""
        files = (self.data / "outputs").rglob("*.png")
        return sorted(files, key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none: a failure in CI, elsewhere a skip with a warning."""
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            words = f"No browser could be started ({str(error).splitlines()[0]}): set WEBUI_CHROMIUM to a Chromium."
            assert os.environ.get("CI", "").lower() not in ("1", "true"), words
            warnings.warn(f"BROWSER TESTS WERE NOT RUN. {words}", stacklevel=1)
            pytest.skip(words)
        yield started
        started.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The program, started as a user starts it, with a data folder of its own."""
    data, port = tmp_path_factory.mktemp("data"), free_port()
    fake = [sys.executable, "-m", "tests.browser.serve_fake", str(port), str(data)]
    real = [sys.executable, "app.py", "--port", str(port), "--data-dir", str(data)]
    is_fake = os.environ.get("WEBUI_TEST_ENGINE") == "fake"
    if not is_fake and not any((ROOT / "models" / "Stable-diffusion").glob("*/model_index.json")):
        _make_toy_model(data)
    _make_toy_upscaler(data)
    log = data / "program.log"
    with log.open("w") as output:
        process = subprocess.Popen(fake if is_fake else real, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/", process, log)
        yield Site(url=f"http://127.0.0.1:{port}", data=data)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens the page in a fresh browser profile and waits until it can be used; asks of other hosts are failures."""
    contexts: list[BrowserContext] = []
    strangers: list[str] = []

    def open_one(*, width: int = 1440, height: int = 900, dark: bool = False, same_browser: Page | None = None) -> Page:
        if same_browser is None:
            scheme = "dark" if dark else "light"
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            contexts.append(context)
        else:
            context = same_browser.context
        page = context.new_page()
        page.set_default_timeout(ANSWER_TIMEOUT_MS)
        page.on("request", lambda request: strangers.append(request.url) if _is_strange(request.url, site) else None)
        page.goto(site.url)
        page.wait_for_selector("#txt2img_generate:visible")
        page.wait_for_selector("#page_options [data-opened='1']", state="attached")
        page.wait_for_timeout(500)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert strangers == [], "the page asked other hosts"


@pytest.fixture(scope="session")
def screenshot() -> Callable[[Page, str], Path]:
    """Keeps a picture of the page in `screenshots/`, or where WEBUI_SCREENSHOTS says."""
    folder = Path(os.environ.get("WEBUI_SCREENSHOTS", ROOT / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> Path:
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take


def _make_toy_model(data: Path) -> None:
    """Writes a model with random weights, for a checkout without the shipped one."""
    from tests.tiny.builders import save_folder, tiny_model

    folder = data / "models" / "Stable-diffusion" / "toy"
    folder.mkdir(parents=True)
    save_folder(tiny_model(), folder)


def _make_toy_upscaler(data: Path) -> None:
    """Writes a small ESRGAN with random weights that doubles pictures."""
    import torch

    from preprocessors.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    from spandrel.architectures.ESRGAN import ESRGAN

    folder = data / "models" / "ESRGAN"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(ESRGAN(num_filters=8, num_blocks=1, scale=2).state_dict(), folder / "toy-2x.pth")


def _chromium() -> str | None:
    named = os.environ.get("WEBUI_CHROMIUM")
    return named or next((found for name in CHROMIUMS if (found := shutil.which(name))), None)


def _is_strange(url: str, site: Site) -> bool:
    return not url.startswith((site.url, "data:", "blob:", "about:"))


def wait_for_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once `url` answers; fails with the end of the log when the program ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the program ended:\n{log.read_text()[-4000:]}"
        try:
            if httpx.get(url, trust_env=False, timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise AssertionError(f"the program did not answer:\n{log.read_text()[-4000:]}")
