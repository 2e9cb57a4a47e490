"""What `/sdapi/v1/script-info` answers: selectable scripts from their declarations, always-on ones from the fields."""

from collections.abc import Iterable
from typing import Any

from pipelines.manager import PipelineManager
from pipelines.scripts.arguments import Kind, Lists, ScriptArgument, described
from pipelines.scripts.base import Script
from schema.fields import fields_of
from schema.requests import Img2ImgRequest, SoftInpainting

KINDS: tuple[Kind, ...] = ("txt2img", "img2img")

REFINER_SWITCH_AT = 0.8
_REFINER, _EXTRA = "Refiner", "Extra"


def script_infos(manager: PipelineManager) -> list[dict[str, Any]]:
    """Every script of both pages, selectable ones first. Source: A1111 modules/api/api.py, get_script_info."""
    return [
        {"name": name, "is_alwayson": always_on, "is_img2img": kind == "img2img", "args": args}
        for kind in KINDS
        for name, always_on, args in (
            *_selectable(manager.scripts(kind), manager.choices, kind),
            *_always_on(manager.choices, kind),
        )
    ]


def _selectable(scripts: Iterable[Script], lists: Lists, kind: Kind) -> Iterable[tuple[str, bool, list[Any]]]:
    for script in scripts:
        yield script.name.lower(), False, script.arg_info(lists, kind)


def _always_on(lists: Lists, kind: Kind) -> Iterable[tuple[str, bool, list[Any]]]:
    yield "extra options", True, []
    if kind == "img2img":
        yield "soft inpainting", True, [_of_field(SoftInpainting, name) for name in SoftInpainting.model_fields]
    yield (
        "refiner",
        True,
        [
            described(ScriptArgument(name="enabled", label=_REFINER, default=False)),
            described(ScriptArgument(name="checkpoint", label="Checkpoint", default="", choices="checkpoints"), lists),
            _of_field(Img2ImgRequest, "refiner_switch_at", default=REFINER_SWITCH_AT),
        ],
    )
    yield (
        "sampler",
        True,
        [
            _of_field(Img2ImgRequest, "steps"),
            _of_field(Img2ImgRequest, "sampler_name", lists),
            _of_field(Img2ImgRequest, "scheduler", lists),
        ],
    )
    yield (
        "seed",
        True,
        [
            _of_field(Img2ImgRequest, "seed", step=1),
            described(ScriptArgument(name="extra", label=_EXTRA, default=False)),
            _of_field(Img2ImgRequest, "subseed", step=1),
            *(
                _of_field(Img2ImgRequest, name)
                for name in ("subseed_strength", "seed_resize_from_w", "seed_resize_from_h")
            ),
        ],
    )


def _of_field(
    model: type[Any], name: str, lists: Lists | None = None, *, default: Any = None, step: float | None = None
) -> dict[str, Any]:
    """A declared field as an argument, with the bounds of its slider."""
    field = next(each for each in fields_of(model) if each.name == name)
    control = field.control
    low, high = control.shown or field.bounds[:2]
    argument = ScriptArgument(
        name=name,
        label=control.label,
        default=field.default if default is None else default,
        minimum=low,
        maximum=high,
        step=control.step if step is None else step,
        choices=control.choices,
    )
    return described(argument, lists)
