"""Measures the page in a real browser and writes docs/page.md: `python -m tools.bench.page [--rounds 5]`.

The program runs with the shipped model and an empty data folder. Every load has a fresh browser profile, so nothing is
in its cache. Times are medians; the least and the most stand beside them, as other work on the machine disturbs them.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "page.md"
BEGIN, END = "<!-- numbers: tools/bench/page.py -->", "<!-- end of numbers -->"
START_TIMEOUT_S = 180
OPENED = "#page_options [data-opened='1']"
TABS = ("img2img", "inpaint", "extras", "pnginfo", "modelmerger", "train", "settings")

# Runs `act`, then looks at every frame whether `seen` holds; milliseconds between both.
UNTIL = """([act, seen]) => new Promise((resolve, reject) => {
    const begun = performance.now();
    eval(act);
    const look = () => {
        if (eval(seen)) return resolve(performance.now() - begun);
        if (performance.now() - begun > 20000) return reject(new Error("not seen: " + seen));
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""


@dataclass
class Numbers:
    """What was measured: a row's name to its values, in the order of first measurement."""

    rows: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Takes note of one measurement."""
        self.rows.setdefault(name, []).append(value)

    def table(self) -> str:
        """The rows as a Markdown table."""
        lines = ["| | median | least | most |", "|---|---|---|---|"]
        for name, values in self.rows.items():
            cells = [f"{value:,.0f}" for value in (statistics.median(values), min(values), max(values))]
            same = len(set(cells)) == 1
            lines.append(f"| {name} | {cells[0]} | {'' if same else cells[1]} | {'' if same else cells[2]} |")
        return "\n".join(lines)


@contextmanager
def program() -> Generator[str]:
    """The URL of the program, started with an empty data folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "app.py", "--port", str(port), "--data-dir", data]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns once `url` answers.

    Raises:
        RuntimeError: If the program ends before, or takes too long.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False, timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise RuntimeError("the program did not answer")


def load(browser: Browser, url: str, numbers: Numbers) -> Page:
    """Opens the page in a fresh profile, measured until it can be used."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    sizes: list[float] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    begun = time.monotonic()
    page.goto(url)
    page.wait_for_selector("#txt2img_generate:visible")
    page.wait_for_selector(OPENED, state="attached")
    numbers.add("time until the page can be used, ms", (time.monotonic() - begun) * 1000)
    page.wait_for_timeout(1500)
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    numbers.add("first paint, ms", page.evaluate(paint))
    numbers.add("transferred, KiB", sum(sizes) / 1024)
    numbers.add("requests", len(sizes))
    numbers.add("elements in the document", page.evaluate("document.querySelectorAll('*').length"))
    return page


def declared(url: str, numbers: Numbers) -> None:
    """Counts what the page is made of."""
    config: dict[str, Any] = httpx.get(f"{url}/config", trust_env=False, timeout=30).json()
    events = config["dependencies"]
    numbers.add("components", len(config["components"]))
    numbers.add("events", len(events))
    numbers.add("events that ask the server", sum(1 for event in events if event["backend_fn"]))


def answers(page: Page, numbers: Numbers) -> None:
    """Measures how fast controls answer."""

    def until(act: str, seen: str) -> float:
        return float(page.evaluate(UNTIL, [act, seen]))

    steps = "document.querySelector('#txt2img_steps input[type=range]')"
    number = "document.querySelector('#txt2img_steps input[type=number]')"
    value = 21 if page.input_value("#txt2img_steps input[type=number]") != "21" else 22
    act = f"{steps}.value = {value}; {steps}.dispatchEvent(new Event('input', {{ bubbles: true }}))"
    numbers.add("slider → its number, ms", until(act, f"{number}.value === '{value}'"))
    page.fill("#txt2img_seed input", "5")
    dice = until("document.getElementById('txt2img_random_seed').click()", f"{_input('txt2img_seed')}.value === '-1'")
    numbers.add("button that the browser answers (dice), ms", dice)
    page.fill("#txt2img_prompt textarea", "")
    page.wait_for_function("document.querySelector('#txt2img_token_counter').textContent.trim() === '0/75'")
    area = "document.querySelector('#txt2img_prompt textarea')"
    act = f"{area}.value = 'a red ball'; {area}.dispatchEvent(new Event('input', {{ bubbles: true }}))"
    counted = until(act, "document.querySelector('#txt2img_token_counter').textContent.trim() !== '0/75'")
    numbers.add("typing → tokens counted by the server, ms", counted)


def tabs(page: Page, numbers: Numbers, words: str) -> None:
    """Measures how long it takes to open each tab; the slowest counts."""
    times = []
    for tab in TABS:
        act = f"document.querySelector('#tab_{tab}-button').click()"
        times.append(float(page.evaluate(UNTIL, [act, f"document.getElementById('tab_{tab}').offsetParent !== null"])))
    numbers.add(f"slowest tab to open{words}, ms", max(times))
    page.evaluate("document.querySelector('#tab_txt2img-button').click()")
    page.wait_for_timeout(200)


def settings(page: Page, numbers: Numbers) -> None:
    """Measures Apply on the Settings tab."""
    page.evaluate("document.querySelector('#tab_settings-button').click()")
    page.wait_for_selector("#settings_submit:visible")
    page.fill("#settings_search :is(textarea, input)", "jpeg_quality")
    quality = page.locator("#setting_jpeg_quality input[type=number]")
    quality.fill(str(int(quality.input_value()) - 1))
    page.keyboard.press("Tab")
    page.wait_for_timeout(200)
    act = "document.getElementById('settings_submit').click()"
    seen = "document.getElementById('settings_result').textContent.includes('Changed')"
    numbers.add("Apply settings → what was changed, ms", float(page.evaluate(UNTIL, [act, seen])))
    page.evaluate("document.querySelector('#tab_txt2img-button').click()")


def while_generating(page: Page, numbers: Numbers) -> None:
    """Measures tabs while a picture is being made."""
    page.fill("#txt2img_prompt textarea", "a red ball on a beach, photo")
    for name, value in (("steps", "150"), ("batch_count", "20")):
        page.fill(f"#txt2img_{name} input[type=number]", value)
        page.keyboard.press("Tab")
    page.click("#txt2img_generate")
    page.wait_for_selector("#txt2img_interrupt:visible", timeout=120_000)
    tabs(page, numbers, " while a picture is made")
    if page.is_visible("#txt2img_interrupt"):
        page.click("#txt2img_interrupt")
    page.wait_for_selector("#txt2img_generate:visible", timeout=120_000)


def _input(elem_id: str) -> str:
    return f"document.querySelector('#{elem_id} input')"


def write(numbers: Numbers, rounds: int, version: str) -> None:
    """Puts the table between the markers of docs/page.md."""
    machine = f"{platform.system()} {platform.machine()}, Chromium {version}, {rounds} rounds"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{machine}\n\n{numbers.table()}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    numbers = Numbers()
    chromium = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    with program() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        declared(url, numbers)
        for _ in range(rounds):
            page = load(browser, url, numbers)
            answers(page, numbers)
            tabs(page, numbers, "")
            settings(page, numbers)
            while_generating(page, numbers)
            page.context.close()
        version = browser.version
        browser.close()
    write(numbers, rounds, version)
    sys.stdout.write(numbers.table() + "\n")


if __name__ == "__main__":
    main()
