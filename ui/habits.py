"""Habits of the page: a file dropped on the prompt, Generate forever, size presets, the folder button, the sound."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from schema.errors import ImageError, InvalidRequest
from schema.results import GeneratedImage
from ui.events import Answer, on
from ui.output_panel import EMPTY, OutputPanel
from ui.png_info import NO_INFOTEXT, read_picture
from ui.styles import build_style_editor
from ui.tab import GenerationTab, picture_at
from ui.transfer import show_infotext

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SOUND_ROUTE = "/notification.mp3"
MAX_TEXT_BYTES = 1 << 18
"""Size of a text file whose generation data is read."""

TOO_LONG = "The file has {size} bytes; generation data of at most {limit} bytes is read."
NOT_TEXT = "The file is neither a picture nor a text."
OPENED, FOLDER_IS = "Opened {path}.", "The pictures are in this folder of the server:"
COPY = "Copy"
EMPTY_EXTRAS = "Results appear here. Drop a picture, choose an upscaler and press Generate."
RATIOS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9")
WORDS = {
    "forever": "Generate forever",
    "forever_off": "Cancel generate forever",
    "forever_stopped": "Generate forever was stopped by an error.",
    "ratios": "Size with this ratio of the sides",
    "no_picture": "There is no picture to show yet.",
    "drop": "Drop to read the generation data",
    "viewer": "Full page viewer",
    "previous": "Previous picture",
    "next": "Next picture",
    "zoom": "Fit to the window, or actual size",
    "infotext": "Show how it was made",
    "save": "Save a copy",
    "close": "Close",
    "live": "Live preview",
    "styles": "Edit styles",
    "styles_list": "Styles",
}
"""What the page's scripts say."""


def build_habits(
    page: gr.Blocks, manager: PipelineManager, tabs: Sequence[GenerationTab[Any]], panels: Sequence[OutputPanel]
) -> None:
    """Lays the style editor out in the page's context, binds what belongs to several tabs, and gives scripts words.

    Args:
        panels: Results besides those of `tabs`.
    """
    build_style_editor(manager, tabs)
    empty = {tab.form.prefix: EMPTY for tab in tabs} | {panel.tab: EMPTY_EXTRAS for panel in panels}
    spec = json.dumps({"words": WORDS, "ratios": RATIOS, "sound": SOUND_ROUTE, "empty": empty}, ensure_ascii=False)
    on(page.load, None, js=f"() => webui.habits.opened({spec})")
    for tab in tabs:
        bind_drop(manager, tab)
    for panel in (*(tab.panel for tab in tabs), *panels):
        bind_folder(manager, panel)


def bind_drop(manager: PipelineManager, tab: GenerationTab[Any]) -> None:
    """Binds a picture or text file dropped on the prompts: every field that it names is filled."""
    file = tab.row.dropped

    def read(path: str | None) -> Answer:
        if not path:
            return {file: None}
        try:
            return {**show_infotext(manager, tab, dropped_infotext(path)), file: None}
        except (InvalidRequest, ImageError) as error:
            # The field must be empty again to take the next file.
            gr.Warning(str(error), title="")
            return {file: None}

    on(file.upload, read, inputs=[file], outputs=[*tab.outputs, file])


def dropped_infotext(path: str) -> str:
    """The generation record in a picture, or the text of a text file.

    Raises:
        InvalidRequest: If a text is too long or no text, or a picture says nothing about how it was made.
        ImageError: If a picture cannot be read.
    """
    file = Path(path)
    if file.suffix.lower() not in (".txt", ".csv", ".md", ""):
        found, _texts = read_picture(path)
        if not found:
            raise InvalidRequest(NO_INFOTEXT)
        return found
    if file.stat().st_size > MAX_TEXT_BYTES:
        raise InvalidRequest(TOO_LONG.format(size=file.stat().st_size, limit=MAX_TEXT_BYTES))
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(NOT_TEXT) from error


def bind_folder(manager: PipelineManager, panel: OutputPanel) -> None:
    """Binds the folder button: opened where browser and server are one machine, else its path is shown to copy."""

    def show(pictures: list[GeneratedImage], selected: int, request: gr.Request) -> Answer:
        picture = picture_at(pictures, selected) if pictures else None
        folder = folder_of(manager, picture)
        if is_same_machine(manager, request) and open_folder(folder):
            return {panel.log: f'<p role="status">{escape(OPENED.format(path=folder))}</p>'}
        return {panel.log: folder_html(folder)}

    on(panel.folder.click, show, inputs=[panel.pictures, panel.selected], outputs=[panel.log])


def folder_of(manager: PipelineManager, picture: GeneratedImage | None) -> Path:
    """The folder that the button shows, by `open_dir_button_choice`.

    Source: A1111 modules/ui_common.py, open_folder.
    """
    root = manager.paths.outputs
    if picture is None or picture.path is None:
        return root
    if manager.settings.settings.open_dir_button_choice != "Output Root":
        return picture.path.parent
    inside = picture.path.is_relative_to(root) and len(picture.path.relative_to(root).parts) > 1
    return root / picture.path.relative_to(root).parts[0] if inside else picture.path.parent


def is_same_machine(manager: PipelineManager, request: gr.Request) -> bool:
    """Whether the browser runs where the server runs, as far as that can be told: a proxy may stand for anyone."""
    host = request.client.host if request.client else ""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip"} & {name.lower() for name in request.headers}
    return host in ("127.0.0.1", "::1", "testclient") and not forwarded and not manager.flags.share


def open_folder(folder: Path) -> bool:
    """Shows `folder` in the system's file manager; False where there is none, or no such folder."""
    if not folder.is_dir():
        return False
    if sys.platform == "win32":
        os.startfile(folder)
        return True
    program = "open" if sys.platform == "darwin" else "xdg-open"
    has_screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not has_screen or shutil.which(program) is None:
        return False
    subprocess.Popen([program, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return True


def folder_html(folder: Path) -> str:
    """The folder's path, with a button that copies it."""
    path = escape(str(folder), quote=True)
    button = f'<button type="button" class="copy" data-copy="{path}">{COPY}</button>'
    return f'<p role="status">{FOLDER_IS}</p><p class="folder"><code>{path}</code>{button}</p>'


def serve_sound(app: FastAPI, manager: PipelineManager) -> None:
    """Adds the route of the user's own `notification.mp3`; without one, the page plays a chime of its own.

    Source: A1111 modules/ui.py, notification.mp3 in the data folder.
    """
    file = manager.paths.data_dir / "notification.mp3"

    @app.get(SOUND_ROUTE, include_in_schema=False)
    def sound() -> Response:
        # No content, not "not found": that there is no such file is the normal case.
        return FileResponse(file, media_type="audio/mpeg") if file.is_file() else Response(status_code=204)
