"""The Script list of a tab, and the arguments of the chosen script as it declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from pipelines.scripts.arguments import Kind, ScriptArgument, ScriptTool
from pipelines.scripts.base import Script
from schema.errors import InvalidRequest
from ui.components import open_dropdown, open_slider
from ui.events import Answer, Event, on
from ui.prompt_row import tool_button

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SCRIPT, NO_SCRIPT = "Script", "None"
TOO_LONG = "The file has {size} bytes; at most {limit} are accepted."

MAX_FILE_BYTES = 1 << 20
"""Size of a text file that fills an argument."""

Parts = Mapping[str, Component]
"""Arguments and tools of one script, by name."""


@dataclass(frozen=True, kw_only=True)
class ScriptArea:
    """The scripts of one tab.

    Attributes:
        kind: Of the tab's requests.
        choice: The list of scripts.
        groups: Script's name → what is shown while it is chosen.
        parts: Script's name → its controls.
    """

    manager: PipelineManager
    kind: Kind
    scripts: Sequence[Script]
    choice: gr.Dropdown
    groups: Mapping[str, gr.Column]
    parts: Mapping[str, Parts]

    @property
    def inputs(self) -> set[Component]:
        """Everything `values` reads."""
        return {self.choice, *(part for script in self.scripts for part in self._arguments(script).values())}

    @property
    def outputs(self) -> list[Component | gr.Column]:
        """Everything `show` may change."""
        return [self.choice, *self.groups.values(), *(part for parts in self.parts.values() for part in parts.values())]

    def values(self, event: Event) -> dict[str, Any]:
        """The request's `script_name` and `script_args`; nothing when no script is chosen."""
        script = self._named(event[self.choice])
        if script is None:
            return {}
        given = self._values(script, event)
        args = [given.get(argument.name) for argument in script.arguments_for(self.kind)]
        return {"script_name": script.name, "script_args": args}

    def show(self, infotext: str) -> Answer:
        """The event answer that chooses the script `infotext` names, with its arguments; none for other texts."""
        pasted = self.manager.paste_script(infotext, self.kind)
        answer: Answer = {self.choice: pasted.script.name if pasted.script else NO_SCRIPT}
        answer |= self._groups_shown(pasted.script)
        return answer | (self._updates(pasted.script, pasted.values) if pasted.script else {})

    def bind(self) -> None:
        """Binds the list, the arguments that others depend on, and the tools."""
        dependent = [script for script in self.scripts if script.reacts_to]
        watched = {self.choice, *(part for script in dependent for part in self._arguments(script).values())}

        def choose(event: Event) -> Answer:
            script = self._named(event[self.choice])
            answer = self._groups_shown(script)
            return answer | (self._updates(script, {}, event) if script and script in dependent else {})

        outputs = [*self.groups.values(), *(part for script in dependent for part in self.parts[script.name].values())]
        on(self.choice.change, choose, inputs=watched, outputs=outputs, trigger_mode="always_last")
        for script in self.scripts:
            arguments, parts = self._arguments(script), self.parts[script.name]
            for name in script.reacts_to:
                self._bind(script, name, parts[name].change, set(arguments.values()))  # type: ignore[attr-defined]
            for tool in script.tools:
                button = parts[tool.name]
                event = button.upload if isinstance(button, gr.UploadButton) else button.click  # type: ignore[attr-defined]
                self._bind(script, tool.name, event, {*arguments.values(), button})

    def _bind(self, script: Script, trigger: str, event: Callable[..., Any], inputs: set[Component]) -> None:
        def used(event: Event) -> Answer:
            values = self._values(script, event)
            button = self.parts[script.name][trigger]
            if isinstance(button, gr.UploadButton):
                values[trigger] = _text_of(event[button])
            changed = script.after(trigger, values, self.manager.script_place(self.kind))
            return self._updates(script, changed, event)

        on(event, used, inputs=inputs, outputs=list(self.parts[script.name].values()))

    def _updates(self, script: Script, changed: Mapping[str, Any], event: Event | None = None) -> Answer:
        """The event answer that shows `changed` values, and the arguments as they are presented with them."""
        defaults = {each.name: _initial(each) for each in script.arguments_for(self.kind) if not each.note}
        values = {**(self._values(script, event) if event is not None else defaults), **changed}
        shown = script.presented(values, self.manager.script_place(self.kind))
        parts, answer = self.parts[script.name], dict[Any, Any]()
        for name in {**shown, **changed}:
            if name not in parts:
                continue
            update: dict[str, Any] = {"value": _as_shown(changed[name])} if name in changed else {}
            if name in shown:
                update["visible"] = shown[name].visible
                choices = shown[name].choices
                update |= {"choices": list(choices)} if choices is not None else {}
            answer[parts[name]] = gr.update(**update)
        return answer

    def _groups_shown(self, chosen: Script | None) -> dict[Any, Any]:
        return {
            group: gr.update(visible=chosen is not None and name == chosen.name) for name, group in self.groups.items()
        }

    def _arguments(self, script: Script) -> dict[str, Component]:
        """The controls of a script without its tools."""
        parts = self.parts[script.name]
        return {each.name: parts[each.name] for each in script.arguments_for(self.kind) if not each.note}

    def _values(self, script: Script, event: Event) -> dict[str, Any]:
        return {name: event[component] for name, component in self._arguments(script).items()}

    def _named(self, name: str | None) -> Script | None:
        return next((script for script in self.scripts if script.name == name), None)


