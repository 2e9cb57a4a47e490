"""What the X/Y/Z plot can vary: one entry per axis, with its values, their labels and what they change."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from pipelines.registry import Registry
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES, resolve_sampler_and_schedule
from pipelines.scripts.arguments import Kind, Lists
from pipelines.scripts.axis_values import numbers, orders, resolved, split_csv, whole_numbers
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from schema.settings import cast_value

Apply = Callable[[GenerationRequest, Any, Sequence[Any]], GenerationRequest]
"""(request, value, all values of the axis) → the request with the value."""

Read = Callable[[Sequence[str], Lists], Sequence[Any]]
"""Entries of the axis' text and what is installed → values."""

NOTHING = "Nothing"
SEEDS = ("Seed", "Var. seed")
"""Axes on which -1 means a random number."""

REFINER_SWITCH_AT = 0.8
"""Where the refiner begins when the request does not say."""

_BOTH: tuple[Kind, ...] = ("txt2img", "img2img")
_SIZE = re.compile(r"\s*(\d+)\s*[x×*]\s*(\d+)\s*", re.IGNORECASE)
_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0", "none", "off")
_FACES = {"codeformer": "CodeFormer", "gfpgan": "GFPGAN"}


def with_name(axis: str, value: Any) -> str:
    """`Steps: 20`."""
    return f"{axis}: {_shown(value)}"


