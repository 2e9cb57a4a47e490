"""The Settings tab: every declared option by section, with search; applied at once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import gradio as gr

from schema.fields import Field, fields_of
from schema.settings import NOT_SHOWN, Settings, cast_value
from ui.events import Answer, Event, on
from ui.form import Form
from ui.localization import languages, listed

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

PREFIX = "setting"
CHECKPOINT = "sd_model_checkpoint"
RESTORE, RELOAD = "Restore defaults", "Reload UI"
APPLY, SEARCH, SEARCH_HINT = "Apply settings", "Search settings", "Search by label or key"
UNCHANGED, CHANGED, ONE_CHANGED = "Nothing was changed.", "{count} settings were changed: {names}.", "Changed: {names}."
PAGE_OPTIONS = (
    "keyedit_precision_attention",
    "keyedit_precision_extra",
    "keyedit_delimiters",
    "keyedit_move",
    "show_progress_in_title",
    "img2img_editor_height",
    "img2img_sketch_default_brush_color",
    "img2img_inpaint_mask_brush_color",
    "img2img_inpaint_sketch_default_brush_color",
    "canvas_hotkey_zoom",
    "canvas_hotkey_adjust",
    "canvas_hotkey_shrink_brush",
    "canvas_hotkey_grow_brush",
    "canvas_hotkey_move",
    "canvas_hotkey_fullscreen",
    "canvas_hotkey_reset",
    "canvas_show_tooltip",
    "canvas_disabled_functions",
    "canvas_blur_prompt",
    "compact_prompt_box",
    "dimensions_and_batch_together",
    "disable_token_counters",
    "do_not_show_images",
    "gallery_height",
    "hires_fix_show_prompts",
    "hires_fix_show_sampler",
    "js_live_preview_in_modal_lightbox",
    "js_modal_lightbox",
    "js_modal_lightbox_initially_zoomed",
    "keyedit_delimiters_whitespace",
    "notification_audio",
    "notification_volume",
    "prevent_screen_sleep_during_generation",
    "sd_webui_modal_lightbox_icon_opacity",
    "sd_webui_modal_lightbox_toolbar_opacity",
    "show_progressbar",
)
"""Options that the page's scripts read."""

AFTER_RESTART = frozenset({"quicksettings_list", "ui_tab_order", "hidden_tabs", "sd_checkpoint_dropdown_use_short"})
"""Options that shape the page when it is built."""

NEEDS_RESTART = "Acts after the program was started again."


@dataclass(frozen=True, kw_only=True)
class SettingsTab:
    """The tab's form.

    Attributes:
        options_html: Hidden element that hands `PAGE_OPTIONS` to the page's script.
        shown: State: the settings that the components show.
    """

    manager: PipelineManager
    form: Form[Settings]
    options_html: gr.HTML
    shown: gr.State

    def bind_load(self, page: gr.Blocks) -> None:
        """Shows what was changed since the page was built, whenever it is opened."""

        def show(shown: Settings) -> Answer:
            now = self.manager.settings.settings
            values = {name: getattr(now, name) for name in self.form.components}
            changed = {name: value for name, value in values.items() if value != getattr(shown, name)}
            return {
                **self.form.updates(changed),
                self.options_html: page_options_html(now, opened=True),
                self.shown: now,
            }

        outputs = [*self.form.outputs, self.options_html, self.shown]
        on(page.load, show, inputs=[self.shown], outputs=outputs)


def build_page_options(manager: PipelineManager) -> gr.HTML:
    """The hidden element with `PAGE_OPTIONS`; outside the tabs, because a tab's content exists once it was opened."""
    return gr.HTML(page_options_html(manager.settings.settings), elem_id="page_options", visible="hidden")


