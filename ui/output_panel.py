"""Progress, live preview, gallery, and what can be done with a finished picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from schema.results import GeneratedImage, JobState, Progress
from ui.prompt_row import tool_button

SAVE, ZIP, REUSE_SEED = "Save a copy", "Save all as Zip", "Reuse seed"
VIEWER, FOLDER = "Full page viewer", "Open the folder of the picture"
SEND_IMG2IMG, SEND_INPAINT, SEND_EXTRAS = "Send to img2img", "Send to inpaint", "Send to Extras"
EMPTY = "Your pictures appear here. Write a prompt and press Generate (Ctrl+Enter)."
IDLE, QUEUED, SECONDS_LEFT, MINUTES_LEFT = (
    "Ready",
    "In queue, {count} before this one",
    "{seconds} s left",
    "{time} left",
)
STEP = "step {step} of {steps}"
PREVIEW_ALT, COPY = "Live preview", "Copy"

PREVIEW_SIDE = 640
"""Longest side in pixels of a live preview as sent to the page."""


@dataclass(frozen=True, kw_only=True)
class OutputPanel:
    """The panel's components.

    Attributes:
        pictures: State: the `GeneratedImage`s in the gallery.
        selected: State: index of the selected one.
    """

    tab: str
    progress: gr.HTML
    preview: gr.HTML
    gallery: gr.Gallery
    infotext: gr.HTML
    log: gr.HTML
    download: gr.File
    folder: gr.Button
    save: gr.Button
    zip: gr.Button
    reuse_seed: gr.Button
    send_img2img: gr.Button
    send_inpaint: gr.Button
    send_extras: gr.Button
    pictures: gr.State
    selected: gr.State

    @property
    def live(self) -> list[Component]:
        """The components that change while a job runs."""
        return [self.progress, self.preview, self.gallery, self.infotext, self.log, self.pictures, self.selected]

    def show(self, images: Sequence[GeneratedImage], select: int | None = None) -> dict[Any, Any]:
        """The event answer that puts `images` into the gallery and, when given, opens the one at `select`."""
        entries = [picture_source(image) for image in images]
        answer: dict[Any, Any] = {self.pictures: list(images)}
        if select is None or not images:
            answer[self.gallery] = gr.update(value=entries)
        else:
            answer[self.gallery] = gr.update(value=entries, selected_index=select)
            answer[self.selected] = select
            answer[self.infotext] = infotext_html(images[select].infotext)
        return answer


def build_output_panel(tab: str) -> OutputPanel:
    """Lays the panel out in the current context."""
    with gr.Column(elem_id=f"{tab}_results", elem_classes="results"):
        with gr.Column(elem_classes="stage", min_width=0):
            gallery = gr.Gallery(
                label="Output",
                show_label=False,
                elem_id=f"{tab}_gallery",
                columns=4,
                object_fit="contain",
                preview=True,
                interactive=False,
                format="png",
                buttons=["download"],
            )
            preview = gr.HTML("", elem_id=f"{tab}_live_preview", elem_classes="live-preview", padding=False)
            progress = gr.HTML(progress_html(None), elem_id=f"{tab}_progress", elem_classes="progress", padding=False)
        with gr.Row(elem_id=f"image_buttons_{tab}", elem_classes="image-buttons"):
            tool_button(VIEWER, "expand", f"{tab}_viewer", elem_classes="open-viewer")
            folder = tool_button(FOLDER, "folder", f"{tab}_open_folder")
            save = tool_button(SAVE, "save", f"save_{tab}")
            zip_all = tool_button(ZIP, "archive", f"save_zip_{tab}")
            reuse_seed = tool_button(REUSE_SEED, "recycle", f"{tab}_reuse_seed_gallery")
            send_img2img = gr.Button(SEND_IMG2IMG, elem_id=f"{tab}_send_to_img2img", size="sm", min_width=90)
            send_inpaint = gr.Button(SEND_INPAINT, elem_id=f"{tab}_send_to_inpaint", size="sm", min_width=90)
            send_extras = gr.Button(SEND_EXTRAS, elem_id=f"{tab}_send_to_extras", size="sm", min_width=90)
        download = gr.File(visible=False, interactive=False, elem_id=f"download_files_{tab}", label="Download")
        infotext = gr.HTML("", elem_id=f"html_info_{tab}", elem_classes="infotext", padding=False)
        log = gr.HTML("", elem_id=f"html_log_{tab}", elem_classes="run-log", padding=False)
    return OutputPanel(
        tab=tab,
        progress=progress,
        preview=preview,
        gallery=gallery,
        infotext=infotext,
        log=log,
        download=download,
        folder=folder,
        save=save,
        zip=zip_all,
        reuse_seed=reuse_seed,
        send_img2img=send_img2img,
        send_inpaint=send_inpaint,
        send_extras=send_extras,
        pictures=gr.State([]),
        selected=gr.State(0),
    )


def picture_source(image: GeneratedImage) -> Any:
    """What the gallery is given: the saved file, or the picture with its record where it was not saved."""
    if image.path is not None:
        return str(image.path)
    copy = image.image.copy()
    copy.info = {**copy.info, "parameters": image.infotext}
    return copy


def preview_html(image: Image.Image | None, kind: str = "jpeg", *, aside: bool = False) -> str:
    """The live preview over the gallery, or in its corner (`aside`) once there are finished pictures.

    Args:
        kind: File format: `live_previews_image_format`.
    """
    if image is None:
        return ""
    if max(image.size) > PREVIEW_SIDE:
        image = image.copy()
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind.upper(), **({} if kind == "png" else {"quality": 85}))
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img class="{"aside" if aside else ""}" alt="{PREVIEW_ALT}" src="data:image/{kind};base64,{data}">'


def progress_html(progress: Progress | None) -> str:
    """The bar with percent, time left and words; `data-` attributes feed the page title."""
    if progress is None or progress.state not in (JobState.QUEUED, JobState.RUNNING):
        return '<div class="bar idle" data-active="0"></div>'
    percent = round(progress.fraction * 100)
    words = [progress.text]
    if progress.state is JobState.QUEUED and progress.queue_position:
        words = [QUEUED.format(count=progress.queue_position)]
    if progress.steps and progress.step:
        words.append(STEP.format(step=progress.step, steps=progress.steps))
    eta = time_left(progress.eta_s)
    text = escape(" · ".join(word for word in words if word))
    return (
        f'<div class="bar" data-active="1" data-percent="{percent}" data-eta="{escape(eta)}" role="progressbar"'
        f' aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" aria-label="{text}">'
        f'<div class="fill" style="width:{percent}%"></div></div>'
        f'<div class="words"><span>{text}</span><span class="eta">{escape(eta)}</span><b>{percent}%</b></div>'
    )


def time_left(eta_s: float | None) -> str:
    """`12 s left`, `3:05 left`, or nothing while unknown."""
    if eta_s is None:
        return ""
    if eta_s < 60:
        return SECONDS_LEFT.format(seconds=round(eta_s))
    minutes, seconds = divmod(round(eta_s), 60)
    return MINUTES_LEFT.format(time=f"{minutes}:{seconds:02d}")


def infotext_html(infotext: str) -> str:
    """The record of a picture: prompts as text, parameters as a list of chips, and the plain text for copying."""
    if not infotext:
        return ""
    lines = infotext.strip().split("\n")
    last = lines[-1] if ": " in lines[-1] and lines[-1].count(", ") >= 2 else ""
    words = "\n".join(lines[:-1] if last else lines)
    prompt, marker, negative = words.partition("Negative prompt: ")
    chips = "".join(f"<li><span>{escape(key)}</span> {escape(value)}</li>" for key, value in _pairs(last))
    parts = [f'<p class="prompt">{escape(prompt.strip())}</p>' if prompt.strip() else ""]
    if marker:
        parts.append(f'<p class="negative"><span>Negative prompt</span> {escape(negative.strip())}</p>')
    button = f'<button type="button" class="copy" data-copy="{escape(infotext, quote=True)}">{COPY}</button>'
    return f'<div class="record">{"".join(parts)}<ul>{chips}</ul>{button}</div>'


def log_html(notes: Sequence[str], error: str | None = None) -> str:
    """What the user should know about the run, and the sentence of an error."""
    problem = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return problem + "".join(f"<p>{escape(note)}</p>" for note in notes)


def _pairs(line: str) -> list[tuple[str, str]]:
    """Splits `Key: value, Key: "quoted, value"` for display; `schema.infotext` is what reads it for use."""
    pairs: list[tuple[str, str]] = []
    rest = line
    while ": " in rest:
        key, _, rest = rest.partition(": ")
        if rest.startswith('"') and '"' in rest[1:]:
            value, _, rest = rest[1:].partition('"')
            rest = rest.removeprefix(", ")
        else:
            value, _, rest = rest.partition(", ")
        pairs.append((key, value))
    return pairs
