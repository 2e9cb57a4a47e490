"""Builds the page and mounts it: tabs in order, theme, style and script, nothing from another host."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI

from schema.settings import Settings
from ui.control_tools import bind_control_page
from ui.defaults import TITLE as DEFAULTS
from ui.defaults import DefaultsPage, apply_defaults, build_defaults_page
from ui.downloads import build_downloads
from ui.events import Answer, on
from ui.extras import bind_send_to_extras, build_extras
from ui.habits import build_habits, serve_sound
from ui.img2img import build_img2img
from ui.inpaint import build_inpaint
from ui.keep import bind_lists, find_kept
from ui.localization import HEAD, serve_words
from ui.merger import build_merger
from ui.png_info import bind_reading, build_png_info
from ui.pose_editor import bind_pose_editor
from ui.quicksettings import build_quicksettings
from ui.send import bind_paste, bind_png_info, bind_send, bind_styles
from ui.settings import build_page_options, build_settings
from ui.sources import bind_copies
from ui.tab import GenerationTab
from ui.theme import build_theme
from ui.train import build_train
from ui.txt2img import build_txt2img

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TITLE = "diffusers-webui"
ASSETS = Path(__file__).parent / "assets"
TABS = ("txt2img", "img2img", "inpaint", "Extras", "PNG Info", "Checkpoint Merger", "Train", "Settings")
TAB_IDS = {
    "Extras": "extras",
    "PNG Info": "pnginfo",
    "Checkpoint Merger": "modelmerger",
    "Train": "train",
    "Settings": "settings",
}
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
            with _tab("Extras"):
                extras = build_extras(manager, browser)
            with _tab("PNG Info") as info_tab:
                png_info = build_png_info(manager)
            with _tab("Checkpoint Merger"):
                build_merger()
            with _tab("Train"):
                build_train()
            with _tab("Settings"):
                build_downloads(manager, *quick.renewal(page_tabs := (txt2img, img2img.tab, inpaint.tab)))
                more: list[DefaultsPage] = []
                pages = {DEFAULTS: lambda: more.append(build_defaults_page())}
                settings = build_settings(manager, options, TABS, pages)
        kept = find_kept(
            arrange_tabs(tabs, manager.settings.settings),
            [*(form for tab in page_tabs for form in tab.forms), extras.form],
            without=["tab_settings"],
        )
        defaults = apply_defaults(manager, kept)
        defaults.bind(more[0])
        keeping = defaults.keeping
        quick.bind(keeping.bind(page).then, page_tabs)
        settings.bind_load(page)

        def opened(name: str) -> Answer:
            name = name or secrets.token_urlsafe(16)
            answer: Answer = {browser: name, **quick.renew(page_tabs)}
            answer |= keeping.show_lists(manager.choices, defaults.newer())
            answer |= extras.form.lists(changed_only=True)
            for tab in (*page_tabs, extras):
                answer |= tab.runner.found_again(name)
            return answer

        lists = [*quick.renewal(page_tabs)[1], *extras.form.live]
        watched = [tab.runner.watched for tab in (*page_tabs, extras)]
        seen = on(page.load, opened, inputs=[browser], outputs=[browser, *lists, *watched, keeping.lists])
        bind_lists(keeping, seen)
        bind_tabs(page, manager, page_tabs)
        for tab in (*page_tabs, extras):
            bind_send(manager, tab, tabs, img2img, inpaint)
        bind_send_to_extras(extras, tabs, [tab.panel for tab in (*page_tabs, extras)], png_info)
        bind_reading(manager, png_info, info_tab, page_tabs, browser)
        bind_png_info(manager, png_info, tabs, txt2img, img2img, inpaint)
        bind_copies(tabs, img2img, inpaint)
        build_habits(page, manager, page_tabs, [extras.panel])
    page.queue(default_concurrency_limit=None)
    return page


def bind_tabs(page: gr.Blocks, manager: PipelineManager, tabs: Sequence[GenerationTab[Any]]) -> None:
    """Binds what each generation tab does by itself, and the ControlNet groups of all of them."""
    for tab in tabs:
        bind_paste(manager, tab)
        bind_styles(manager, tab)
    groups = [tab.control for tab in tabs]
    bind_control_page(page, manager, groups)
    bind_pose_editor(page, manager, groups)


def arrange_tabs(tabs: gr.Tabs, settings: Settings) -> gr.Tabs:
    """`tabs` with those named in `ui_tab_order` first, in that order, and without `hidden_tabs`; never Settings."""
    order = {name: place for place, name in enumerate(settings.ui_tab_order)}
    tabs.children.sort(key=lambda tab: order.get(str(getattr(tab, "label", "")), len(order)))
    for tab in tabs.children:
        label = getattr(tab, "label", "")
        if label in settings.hidden_tabs and label != "Settings":
            tab.visible = False
    return tabs


def _tab(name: str) -> gr.Tab:
    tab_id = TAB_IDS.get(name, name)
    return gr.Tab(name, id=tab_id, elem_id=f"tab_{tab_id}")


def _scripts() -> str:
    """One function that runs the page's own scripts in the order of their names."""
    parts = [path.read_text(encoding="utf-8") for path in sorted(ASSETS.glob("*.js"))]
    return "() => {\n" + "\n".join(parts) + "\n}"


def mount_page(
    app: FastAPI,
    manager: PipelineManager,
    *,
    path: str = "/",
    allowed_paths: list[str] | None = None,
    head: str = "",
    **options: Any,
) -> FastAPI:
    """Mounts the page into `app` with everything that Gradio wants to be told at that moment.

    Args:
        head: What goes into the document's head, besides the page's language.
        allowed_paths: Folders whose files the page may show: outputs and thumbnails, nothing else.
        options: Passed on to `gradio.mount_gradio_app` (`auth`, `root_path`, `blocked_paths`, …).
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    defaults: dict[str, Any] = {
        "allowed_paths": allowed_paths or [],
        "theme": build_theme(),
        "css_paths": sorted(ASSETS.glob("*.css")),
        "js": _scripts(),
        "head": HEAD + head,
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "show_error": False,
        "max_file_size": "256mb",
    }
    # Before the page, which answers every address that nothing else does.
    serve_words(app, manager)
    serve_sound(app, manager)
    return gr.mount_gradio_app(app, build_ui(manager), path, **defaults | options)
