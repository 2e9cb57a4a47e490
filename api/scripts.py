"""`alwayson_scripts` payloads to typed request fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException

from api.controlnet_units import control_units
from schema.requests import SoftInpainting

REFINER_ARGS = ("enable_refiner", "refiner_checkpoint", "refiner_switch_at")
SAMPLER_ARGS = ("steps", "sampler_name", "scheduler")
SEED_ARGS = ("seed", "seed_extra", "subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h")
WITHOUT_FIELDS = ("comments", "extra options", "hypertile")
ALWAYS_ON = ("controlnet", "soft inpainting", "refiner", "sampler", "seed", *WITHOUT_FIELDS)


def always_on_values(payload: Mapping[str, Any], selectable: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Request values that `alwayson_scripts` sets, and notes about what was not used.

    Args:
        payload: `{title in any case: {"args": [...] or {name: value}}}`; missing arguments keep their defaults and
            surplus ones are dropped.
        selectable: Titles of scripts that are chosen by `script_name` instead.

    Raises:
        HTTPException: 422 for a title that is not there, or that belongs into `script_name`.

    Source: A1111 modules/api/api.py, init_script_args.
    """
    values: dict[str, Any] = {}
    notes: list[str] = []
    for title, entry in payload.items():
        name = title.casefold()
        if name in {other.casefold() for other in selectable}:
            raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
        if name not in ALWAYS_ON:
            raise HTTPException(422, f"Script '{title}' not found")
        args = entry.get("args", []) if isinstance(entry, Mapping) else []
        if name == "controlnet":
            values["controlnet"] = control_units(args)
        elif name == "soft inpainting":
            values["soft_inpainting"] = SoftInpainting(**_named(args, tuple(SoftInpainting.model_fields)))
        elif name == "refiner":
            refiner = _named(args, REFINER_ARGS)
            if refiner.pop("enable_refiner", False):
                values |= refiner
        elif name == "sampler":
            values |= _named(args, SAMPLER_ARGS)
        elif name == "seed":
            values |= _seed_values(_named(args, SEED_ARGS))
        elif args:
            notes.append(f"The arguments of the script '{title}' are not used.")
    return values, notes


def _seed_values(seed: dict[str, Any]) -> dict[str, Any]:
    """The fields behind "Extra" count only when it is ticked."""
    if seed.pop("seed_extra", False):
        return seed
    return {name: value for name, value in seed.items() if name == "seed"}


def _named(args: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(args, Mapping):
        return {name: args[name] for name in names if name in args}
    return dict(zip(names, args, strict=False))