def build_settings(
    manager: PipelineManager,
    options: gr.HTML,
    tabs: Iterable[str],
    pages: Mapping[str, Callable[[], object]] | None = None,
) -> SettingsTab:
    """Lays the tab out in the current context and binds Apply.

    Args:
        options: What `build_page_options` made.
        tabs: Names of the page's tabs, for the options that choose among them.
        pages: Title to layout of the pages that hold no options; they come last.
    """
    pages = pages or {}
    own_lists = {
        "tabs": list(tabs),
        "setting_keys": [field.name for field in fields_of(Settings) if field.name not in NOT_SHOWN],
        "localizations": languages(manager.paths.localizations),
    }
    form = Form(Settings, PREFIX, lambda name: own_lists.get(name) or manager.choices(name))
    without = NOT_SHOWN | quick_options(manager.settings.settings)
    fields = [
        field for name in form.names if (field := form.field(name)).control.kind != "hidden" and name not in without
    ]
    sections = [(section, list(group)) for section, group in groupby(fields, lambda field: field.control.section or "")]
    with gr.Row(elem_id="settings_bar", elem_classes="settings-bar", equal_height=True):
        gr.Textbox(
            label=SEARCH, show_label=False, container=False, placeholder=SEARCH_HINT, elem_id="settings_search", scale=3
        )
        apply = gr.Button(APPLY, variant="primary", elem_id="settings_submit", scale=1, min_width=140, size="md")
        restore = gr.Button(RESTORE, elem_id="settings_restore", scale=0, min_width=170, size="md")
        reload = gr.Button(RELOAD, elem_id="settings_reload", scale=0, min_width=120, size="md")
    said = gr.HTML("", elem_id="settings_result", elem_classes="run-log", padding=False)
    with gr.Row(elem_classes="settings-body", equal_height=False):
        gr.HTML(sections_html([*(name for name, _ in sections), *pages]), elem_id="settings_sections", padding=False)
        with gr.Column(elem_id="settings_pages", elem_classes="sheet", min_width=280):
            for number, (section, group) in enumerate(sections):
                with gr.Column(elem_id=f"settings_page_{number}", elem_classes="settings-page", min_width=0):
                    gr.HTML(f"<h3>{section}</h3>", padding=False)
                    for field in group:
                        form.render(field.name, **_shown_as(field, manager.settings.settings))
            for number, lay_out in enumerate(pages.values(), len(sections)):
                with gr.Column(elem_id=f"settings_page_{number}", elem_classes="settings-page", min_width=0):
                    lay_out()

    if "localization" in form.components:
        # Languages are found by their own names; the value stays A1111's.
        form["localization"].choices = listed(own_lists["localizations"])  # type: ignore[attr-defined]

    def change(event: Event) -> Answer:
        before = manager.settings.settings
        now = manager.settings.update(changed_values(form, event, before), restricted=True)
        changed = [name for name in form.components if getattr(now, name) != getattr(before, name)]
        return {said: changes_html(form, changed), options: page_options_html(now, opened=True)}

    on(apply.click, change, inputs=form.inputs, outputs=[said, options])
    on(reload.click, None, js="() => location.reload()")
    defaults = [[name, next(iter(form.updates({name: form.field(name).default}).values()))] for name in form.components]
    on(restore.click, None, outputs=form.outputs, js=f"() => webui.settings.defaults({json.dumps(defaults)})")
    return SettingsTab(manager=manager, form=form, options_html=options, shown=gr.State(manager.settings.settings))


def quick_options(settings: Settings) -> frozenset[str]:
    """Options that have their control above the tabs, and so none on the Settings page."""
    return frozenset({CHECKPOINT, *settings.quicksettings_list})


def _shown_as(field: Field, settings: Settings) -> dict[str, Any]:
    info = " ".join(filter(None, (field.control.info, NEEDS_RESTART if field.name in AFTER_RESTART else None)))
    return {"value": getattr(settings, field.name), "info": info or None}


def changed_values(form: Form[Settings], event: Event, before: Settings) -> dict[str, Any]:
    """The options of an event that differ from `before`, so that an odd value elsewhere in the file stays as it is.

    Raises:
        SettingsError: If a value cannot be used.
    """
    typed = form.values(event)
    return {
        name: value
        for name, value in typed.items()
        if value is not None and cast_value(name, value) != getattr(before, name)
    }


def changes_html(form: Form[Settings], changed: list[str]) -> str:
    """One sentence on what was changed."""
    if not changed:
        return f'<p role="status">{UNCHANGED}</p>'
    names = ", ".join(form.field(name).control.label for name in changed)
    words = ONE_CHANGED.format(names=names) if len(changed) == 1 else CHANGED.format(count=len(changed), names=names)
    return f'<p role="status">{words}</p>'


def sections_html(names: list[str]) -> str:
    """The list of pages; shortcuts.js shows the page that is chosen."""
    buttons = "".join(
        f'<button type="button" data-page="{number}">{name}</button>' for number, name in enumerate(names)
    )
    return f'<nav class="sections" aria-label="Settings">{buttons}</nav>'


def page_options_html(settings: Settings, *, opened: bool = False) -> str:
    """`PAGE_OPTIONS` as JSON in an attribute; `data-opened` tells that the page has the values in force."""
    values = {name: getattr(settings, name) for name in PAGE_OPTIONS}
    text = json.dumps(values).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<div data-options="{text}" data-opened="{int(opened)}"></div>'
