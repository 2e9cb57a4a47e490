"""From a parsed infotext to the values of a request, the settings to override, and what could not be used.

Source: A1111 modules/infotext_utils.py, connect_paste and get_override_settings; modules/sd_samplers.py,
get_hr_sampler_and_scheduler.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from schema.errors import SettingsError
from schema.fields import Field, fields_of
from schema.infotext import ParsedInfotext
from schema.infotext_controlnet import is_unit_key, pasted_units
from schema.infotext_networks import additional_network_tags, use_local_names
from schema.requests import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from schema.settings import OPTION_INFOTEXT, Settings, cast_value

DESCRIPTIVE_KEYS = frozenset(
    {
        "Model",
        "Model hash",
        "VAE hash",
        "Version",
        "User",
        "Lora hashes",
        "TI hashes",
        "Hashes",
        "Init image hash",
        "Hypernet",
        "Hypernet strength",
        "First pass size-1",
        "First pass size-2",
        "Face restoration",
        "Cache FP16 weight for LoRA",
        "Pad conds v0",
        "Created Date",
        "Civitai resources",
        "Civitai metadata",
        "Script",
        *(f"{axis} {word}" for axis in "XYZ" for word in ("Type", "Values", "Values-1", "Values-2")),
        *(f"Fixed {axis} Values" for axis in "XYZ"),
        "Final denoising strength",
        "Denoising curve",
        "SD upscale overlap",
        "SD upscale upscaler",
    }
)
"""Keys that describe a picture and are not expected to set anything."""

_NAMES = frozenset({"sampler_name", "scheduler", "hr_sampler_name", "hr_scheduler"})
_CHECKPOINTS = frozenset({"refiner_checkpoint", "hr_checkpoint_name"})


def _as_given(sampler: str | None, schedule: str | None) -> tuple[str, str]:
    return sampler or "DPM++ 2M", schedule or "Automatic"


def _no_list(name: str) -> Sequence[str] | None:
    return None


def _same_name(name: str) -> str | None:
    return name


def _no_lora(short_hash: str) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class NameResolver:
    """What the engine knows about names; schema cannot ask it.

    Attributes:
        sampler: Sampler and schedule as somebody wrote them → both as registered; a schedule that is the sampler's
            default becomes "Automatic".
        checkpoint: Name, title or hash of a checkpoint → its title, or None if there is none.
        choices: Name of a live list (`Control.choices`) → its entries, or None where anything goes.
        lora: Short hash of a LoRA → the name of the file here that has it, or None.
    """

    sampler: Callable[[str | None, str | None], tuple[str, str]] = _as_given
    checkpoint: Callable[[str], str | None] = _same_name
    choices: Callable[[str], Sequence[str] | None] = _no_list
    lora: Callable[[str], str | None] = _no_lora


@dataclass(frozen=True, kw_only=True)
class PastedValues:
    """What an infotext sets.

    Attributes:
        values: Request field → value. Fields that the infotext says nothing about are absent and stay as they are.
        overrides: `(infotext name, option key, value)` of options that differ from the settings in force.
        switches: Whether the boxes "hires", "extra_seed" and "refiner" are open.
        unused: Keys of the text that set nothing.
        notes: Sentences for the user: names that are not installed, values that cannot be used, unused keys.
    """

    values: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[tuple[str, str, Any], ...] = ()
    switches: dict[str, bool] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def override_settings(self) -> dict[str, Any]:
        """The overrides as a request takes them."""
        return {key: value for _, key, value in self.overrides}


def to_request_values(
    parsed: ParsedInfotext, model: type[BaseModel], *, settings: Settings, names: NameResolver | None = None
) -> PastedValues:
    """The values that `parsed` gives the fields of request `model`, as A1111's paste button sets its controls."""
    names = names or NameResolver()
    notes: list[str] = []
    values = _declared_values(parsed, model, names, notes)
    values |= _sampler_values(parsed, model, names, notes)
    values |= {"prompt": _prompt(parsed, names), "negative_prompt": parsed.get("Negative prompt", "")}
    if "Styles array" in parsed.fields:
        values["styles"] = list(parsed.fields["Styles array"])
    switches = {
        "hires": "Denoising strength" in parsed.fields
        and any(key in parsed.fields for key in ("Hires upscale", "Hires upscaler", "Hires resize-1")),
        "extra_seed": "Variation seed" in parsed.fields or "Seed resize from-1" in parsed.fields,
        "refiner": "Refiner" in parsed.fields,
    }
    values = _switched_off(switches) | values
    if "enable_hr" in model.model_fields:
        values["enable_hr"] = switches["hires"]
    if "controlnet" in model.model_fields and settings.control_net_sync_field_args:
        units = pasted_units(parsed.fields, notes)
        values |= {"controlnet": units} if units else {}
    overrides = override_settings(parsed, settings, notes)
    unused = _unused(parsed, model)
    if unused:
        notes.append(f"Not used: {', '.join(unused)}.")
    known = {name: value for name, value in values.items() if name in model.model_fields}
    return PastedValues(values=known, overrides=overrides, switches=switches, unused=unused, notes=tuple(notes))


