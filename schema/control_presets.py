"""Named values of ControlNet units, in one file that is replaced as a whole."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schema.atomic import write_atomically
from schema.controlnet import ControlNetUnit
from schema.errors import InvalidRequest, OutputError

_log = logging.getLogger(__name__)

FILE = "controlnet-presets.json"
LONGEST_NAME = 100
FIELDS = frozenset(
    {
        "low_vram",
        "pixel_perfect",
        "control_type",
        "module",
        "model",
        "weight",
        "guidance_start",
        "guidance_end",
        "processor_res",
        "threshold_a",
        "threshold_b",
        "control_mode",
        "resize_mode",
        "hr_option",
        "inpaint_crop_input_image",
        "union_control_type",
        "loopback",
    }
)
"""What a preset holds: a unit's values without its pictures and whether it is on."""


class ControlPresets:
    """The presets of one file. Every method may be called from any thread.

    A file that cannot be read counts as empty and is set aside at the next save.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """All names, in alphabetical order."""
        return sorted(self._read(), key=str.casefold)

    def get(self, name: str) -> ControlNetUnit:
        """The unit called `name`, switched on.

        Raises:
            InvalidRequest: If there is none, or its values cannot be used.
        """
        values = self._read().get(name.strip())
        if values is None:
            raise InvalidRequest(f"There is no preset '{name}'. Choose one of the list.")
        return _unit({"enabled": True} | values)

    def save(self, name: str, values: dict[str, Any]) -> None:
        """Keeps `values` (field → value) under `name`, in place of what was there.

        Raises:
            InvalidRequest: If the name is empty or too long, or a value breaks a bound.
            OutputError: If the file cannot be written.
        """
        name = name.strip()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(f"Give the preset a name of 1 to {LONGEST_NAME} characters.")
        kept = _unit(values).model_dump(mode="json", include=set(FIELDS) & values.keys())
        with self._lock:
            self._write(self._read() | {name: kept})

    def delete(self, name: str) -> None:
        """Forgets `name`; nothing happens when there is none.

        Raises:
            OutputError: If the file cannot be written.
        """
        with self._lock:
            rest = {key: values for key, values in self._read().items() if key != name.strip()}
            self._write(rest)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be read: %s", self._path.name, error)
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(name): values for name, values in found.items() if isinstance(values, dict)}

    def _write(self, presets: dict[str, dict[str, Any]]) -> None:
        text = json.dumps(presets, ensure_ascii=False, indent=2) + "\n"
        try:
            if self._path.is_file() and not self._is_readable():
                self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
            write_atomically(self._path, lambda file: file.write(text.encode("utf-8")))
        except OSError as error:
            raise OutputError(f"{self._path.name} cannot be written: {error.strerror}.") from error

    def _is_readable(self) -> bool:
        try:
            return isinstance(json.loads(self._path.read_text(encoding="utf-8")), dict)
        except (OSError, ValueError):
            return False


def _unit(values: dict[str, Any]) -> ControlNetUnit:
    try:
        return ControlNetUnit.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
