"""Binds a request or settings model to Gradio components, by name in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Generic, TypeVar, get_args

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from pydantic import BaseModel

from schema.fields import Field, fields_of
from ui.components import open_dropdown, open_slider

M = TypeVar("M", bound=BaseModel)
Choices = Callable[[str], list[str]]

NOTHING = "None"
"""What a dropdown shows for a field that may be left out."""

SAME_AS_FIRST = "Use same "
"""Beginning of the list entries that stand for "as in the first pass"."""


class Form(Generic[M]):
    """The components of one model.

    Rendering order is the tab's business; reading and writing go by field name, so moving a component never changes
    what a value means. Fields of a nested model are named `outer.inner`.

    Attributes:
        components: Field name to component, for the fields rendered so far.
    """

    def __init__(self, model: type[M], prefix: str, choices: Choices) -> None:
        self.model, self.prefix = model, prefix
        self.components: dict[str, Component] = {}
        self._choices = choices
        self._fields = dict(_flat_fields(model))
        self._initial: dict[str, Any] = {}
        self._built: dict[str, list[Any] | None] = {}

    def render(self, *names: str, **options: Any) -> Component:
        """Creates the components of `names` in the current Gradio context; the last one is returned.

        Args:
            options: Passed to the components, over what the declaration says (`scale`, `min_width`, `value`, …).

        Raises:
            KeyError: If a name is not a declared field.
        """
        for name in names:
            field = self._fields[name]
            elem_id = f"{self.prefix}_{self._elem_name(name, field)}"
            self._initial[name] = self._shown(name, options.get("value", field.default))
            self._built[name] = self._list(field)
            own = {"elem_id": elem_id} | options | {"value": self._initial[name]}
            self.components[name] = _component(field, self._built[name], own)
        return self.components[names[-1]]

    def __getitem__(self, name: str) -> Component:
        """The component of field `name`."""
        return self.components[name]

    def field(self, name: str) -> Field:
        """The declaration of field `name`."""
        return self._fields[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Every declared field, in declaration order."""
        return tuple(self._fields)

    @property
    def unrendered(self) -> set[str]:
        """Declared fields that no `render` call has placed yet."""
        return self._fields.keys() - self.components.keys()

    @property
    def inputs(self) -> set[Component]:
        """For `inputs=`: a set, so that Gradio hands the handler one `{component: value}` dict."""
        return set(self.components.values())

    @property
    def outputs(self) -> list[Component]:
        """For `outputs=`; handlers answer with a dict, so this list's order carries no meaning."""
        return list(self.components.values())

    def values(self, event: Mapping[Block, Any]) -> dict[str, Any]:
        """This form's values out of an event's `{component: value}` dict, as the model wants them."""
        return {name: self._stored(name, event[component]) for name, component in self.components.items()}

    def read(self, event: Mapping[Block, Any], **extra: Any) -> M:
        """Builds the model from an event; `extra` sets fields that have no component, or overrides one.

        Raises:
            pydantic.ValidationError: If a value breaks a declared bound.
        """
        nested: dict[str, Any] = {}
        for name, value in (self.values(event) | extra).items():
            outer, dot, inner = name.partition(".")
            if dot:
                nested.setdefault(outer, {})[inner] = value
            else:
                nested[name] = value
        return self.model(**nested)

    def updates(self, values: Mapping[str, Any]) -> dict[Block, Any]:
        """The event answer that shows `values` (a subset of the fields) in the form; other names are left out."""
        flat = dict(_flatten(values))
        return {self.components[name]: self._update(name, flat[name]) for name in flat if name in self.components}

    def lists(self, *names: str, changed_only: bool = False) -> dict[Block, Any]:
        """The event answer that renews every dropdown filled from the live lists `names` (all of them by default)."""
        answer: dict[Block, Any] = {}
        for name, component in self.components.items():
            source = self._fields[name].control.choices
            if isinstance(source, str) and (not names or source in names):
                entries = self._list(self._fields[name])
                # A page just opened has the lists of the start; each answer costs the browser time.
                if not changed_only or entries != self._built[name]:
                    answer[component] = gr.update(choices=entries)
        return answer

    @property
    def live(self) -> list[Component]:
        """The components that `lists()` answers for."""
        return [
            component
            for name, component in self.components.items()
            if isinstance(self._fields[name].control.choices, str)
        ]

    def _elem_name(self, name: str, field: Field) -> str:
        outer, dot, _inner = name.partition(".")
        own = field.control.elem_id or field.name
        return f"{outer}_{own}" if dot else own

    def _list(self, field: Field) -> list[Any] | None:
        choices = field.control.choices
        if choices is None:
            return None
        if isinstance(choices, str):
            names = list(self._choices(choices))
            initial = self._initial.get(field.name)
            shown = [initial] if isinstance(initial, str) and initial and not _optional(field) else initial
            names += [name for name in shown or () if name not in names] if isinstance(shown, list) else []
            missing = _optional(field) and not any(name == NOTHING or name.startswith(SAME_AS_FIRST) for name in names)
            return [NOTHING, *names] if missing else names
        if _base_type(field) is bool:
            return list(zip(choices, (False, True), strict=True))
        return list(zip(choices, range(len(choices)), strict=True)) if _base_type(field) is int else list(choices)

    def _shown(self, name: str, value: Any) -> Any:
        """`value` as the component shows it: a field left out is a word in a dropdown."""
        field = self._fields[name]
        if value is None and field.control.choices and field.control.kind != "multiselect":
            entries = self._list(field) or [NOTHING]
            return next((entry for entry in entries if str(entry).startswith(SAME_AS_FIRST)), NOTHING)
        return list(value) if isinstance(value, tuple) else value

    def _stored(self, name: str, shown: Any) -> Any:
        """What the model gets for a component's value."""
        field = self._fields[name]
        if _optional(field) and isinstance(shown, str) and (shown == NOTHING or shown.startswith(SAME_AS_FIRST)):
            return None
        if _optional(field) and _base_type(field) is bool and not shown:
            return None
        if shown is None and not _optional(field):
            return field.default
        if _base_type(field) is int and isinstance(shown, float) and shown.is_integer():
            return int(shown)
        return shown

    def _update(self, name: str, value: Any) -> Any:
        shown = self._shown(name, value)
        if shown is None:
            shown = self.components[name].value  # type: ignore[attr-defined]
        component = self.components[name]
        if isinstance(component, gr.Slider) and not component.minimum <= shown <= component.maximum:
            # A pasted value may lie outside what the slider shows; it widens instead of losing the value.
            return gr.update(value=shown, minimum=min(component.minimum, shown), maximum=max(component.maximum, shown))
        return shown


