"""One ControlNet unit: its declared fields, and every way in which clients write them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic import Field as P

from schema.fields import Control
from schema.images import ImageInput

MAX_UNITS = 10
"""Largest number of units the page shows; requests may carry more."""

NO_MODULE, NO_MODEL = "none", "None"
ALL_TYPES = "All"


class ControlMode(StrEnum):
    """Whether prompt or control wins. Source: sd-webui-controlnet internal_controlnet/external_code.py."""

    BALANCED = "Balanced"
    PROMPT = "My prompt is more important"
    CONTROL = "ControlNet is more important"


class UnitResizeMode(StrEnum):
    """How a map is brought to the picture's size; the capitals differ from img2img's."""

    RESIZE = "Just Resize"
    INNER_FIT = "Crop and Resize"
    OUTER_FIT = "Resize and Fill"


class HiresOption(StrEnum):
    """Which passes of hires fix a unit acts in."""

    BOTH = "Both"
    LOW_RES_ONLY = "Low res only"
    HIGH_RES_ONLY = "High res only"


class InputMode(StrEnum):
    """Where a unit's pictures come from: one, one per run, or several at once."""

    SIMPLE = "simple"
    BATCH = "batch"
    MERGE = "merge"


class PulidMode(StrEnum):
    """How closely PuLID follows a face."""

    FIDELITY = "Fidelity"
    STYLE = "Extremely style"


class UnionControlType(StrEnum):
    """What a union ControlNet is told its map is; the order is the network's own."""

    OPENPOSE = "OpenPose"
    DEPTH = "Depth"
    SOFT_EDGE = "Soft Edge"
    HARD_EDGE = "Hard Edge"
    NORMAL_MAP = "Normal Map"
    SEGMENTATION = "Segmentation"
    TILE = "Tile"
    INPAINT = "Inpaint"
    UNKNOWN = "Unknown"


CONTROL_MODES = tuple(mode.value for mode in ControlMode)
UNIT_RESIZE_MODES = tuple(mode.value for mode in UnitResizeMode)
HIRES_OPTIONS = tuple(option.value for option in HiresOption)
UNION_CONTROL_TYPES = tuple(kind.value for kind in UnionControlType)

_OLD_NAMES: Mapping[str, str] = {
    "inner fit (scale to fit)": UnitResizeMode.INNER_FIT,
    "scale to fit (inner fit)": UnitResizeMode.INNER_FIT,
    "outer fit (shrink to fit)": UnitResizeMode.OUTER_FIT,
    "envelope (outer fit)": UnitResizeMode.OUTER_FIT,
    "just resize (latent upscale)": UnitResizeMode.RESIZE,
    "resize": UnitResizeMode.RESIZE,
    "inner_fit": UnitResizeMode.INNER_FIT,
    "outer_fit": UnitResizeMode.OUTER_FIT,
}
"""Names of releases before 1.1 and of the enum's members, in lower case."""

_LATENT_UPSCALE = 3
"""A1111's fourth img2img resize mode, which stretches too."""

Choice = TypeVar("Choice", bound=StrEnum)


def read_choice(kind: type[Choice], value: Any) -> Choice:
    """The member of `kind` that `value` means: its text in any case, its position, or its member name.

    Raises:
        ValueError: If there is none; the message lists them.
    """
    members = list(kind)
    if isinstance(value, int) and not isinstance(value, bool):
        if kind is UnitResizeMode and value == _LATENT_UPSCALE:
            return members[0]
        if 0 <= value < len(members):
            return members[value]
    if isinstance(value, str):
        text = value.strip().casefold()
        for member in members:
            if text in (member.value.casefold(), member.name.casefold(), f"{kind.__name__}.{member.name}".casefold()):
                return member
        # `str()` of the extension's own enums: "ControlMode.BALANCED", "ResizeMode.INNER_FIT".
        name = text.rpartition(".")[2]
        for member in members:
            if name and name == member.name.casefold():
                return member
        if kind is UnitResizeMode and text in _OLD_NAMES:
            return next(member for member in members if member.value == _OLD_NAMES[text])
    names = ", ".join(f"'{member.value}'" for member in members)
    raise ValueError(f"choose one of {names}, or 0 to {len(members) - 1}")


def _choice_of(kind: type[Choice]) -> BeforeValidator:
    return BeforeValidator(lambda value: read_choice(kind, value))


