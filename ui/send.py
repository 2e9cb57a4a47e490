"""Binds what reaches from one tab into another: paste, styles, send to, save and Zip."""

from __future__ import annotations

import secrets
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr
from gradio.utils import get_upload_folder

from schema.errors import InvalidRequest
from schema.results import GeneratedImage
from ui.events import Answer, Event, on
from ui.keep import changes
from ui.output_panel import OutputPanel, log_html, picture_source
from ui.png_info import PngInfo
from ui.sources import SourceTab
from ui.tab import NO_PICTURE, GenerationTab, picture_at
from ui.transfer import sent_values, show_infotext

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SAVED, NOT_SAVED = "Saved to {path}.", "The picture has no file yet, so there is nothing to copy."
ARCHIVE_AGE_S = 3600
NOTHING_FOUND = "This picture says nothing about how it was made, so there is nothing to send."


class PanelTab(Protocol):
    """A tab with results."""

    @property
    def panel(self) -> OutputPanel: ...


def bind_paste(manager: PipelineManager, tab: GenerationTab[Any]) -> None:
    """Binds the paste button: the prompt box's text, or the last generation when the box is empty."""

    def paste(text: str) -> Answer:
        return show_infotext(manager, tab, text if text.strip() else manager.last_infotext())

    changes(tab.row.paste, tab.form.prefix)
    on(tab.row.paste.click, paste, inputs=[tab.form["prompt"]], outputs=tab.outputs)


def bind_styles(manager: PipelineManager, tab: GenerationTab[Any]) -> None:
    """Binds the button that writes the chosen styles into the prompts."""
    fields = [tab.form[name] for name in ("prompt", "negative_prompt", "styles")]

    def apply(prompt: str, negative_prompt: str, styles: list[str]) -> tuple[str, str, list[str]]:
        return (*manager.apply_styles(prompt, negative_prompt, styles or []), [])

    changes(tab.row.apply_styles, tab.form.prefix)
    on(tab.row.apply_styles.click, apply, inputs=fields, outputs=fields)


def bind_send(manager: PipelineManager, tab: PanelTab, tabs: gr.Tabs, img2img: SourceTab, inpaint: SourceTab) -> None:
    """Binds the buttons under a tab's gallery."""
    picked = [tab.panel.pictures, tab.panel.selected]
    for button, target in ((tab.panel.send_img2img, img2img), (tab.panel.send_inpaint, inpaint)):

        def send(pictures: list[GeneratedImage], selected: int, target: SourceTab = target) -> Answer:
            picture = picture_at(pictures, selected)
            settings = manager.settings.settings
            has_record = bool(picture.infotext.strip())
            values = manager.paste(picture.infotext, target.tab.form.model).values if has_record else {}
            sent = sent_values(values, seed=settings.send_seed)
            if settings.send_size:
                sent |= {"width": picture.image.width, "height": picture.image.height}
            return {
                **target.tab.show(sent),
                **target.receive(picture_source(picture)),
                tabs: gr.Tabs(selected=target.tab.form.prefix),
            }

        changes(button, target.tab.form.prefix)
        on(button.click, send, inputs=picked, outputs=[*target.tab.outputs, *target.receivers, tabs])
    outputs = [tab.panel.log, tab.panel.download]
    on(tab.panel.save.click, lambda *at: _save(manager, tab, *at), inputs=picked, outputs=outputs)
    on(tab.panel.zip.click, lambda pictures: _zip(tab, pictures), inputs=picked[:1], outputs=outputs)


def bind_png_info(
    manager: PipelineManager,
    info: PngInfo,
    tabs: gr.Tabs,
    txt2img: GenerationTab[Any],
    img2img: SourceTab,
    inpaint: SourceTab,
) -> None:
    """Binds PNG Info's send buttons: every field that the picture's record names is filled."""

    def to_txt2img(infotext: str) -> Answer:
        if not infotext:
            raise InvalidRequest(NOTHING_FOUND)
        return {**show_infotext(manager, txt2img, infotext), tabs: gr.Tabs(selected="txt2img")}

    changes(info.send["txt2img"], "txt2img")
    on(info.send["txt2img"].click, to_txt2img, inputs=[info.infotext], outputs=[*txt2img.outputs, tabs])
    for target in (img2img, inpaint):
        name = target.tab.form.prefix

        def to_source(event: Event, target: SourceTab = target, name: str = name) -> Answer:
            path, infotext = event[info.image], event[info.infotext]
            if not path:
                raise InvalidRequest(NO_PICTURE)
            filled = show_infotext(manager, target.tab, infotext) if infotext else {}
            return {**filled, **target.receive(path), tabs: gr.Tabs(selected=name)}

        changes(info.send[name], name)
        on(
            info.send[name].click,
            to_source,
            inputs={info.image, info.infotext},
            outputs=[*target.tab.outputs, *target.receivers, tabs],
        )


def _save(manager: PipelineManager, tab: PanelTab, pictures: list[GeneratedImage], selected: int) -> Answer:
    only_selected = manager.settings.settings.save_selected_only
    chosen = [picture_at(pictures, selected)] if only_selected else pictures
    saved = manager.save_copies(chosen)
    words = [SAVED.format(path=path) for path in saved] or [NOT_SAVED]
    return {tab.panel.log: log_html(words)}


def _zip(tab: PanelTab, pictures: list[GeneratedImage]) -> Answer:
    if not pictures:
        raise InvalidRequest(NO_PICTURE)
    archive = _archive_folder() / f"pictures-{secrets.token_hex(8)}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for number, picture in enumerate(pictures):
            if picture.path is not None:
                target.write(picture.path, f"{number:03d}-{picture.path.name}")
            else:
                with target.open(f"{number:03d}-{picture.seed}.png", "w") as entry:
                    picture_source(picture).save(entry, format="PNG")
    return {tab.panel.download: gr.update(value=str(archive), visible=True)}


def _archive_folder() -> Path:
    """A folder for archives beside Gradio's uploads; what is older than an hour is removed from it."""
    folder = Path(get_upload_folder()) / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("pictures-*.zip"):
        if time.time() - old.stat().st_mtime > ARCHIVE_AGE_S:
            old.unlink(missing_ok=True)
    return folder
