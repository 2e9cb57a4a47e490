"""The PNG Info tab: what a picture says about how it was made, whether its models are here, and ways to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from pipelines.named_models import NamedModel, Presence
from pipelines.output.metadata import read_infotext
from schema.infotext import parse_infotext
from schema.requests import Txt2ImgRequest
from ui.compare import Comparison, build_comparison
from ui.components import picture_input
from ui.events import Answer, Event, on
from ui.init_images import read_upload
from ui.output_panel import infotext_html
from ui.tab import GenerationTab

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SOURCE = "Picture"
EMPTY = "Drop a picture on the left. Everything it says about how it was made appears here."
NO_INFOTEXT = "This picture says nothing about how it was made."
SEND = {
    "txt2img": "Send to txt2img",
    "img2img": "Send to img2img",
    "inpaint": "Send to inpaint",
    "extras": "Send to Extras",
}
TITLES = ("How it was made", "Settings", "What would not be used", "Everything in the file")
MODELS = "Models it names"
PRESENCE = {
    Presence.HERE: "Here",
    Presence.SAME_NAME: "Another file of this name is here",
    Presence.MISSING: "Not here",
}
CHANGES, CHANGES_OF = "What sending it would change", "In the tab"
COLUMNS = ("Field", "Now", "New")
NO_CHANGES = "Nothing: the tab has these values already."
NOTHING_TO_SEND = "There is nothing to send yet."
ON, OFF, NONE = "on", "off", "–"


@dataclass(frozen=True, kw_only=True)
class PngInfo:
    """The tab's components; `app.py` binds the send buttons, which reach into other tabs.

    Attributes:
        infotext: The generation record found, as text.
        target: Which tab the preview of changes is for.
    """

    image: gr.Image
    infotext: gr.Textbox
    send: dict[str, gr.Button]
    table: gr.HTML
    target: gr.Radio
    changes: gr.HTML
    comparison: Comparison


def build_png_info(manager: PipelineManager) -> PngInfo:
    """Lays the tab out in the current context; `bind_reading` brings it to life."""
    with gr.Row(elem_classes="workbench", equal_height=False):
        with gr.Column(scale=4, min_width=320, elem_classes="sheet"):
            image = picture_input(SOURCE, "pnginfo_image")
            with gr.Row(elem_classes="image-buttons"):
                send = {
                    tab: gr.Button(label, elem_id=f"pnginfo_send_to_{tab}", size="sm", min_width=90)
                    for tab, label in SEND.items()
                }
            with gr.Accordion(CHANGES, open=False, elem_id="pnginfo_changes_group"):
                names = list(SEND)[:3]
                target = gr.Radio(choices=names, value=names[0], label=CHANGES_OF, elem_id="pnginfo_changes_target")
                changes = gr.HTML(
                    empty_html(NOTHING_TO_SEND), elem_id="pnginfo_changes", elem_classes="picture-info", padding=False
                )
        with gr.Column(scale=6, min_width=320):
            with gr.Column(elem_classes="sheet", min_width=0):
                table = gr.HTML(
                    empty_html(EMPTY), elem_id="pnginfo_html_info", elem_classes="picture-info", padding=False
                )
                infotext = gr.Textbox(
                    visible="hidden", elem_id="pnginfo_generation_info", label="Generation data", interactive=False
                )
            comparison = build_comparison(manager)
    return PngInfo(
        image=image, infotext=infotext, send=send, table=table, target=target, changes=changes, comparison=comparison
    )


def bind_reading(
    manager: PipelineManager, info: PngInfo, page_tab: gr.Tab, targets: Sequence[GenerationTab[Any]], browser: Any
) -> None:
    """Binds reading a picture, the preview of what sending it would change, and the comparison.

    Args:
        page_tab: The page's tab; opening it shows the changes anew, as values may have changed elsewhere.
        targets: The tabs that a record can be sent to.
        browser: State: the unguessable name of this browser.
    """
    forms = {tab.form.prefix: tab for tab in targets}
    values: set[Component] = {component for tab in targets for component in tab.form.inputs}

    def preview(event: Event, infotext: str) -> str:
        return changes_of(manager, forms[event[info.target] or "txt2img"], event, infotext)

    def read(event: Event) -> Answer:
        path = event[info.image]
        if not path:
            return {info.table: empty_html(EMPTY), info.infotext: "", info.changes: empty_html(NOTHING_TO_SEND)}
        found, chunks = read_picture(path)
        notes = manager.paste(found, Txt2ImgRequest).notes if found else ()
        models = manager.models_of(found) if found else ()
        return {
            info.table: info_html(found, chunks, notes, models),
            info.infotext: found,
            info.changes: preview(event, found),
        }

    def renew(event: Event) -> Answer:
        return {info.changes: preview(event, event[info.infotext] or "")}

    outputs = [info.table, info.infotext, info.changes]
    on(info.image.change, read, inputs={info.image, info.target, *values}, outputs=outputs)  # type: ignore[attr-defined]
    for trigger in (info.target.change, page_tab.select):
        on(trigger, renew, inputs={info.infotext, info.target, *values}, outputs=[info.changes])
    info.comparison.bind(manager, browser, info.image, info.infotext)


def changes_of(manager: PipelineManager, tab: GenerationTab[Any], event: Event, infotext: str) -> str:
    """What sending `infotext` to `tab` would change, as a table: field, now, new."""
    if not infotext.strip():
        return empty_html(NOTHING_TO_SEND)
    pasted = manager.paste(infotext, tab.form.model)
    now = tab.form.values(event)
    rows: list[tuple[str, str, str]] = []
    for name, new in _flat(pasted.values):
        if name in now and words_of(now[name]) != words_of(new):
            rows.append((tab.form.field(name).control.label, words_of(now[name]), words_of(new)))
    settings = manager.settings.settings
    rows += [(name, words_of(getattr(settings, key)), words_of(value)) for name, key, value in pasted.overrides]
    if not rows:
        return f'<p class="empty-note">{NO_CHANGES}</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(before)}</td><td>{escape(after)}</td></tr>'
        for label, before, after in rows
    )
    return f'<table class="changes"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def words_of(value: Any) -> str:
    """A value as people read it: "on", "7", "Euler a", "–" for nothing."""
    match value:
        case None | "":
            return NONE
        case bool():
            return ON if value else OFF
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(str, value)) or NONE
        case _:
            return str(value)


def read_picture(path: str) -> tuple[str, dict[str, str]]:
    """The generation record of a picture file (empty when it has none) and every text in it.

    Raises:
        ImageError: If it is not a picture that can be read.
    """
    image = read_upload(path)
    found, items = read_infotext(image)
    texts = {"Size": f"{image.width} x {image.height}", "Format": image.format or ""}
    return found or "", texts | ({"parameters": found} if found else {}) | items


def info_html(infotext: str, chunks: Mapping[str, str], notes: Sequence[str], models: Sequence[NamedModel] = ()) -> str:
    """The record, its settings as a table, its models, what would not be used, and every text of the file."""
    made, settings, unused, everything = TITLES
    parts: list[str] = []
    if infotext:
        fields = parse_infotext(infotext)
        rows = {key: str(fields.get(key)) for key in fields.fields if key in fields.written}
        parts += [f"<h3>{made}</h3>", infotext_html(infotext)]
        parts += [f"<h3>{MODELS}</h3>", models_html(models)] if models else []
        parts.append(f"<details><summary>{settings}</summary>{table_html(rows)}</details>")
    else:
        parts.append(f'<p class="empty-note">{NO_INFOTEXT}</p>')
    if notes:
        parts.append(f"<h3>{unused}</h3><ul class='notes'>{''.join(f'<li>{escape(n)}</li>' for n in notes)}</ul>")
    parts.append(f"<details><summary>{everything}</summary>{table_html(chunks)}</details>")
    return "".join(parts)


def models_html(models: Sequence[NamedModel]) -> str:
    """What each named model is, and whether it is here."""
    rows: list[str] = []
    for model in models:
        name = f"{model.name} [{model.hash}]" if model.hash and model.name else model.name or model.hash
        state = PRESENCE[model.presence]
        local = f": {model.local}" if model.local and model.local not in (model.name, name) else ""
        rows.append(
            f'<tr><th scope="row">{escape(model.kind)}</th><td>{escape(name)}</td>'
            f'<td class="presence {model.presence.name.lower()}">{escape(state)}{escape(local)}</td></tr>'
        )
    return f'<table class="models"><tbody>{"".join(rows)}</tbody></table>'


def table_html(rows: Mapping[str, str]) -> str:
    """Two columns: key and value, both as text."""
    cells = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(rows[key])}</td></tr>' for key in rows)
    return f"<table><tbody>{cells}</tbody></table>"


def empty_html(words: str) -> str:
    """What an empty panel says."""
    return f'<p class="empty-note">{escape(words)}</p>'


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Values by field name, those of nested models as `outer.inner`."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, BaseModel):
            found += [(f"{name}.{inner}", each) for inner, each in value]
        else:
            found.append((name, value))
    return found
