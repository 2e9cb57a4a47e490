"""Defaults of the page's controls: taken from ui-config.json, and saved there from what the page shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from schema.ui_defaults import Control, Found, key_stems, read_defaults, written_defaults
from ui.events import Answer, Event, on
from ui.keep import Keeping, Kept, Rule
from ui.quicksettings import UNTOUCHED

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

log = logging.getLogger(__name__)

TITLE = "Defaults"
HELP = "Set the controls of the other tabs as you want to find them, look at what would change, and save it."
VIEW, SAVE, FORGET = "View changes", "Save as defaults", "Forget saved defaults"
NO_CHANGES, SAVED, ONE_SAVED = (
    "No control differs from its default.",
    "{count} defaults were saved.",
    "1 default was saved.",
)
FORGOTTEN = "The page starts with its own defaults again."
HEADINGS = ("Tab", "Control", "Default", "Now")

NEVER = frozenset({"file", "files", "drawing", "chips"})
"""Kinds of controls that have no default to save."""


@dataclass(frozen=True, kw_only=True)
class DefaultsPage:
    """The page's components."""

    view: gr.Button
    save: gr.Button
    forget: gr.Button
    said: gr.HTML


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The defaults in force and those that the page was built with.

    Attributes:
        keeping: The page's controls, with the defaults that they were built with.
        controls: `elem_id` → the control as ui-config.json sees it.
        own: `elem_id` → default without ui-config.json.
    """

    manager: PipelineManager
    keeping: Keeping
    controls: Mapping[str, Control]
    own: Mapping[str, Any]

    def now(self) -> dict[str, Any]:
        """`elem_id` → default in force, for every control that can have one."""
        found = read_defaults(self.manager.settings.ui_values, self.controls.values())
        return {name: found.changes.get(name, {}).get("value", self.own[name]) for name in self.controls}

    def newer(self) -> dict[str, Any]:
        """Defaults that the page was not built with, for pages opened now."""
        built = {kept.rule.id: kept.rule.default for kept in self._kept}
        return {name: value for name, value in self.now().items() if value != built[name]}

    def bind(self, page: DefaultsPage) -> None:
        """Binds the buttons of the Defaults page."""
        components = {kept.component for kept in self._kept}

        def view(event: Event) -> Answer:
            return {page.said: self._table(self._changed(event))}

        def save(event: Event) -> Answer:
            changed = self._changed(event)
            if not changed:
                return {page.said: _sentence(NO_CHANGES)}
            table = self._table(changed)
            entries = written_defaults({kept.rule.id: value for kept, value in changed}, self.controls.values())
            self.manager.settings.update_ui_values(entries)
            words = ONE_SAVED if len(changed) == 1 else SAVED.format(count=len(changed))
            return {page.said: _sentence(words) + table}

        def forget() -> Answer:
            stems = key_stems(self.controls.values())
            keys = [f"{stem}/value" for own in stems.values() for stem in own]
            self.manager.settings.update_ui_values({}, without=keys)
            return {page.said: _sentence(FORGOTTEN)}

        on(page.view.click, view, inputs=components, outputs=[page.said])
        on(page.save.click, save, inputs=components, outputs=[page.said])
        on(page.forget.click, forget, inputs=None, outputs=[page.said])

    @property
    def _kept(self) -> list[Kept]:
        every = [kept for group in self.keeping.groups.values() for kept in group]
        return [kept for kept in every if kept.rule.id in self.controls]

    def _changed(self, event: Event) -> list[tuple[Kept, Any]]:
        before, native = self.now(), self.manager.model_status().native_size

        def is_changed(rule: Rule, value: Any) -> bool:
            # The size that the model asks for was set by nobody.
            is_models = rule.is_size and before[rule.id] == UNTOUCHED and value == native
            return value is not None and value != before[rule.id] and not is_models and rule.accepts(value)

        values = [(kept, event[kept.component]) for kept in self._kept]
        return [(kept, value) for kept, value in values if is_changed(kept.rule, value)]

    def _table(self, changed: Sequence[tuple[Kept, Any]]) -> str:
        if not changed:
            return _sentence(NO_CHANGES)
        before, head = self.now(), "".join(f'<th scope="col">{word}</th>' for word in HEADINGS)
        rows = ""
        for kept, value in changed:
            control = self.controls[kept.rule.id]
            words = {_plain(meant): word for word, meant in control.names.items()}
            old, new = (words.get(_plain(each), _plain(each)) for each in (before[kept.rule.id], value))
            cells = (control.tab, control.label, old, new)
            rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        return f'<table class="changes"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def build_defaults_page() -> DefaultsPage:
    """Lays the page out in the current context."""
    gr.HTML(f"<h3>{TITLE}</h3><p>{HELP}</p>", padding=False)
    with gr.Row():
        view = gr.Button(VIEW, elem_id="ui_defaults_view", min_width=120, size="md")
        save = gr.Button(SAVE, variant="primary", elem_id="ui_defaults_apply", min_width=140, size="md")
        forget = gr.Button(FORGET, elem_id="ui_defaults_forget", min_width=140, size="md")
    said = gr.HTML("", elem_id="ui_defaults_review", elem_classes="picture-info", padding=False)
    return DefaultsPage(view=view, save=save, forget=forget, said=said)


def apply_defaults(manager: PipelineManager, keeping: Keeping) -> Defaults:
    """Gives the page's controls what ui-config.json says; what it says wrongly is logged, once for each start."""
    kept = {each.rule.id: (tab, each) for tab, group in keeping.groups.items() for each in group}
    controls = {
        name: _control(tab, each, manager.choices)
        for name, (tab, each) in kept.items()
        if each.rule.kind not in NEVER and each.component.visible is not False and each.component.visible != "hidden"
    }
    found = read_defaults(manager.settings.ui_values, controls.values())
    report(found)
    groups = {
        tab: [
            Kept(component=each.component, rule=_changed_rule(each, found.changes.get(each.rule.id, {})))
            for each in group
        ]
        for tab, group in keeping.groups.items()
    }
    own = {name: kept[name][1].rule.default for name in controls}
    return Defaults(manager=manager, keeping=replace(keeping, groups=groups), controls=controls, own=own)


