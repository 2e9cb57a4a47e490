"""The PNG Info tab: what a picture says about how it was made, and a way to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from pipelines.output.metadata import read_infotext
from schema.infotext import parse_infotext
from schema.requests import Txt2ImgRequest
from ui.components import picture_input
from ui.events import Answer, on
from ui.init_images import read_upload
from ui.output_panel import infotext_html

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SOURCE = "Picture"
EMPTY = "Drop a picture on the left. Everything it says about how it was made appears here."
NO_INFOTEXT = "This picture says nothing about how it was made."
SEND = {"txt2img": "Send to txt2img", "img2img": "Send to img2img", "inpaint": "Send to inpaint"}
TITLES = ("How it was made", "Settings", "What would not be used", "Everything in the file")


@dataclass(frozen=True, kw_only=True)
class PngInfo:
    """The tab's components; `app.py` binds the send buttons, which reach into other tabs.

    Attributes:
        infotext: The generation record found, as text.
    """

    image: gr.Image
    infotext: gr.Textbox
    send: dict[str, gr.Button]


def build_png_info(manager: PipelineManager) -> PngInfo:
    """Lays the tab out in the current context and binds reading."""
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_classes="sheet"):
            image = picture_input(SOURCE, "pnginfo_image")
            with gr.Row(elem_classes="image-buttons"):
                send = {
                    tab: gr.Button(label, elem_id=f"pnginfo_send_to_{tab}", size="sm", min_width=90)
                    for tab, label in SEND.items()
                }
        with gr.Column(scale=6, min_width=320, elem_classes="sheet"):
            table = gr.HTML(empty_html(EMPTY), elem_id="pnginfo_html_info", elem_classes="picture-info", padding=False)
            infotext = gr.Textbox(
                visible="hidden", elem_id="pnginfo_generation_info", label="Generation data", interactive=False
            )

    def read(path: str | None) -> Answer:
        if not path:
            return {table: empty_html(EMPTY), infotext: ""}
        found, chunks = read_picture(path)
        notes = manager.paste(found, Txt2ImgRequest).notes if found else ()
        return {table: info_html(found, chunks, notes), infotext: found}

    on(image.change, read, inputs=[image], outputs=[table, infotext])  # type: ignore[attr-defined]
    return PngInfo(image=image, infotext=infotext, send=send)


def read_picture(path: str) -> tuple[str, dict[str, str]]:
    """The generation record of a picture file (empty when it has none) and every text in it.

    Raises:
        ImageError: If it is not a picture that can be read.
    """
    image = read_upload(path)
    found, items = read_infotext(image)
    texts = {"Size": f"{image.width} x {image.height}", "Format": image.format or ""}
    return found or "", texts | ({"parameters": found} if found else {}) | items


def info_html(infotext: str, chunks: Mapping[str, str], notes: Sequence[str]) -> str:
    """The record, its settings as a table, what would not be used, and every text of the file."""
    made, settings, unused, everything = TITLES
    parts: list[str] = []
    if infotext:
        fields = parse_infotext(infotext)
        rows = {key: str(fields.get(key)) for key in fields.fields if key in fields.written}
        parts += [f"<h3>{made}</h3>", infotext_html(infotext), f"<h3>{settings}</h3>", table_html(rows)]
    else:
        parts.append(f'<p class="empty-note">{NO_INFOTEXT}</p>')
    if notes:
        parts.append(f"<h3>{unused}</h3><ul class='notes'>{''.join(f'<li>{escape(n)}</li>' for n in notes)}</ul>")
    parts.append(f"<details><summary>{everything}</summary>{table_html(chunks)}</details>")
    return "".join(parts)


def table_html(rows: Mapping[str, str]) -> str:
    """Two columns: key and value, both as text."""
    cells = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(rows[key])}</td></tr>' for key in rows)
    return f"<table><tbody>{cells}</tbody></table>"


def empty_html(words: str) -> str:
    """What an empty panel says."""
    return f'<p class="empty-note">{escape(words)}</p>'
