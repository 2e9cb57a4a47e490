"""The "Get a model" panel: a short list of checkpoints, each with its licence, fetched with progress."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.components import Component

from pipelines.checkpoints.download import Download
from schema.errors import WebuiError
from ui.errors import toast
from ui.events import Answer, on

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TITLE, MODEL, GET, STOP = "Get a model", "Model", "Download", "Cancel"
ENTRY = "{name} · {size}"
ABOUT = "Goes to models/{folder}. Licence: {licence}."
GETTING, DONE, CANCELLED = "Downloading {name}", "{name} is ready: choose it in the checkpoint list.", "Cancelled."
POLL_S = 0.3


@dataclass
class Fetch:
    """One download on its own thread."""

    name: str
    fraction: float = 0.0
    path: Path | None = None
    error: Exception | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def report(self, done: int, total: int) -> None:
        """Takes note of how many of all bytes are there."""
        self.fraction = done / total if total else 0.0


def build_downloads(manager: PipelineManager, renew: Callable[[], Answer], renewed: list[Component]) -> None:
    """Lays the panel out in the current context.

    Args:
        renew: Answers with the new checkpoint lists for the components `renewed`.
    """
    running: dict[str, Fetch] = {}
    models = {entry.name: entry for entry in manager.curated()}
    choices = [
        (ENTRY.format(name=entry.name, size=size_words(entry.size_bytes)), entry.name) for entry in models.values()
    ]
    with gr.Accordion(TITLE, open=False, elem_id="get_a_model"):
        with gr.Row(equal_height=True):
            chosen = gr.Dropdown(choices=choices, label=MODEL, elem_id="get_a_model_name", scale=3, min_width=240)
            get = gr.Button(GET, elem_id="get_a_model_start", scale=0, min_width=130, size="md")
            stop = gr.Button(STOP, elem_id="get_a_model_cancel", scale=0, min_width=100, size="md", visible="hidden")
        about = gr.HTML(about_html(next(iter(models.values()), None)), elem_id="get_a_model_about", padding=False)

    async def fetch(name: str) -> AsyncIterator[Answer]:
        download = running.get(name)
        if download is None or download.done.is_set():
            download = running[name] = start(manager, name)
        while not download.done.is_set():
            yield {about: progress_words(download), stop: gr.update(visible=True), get: gr.update(interactive=False)}
            await asyncio.sleep(POLL_S)
        idle: Answer = {stop: gr.update(visible="hidden"), get: gr.update(interactive=True)}
        if download.cancel.is_set():
            yield {**idle, about: f"<p>{CANCELLED}</p>"}
        elif download.error is not None:
            yield {**idle, about: f'<p class="error" role="alert">{escape(str(toast(download.error).message))}</p>'}
        else:
            yield {**idle, **renew(), about: f'<p role="status">{DONE.format(name=escape(name))}</p>'}

    def cancel(name: str) -> None:
        if name in running:
            running[name].cancel.set()

    on(chosen.change, lambda name: about_html(models.get(name)), inputs=[chosen], outputs=[about])
    on(get.click, fetch, inputs=[chosen], outputs=[about, get, stop, *renewed])
    on(stop.click, cancel, inputs=[chosen])


def start(manager: PipelineManager, name: str) -> Fetch:
    """Begins to fetch `name` in the background."""
    download = Fetch(name=name)

    def work() -> None:
        try:
            download.path = manager.download(name, download.report, download.cancel)
        except (WebuiError, OSError) as error:
            download.error = error
        finally:
            download.done.set()

    threading.Thread(target=work, name=f"download {name}", daemon=True).start()
    return download


def progress_words(download: Fetch) -> str:
    """The bar and the name of what is being fetched."""
    percent = round(download.fraction * 100)
    words = GETTING.format(name=escape(download.name))
    return (
        f'<div class="download"><div class="bar" role="progressbar" aria-label="{words}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{percent}"><div class="fill" style="width:{percent}%"></div></div>'
        f"<p>{words} · {percent}%</p></div>"
    )


def about_html(entry: Download | None) -> str:
    """What there is to know before downloading: the licence above all."""
    return f"<p>{escape(ABOUT.format(folder=entry.folder, licence=entry.licence))}</p>" if entry else ""


def size_words(size_bytes: int) -> str:
    """`3.9 GiB` or `812 MiB`."""
    mib = size_bytes / 2**20
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