class ControlNetUnit(BaseModel):
    """What one unit is asked to do; field names are those of the ControlNet extension's API.

    Keys that no field takes are ignored, as the extension ignores them. Old keys are read too: `lowvram`, `guidance`
    (the end), `input_image`, `mask_image`. `image` may be a picture, `{"image", "mask"}`, `[image, mask]`, or a list
    of `{"image", "mask"}`, which sets the input mode to "merge". Pictures are base64, never a path.

    Attributes:
        enabled: Units that are off are not looked at further.
        control_type: Which entries the page lists; no effect of its own.
        module: Name or label of the preprocessor.
        model: Name of the control model, with or without hash.
        image, mask: The unit's own picture and what of it is masked; img2img's picture is used where there is none.
        batch_images, batch_masks: The pictures of the input modes "batch" and "merge"; masks by position.
        processor_res, threshold_a, threshold_b: -1, and every value out of bounds, takes the preprocessor's default.
        advanced_weighting: One factor per layer, replacing weight and control mode's weights.
        effective_region_mask: Where the unit acts, white = fully.
        ipadapter_input: Embeddings made earlier, base64 of .safetensors files; pickles are not opened.
        output_dir: Name of the folder below the output folder that batch results go to, under their inputs' names.
        save_detected_map: Whether the map is among the answer's pictures.

    Source: sd-webui-controlnet internal_controlnet/args.py, ControlNetUnit.
    """

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True, allow_inf_nan=False)

    enabled: Annotated[bool, Control(label="Enable", elem_id="enable")] = False
    low_vram: Annotated[
        bool, Control(label="Low VRAM", info="Keeps the control network on the CPU between its calls.")
    ] = False
    pixel_perfect: Annotated[
        bool, Control(label="Pixel Perfect", info="The preprocessor works at the picture's own resolution.")
    ] = False
    control_type: Annotated[str, Control(label="Control Type", kind="radio", choices="control_types")] = ALL_TYPES
    module: Annotated[str, Control(label="Preprocessor", choices="controlnet_modules", elem_id="preprocessor")] = (
        NO_MODULE
    )
    model: Annotated[str, Control(label="Model", choices="controlnet_models")] = NO_MODEL
    weight: Annotated[float, P(ge=0, le=2), Control(label="Control Weight", step=0.05)] = 1.0
    image: ImageInput | None = None
    mask: ImageInput | None = None
    guidance_start: Annotated[float, P(ge=0, le=1), Control(label="Starting Control Step", step=0.01)] = 0.0
    guidance_end: Annotated[
        float, P(ge=0, le=1, validate_default=True), Control(label="Ending Control Step", step=0.01)
    ] = 1.0
    processor_res: Annotated[
        int, Control(label="Preprocessor Resolution", kind="slider", step=8, shown=(64, 2048))
    ] = -1
    threshold_a: Annotated[float, Control(label="Threshold A", kind="slider", step=1, shown=(64, 1024))] = -1
    threshold_b: Annotated[float, Control(label="Threshold B", kind="slider", step=1, shown=(64, 1024))] = -1
    control_mode: Annotated[
        ControlMode, _choice_of(ControlMode), Control(label="Control Mode", kind="radio", choices=CONTROL_MODES)
    ] = ControlMode.BALANCED
    resize_mode: Annotated[
        UnitResizeMode,
        _choice_of(UnitResizeMode),
        Control(label="Resize Mode", kind="radio", choices=UNIT_RESIZE_MODES),
    ] = UnitResizeMode.INNER_FIT
    hr_option: Annotated[
        HiresOption, _choice_of(HiresOption), Control(label="Hires-Fix Option", kind="radio", choices=HIRES_OPTIONS)
    ] = HiresOption.BOTH
    inpaint_crop_input_image: Annotated[bool, Control(label="Crop input image based on A1111 mask")] = True
    union_control_type: Annotated[
        UnionControlType,
        _choice_of(UnionControlType),
        Control(label="Union Control Type", choices=UNION_CONTROL_TYPES, kind="dropdown"),
    ] = UnionControlType.UNKNOWN
    pulid_mode: Annotated[PulidMode, _choice_of(PulidMode)] = PulidMode.FIDELITY
    advanced_weighting: list[float] | None = None
    effective_region_mask: ImageInput | None = None
    ipadapter_input: list[str] | None = None
    save_detected_map: bool = True
    input_mode: Annotated[InputMode, _choice_of(InputMode)] = InputMode.SIMPLE
    batch_images: list[ImageInput] = P(default_factory=list)
    batch_masks: list[ImageInput | None] = P(default_factory=list)
    loopback: Annotated[
        bool,
        Control(
            label="[Batch Loopback] Automatically send generated images to this ControlNet unit in batch generation"
        ),
    ] = False
    output_dir: str = ""

    @model_validator(mode="before")
    @classmethod
    def _known_forms(cls, values: Any) -> Any:
        return _with_pictures(_with_new_names(values)) if isinstance(values, Mapping) else values

    @field_validator("module", "model", mode="before")
    @classmethod
    def _name_or_nothing(cls, value: Any, info: ValidationInfo) -> Any:
        if value in (None, ""):
            return NO_MODULE if info.field_name == "module" else NO_MODEL
        return value

    @field_validator("guidance_end")
    @classmethod
    def _after_start(cls, end: float, info: ValidationInfo) -> float:
        start = info.data.get("guidance_start", 0.0)
        if start > end:
            raise ValueError(f"the end must not be before the start ({start})")
        return end

    @field_validator("mask", mode="after")
    @classmethod
    def _as_large_as_the_image(cls, mask: Image.Image | None, info: ValidationInfo) -> Image.Image | None:
        image = info.data.get("image")
        if mask is not None and isinstance(image, Image.Image) and mask.size != image.size:
            raise ValueError(
                f"the mask has {mask.width}x{mask.height} pixels, the image {image.width}x{image.height}; "
                "they must be equal"
            )
        return mask

    @field_validator("output_dir")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if any(part in value for part in ("/", "\\", "..", ":", "\0")):
            raise ValueError("give the name of a folder below the output folder, without a path")
        return value


