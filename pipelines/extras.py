"""Extras: upscaling and face restoration of finished pictures."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from pipelines.faces.base import FaceRestorer, restore_faces
from pipelines.registry import Registry
from pipelines.upscalers.base import OnTile, Upscaler, ignore_tiles, upscale
from pipelines.upscalers.catalogue import find_upscaler
from schema.errors import ImageError, InvalidRequest
from schema.extras import NO_UPSCALER, ExtrasRequest
from schema.images import MAX_PIXELS
from schema.infotext import format_infotext


@dataclass(frozen=True, kw_only=True)
class UpscalePlan:
    """The upscaling stage of Extras.

    Attributes:
        first: Upscaler of the result.
        second: Upscaler whose result is mixed in with `visibility`, or None.
        factor: Used when `size` is None.
        max_side: Limit of the longer side when scaling by a factor; 0 is no limit.
        size: (width, height) to cover, or None.
        crop: Whether the result is cut to `size`.
    """

    first: Upscaler
    second: Upscaler | None = None
    visibility: float = 0.0
    factor: float = 4.0
    max_side: int = 0
    size: tuple[int, int] | None = None
    crop: bool = True


@dataclass(frozen=True, kw_only=True)
class FacePlan:
    """One face restoration stage: who restores, how visibly, and CodeFormer's weight."""

    restorer: FaceRestorer
    visibility: float
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExtrasPlan:
    """The stages in order: upscaling, then faces."""

    upscaling: UpscalePlan | None = None
    faces: tuple[FacePlan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExtrasPicture:
    """One finished picture.

    Attributes:
        image: Its `info` holds the texts of the source and, under "postprocessing", the record.
        record: What was done, as A1111 writes it: "Postprocess upscale by: 2.0, …".
        name: File name of the source, or "".
    """

    image: Image.Image
    record: str
    name: str = ""
    fields: dict[str, object] = field(default_factory=dict[str, object])


def plan_extras(request: ExtrasRequest, upscalers: Registry[Upscaler], restorers: Registry[FaceRestorer]) -> ExtrasPlan:
    """The stages a request asks for, with names resolved.

    Raises:
        UnknownName, NotFound: If an upscaler is not known or its file is missing.
    """
    upscaling = None
    if request.upscale_enabled and request.upscaler_1 not in ("", NO_UPSCALER):
        mixes = request.upscaler_2 not in ("", NO_UPSCALER) and request.extras_upscaler_2_visibility > 0
        upscaling = UpscalePlan(
            first=find_upscaler(upscalers, request.upscaler_1),
            second=find_upscaler(upscalers, request.upscaler_2) if mixes else None,
            visibility=request.extras_upscaler_2_visibility,
            factor=request.upscaling_resize,
            max_side=request.max_side_length,
            size=(request.upscaling_resize_w, request.upscaling_resize_h) if request.resize_mode == 1 else None,
            crop=request.upscaling_crop,
        )
    faces: list[FacePlan] = []
    if request.gfpgan_visibility > 0:
        faces.append(FacePlan(restorer=restorers.get("GFPGAN"), visibility=request.gfpgan_visibility))
    if request.codeformer_visibility > 0:
        faces.append(
            FacePlan(
                restorer=restorers.get("CodeFormer"),
                visibility=request.codeformer_visibility,
                weight=request.codeformer_weight,
            )
        )
    return ExtrasPlan(upscaling=upscaling, faces=tuple(faces))


def run_extras(
    request: ExtrasRequest,
    upscalers: Registry[Upscaler],
    restorers: Registry[FaceRestorer],
    *,
    on_tile: OnTile = ignore_tiles,
) -> Iterator[ExtrasPicture]:
    """The pictures of a request one after the other, each as soon as it is done.

    Raises:
        InvalidRequest: If there is no picture, or a result would be too large.
        UnknownName, NotFound: If an upscaler, restorer or its file is missing; before the first picture.
        Interrupted: From `on_tile`.

    Source: A1111 modules/postprocessing.py, run_postprocessing.
    """
    if not request.images:
        raise InvalidRequest("Extras needs a picture.")
    plan = plan_extras(request, upscalers, restorers)
    names = request.names + [""] * (len(request.images) - len(request.names))
    for image, name in zip(request.images, names, strict=False):
        yield process_picture(plan, image, name=name, on_tile=on_tile)


def process_picture(
    plan: ExtrasPlan, image: Image.Image, *, name: str = "", on_tile: OnTile = ignore_tiles
) -> ExtrasPicture:
    """`image` after all stages of `plan`; transparency is kept, other modes become RGB."""
    fields: dict[str, object] = {}
    texts = {key: value for key, value in image.info.items() if isinstance(value, str)}
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    result = image.convert("RGBA" if has_alpha else "RGB")
    if plan.upscaling is not None:
        result = _upscale(plan.upscaling, result, fields, on_tile)
    for stage in plan.faces:
        result = _restore(stage, result, fields)
    record = format_infotext("", "", fields)
    result.info = texts
    if record:
        result.info["postprocessing"] = record
    return ExtrasPicture(image=result, record=record, name=name, fields=fields)


def limit_size(width: float, height: float, limit: int) -> tuple[int, int]:
    """(width, height) with the longer side at most `limit`, the other rounded down to keep the aspect.

    Source: A1111 scripts/postprocessing_upscale.py, limit_size_by_one_dimention.
    """
    if height > width and height > limit:
        return int(limit * width // height), limit
    if width > limit:
        return limit, int(limit * height // width)
    return int(width), int(height)


def _upscale(plan: UpscalePlan, image: Image.Image, fields: dict[str, object], on_tile: OnTile) -> Image.Image:
    factor, size, crop = plan.factor, plan.size, plan.crop
    if size is not None:
        fields["Postprocess upscale to"] = f"{size[0]}x{size[1]}"
    else:
        fields["Postprocess upscale by"] = plan.factor
        if plan.max_side and max(image.size) * factor > plan.max_side:
            size, crop = limit_size(image.width * factor, image.height * factor, plan.max_side), False
            fields["Max side length"] = plan.max_side
    if size is not None:
        factor = max(size[0] / image.width, size[1] / image.height)
    if image.width * image.height * factor**2 > MAX_PIXELS:
        raise ImageError(
            f"{image.width} x {image.height} pixels times {factor:g} per side are too many; choose a smaller scale."
        )
    first = _enlarge(plan.first, image, factor, on_tile)
    if size is not None and crop:
        first = _crop_centre(first, size)
        fields["Postprocess crop to"] = f"{size[0]}x{size[1]}"
    fields["Postprocess upscaler"] = plan.first.name
    if plan.second is None:
        return first
    second = _enlarge(plan.second, image, factor, on_tile)
    if size is not None and crop:
        second = _crop_centre(second, size)
    fields["Postprocess upscaler 2"] = plan.second.name
    return Image.blend(first, second, plan.visibility)


def _enlarge(upscaler: Upscaler, image: Image.Image, factor: float, on_tile: OnTile) -> Image.Image:
    """`image` by `upscaler`; networks know no transparency, so alpha goes by Lanczos."""
    enlarged = upscale(upscaler, image.convert("RGB"), factor, on_tile=on_tile)
    if image.mode != "RGBA":
        return enlarged
    enlarged.putalpha(image.getchannel("A").resize(enlarged.size, Image.Resampling.LANCZOS))
    return enlarged


def _crop_centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new(image.mode, size)
    canvas.paste(image, (size[0] // 2 - image.width // 2, size[1] // 2 - image.height // 2))
    return canvas


def _restore(stage: FacePlan, image: Image.Image, fields: dict[str, object]) -> Image.Image:
    name = stage.restorer.name
    fields[f"{name} visibility"] = round(stage.visibility, 3)
    if stage.weight is not None:
        fields[f"{name} weight"] = round(stage.weight, 3)
    restored = restore_faces(
        stage.restorer, image.convert("RGB"), visibility=stage.visibility, weight=stage.weight or 0.0
    )
    if image.mode == "RGBA":
        restored.putalpha(image.getchannel("A"))
    return restored
