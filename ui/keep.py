"""What a browser keeps of the page: every control's value, open tabs and groups, undo, and the prompts used.

Whatever has an `elem_id` inside a tab of the page is found and kept, so a new control needs no word here; the class
`NOT_KEPT` leaves one out. All of it happens in the browser (assets/keep.js): no change of a value asks the server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components import Component

from schema.fields import Field
from ui.events import Answer, on
from ui.form import Form

Kind = Literal["number", "text", "check", "choice", "choices", "chips", "file", "files", "drawing"]

NOT_KEPT = "not-kept"
"""Class of a control, or of a group of them, that starts anew with the page."""

CHANGES = "changes-"
"""Beginning of the class of a button that is about to change the values of the tab named after it."""

WORDS = {
    "changed": "{tab} was changed.",
    "undo": "Undo",
    "undone": "The values from before are back.",
    "nothing_to_undo": "There is nothing to undo in this tab.",
    "reset": "Set every control of this tab to its default? Pictures stay.",
    "clear": "Clear both prompts?",
    "damaged": "What this browser kept for {tab} was damaged. It was set aside as {name}, and defaults are used.",
    "full": "This browser has no room left to keep what you change: a reload will forget it.",
    "lost_picture": "The picture in {field} is no longer there. Drop it again.",
    "gone_choice": "{field}: {value} is no longer there; {other} is chosen.",
    "history": "Prompts used in this tab",
    "no_history": "Prompts appear here once you generate with them.",
    "clear_history": "Forget all",
    "negative": "Negative prompt",
    "close": "Close",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is known of a kept control: how its value looks, and which values it may have.

    Attributes:
        default: Its value in a fresh page.
        choices: Allowed values where they are fixed.
        live: Name of the live list (`Control.choices`) that allowed values are in.
        shown: (minimum, maximum) of its slider, which widens for a value outside.
        bounds: (minimum, maximum) of its field, None where there is none.
    """

    id: str
    kind: Kind
    label: str
    default: Any = None
    choices: tuple[Any, ...] | None = None
    live: str | None = None
    shown: tuple[float, float] | None = None
    bounds: tuple[float | None, float | None] | None = None

    @property
    def is_size(self) -> bool:
        """Whether it is a side of the picture, which follows the model until somebody sets it."""
        return self.id.endswith(("_width", "_height"))

    def accepts(self, value: Any) -> bool:
        """Whether the control may hold `value`, as far as that can be said without a live list."""
        match self.kind:
            case "number":
                low, high = self.bounds or (None, None)
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                return is_number and (low is None or value >= low) and (high is None or value <= high)
            case "check":
                return isinstance(value, bool)
            case "choice":
                return value in self.choices if self.choices is not None else value is None or isinstance(value, str)
            case "choices" | "chips":
                listed = isinstance(value, list | tuple)
                return listed and all(each in self.choices if self.choices else isinstance(each, str) for each in value)
            case "text":
                return isinstance(value, str)
            case _:
                return False

    def plain(self) -> dict[str, Any]:
        """For the browser: without what is absent."""
        known = {"default": self.default, "choices": self.choices, "live": self.live, "shown": self.shown}
        known["bounds"] = self.bounds
        return {"id": self.id, "kind": self.kind, "label": self.label} | {
            key: value for key, value in known.items() if value is not None
        }


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A control and its rule."""

    component: Component
    rule: Rule


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What the page keeps.

    Attributes:
        groups: Tab's name (its `elem_id` without `tab_`) to its controls.
        layout: Tabs and accordions whose open part is kept.
        lists: Holds the entries of the live lists when the page is opened.
    """

    groups: Mapping[str, Sequence[Kept]]
    layout: Sequence[Block]
    lists: gr.Textbox

    def names_of_lists(self) -> tuple[str, ...]:
        """Live lists that a rule names."""
        return tuple(sorted({kept.rule.live for group in self.groups.values() for kept in group if kept.rule.live}))

    def show_lists(self, choices: Callable[[str], list[str]], defaults: Mapping[str, Any]) -> Answer:
        """The event answer that tells the browser what the live lists hold now; `lists` is its output.

        Args:
            defaults: `elem_id` → default of a control, where it is another than when the page was built.
        """
        lists = {name: choices(name) for name in self.names_of_lists()}
        return {self.lists: json.dumps({"lists": lists, "defaults": defaults}, ensure_ascii=False)}

    def bind(self, page: gr.Blocks) -> Any:
        """Binds keeping and giving back; what comes back is the dependency that has given everything back.

        A tab has two events: one reads all values, one writes some. There is none for the change of a control: when
        a page opens, Gradio compares each control with each event of each control, and that would double its time.
        """
        controls = [kept for group in self.groups.values() for kept in group]
        outputs = [*(kept.component for kept in controls), *self.layout]
        restored = on(page.load, None, outputs=outputs, js=f"() => webui.keep.opened({self._spec()})")
        with gr.Row(elem_id="keep_buttons", elem_classes="keep-buttons"):
            for name, group in self.groups.items():
                components = [kept.component for kept in group]
                read = gr.Button("read", elem_id=f"keep_read_{name}")
                write = gr.Button("write", elem_id=f"keep_write_{name}")
                on(read.click, None, inputs=components, js=f"(...all) => webui.keep.taken({json.dumps(name)}, all)")
                on(write.click, None, outputs=components, js=f"() => webui.keep.given({json.dumps(name)})")
        return restored

    def _spec(self) -> str:
        groups = {name: [kept.rule.plain() for kept in group] for name, group in self.groups.items()}
        layout = [
            {"id": block.elem_id, "kind": "tabs" if isinstance(block, gr.Tabs) else "accordion"}
            for block in self.layout
        ]
        return json.dumps({"groups": groups, "layout": layout, "words": WORDS}, ensure_ascii=False)