def _prompt(parsed: ParsedInfotext, names: NameResolver) -> str:
    prompt = use_local_names(parsed.fields, names.lora)
    tags = additional_network_tags(parsed.fields)
    return f"{prompt}\n{tags}" if tags else prompt


def override_settings(parsed: ParsedInfotext, settings: Settings, notes: list[str]) -> tuple[tuple[str, str, Any], ...]:
    """Options of the infotext that differ from `settings`; values that cannot be used go to `notes`.

    Source: A1111 modules/infotext_utils.py, get_override_settings.
    """
    found: list[tuple[str, str, Any]] = []
    for name, key in OPTION_INFOTEXT.items():
        written, current = parsed.get(name), getattr(settings, key)
        # Without a current value A1111 has no type to cast to; and the model is only taken over when asked for.
        if written is None or current is None or (key == "sd_model_checkpoint" and settings.disable_weights_auto_swap):
            continue
        try:
            value = cast_value(key, written)
        except SettingsError as error:
            notes.append(str(error))
            continue
        if value != current:
            found.append((name, key, value))
    return tuple(found)


def _switched_off(switches: Mapping[str, bool]) -> dict[str, Any]:
    """Values that close the boxes the infotext does not open."""
    values: dict[str, Any] = {}
    if not switches["extra_seed"]:
        values |= {"subseed": -1, "subseed_strength": 0.0, "seed_resize_from_w": 0, "seed_resize_from_h": 0}
    if not switches["refiner"]:
        values |= {"refiner_checkpoint": None, "refiner_switch_at": None}
    return values


def _sampler_values(
    parsed: ParsedInfotext, model: type[BaseModel], names: NameResolver, notes: list[str]
) -> dict[str, Any]:
    """Samplers and schedules of both passes; a hires one that equals the first pass's text means "the same".

    The comparison is with the text as written, as in A1111: an old combined name (`DPM++ 2M Karras`) makes the hires
    sampler explicit, and a default schedule makes the hires schedule "Automatic".
    """
    written = parsed.get("Sampler"), parsed.get("Schedule type")
    sampler, schedule = names.sampler(*written)
    if written[0] and not written[0].startswith(sampler):
        notes.append(f"Sampler '{written[0]}' was read as '{sampler}'.")
    values: dict[str, Any] = {"sampler_name": sampler, "scheduler": schedule}
    if "hr_sampler_name" in model.model_fields:
        hires = parsed.get("Hires sampler", SAME_SAMPLER), parsed.get("Hires schedule type", SAME_SCHEDULE)
        hr_sampler, hr_schedule = names.sampler(
            written[0] if hires[0] == SAME_SAMPLER else hires[0], written[1] if hires[1] == SAME_SCHEDULE else hires[1]
        )
        values["hr_sampler_name"] = None if hr_sampler == written[0] else hr_sampler
        values["hr_scheduler"] = None if hr_schedule == written[1] else hr_schedule
    return values