def report(found: Found) -> None:
    """Logs what of ui-config.json cannot be used."""
    for sentence in found.refused:
        log.warning("ui-config.json: %s", sentence)
    if found.unknown:
        log.info(
            "ui-config.json: %d keys belong to no control of this page; they stay in the file.", len(found.unknown)
        )


def _control(tab: str, kept: Kept, choices: Callable[[str], list[str]]) -> Control:
    rule = kept.rule

    def accepts(value: Any) -> bool:
        if not rule.accepts(value):
            return False
        if rule.live is None or value == rule.default:
            return True
        entries = choices(rule.live)
        return all(each in entries for each in (value if isinstance(value, list) else [value]))

    entries: list[tuple[str, Any]] = getattr(kept.component, "choices", None) or []
    names = {label: value for label, value in entries if label != value}
    is_slider = isinstance(kept.component, gr.Slider)
    return Control(id=rule.id, tab=tab, label=rule.label, accepts=accepts, names=names, is_slider=is_slider)


def _changed_rule(kept: Kept, found: Mapping[str, Any]) -> Rule:
    """Gives the component its new properties; its rule afterwards."""
    component: Component = kept.component
    # Other controls may depend on what is chosen: the browser sets it when the page is opened, which they notice.
    taken = {name: value for name, value in found.items() if name != "value" or kept.rule.kind != "choice"}
    for name, value in taken.items():
        setattr(component, name, value)
    rule = replace(kept.rule, default=taken.get("value", kept.rule.default))
    if isinstance(component, gr.Slider):
        rule = replace(rule, shown=(component.minimum, component.maximum))
    return rule


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _sentence(words: str) -> str:
    return f'<p role="status">{escape(words)}</p>'