_NEW_NAMES: Mapping[str, str] = {
    "lowvram": "low_vram",
    "guidance": "guidance_end",
    "input_image": "image",
    "mask_image": "mask",
}
_NULLABLE = frozenset(
    {"image", "mask", "module", "model", "advanced_weighting", "effective_region_mask", "ipadapter_input"}
)


def _with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` under today's keys, without the empty ones that mean a default.

    Raises:
        ValueError: If a value is given under both its names.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = _NEW_NAMES.get(key, key)
        # Clients send `"image": ""` and null for what they leave out.
        if value is None and name not in _NULLABLE:
            continue
        value = None if name in ("image", "mask", "effective_region_mask") and value == "" else value
        if found.get(name) is not None and value is not None and name != key:
            raise ValueError(f"{name}: give either '{name}' or '{key}', not both")
        if name not in found or value is not None:
            found[name] = value
    if isinstance(found.get("ipadapter_input"), str):
        found["ipadapter_input"] = [found["ipadapter_input"]]
    return found


def _with_pictures(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with `image` and `mask` taken out of the forms that hold both."""
    given = values.get("image")
    if isinstance(given, Mapping):
        return values | _pair(given.get("image"), given.get("mask"), values.get("mask"))
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        return values
    if len(given) == 0:
        return values | {"image": None}
    if all(isinstance(item, Mapping) for item in given):
        pairs = [_pair(item.get("image"), item.get("mask"), None) for item in given]
        if len(pairs) == 1:
            return values | _pair(pairs[0]["image"], pairs[0].get("mask"), values.get("mask"))
        return values | {
            "image": None,
            "input_mode": InputMode.MERGE,
            "batch_images": [pair["image"] for pair in pairs],
            "batch_masks": [pair.get("mask") for pair in pairs],
        }
    if len(given) == 2:
        return values | _pair(given[0], given[1], values.get("mask"))
    raise ValueError("image: a list holds an image and its mask, or objects with 'image' and 'mask'")


def _pair(image: Any, mask: Any, other_mask: Any) -> dict[str, Any]:
    image, mask = (None if value == "" else value for value in (image, mask))
    if mask is not None and other_mask is not None:
        raise ValueError("mask: give the mask either with the image or as 'mask', not both")
    chosen = other_mask if mask is None else mask
    return {"image": image} | ({"mask": chosen} if chosen is not None else {})