def _flat_fields(model: type[BaseModel], outer: str = "") -> Iterable[tuple[str, Field]]:
    declared = {field.name: field for field in fields_of(model)}
    for name, info in model.model_fields.items():
        if name in declared:
            yield outer + name, declared[name]
        elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _flat_fields(info.annotation, f"{outer}{name}.")


def _flatten(values: Mapping[str, Any], outer: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, BaseModel):
            yield from _flatten(dict(value), f"{outer}{name}.")
        elif isinstance(value, Mapping):
            yield from _flatten(value, f"{outer}{name}.")
        else:
            yield outer + name, value


def _optional(field: Field) -> bool:
    return NoneType in get_args(field.info.annotation)


def _base_type(field: Field) -> Any:
    annotation = field.info.annotation
    others = [kind for kind in get_args(annotation) if kind is not NoneType]
    return others[0] if _optional(field) and others else annotation


def _component(field: Field, choices: list[Any] | None, options: dict[str, Any]) -> Component:
    control = field.control
    options = {"label": control.label, "info": control.info, **options}
    match _kind(field):
        case "dropdown":
            return open_dropdown(choices=choices, **options)
        case "multiselect":
            return open_dropdown(choices=choices, multiselect=True, **options)
        case "radio":
            return gr.Radio(choices=choices, **options)
        case "checkbox":
            options["value"] = bool(options["value"])
            return gr.Checkbox(**options)
        case "slider":
            return _slider(field, options)
        case "number":
            precision = 0 if _base_type(field) is int else None
            return gr.Number(precision=precision, **options)
        case "color":
            return gr.ColorPicker(**options)
        case "hidden":
            return gr.Textbox(visible=False, **options)
        case _:
            options = {"placeholder": control.placeholder, **options}
            return gr.Textbox(lines=control.lines, max_lines=max(control.lines, 12), **options)


def _kind(field: Field) -> str:
    control, base = field.control, _base_type(field)
    low, high, _multiple = field.bounds
    if control.kind != "auto":
        return control.kind
    if control.choices is not None:
        return "dropdown"
    if base is bool:
        return "checkbox"
    if base in (int, float):
        return "slider" if low is not None and high is not None else "number"
    return "textbox"


def _slider(field: Field, options: dict[str, Any]) -> Component:
    low, high, multiple = field.bounds
    minimum, maximum = field.control.shown or (low, high)
    assert minimum is not None and maximum is not None, f"{field.name} is a slider without bounds"
    whole = _base_type(field) is int
    step = field.control.step or multiple or (1 if whole else 0.01)
    if options["value"] is None:
        options["value"] = minimum
    return open_slider(minimum, maximum, step=step, precision=0 if whole else None, buttons=[], **options)
