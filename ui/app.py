"""Builds the page and mounts it: tabs in order, theme, style and script, nothing from another host."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI

from ui.downloads import build_downloads
from ui.events import Answer, on
from ui.img2img import build_img2img
from ui.inpaint import build_inpaint
from ui.png_info import build_png_info
from ui.quicksettings import build_quicksettings
from ui.send import bind_paste, bind_png_info, bind_send, bind_styles
from ui.settings import build_page_options, build_settings
from ui.theme import build_theme
from ui.txt2img import build_txt2img

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TITLE = "diffusers-webui"
ASSETS = Path(__file__).parent / "assets"
TABS = ("txt2img", "img2img", "inpaint", "PNG Info", "Settings")
TAB_IDS = {"PNG Info": "pnginfo", "Settings": "settings"}
CACHE_SECONDS = (3600, 24 * 3600)
"""How often Gradio's copies of shown pictures are looked through, and how old they may get."""

# The salt only keeps the value opaque in the browser's own storage; it guards nothing.
BROWSER_KEY, BROWSER_SALT = "diffusers-webui-browser", "diffusers-webui"


def build_ui(manager: PipelineManager) -> gr.Blocks:
    """The whole page, bound to `manager`."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE_SECONDS, fill_width=True) as page:
        browser = gr.BrowserState("", storage_key=BROWSER_KEY, secret=BROWSER_SALT)
        options = build_page_options(manager)
        quick = build_quicksettings(manager)
        with gr.Tabs(elem_id="tabs", selected="txt2img") as tabs:
            with _tab("txt2img"):
                txt2img = build_txt2img(manager, browser)
            with _tab("img2img"):
                img2img = build_img2img(manager, browser)
            with _tab("inpaint"):
                inpaint = build_inpaint(manager, browser)
            with _tab("PNG Info"):
                png_info = build_png_info(manager)
            with _tab("Settings"):
                build_downloads(manager, *quick.renewal(page_tabs := (txt2img, img2img.tab, inpaint.tab)))
                settings = build_settings(manager, options, TABS)
        quick.bind(page, page_tabs)
        settings.bind_load(page)

        def opened(name: str) -> Answer:
            name = name or secrets.token_urlsafe(16)
            answer: Answer = {browser: name, **quick.renew(page_tabs)}
            for tab in page_tabs:
                answer |= tab.runner.found_again(name)
            return answer

        lists = quick.renewal(page_tabs)[1]
        watched = [tab.runner.watched for tab in page_tabs]
        on(page.load, opened, inputs=[browser], outputs=[browser, *lists, *watched])
        for tab in page_tabs:
            bind_paste(manager, tab)
            bind_styles(manager, tab)
            bind_send(manager, tab, tabs, img2img, inpaint)
        bind_png_info(manager, png_info, tabs, txt2img, img2img, inpaint)
    page.queue(default_concurrency_limit=None)
    return page


def _tab(name: str) -> gr.Tab:
    tab_id = TAB_IDS.get(name, name)
    return gr.Tab(name, id=tab_id, elem_id=f"tab_{tab_id}")


def mount_page(
    app: FastAPI, page: gr.Blocks, *, path: str = "/", allowed_paths: list[str] | None = None, **options: Any
) -> FastAPI:
    """Mounts `page` into `app` with everything that Gradio wants to be told at that moment.

    Args:
        allowed_paths: Folders whose files the page may show: outputs and thumbnails, nothing else.
        options: Passed on to `gradio.mount_gradio_app` (`auth`, `root_path`, `blocked_paths`, …).
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    defaults: dict[str, Any] = {
        "allowed_paths": allowed_paths or [],
        "theme": build_theme(),
        "css_paths": [ASSETS / "style.css"],
        "js": (ASSETS / "shortcuts.js").read_text(encoding="utf-8"),
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "show_error": False,
        "max_file_size": "256mb",
    }
    return gr.mount_gradio_app(app, page, path, **defaults | options)
