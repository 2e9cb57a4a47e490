"""Extras: upscaling and face restoration of finished pictures, and making them ready to train on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from pipelines.dataset_crops import (
    CropBounds,
    FindFaces,
    FocalWeights,
    auto_sized,
    flipped,
    focal_crop,
    no_faces,
    split_picture,
)
from pipelines.faces.base import FaceRestorer, restore_faces
from pipelines.output.metadata import read_infotext
from pipelines.registry import Registry
from pipelines.upscalers.base import OnTile, Upscaler, ignore_tiles, upscale
from pipelines.upscalers.catalogue import find_upscaler
from schema.errors import ImageError
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
class DatasetPlan:
    """What makes a picture ready to train on, in this order; None and empty leave a stage out.

    Attributes:
        split: (threshold, overlap) of `split_picture`.
        debug: Whether the picture that explains a focal point is handed out too.
    """

    split: tuple[float, float] | None = None
    focal: FocalWeights | None = None
    debug: bool = False
    bounds: CropBounds | None = None
    flips: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExtrasPlan:
    """The stages in order: upscaling, faces, data set.

    Attributes:
        size: (width, height) that splitting and focal cropping aim at; None takes the enlarged picture's.
    """

    upscaling: UpscalePlan | None = None
    faces: tuple[FacePlan, ...] = ()
    dataset: DatasetPlan = field(default_factory=DatasetPlan)
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ExtrasPicture:
    """One finished picture.

    Attributes:
        image: Its `info` holds the texts of the source and, under "postprocessing", the record.
        record: What was done, as A1111 writes it: "Postprocess upscale by: 2.0, …".
        name: File name of the source, or "".
        source: The source's generation record, or "".
        copy: Which picture of its source it is; 0 is the first.
    """

    image: Image.Image
    record: str
    name: str = ""
    source: str = ""
    copy: int = 0
    fields: dict[str, object] = field(default_factory=dict[str, object])


Say = Callable[[str], None]


def say_nothing(text: str) -> None:
    """Tells nobody what is going on."""


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
    for stage in faces:
        stage.restorer.check()
    size = (request.upscaling_resize_w, request.upscaling_resize_h) if request.resize_mode == 1 else None
    return ExtrasPlan(upscaling=upscaling, faces=tuple(faces), dataset=_dataset_plan(request), size=size)


def _dataset_plan(request: ExtrasRequest) -> DatasetPlan:
    focal = FocalWeights(
        faces=request.focal_face_weight, entropy=request.focal_entropy_weight, corners=request.focal_edges_weight
    )
    bounds = CropBounds(
        least_side=request.multicrop_mindim,
        largest_side=request.multicrop_maxdim,
        least_area=request.multicrop_minarea,
        largest_area=request.multicrop_maxarea,
        largest_error=request.multicrop_threshold,
        maximizes_area=request.multicrop_objective == "Maximize area",
    )
    return DatasetPlan(
        split=(request.split_threshold, request.overlap_ratio) if request.split_oversized else None,
        focal=focal if request.focal_crop else None,
        debug=request.focal_debug,
        bounds=bounds if request.autosized_crop else None,
        flips=tuple(request.flips) if request.create_flipped_copies else (),
    )


def process_picture(
    plan: ExtrasPlan,
    image: Image.Image,
    *,
    name: str = "",
    on_tile: OnTile = ignore_tiles,
    say: Say = say_nothing,
    find_faces: FindFaces = no_faces,
) -> list[ExtrasPicture]:
    """What `image` becomes in all stages of `plan`; transparency is kept, other modes become RGB.

    Args:
        on_tile: Told of every tile of an upscaler; raises `Interrupted` to stop.
        say: Told in words what is going on.

    Raises:
        ImageError: If the result would be too large.
        Interrupted: From `on_tile`.

    Source: A1111 modules/postprocessing.py, run_postprocessing.
    """
    fields: dict[str, object] = {}
    texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    source, _ = read_infotext(image)
    if source:
        texts["parameters"] = source
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    result = image.convert("RGBA" if has_alpha else "RGB")
    if plan.upscaling is not None:
        say(f"Upscaling with {plan.upscaling.first.name}")
        result = _upscale(plan.upscaling, result, fields, on_tile)
    for stage in plan.faces:
        say(f"Restoring faces with {stage.restorer.name}")
        result = _restore(stage, result, fields)
    finished = _for_dataset(plan, result, image.size, find_faces)
    record = format_infotext("", "", fields)
    made: list[ExtrasPicture] = []
    for place, picture in enumerate(finished):
        picture.info = {**texts, **({"postprocessing": record} if record else {})}
        made.append(
            ExtrasPicture(image=picture, record=record, name=name, source=source or "", copy=place, fields=fields)
        )
    return made


def _for_dataset(
    plan: ExtrasPlan, image: Image.Image, original: tuple[int, int], find_faces: FindFaces
) -> list[Image.Image]:
    """`image` split, cropped and flipped as the plan says; the first result stands for the picture itself."""
    dataset = plan.dataset
    factor = plan.upscaling.factor if plan.upscaling else 1.0
    size = plan.size or (int(original[0] * factor), int(original[1] * factor))
    pictures, shown = [image], list[Image.Image]()
    if dataset.split is not None:
        threshold, overlap = dataset.split
        pictures = split_picture(image, size, threshold=threshold, overlap=overlap)
    if dataset.focal is not None:
        crops = [focal_crop(picture, size, dataset.focal, find_faces) for picture in pictures]
        pictures = [cropped for cropped, _ in crops]
        shown = [explained for _, explained in crops] if dataset.debug else []
    if dataset.bounds is not None:
        pictures = [auto_sized(picture, dataset.bounds) or picture for picture in pictures]
    copies = [copy for picture in pictures for copy in flipped(picture, dataset.flips)]
    return [*pictures, *copies, *shown]


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
