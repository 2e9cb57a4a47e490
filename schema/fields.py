"""Field metadata: one declaration drives the component, the REST schema, the infotext and the docs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import annotated_types as at
from pydantic import BaseModel
from pydantic.fields import FieldInfo


def _always(request: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """Where a field lives in the infotext line.

    Attributes:
        key: The key A1111 writes, e.g. `"CFG scale"`.
        part: Index inside an `AxB` value (`Size: 512x768` has parts 0 and 1), or None.
        when: Writes the field only for requests where this returns True.
        names: Words the infotext writes for the numbers of this field ("Masked content: fill").
    """

    key: str
    part: int | None = None
    when: Callable[[Any], bool] = _always
    names: tuple[str, ...] | None = None


Kind = Literal["auto", "textbox", "slider", "number", "checkbox", "dropdown", "multiselect", "radio", "color", "hidden"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """How a field is shown. Bounds come from the field's own `ge`, `le` and `multiple_of`.

    Attributes:
        label: English label; also the id of its translation.
        kind: Component; "auto" chooses by type, bounds and choices.
        step: Slider step; the field's `multiple_of` when None.
        shown: (minimum, maximum) of the slider where it is narrower than what a request may say.
        choices: Fixed choices, or the name of a live list that the form asks the manager for ("samplers").
        elem_id: Ending of the `elem_id` after the tab's prefix; the field's name when None.
        section: Settings page the option is on; None for request fields.
        restricted: Not writable by the API, infotext or overrides (paths, network, code).
        info: One sentence shown under the control.
    """

    label: str
    kind: Kind = "auto"
    infotext: Infotext | None = None
    step: float | None = None
    shown: tuple[float, float] | None = None
    lines: int = 1
    placeholder: str = ""
    choices: tuple[str, ...] | str | None = None
    elem_id: str | None = None
    section: str | None = None
    restricted: bool = False
    info: str | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """A declared field: its name, its pydantic info and its control."""

    name: str
    info: FieldInfo
    control: Control

    @property
    def default(self) -> Any:
        """A fresh default value."""
        return self.info.get_default(call_default_factory=True)

    @property
    def bounds(self) -> tuple[float | None, float | None, float | None]:
        """`(minimum, maximum, multiple_of)`, each None where undeclared."""
        low = high = multiple = None
        for item in self.info.metadata:
            match item:
                case at.Ge():
                    low = item.ge
                case at.Le():
                    high = item.le
                case at.MultipleOf():
                    multiple = item.multiple_of
                case _:
                    pass
        return low, high, multiple  # type: ignore[return-value]


@cache
def fields_of(model: type[BaseModel]) -> tuple[Field, ...]:
    """The fields of `model` that declare a `Control`, in declaration order."""
    return tuple(_fields(model))


def _fields(model: type[BaseModel]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        for item in info.metadata:
            if isinstance(item, Control):
                yield Field(name=name, info=info, control=item)