def plain(axis: str, value: Any) -> str:
    """`20`."""
    return str(_shown(value))


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One entry of the lists "X type", "Y type" and "Z type".

    Attributes:
        read: Values of the entries; they are checked and resolved here, before any picture is made.
        choices: What the page offers to choose from, or None for an axis that is only typed.
        label: (axis, value) → text of the legend.
        cost: How expensive a change of the value is: the costliest axis changes least often.
        kinds: On which pages it is offered.
        idle: Why it changes nothing in a request, or "" where it does.
    """

    name: str
    read: Read
    apply: Apply
    aliases: tuple[str, ...] = ()
    choices: Callable[[Lists], Sequence[str]] | None = None
    label: Callable[[str, Any], str] = with_name
    cost: float = 0.0
    kinds: tuple[Kind, ...] = _BOTH
    idle: Callable[[GenerationRequest], str] = lambda request: ""

    def values(self, entries: Sequence[str], lists: Lists) -> list[Any]:
        """The values of `entries`.

        Raises:
            InvalidRequest: If one cannot be used, or there are none.
        """
        if self.name == NOTHING:
            return [0]
        values = list(self.read(entries, lists))
        if not values:
            raise InvalidRequest(f"The axis '{self.name}' has no values.")
        return values

    def entries(self, text: str, chosen: Sequence[str], *, as_text: bool) -> list[str]:
        """What was typed, or chosen from the list where the axis has one and `as_text` is off."""
        return list(chosen) if self.choices is not None and not as_text else split_csv(text)


def with_field(request: GenerationRequest, name: str, value: Any) -> GenerationRequest:
    """`request` with field `name` set.

    Raises:
        InvalidRequest: If the value breaks the field's bounds.
    """
    model = type(request)
    try:
        model.__pydantic_validator__.validate_assignment(model.model_construct(), name, value)
    except ValidationError as error:
        raise InvalidRequest(f"{name} cannot be {value!r}: {error.errors()[0]['msg']}.") from error
    return request.model_copy(update={name: value})


def with_override(request: GenerationRequest, key: str, value: Any) -> GenerationRequest:
    """`request` with the option `key` set for it alone.

    Raises:
        SettingsError: If the value cannot be used.
    """
    overrides = request.override_settings | {key: cast_value(key, value)}
    return request.model_copy(update={"override_settings": overrides})


def _field(name: str) -> Apply:
    return lambda request, value, values: with_field(request, name, value)


def _override(key: str) -> Apply:
    return lambda request, value, values: with_override(request, key, value)


def _unchanged(request: GenerationRequest, value: Any, values: Sequence[Any]) -> GenerationRequest:
    return request


def _whole(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    return whole_numbers(entries)


def _broken(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    return numbers(entries)


def _texts(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    return entries


def _orders(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    return orders(entries)


def _shown(value: Any) -> Any:
    return round(value, 8) if isinstance(value, float) else value


def _joined(axis: str, value: Any) -> str:
    return ", ".join(value)


def _without_folder(axis: str, value: Any) -> str:
    return PurePosixPath(str(value).replace("\\", "/")).name


def _unlabelled(axis: str, value: Any) -> str:
    return ""


# ---- prompts ----


def _replace_text(request: GenerationRequest, value: str, values: Sequence[str]) -> GenerationRequest:
    """Source: A1111 scripts/xyz_grid.py, apply_prompt: the first value is what all others replace."""
    wanted = values[0]
    if not wanted or (wanted not in request.prompt and wanted not in request.negative_prompt):
        raise InvalidRequest(f"Prompt S/R did not find '{wanted}' in prompt or negative prompt.")
    return request.model_copy(
        update={
            "prompt": request.prompt.replace(wanted, value),
            "negative_prompt": request.negative_prompt.replace(wanted, value),
        }
    )


def _reorder(request: GenerationRequest, value: Sequence[str], values: Sequence[Any]) -> GenerationRequest:
    """The words of `value` in the places where they stand, in the order of `value`.

    Source: A1111 scripts/xyz_grid.py, apply_order.
    """
    for word in value:
        if not word or word not in request.prompt:
            raise InvalidRequest(f"Prompt order did not find '{word}' in the prompt.")
    rest, parts = request.prompt, list[str]()
    for word in sorted(value, key=request.prompt.find):
        before, found, after = rest.partition(word)
        if not found:
            raise InvalidRequest(f"Prompt order cannot tell '{word}' apart from the other words.")
        parts.append(before)
        rest = after
    prompt = "".join(part + word for part, word in zip(parts, value, strict=True)) + rest
    return request.model_copy(update={"prompt": prompt})


def _styles(request: GenerationRequest, value: str, values: Sequence[Any]) -> GenerationRequest:
    return request.model_copy(update={"styles": [*request.styles, *_style_names(value)]})


def _style_names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _read_styles(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    known = list(lists("styles"))

    def read(entry: str) -> str:
        if entry in known:
            return entry
        return ",".join(resolved("Style", name, known) for name in _style_names(entry))

    return [read(entry) for entry in entries]


# ---- names ----


def _read_samplers(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    def read(entry: str) -> str:
        found = SAMPLERS.find(entry)
        if found is None:
            # Old names end with the schedule: "DPM++ 2M Karras".
            resolve_sampler_and_schedule(entry, None, default_becomes_automatic=False, strict=True)
        return found.name if found else entry

    return [read(entry) for entry in entries if entry]


def _read_schedules(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    return [SCHEDULES.get(entry).name for entry in entries if entry]


def _named(kind: str, names: Callable[[Lists], Sequence[str]], other_names: Callable[[str], Iterable[str]]) -> Read:
    return lambda entries, lists: [resolved(kind, entry, names(lists), other_names) for entry in entries if entry]


def _one_of(kind: str, names: Callable[[Lists], Sequence[str]]) -> Read:
    return _named(kind, names, lambda name: ())


def _live(name: str) -> Callable[[Lists], Sequence[str]]:
    return lambda lists: list(lists(name))


def _fixed(*names: str) -> Callable[[Lists], Sequence[str]]:
    return lambda lists: names


def _checkpoints(lists: Lists) -> Sequence[str]:
    return sorted(lists("checkpoints"), key=str.casefold)


def _checkpoints_or_none(lists: Lists) -> Sequence[str]:
    return ["None", *_checkpoints(lists)]


def checkpoint_names(title: str) -> Iterable[str]:
    """The names under which people know the checkpoint `folder/name.safetensors [hash]`."""
    name, _, digest = title.partition(" [")
    path = PurePosixPath(name)
    return (name, path.name, str(path.with_suffix("")) if path.suffix else name, path.stem, digest.rstrip("]"))


def _vae_names(name: str) -> Iterable[str]:
    return ("auto",) if name == "Automatic" else (PurePosixPath(name).stem,)


# ---- what needs more than setting a value ----


def _refiner(request: GenerationRequest, value: str, values: Sequence[Any]) -> GenerationRequest:
    switch_at = request.refiner_switch_at or REFINER_SWITCH_AT
    return request.model_copy(
        update={"refiner_checkpoint": None if value == "None" else value, "refiner_switch_at": switch_at}
    )


def _noise_multiplier(request: GenerationRequest, value: float, values: Sequence[Any]) -> GenerationRequest:
    return with_field(request, "initial_noise_multiplier", value) if isinstance(request, Img2ImgRequest) else request


def _unipc_order(request: GenerationRequest, value: int, values: Sequence[Any]) -> GenerationRequest:
    """Source: A1111 scripts/xyz_grid.py, apply_uni_pc_order: an order below the number of steps."""
    return with_override(request, "uni_pc_order", max(1, min(value, request.steps - 1)))


def _read_faces(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    for entry in entries:
        if entry.casefold() not in (*_FACES, *_YES, *_NO):
            raise InvalidRequest(f"Face restore cannot be '{entry}'; write CodeFormer, GFPGAN, true or false.")
    return entries


def _faces(request: GenerationRequest, value: str, values: Sequence[Any]) -> GenerationRequest:
    """Source: A1111 scripts/xyz_grid.py, apply_face_restore."""
    word = value.casefold()
    if word in _FACES:
        request = with_override(request, "face_restoration_model", _FACES[word])
    return request.model_copy(update={"restore_faces": word not in _NO})


def _read_sizes(entries: Sequence[str], lists: Lists) -> Sequence[Any]:
    for entry in entries:
        if not _SIZE.fullmatch(entry):
            raise InvalidRequest(f"Size cannot be '{entry}'; write width and height like 512x768.")
    return entries


def _size(request: GenerationRequest, value: str, values: Sequence[Any]) -> GenerationRequest:
    match = _SIZE.fullmatch(value)
    assert match, f"{value} was checked when it was read"
    return with_field(with_field(request, "width", int(match[1])), "height", int(match[2]))


def _without_hires(request: GenerationRequest) -> str:
    off = isinstance(request, Txt2ImgRequest) and not request.enable_hr
    return "it changes nothing while Hires. fix is off" if off else ""


def _only_img2img(request: GenerationRequest) -> str:
    return "" if isinstance(request, Img2ImgRequest) else "it changes nothing in txt2img"


def _flag(key: str) -> dict[str, Any]:
    names = _fixed("False", "True")
    return {"read": _one_of("Value", names), "apply": _override(key), "choices": names}


def _list(key: str, kind: str, *names: str) -> dict[str, Any]:
    return {"read": _one_of(kind, _fixed(*names)), "apply": _override(key), "choices": _fixed(*names)}


def _checkpoint_axis(names: Callable[[Lists], Sequence[str]]) -> dict[str, Any]:
    read = _named("Checkpoint", names, checkpoint_names)
    return {"read": read, "choices": names, "label": _without_folder, "cost": 1.0}


_HIRES: Mapping[str, Any] = {"kinds": ("txt2img",), "idle": _without_hires}
_IMG2IMG: Mapping[str, Any] = {"kinds": ("img2img",)}

AXES: Registry[Axis] = Registry(
    "Axis",
    (
        Axis(name=NOTHING, read=lambda entries, lists: [0], apply=_unchanged, label=_unlabelled),
        Axis(name="Seed", read=_whole, apply=_field("seed")),
        Axis(name="Var. seed", read=_whole, apply=_field("subseed")),
        Axis(name="Var. strength", read=_broken, apply=_field("subseed_strength")),
        Axis(name="Steps", read=_whole, apply=_field("steps")),
        Axis(name="Hires steps", read=_whole, apply=_field("hr_second_pass_steps"), **_HIRES),
        Axis(name="CFG Scale", read=_broken, apply=_field("cfg_scale")),
        Axis(name="Image CFG Scale", read=_broken, apply=_field("image_cfg_scale"), **_IMG2IMG),
        Axis(name="Prompt S/R", read=_texts, apply=_replace_text, label=plain),
        Axis(name="Prompt order", read=_orders, apply=_reorder, label=_joined),
        Axis(name="Sampler", read=_read_samplers, apply=_field("sampler_name"), choices=_live("samplers"), label=plain),
        Axis(
            name="Hires sampler",
            read=_read_samplers,
            apply=_field("hr_sampler_name"),
            choices=_live("samplers"),
            **_HIRES,
        ),
        Axis(name="Checkpoint name", apply=_override("sd_model_checkpoint"), **_checkpoint_axis(_checkpoints)),
        Axis(name="Negative Guidance minimum sigma", read=_broken, apply=_field("s_min_uncond")),
        Axis(name="Sigma Churn", read=_broken, apply=_field("s_churn")),
        Axis(name="Sigma min", read=_broken, apply=_field("s_tmin")),
        Axis(name="Sigma max", read=_broken, apply=_field("s_tmax")),
        Axis(name="Sigma noise", read=_broken, apply=_field("s_noise")),
        Axis(name="Schedule type", read=_read_schedules, apply=_field("scheduler"), choices=_live("schedules")),
        Axis(name="Schedule min sigma", read=_broken, apply=_override("sigma_min")),
        Axis(name="Schedule max sigma", read=_broken, apply=_override("sigma_max")),
        Axis(name="Schedule rho", read=_broken, apply=_override("rho")),
        Axis(name="Beta schedule alpha", read=_broken, apply=_override("beta_dist_alpha")),
        Axis(name="Beta schedule beta", read=_broken, apply=_override("beta_dist_beta")),
        Axis(name="Eta", read=_broken, apply=_field("eta")),
        Axis(name="Clip skip", read=_whole, apply=_override("CLIP_stop_at_last_layers")),
        Axis(name="Denoising", read=_broken, apply=_field("denoising_strength"), idle=_without_hires),
        Axis(name="Initial noise multiplier", read=_broken, apply=_noise_multiplier, idle=_only_img2img),
        Axis(name="Extra noise", read=_broken, apply=_override("img2img_extra_noise"), idle=_without_hires),
        Axis(
            name="Hires upscaler",
            read=_one_of("Upscaler", _live("hires_upscalers")),
            apply=_field("hr_upscaler"),
            choices=_live("hires_upscalers"),
            **_HIRES,
        ),
        Axis(name="Cond. Image Mask Weight", read=_broken, apply=_override("inpainting_mask_weight"), **_IMG2IMG),
        Axis(
            name="VAE",
            read=_named("VAE", _live("vaes"), _vae_names),
            apply=_override("sd_vae"),
            choices=_live("vaes"),
            cost=0.7,
        ),
        Axis(name="Styles", read=_read_styles, apply=_styles, choices=_live("styles")),
        Axis(name="UniPC Order", read=_whole, apply=_unipc_order, cost=0.5),
        Axis(name="Face restore", read=_read_faces, apply=_faces, label=plain),
        Axis(name="Token merging ratio", read=_broken, apply=_override("token_merging_ratio")),
        Axis(name="Token merging ratio high-res", read=_broken, apply=_override("token_merging_ratio_hr")),
        Axis(name="Always discard next-to-last sigma", **_flag("always_discard_next_to_last_sigma")),
        Axis(name="SGM noise multiplier", **_flag("sgm_noise_multiplier")),
        Axis(name="Refiner checkpoint", apply=_refiner, **_checkpoint_axis(_checkpoints_or_none)),
        Axis(name="Refiner switch at", read=_broken, apply=_field("refiner_switch_at")),
        Axis(name="RNG source", **_list("randn_source", "RNG source", "GPU", "CPU", "NV")),
        Axis(name="FP8 mode", cost=0.9, **_list("fp8_storage", "FP8 mode", "Disable", "Enable for SDXL", "Enable")),
        Axis(name="Size", read=_read_sizes, apply=_size),
    ),
)
"""Every axis in display order; ControlNet and others may add theirs."""


def axes_for(kind: Kind) -> list[Axis]:
    """The axes that the pages of `kind` offer, in order."""
    return AXES.where(lambda axis: kind in axis.kinds)
