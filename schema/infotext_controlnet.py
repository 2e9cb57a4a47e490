"""What a picture's record says of ControlNet units, in the extension's words of every release.

Source: sd-webui-controlnet scripts/infotext.py; internal_controlnet/args.py, ControlNetUnit.serialize and parse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from schema.controlnet import ControlMode, ControlNetUnit, HiresOption, UnitResizeMode


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """What is written of one unit, in the order of writing; the numbers as they were used."""

    module: str
    model: str
    weight: float
    resize_mode: UnitResizeMode
    processor_res: float
    threshold_a: float
    threshold_b: float
    guidance_start: float
    guidance_end: float
    pixel_perfect: bool
    control_mode: ControlMode
    hr_option: HiresOption = HiresOption.BOTH


_WORDS = {
    "module": "Module",
    "model": "Model",
    "weight": "Weight",
    "resize_mode": "Resize Mode",
    "processor_res": "Processor Res",
    "threshold_a": "Threshold A",
    "threshold_b": "Threshold B",
    "guidance_start": "Guidance Start",
    "guidance_end": "Guidance End",
    "pixel_perfect": "Pixel Perfect",
    "control_mode": "Control Mode",
}

# What a release wrote for a field; text in any case.
_FIELDS = {word.lower(): field for field, word in _WORDS.items()} | {
    "hr option": "hr_option",
    "preprocessor": "module",
    "guidance strength": "guidance_end",
    "low vram": "low_vram",
    "lowvram": "low_vram",
    "starting control step": "guidance_start",
    "ending control step": "guidance_end",
    "control type": "control_type",
    "union control type": "union_control_type",
    "enabled": "enabled",
}
_SWITCHES = frozenset({"pixel_perfect", "low_vram", "enabled"})
_NUMBERS = frozenset({"weight", "guidance_start", "guidance_end", "threshold_a", "threshold_b"})

_UNIT_KEY = re.compile(r"ControlNet (\d+)")
_OLD_KEY = re.compile(r"ControlNet(?:-(\d+))? ([A-Z][A-Za-z ]+)")
_PAIRS = re.compile(r"\s*([^:,]+):\s*(\([^)]*\)|[^,]*)(?:,|$)")


def unit_infotext(record: UnitRecord) -> str:
    """The value of `ControlNet N`; the pass it acts in is added only where it is not both.

    Raises:
        ValueError: If a value has a comma or colon, which could not be read back.
    """
    pairs = [(word, getattr(record, field)) for field, word in _WORDS.items()]
    if record.hr_option is not HiresOption.BOTH:
        pairs.append(("Hr Option", record.hr_option))
    for word, value in pairs:
        if any(character in str(value) for character in ",:\n"):
            raise ValueError(f"{word} '{value}' has a comma or colon")
    return ", ".join(f"{word}: {value}" for word, value in pairs)


def written_units(fields: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Unit number → `{field: text}` of every unit that a record's keys speak of, in order.

    Read are `ControlNet 0: "Module: …"`, its older form `ControlNet 0: "preprocessor: …, starting/ending: (0, 1)"`,
    and one key per value (`ControlNet-0 Module`, `ControlNet Module`).
    """
    units: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        if found := _UNIT_KEY.fullmatch(key):
            units.setdefault(int(found[1]), {}).update(_pairs(str(value)))
        elif (found := _OLD_KEY.fullmatch(key)) and (field := _FIELDS.get(found[2].lower())):
            units.setdefault(int(found[1] or 0), {})[field] = str(value)
    return dict(sorted(units.items()))


def is_unit_key(key: str) -> bool:
    """Whether `key` of a record belongs to a ControlNet unit."""
    return bool(_UNIT_KEY.fullmatch(key) or _OLD_KEY.fullmatch(key))


def pasted_units(fields: Mapping[str, Any], notes: list[str]) -> list[ControlNetUnit]:
    """The units that a record switches on, by position; what cannot be used goes to `notes`."""
    units: list[ControlNetUnit] = []
    for number, texts in written_units(fields).items():
        try:
            values = {field: _value(field, text) for field, text in texts.items()}
            unit = ControlNetUnit.model_validate({"enabled": True} | values)
        except (ValidationError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            notes.append(f"ControlNet {number} cannot be read: {reason}.")
            continue
        while len(units) < number:
            units.append(ControlNetUnit())
        units.append(unit)
    return units


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _PAIRS.findall(text):
        name, value = name.strip().lower(), value.strip()
        if name == "starting/ending":
            found |= dict(zip(("guidance_start", "guidance_end"), _listed(value), strict=False))
        elif name == "preprocessor params":
            found |= dict(zip(("processor_res", "threshold_a", "threshold_b"), _listed(value), strict=False))
        elif name in _FIELDS:
            found[_FIELDS[name]] = value
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.strip("()").split(",")]


def _value(field: str, text: str) -> Any:
    if field in _SWITCHES:
        return text.strip().lower() in ("true", "1")
    if field in _NUMBERS:
        return float(text)
    # Preprocessors without that slider have 0.5 written.
    return int(float(text)) if field == "processor_res" else text