def build_scripts(tab: str, manager: PipelineManager) -> ScriptArea:
    """Lays out the list and the arguments of every script that `tab` offers, hidden until it is chosen."""
    kind: Kind = "txt2img" if tab == "txt2img" else "img2img"
    scripts = manager.scripts(kind)
    # A1111's txt2img and img2img share an id; on one page that would be two elements of one name.
    elem_id = "script_list" if tab == "txt2img" else f"{tab}_script_list"
    groups: dict[str, gr.Column] = {}
    parts: dict[str, Parts] = {}
    with gr.Column(elem_id=f"{tab}_script_container", elem_classes="scripts", min_width=0):
        names = [NO_SCRIPT, *(script.name for script in scripts)]
        choice = gr.Dropdown(choices=names, value=NO_SCRIPT, label=SCRIPT, elem_id=elem_id)
        for script in scripts:
            with gr.Column(visible=False, elem_classes="script-arguments", min_width=0) as group:
                parts[script.name] = _build_script(script, tab, manager, kind)
            groups[script.name] = group
    area = ScriptArea(manager=manager, kind=kind, scripts=scripts, choice=choice, groups=groups, parts=parts)
    area.bind()
    return area


def _build_script(script: Script, tab: str, manager: PipelineManager, kind: Kind) -> Parts:
    arguments = {argument.name: argument for argument in script.arguments_for(kind) if not argument.note}
    tools = {tool.name: tool for tool in script.tools}
    initial = {name: _initial(argument) for name, argument in arguments.items()}
    shown = script.presented(initial, manager.script_place(kind))
    parts: dict[str, Component] = {}
    for argument in script.arguments_for(kind):
        if argument.note:
            gr.HTML(f"<p>{escape(str(argument.default))}</p>", elem_classes="script-note", padding=False)
    for row in script.layout():
        with gr.Row(elem_classes="script-row", equal_height=False):
            for name in row:
                options: dict[str, Any] = {"visible": name not in shown or shown[name].visible}
                if name in tools:
                    parts[name] = _tool(tools[name], tab, options)
                elif name in arguments:
                    options["elem_id"] = _elem_id(script, arguments[name], tab)
                    choices = shown[name].choices if name in shown else None
                    entries = list(choices or ()) or arguments[name].entries(manager.choices)
                    parts[name] = _control(arguments[name], entries, options)
    return parts


def _elem_id(script: Script, argument: ScriptArgument, tab: str) -> str:
    """Source: A1111 modules/scripts.py, Script.elem_id: only scripts of both pages have the page in their ids."""
    prefix = "" if tab == "img2img" and not script.is_txt2img else f"{tab}_"
    return f"script_{prefix}{script.elem_name}_{argument.elem_id or argument.name}"


def _tool(tool: ScriptTool, tab: str, options: dict[str, Any]) -> Component:
    elem_id = f"{tab}_{tool.elem_id}"
    if tool.takes_file:
        return gr.UploadButton(
            tool.label, type="binary", file_types=["text", ".txt", ".csv"], elem_id=elem_id, size="sm", **options
        )
    if tool.icon:
        return tool_button(tool.label, tool.icon, elem_id, **options)
    return gr.Button(tool.label, elem_id=elem_id, size="sm", min_width=120, **options)


def _control(argument: ScriptArgument, choices: list[str] | None, options: dict[str, Any]) -> Component:
    options = {"label": argument.label, "value": _initial(argument), "min_width": 120, **options}
    default = argument.default
    if isinstance(default, bool):
        return gr.Checkbox(**options)
    if default is None:
        return open_dropdown(choices=choices or [], multiselect=True, scale=2, **options)
    if isinstance(default, tuple):
        return gr.CheckboxGroup(choices=choices or [], **options)
    if choices is not None:
        return gr.Radio(choices=choices, **options) if argument.radio else open_dropdown(choices=choices, **options)
    if isinstance(default, str):
        lines = {"lines": argument.lines, "max_lines": max(argument.lines, 20), "placeholder": argument.placeholder}
        return gr.Textbox(scale=2, **lines, **options)
    whole = isinstance(default, int)
    assert argument.minimum is not None and argument.maximum is not None, f"{argument.name} has no bounds"
    step = argument.step or (1 if whole else 0.01)
    precision = 0 if whole else None
    return open_slider(argument.minimum, argument.maximum, step=step, precision=precision, buttons=[], **options)


def _initial(argument: ScriptArgument) -> Any:
    return [] if argument.default is None else _as_shown(argument.default)


def _as_shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text_of(content: bytes | None) -> str:
    """The text of an uploaded file.

    Raises:
        InvalidRequest: If it is too long.
    """
    content = content or b""
    if len(content) > MAX_FILE_BYTES:
        raise InvalidRequest(TOO_LONG.format(size=len(content), limit=MAX_FILE_BYTES))
    return content.decode("utf-8-sig", errors="replace")