def rule_of(block: Component, field: Field | None) -> Rule | None:
    """The rule of a control, or None for what a person cannot change."""
    kind = _kind(block)
    if kind is None or not block.elem_id or getattr(block, "interactive", None) is False:
        return None
    live = field.control.choices if field and isinstance(field.control.choices, str) else None
    entries: list[tuple[str, Any]] = getattr(block, "choices", None) or []
    is_open = live is not None or kind == "chips" or getattr(block, "allow_custom_value", False)
    low, high = field.bounds[:2] if field else (None, None)
    if isinstance(block, gr.Slider) and field is None:
        low, high = block.minimum, block.maximum
    return Rule(
        id=block.elem_id,
        kind=kind,
        label=getattr(block, "label", None) or block.elem_id,
        default="" if kind == "text" and block.value is None else block.value,
        choices=tuple(value for _, value in entries) if entries and not is_open else None,
        live=live,
        shown=(block.minimum, block.maximum) if isinstance(block, gr.Slider) else None,
        bounds=(low, high) if kind == "number" and (low is not None or high is not None) else None,
    )


def changes(button: gr.Button, *tabs: str) -> None:
    """Says that `button` replaces values of `tabs`: what they were is remembered, and Undo offered afterwards."""
    button.elem_classes = [*(button.elem_classes or []), *(CHANGES + tab for tab in tabs)]


def find_kept(tabs: gr.Tabs, forms: Sequence[Form[Any]], *, without: Sequence[str] = ()) -> Keeping:
    """Everything inside `tabs` that can be kept; to be called in the page's context, when all is laid out.

    Args:
        forms: They know bounds and live lists of their fields.
        without: `elem_id`s of the tabs that keep nothing.
    """
    fields = {form[name]: form.field(name) for form in forms for name in form.components}
    groups: dict[str, list[Kept]] = {}
    layout: list[Block] = [tabs]
    for tab in tabs.children:
        if not isinstance(tab, gr.Tab) or not tab.elem_id or tab.elem_id in without:
            continue
        group: list[Kept] = []
        for block in _inside(tab):
            if isinstance(block, gr.Tabs | gr.Accordion) and block.elem_id:
                layout.append(block)
            elif isinstance(block, Component) and (rule := rule_of(block, fields.get(block))):
                group.append(Kept(component=block, rule=rule))
        if group:
            groups[tab.elem_id.removeprefix("tab_")] = group
    lists = gr.Textbox(visible=False, elem_id="keep_lists")
    return Keeping(groups=groups, layout=layout, lists=lists)


def bind_lists(keeping: Keeping, opened: Any) -> None:
    """Lets the browser compare what it kept with the live lists, after the event `opened` has shown them."""
    on(opened.then, None, inputs=[keeping.lists], js="(lists) => webui.keep.listed(lists)")


def _inside(context: BlockContext) -> Iterator[Block]:
    for block in context.children:
        if NOT_KEPT in (block.elem_classes or []):
            continue
        yield block
        if isinstance(block, BlockContext):
            yield from _inside(block)


def _kind(block: Component) -> Kind | None:
    match block:
        case gr.Slider() | gr.Number():
            return "number"
        case gr.Checkbox():
            return "check"
        case gr.Radio():
            return "choice"
        case gr.CheckboxGroup():
            return "choices"
        case gr.Dropdown():
            if block.multiselect:
                return "chips" if (block.elem_id or "").endswith("_override_settings") else "choices"
            return "choice"
        case gr.Textbox() | gr.ColorPicker():
            return "text"
        case gr.Image():
            return "file"
        case gr.File():
            return "files" if block.file_count == "multiple" else "file"
        case gr.HTML() if "canvas-block" in (block.elem_classes or []):
            return "drawing"
        case _:
            return None
