"""ControlNet units of a request, with every name and number settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from pipelines.adapters.control_files import ControlFile, ControlFileList
from pipelines.control.choices import UNAVAILABLE_TYPES, union_type
from preprocessors.base import Preprocessor
from preprocessors.catalogue import preprocessor
from schema.controlnet import (
    ControlMode,
    ControlNetUnit,
    HiresOption,
    InputMode,
    UnionControlType,
    UnitResizeMode,
)
from schema.errors import InvalidRequest, UnknownName
from schema.infotext_controlnet import UnitRecord, unit_infotext


@dataclass(frozen=True, kw_only=True)
class UnitPlan:
    """One enabled unit.

    Attributes:
        number: Position among the enabled units; what infotext and messages call it.
        module: Name or label by which the preprocessor was asked for.
        file: Its control model, or None for preprocessors that work without.
        resolution, a, b: The preprocessor's sliders, settled.
        start, end: Shares of the pass between which it acts.
        image: Its own picture (any mode), or None for the job's source picture.
        mask: Of `image`, white = masked.
        further: Pictures that are embedded together with `image` (IP-Adapter with several inputs).
        embeddings: Made elsewhere, base64 of .safetensors files, in place of a picture.
        region: White where it acts; None for everywhere.
        crops: Whether its picture is cut like the source in "only masked" inpainting.
        shows_map: Whether its map is among the results.
    """

    number: int
    preprocessor: Preprocessor
    module: str
    file: ControlFile | None
    weight: float
    mode: ControlMode
    resize_mode: UnitResizeMode
    hr_option: HiresOption
    resolution: float
    a: float
    b: float
    start: float
    end: float
    pixel_perfect: bool = False
    low_vram: bool = False
    image: Image.Image | None = None
    mask: Image.Image | None = None
    further: tuple[Image.Image, ...] = ()
    embeddings: tuple[str, ...] = ()
    region: Image.Image | None = None
    advanced: tuple[float, ...] | None = None
    union_type: UnionControlType = UnionControlType.UNKNOWN
    crops: bool = True
    shows_map: bool = True
    loopback: bool = False

    @property
    def record(self) -> UnitRecord:
        """What the infotext says of it."""
        # A comma or colon in a value could not be read back; names have none, labels may.
        return UnitRecord(
            module=self.preprocessor.name if set(self.module) & set(",:") else self.module,
            model=self.file.name if self.file else "None",
            weight=self.weight,
            resize_mode=self.resize_mode,
            processor_res=self.resolution,
            threshold_a=self.a,
            threshold_b=self.b,
            guidance_start=self.start,
            guidance_end=self.end,
            pixel_perfect=self.pixel_perfect,
            control_mode=self.mode,
            hr_option=self.hr_option,
        )

    @property
    def acts(self) -> bool:
        """Whether it changes anything: a weight of 0 does not, unless every layer has its own."""
        return self.weight > 0 or self.advanced is not None


def plan_units(units: Sequence[ControlNetUnit], files: ControlFileList) -> tuple[UnitPlan, ...]:
    """The enabled ones of `units`; those with several inputs for other than IP-Adapters become one per picture.

    Raises:
        InvalidRequest: If a unit names what is not there or cannot be used; the message names unit and field.

    Source: sd-webui-controlnet scripts/controlnet.py, get_enabled_units and Script.process.
    """
    plans: list[UnitPlan] = []
    low_vram = any(unit.enabled and unit.low_vram for unit in units)
    for place, unit in enumerate(units):
        if not unit.enabled:
            continue
        try:
            for part in _one_picture_each(_plan(unit, files)):
                plans.append(replace(part, number=len(plans), low_vram=low_vram))
        except InvalidRequest as error:
            raise InvalidRequest(f"controlnet.{place}.{error}") from error
    return tuple(plans)


def unit_infotexts(plans: Sequence[UnitPlan], notes: list[str]) -> dict[str, object]:
    """`ControlNet 0: …` of every unit; one that cannot be written goes to `notes` instead."""
    found: dict[str, object] = {}
    for plan in plans:
        try:
            found[f"ControlNet {plan.number}"] = unit_infotext(plan.record)
        except ValueError as error:
            notes.append(f"ControlNet {plan.number} is not in the infotext: {error}.")
    return found


def _plan(unit: ControlNetUnit, files: ControlFileList) -> UnitPlan:
    entry = _preprocessor(unit.module)
    file = _file(unit.model, files)
    if file is None and not entry.model_free:
        raise InvalidRequest(f"model: preprocessor '{entry.name}' needs a control model. Choose one.")
    if unit.control_type in UNAVAILABLE_TYPES:
        raise InvalidRequest(f"control_type: {UNAVAILABLE_TYPES[unit.control_type]}")
    if entry.types and all(name in UNAVAILABLE_TYPES for name in entry.types):
        raise InvalidRequest(f"module: {UNAVAILABLE_TYPES[entry.types[0]]}")
    if entry.unavailable:
        raise InvalidRequest(f"module: preprocessor '{entry.name}' cannot run here: {entry.unavailable}")
    resolution, a, b = entry.settled(resolution=unit.processor_res, a=unit.threshold_a, b=unit.threshold_b)
    image, mask, further = _pictures(unit)
    return UnitPlan(
        number=0,
        preprocessor=entry,
        module=unit.module,
        file=file,
        weight=unit.weight,
        mode=unit.control_mode,
        resize_mode=unit.resize_mode,
        hr_option=unit.hr_option,
        resolution=resolution,
        a=a,
        b=b,
        start=unit.guidance_start,
        end=unit.guidance_end,
        pixel_perfect=unit.pixel_perfect,
        image=image,
        mask=mask,
        further=further,
        embeddings=tuple(unit.ipadapter_input or ()),
        region=unit.effective_region_mask,
        advanced=tuple(unit.advanced_weighting) if unit.advanced_weighting is not None else None,
        union_type=union_type(unit),
        crops=unit.inpaint_crop_input_image,
        shows_map=unit.save_detected_map,
        loopback=unit.loopback,
    )


def _preprocessor(name: str) -> Preprocessor:
    try:
        return preprocessor(name)
    except UnknownName as error:
        raise InvalidRequest(f"module: {error}") from error


def _file(name: str, files: ControlFileList) -> ControlFile | None:
    try:
        return files.get(name)
    except UnknownName as error:
        raise InvalidRequest(f"model: {error}") from error


def _pictures(unit: ControlNetUnit) -> tuple[Image.Image | None, Image.Image | None, tuple[Image.Image, ...]]:
    if unit.input_mode is not InputMode.MERGE:
        return unit.image, unit.mask, ()
    if not unit.batch_images:
        raise InvalidRequest("batch_images: input mode 'merge' needs pictures.")
    mask = unit.batch_masks[0] if unit.batch_masks else None
    return unit.batch_images[0], mask, tuple(unit.batch_images[1:])


def _one_picture_each(plan: UnitPlan) -> list[UnitPlan]:
    """Several inputs at once are for IP-Adapters; for the others N units with an N-th of the weight."""
    if not plan.further or "IP-Adapter" in plan.preprocessor.types:
        return [plan]
    pictures = (plan.image, *plan.further)
    weight = plan.weight / len(pictures)
    return [replace(plan, image=picture, mask=None, further=(), weight=weight) for picture in pictures]
