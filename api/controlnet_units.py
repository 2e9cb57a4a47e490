"""`alwayson_scripts.ControlNet` in every form clients send it, as values of `ControlNetUnit`s."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException

POSITIONAL = (
    "enabled",
    "module",
    "model",
    "weight",
    "image",
    "resize_mode",
    "low_vram",
    "processor_res",
    "threshold_a",
    "threshold_b",
    "guidance_start",
    "guidance_end",
    "pixel_perfect",
    "control_mode",
)
"""Order of a unit's values in the flat form of early releases."""

_SAY_SOMETHING = ("image", "input_image", "mask", "mask_image", "batch_images", "ipadapter_input")
_NAMES = {"module": "none", "model": "None"}


def control_units(args: Any) -> list[dict[str, Any]]:
    """The units that the script's arguments describe, for `ControlNetUnit` to check.

    Args:
        args: Objects, one per unit; or one object; or lists of values in the order of `POSITIONAL`; or these values
            one after the other, with or without the two flags (is_img2img, is_ui) that early releases put in front.

    A unit that does not say whether it is enabled is, unless it says nothing at all.

    Raises:
        HTTPException: 422 where an argument is none of these; the message says which.

    Source: sd-webui-controlnet internal_controlnet/external_code.py, get_all_units_from and to_processing_unit.
    """
    if isinstance(args, Mapping):
        return [_with_enabled(args)] if args else []
    if not isinstance(args, Sequence) or isinstance(args, str | bytes):
        raise HTTPException(422, "alwayson_scripts.ControlNet.args: give a list of units.")
    units: list[dict[str, Any]] = []
    place = 0
    while place < len(args):
        value = args[place]
        if isinstance(value, Mapping):
            units.append(_with_enabled(value))
        elif isinstance(value, list):
            units.append(_with_enabled(dict(zip(POSITIONAL, value, strict=False))))
        elif isinstance(value, bool):
            if not _begins_unit(args, place):
                place += 1
                continue
            units.append(_with_enabled(dict(zip(POSITIONAL, args[place : place + len(POSITIONAL)], strict=False))))
            place += len(POSITIONAL) - 1
        elif value is not None:
            raise HTTPException(
                422, f"alwayson_scripts.ControlNet.args.{place}: a unit is an object, not {type(value).__name__}."
            )
        place += 1
    return units


def _begins_unit(args: Sequence[Any], place: int) -> bool:
    """Whether the flag at `place` is a unit's `enabled`: its module's name follows."""
    return place + 1 < len(args) and isinstance(args[place + 1], str)


def _with_enabled(unit: Mapping[str, Any]) -> dict[str, Any]:
    values = {str(key): value for key, value in unit.items()}
    if values.get("enabled") is None:
        has_names = any(values.get(key) not in (None, "", nothing) for key, nothing in _NAMES.items())
        values["enabled"] = has_names or any(values.get(key) not in (None, "", []) for key in _SAY_SOMETHING)
    return values
