"""JSON bodies of the generation routes: our requests under A1111's API defaults, with its extra keys."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as P

from schema.requests import Img2ImgRequest, Txt2ImgRequest


class RouteOptions(BaseModel):
    """Keys that steer the route and not the picture."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True, allow_inf_nan=False)

    sampler_index: str | None = "Euler"
    force_task_id: str | None = None
    send_images: bool = True
    save_images: bool = False
    include_init_images: bool = False
    infotext: str | None = None
    comments: dict[str, Any] | None = None
    alwayson_scripts: dict[str, Any] | None = P(default_factory=dict)


_SHARED_DEFAULTS: dict[str, Any] = {
    "sampler_name": None,
    "scheduler": None,
    "steps": 50,
    "styles": None,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "denoising_strength": 0.75,
    "override_settings": None,
}
_TXT2IMG_DEFAULTS: dict[str, Any] = {"hr_upscaler": None}
_IMG2IMG_DEFAULTS: dict[str, Any] = {
    "init_images": None,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
}
_NOT_IN_BODY = {"mode", "soft_inpainting", "controlnet"}


def _body_model(name: str, request: type[BaseModel], defaults: dict[str, Any]) -> type[RouteOptions]:
    """A model with `request`'s fields and bounds, each also accepting null, under A1111's API defaults."""
    fields: dict[str, Any] = {}
    for field_name, info in request.model_fields.items():
        if field_name in _NOT_IN_BODY:
            continue
        annotation = Annotated[(info.annotation | None, *info.metadata)] if info.metadata else info.annotation | None  # type: ignore[operator]
        default = defaults.get(field_name, info.get_default(call_default_factory=True))
        fields[field_name] = (annotation, P(default=default))
    return create_model(name, __base__=RouteOptions, **fields)


Txt2ImgBody = _body_model("Txt2ImgBody", Txt2ImgRequest, _SHARED_DEFAULTS | _TXT2IMG_DEFAULTS)
Img2ImgBody = _body_model("Img2ImgBody", Img2ImgRequest, _SHARED_DEFAULTS | _IMG2IMG_DEFAULTS)


def request_values(body: RouteOptions, request: type[BaseModel]) -> dict[str, Any]:
    """The values of `request`'s own fields in `body`; null means the request's default where it is no value itself."""
    values: dict[str, Any] = {}
    for name in request.model_fields.keys() - _NOT_IN_BODY:
        value = getattr(body, name)
        if value is not None or type(None) in get_args(request.model_fields[name].annotation):
            values[name] = value
    return values


def unknown_keys(body: RouteOptions) -> list[str]:
    """Keys of the JSON object that no field takes."""
    return sorted(body.model_extra or {})