def _declared_values(
    parsed: ParsedInfotext, model: type[BaseModel], names: NameResolver, notes: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for declared in fields_of(model):
        key = _key_of(declared)
        if key is None or key not in parsed.fields or declared.name in _NAMES:
            continue
        written = parsed.fields[key]
        try:
            value = (
                _checkpoint(written, names) if declared.name in _CHECKPOINTS else _as_field(model, declared, written)
            )
        except (ValueError, OverflowError) as error:
            notes.append(f"{key}: {written} cannot be used: {_reason(error)}.")
            continue
        choices = names.choices(declared.control.choices) if isinstance(declared.control.choices, str) else None
        if declared.name not in _CHECKPOINTS and choices is not None and value is not None and value not in choices:
            notes.append(f"{key}: {written} is not installed.")
            continue
        values[declared.name] = value
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            values |= {name: group} if (group := _group(parsed, info.annotation, names, notes)) else {}
    return values


def _group(parsed: ParsedInfotext, model: type[BaseModel], names: NameResolver, notes: list[str]) -> BaseModel | None:
    """A nested group of fields, such as soft inpainting, that the infotext switches on; else None."""
    values = _declared_values(parsed, model, names, notes)
    return model(**values) if values.get("enabled") else None


def _key_of(declared: Field) -> str | None:
    place = declared.control.infotext
    if place is None:
        return None
    return place.key if place.part is None else f"{place.key}-{place.part + 1}"


def _as_field(model: type[BaseModel], declared: Field, written: Any) -> Any:
    """`written` as the field holds it.

    Raises:
        ValueError: If it is not a value of the field, or is out of its bounds.
    """
    place = declared.control.infotext
    kinds = [kind for kind in (declared.info.annotation, *get_args(declared.info.annotation)) if kind in _KINDS]
    kind = str if not kinds else float if float in kinds else kinds[0]
    if place is not None and place.names is not None:
        if written not in place.names:
            raise ValueError(f"choose one of {', '.join(place.names)}")
        value = _KINDS[kind](place.names.index(written))
    else:
        value = _KINDS[kind](written)
    return _checks(model)[declared.name].validate_python(value)


@cache
def _checks(model: type[BaseModel]) -> Mapping[str, TypeAdapter[Any]]:
    """Type and bounds of every declared field of `model`."""
    annotations: dict[str, Any] = {each.name: each.info.rebuild_annotation() for each in fields_of(model)}
    return {name: TypeAdapter(annotation) for name, annotation in annotations.items()}


def _whole(written: Any) -> int:
    try:
        return int(written)
    except ValueError:
        return int(float(written))


_KINDS: Mapping[Any, Callable[[Any], Any]] = {
    bool: lambda written: written not in ("False", "", False),
    int: _whole,
    float: float,
    str: str,
}


def _checkpoint(written: str, names: NameResolver) -> str | None:
    """The title of the checkpoint that `written` names, None for "the same".

    Raises:
        ValueError: If there is no such checkpoint.
    """
    if written in (SAME_CHECKPOINT, "", "None"):
        return None
    title = names.checkpoint(written)
    if title is None:
        raise ValueError("this checkpoint is not installed")
    return title


def _reason(error: Exception) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


def _unused(parsed: ParsedInfotext, model: type[BaseModel]) -> tuple[str, ...]:
    """Keys that stood in the text and that neither `model` nor the settings know, in order."""
    groups = [info.annotation for info in model.model_fields.values()]
    models = [model, *(group for group in groups if isinstance(group, type) and issubclass(group, BaseModel))]
    used = {_key_of(declared) for each in models for declared in fields_of(each)}
    return tuple(
        key
        for key in parsed.fields
        if key in parsed.written
        and key not in used
        and key not in OPTION_INFOTEXT
        and key not in DESCRIPTIVE_KEYS
        and not key.startswith("AddNet ")
        and not is_unit_key(key)
    )
