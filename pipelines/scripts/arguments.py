"""What a script asks of its user: arguments, buttons beside them, and how both are shown and read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schema.errors import InvalidRequest

Lists = Callable[[str], Sequence[str]]
"""Entries of a live list ("upscalers") by its name; unknown lists are empty."""

Kind = Literal["txt2img", "img2img"]


def no_lists(name: str) -> Sequence[str]:
    """Every list is empty."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a script is used.

    Attributes:
        kind: For which kind of request.
        lists: What is installed there.
        max_megapixels: Largest contact sheet, `img_max_size_mp`.
    """

    kind: Kind = "img2img"
    lists: Lists = no_lists
    max_megapixels: float = 200.0


@dataclass(frozen=True, kw_only=True)
class ScriptArgument:
    """One positional argument of a script, as A1111's page shows it.

    Attributes:
        name: Key of the value given to `Script.run`; "" for a note.
        label: As on the page; "" for a note.
        default: Also decides the type: bool, int, float, str, a tuple of strings (several of `choices`), or None
            (a list of any strings; none at first).
        choices: What may be chosen, or the name of a live list ("upscalers").
        note: Whether it is only text; it keeps its position in `script_args`.
        description: What `script-info` gives as value of a note where that differs from the text.
        radio: Whether the choices are shown side by side instead of in a list.
        elem_id: Ending of the `elem_id` of its control; `name` when empty.
        infotext: Key under which the record of a picture tells its value, or None.
        lines: Height of a text in lines.
        placeholder: Shown while a text is empty.
    """

    name: str
    label: str
    default: bool | int | float | str | tuple[str, ...] | None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | str | None = None
    note: bool = False
    description: str = ""
    radio: bool = False
    elem_id: str = ""
    infotext: str | None = None
    lines: int = 1
    placeholder: str = ""

    def entries(self, lists: Lists | None) -> list[str] | None:
        """What may be chosen now; None for an argument without choices."""
        if isinstance(self.choices, str):
            return list(lists(self.choices)) if lists else None
        return None if self.choices is None else list(self.choices)


@dataclass(frozen=True, kw_only=True)
class ScriptTool:
    """A button among the arguments, for people only: it is no part of `script_args`.

    Attributes:
        name: Given to `Script.after` as the trigger.
        icon: Class of the picture on it; "" shows the label.
        takes_file: Whether it uploads a text file, whose text `Script.after` finds under the tool's name.
        elem_id: Whole `elem_id`, after the tab's prefix.
    """

    name: str
    label: str
    icon: str = ""
    takes_file: bool = False
    elem_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """How an argument or tool is shown beside its value; None leaves the choices as they are."""

    visible: bool = True
    choices: tuple[str, ...] | None = None


Values = Mapping[str, Any]


def described(argument: ScriptArgument, lists: Lists | None = None) -> dict[str, Any]:
    """`argument` as `/sdapi/v1/script-info` describes it.

    Args:
        lists: Entries of a live list; without it such an argument has no choices.
    """
    default = argument.default
    return {
        "label": argument.label,
        "value": list(default) if isinstance(default, tuple) else argument.description or default,
        "minimum": argument.minimum,
        "maximum": argument.maximum,
        "step": argument.step,
        "choices": argument.entries(lists),
    }


def read_value(script: str, argument: ScriptArgument, value: Any) -> Any:
    """`value` as the argument's type.

    Raises:
        InvalidRequest: If it has the wrong type, is out of range or not among the choices.
    """
    default = argument.default
    where = f"Script '{script}', '{argument.label}'"
    if isinstance(default, bool):
        return bool(value)
    if isinstance(default, tuple) or default is None:
        return _read_list(where, argument, value)
    if isinstance(default, int | float):
        return _read_number(where, argument, value)
    if isinstance(argument.choices, tuple):
        return _read_choice(where, argument.choices, value)
    return str(value)


def _read_list(where: str, argument: ScriptArgument, value: Any) -> tuple[str, ...]:
    chosen = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else None
    if argument.default is None:
        if chosen is None:
            raise InvalidRequest(f"{where}: {value!r} is not a list.")
        return tuple(map(str, chosen))
    if chosen is None or not set(chosen) <= set(argument.choices or ()):
        raise InvalidRequest(f"{where}: {value!r} is not a list out of {', '.join(argument.choices or ())}.")
    return tuple(chosen)


def _read_number(where: str, argument: ScriptArgument, value: Any) -> int | float:
    try:
        number = int(value) if isinstance(argument.default, int) else float(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{where}: {value!r} is not a number.") from error
    low, high = argument.minimum, argument.maximum
    if (low is not None and not number >= low) or (high is not None and not number <= high):
        raise InvalidRequest(f"{where}: {number} is not between {low} and {high}.")
    return number


def _read_choice(where: str, choices: tuple[str, ...], value: Any) -> str:
    """One of `choices`, by name in any case or by position, as A1111's radio buttons take both."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return choices[value]
    found = next((choice for choice in choices if choice.casefold() == str(value).casefold()), None)
    if found is None:
        raise InvalidRequest(f"{where}: {value!r} is not one of {', '.join(choices)}.")
    return found
