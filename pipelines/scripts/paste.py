"""The script that the record of a picture names, with its arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.scripts.arguments import Place
from pipelines.scripts.base import Script


@dataclass(frozen=True, kw_only=True)
class PastedScript:
    """What a record says about a script.

    Attributes:
        script: None when no script was used, or none that is offered here.
        values: Its arguments, as far as the record tells them.
    """

    script: Script | None = None
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


def script_of(fields: Mapping[str, Any], scripts: Iterable[Script], place: Place) -> PastedScript:
    """The script that made the picture of a record: by its name, or because all keys it writes are there."""
    title = str(fields.get("Script", "")).casefold()
    for script in scripts:
        keys = [argument.infotext for argument in script.arguments_for(place.kind) if argument.infotext]
        is_named = bool(title) and script.name.casefold() == title
        if is_named or (not title and keys and all(key in fields for key in keys)):
            return PastedScript(script=script, values=script.from_infotext(fields, place))
    return PastedScript()
