"""What a caller can ask of txt2img and img2img; names are A1111's API names, defaults are the page's.

The REST routes lay A1111's API defaults over these (`api/generation.py`), since the two differ: 50 steps against 20.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as P

from schema.controlnet import ControlNetUnit
from schema.fields import Control, Infotext
from schema.images import ImageInput

MAX_SIDE = 8192
"""Longest side in pixels that a request may ask for; the page's sliders end at 2048."""

LATENT_UPSCALE_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
SAME_SAMPLER, SAME_SCHEDULE, SAME_CHECKPOINT = "Use same sampler", "Use same scheduler", "Use same checkpoint"

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASKED_CONTENT = ("fill", "original", "latent noise", "latent nothing")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
INPAINT_AREAS = ("Whole picture", "Only masked")


def _hires(request: Any) -> bool:
    return request.enable_hr


def _varies(request: Any) -> bool:
    return request.subseed_strength != 0


def _resizes_seed(request: Any) -> bool:
    return request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0


def _masked(request: Any) -> bool:
    return request.mask is not None


def _only_masked(request: Any) -> bool:
    return request.mask is not None and request.inpaint_full_res


def _inverts_mask(request: Any) -> bool:
    return request.mask is not None and request.inpainting_mask_invert == 1


def _replaces_masked(request: Any) -> bool:
    return request.mask is not None and MASKED_CONTENT[request.inpainting_fill] != "original"


def _refines(request: Any) -> bool:
    return bool(request.refiner_checkpoint)


def _other_hires_checkpoint(request: Any) -> bool:
    return request.enable_hr and request.hr_checkpoint_name != SAME_CHECKPOINT


def _other_hires_sampler(request: Any) -> bool:
    return request.enable_hr and request.hr_sampler_name not in (SAME_SAMPLER, request.sampler_name)


def _other_hires_schedule(request: Any) -> bool:
    return request.enable_hr and request.hr_scheduler not in (SAME_SCHEDULE, request.scheduler)


def _other_hires_prompt(request: Any) -> bool:
    return request.enable_hr and request.hr_prompt != request.prompt


def _other_hires_negative_prompt(request: Any) -> bool:
    return request.enable_hr and request.hr_negative_prompt != request.negative_prompt


class GenerationRequest(BaseModel):
    """What txt2img and img2img share."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    prompt: Annotated[str, Control(label="Prompt", lines=3)] = ""
    negative_prompt: Annotated[str, Control(label="Negative prompt", lines=3, elem_id="neg_prompt")] = ""
    styles: Annotated[list[str], Control(label="Styles", kind="multiselect", choices="styles")] = P(
        default_factory=list
    )
    sampler_name: Annotated[
        str, Control(label="Sampling method", infotext=Infotext(key="Sampler"), choices="samplers", elem_id="sampling")
    ] = "DPM++ 2M"
    scheduler: Annotated[
        str, Control(label="Schedule type", infotext=Infotext(key="Schedule type"), choices="schedules")
    ] = "Automatic"
    steps: Annotated[
        int, P(ge=1, le=1000), Control(label="Sampling steps", infotext=Infotext(key="Steps"), step=1, shown=(1, 150))
    ] = 20
    width: Annotated[
        int,
        P(ge=8, le=MAX_SIDE),
        Control(label="Width", infotext=Infotext(key="Size", part=0), step=8, shown=(64, 2048)),
    ] = 512
    height: Annotated[
        int,
        P(ge=8, le=MAX_SIDE),
        Control(label="Height", infotext=Infotext(key="Size", part=1), step=8, shown=(64, 2048)),
    ] = 512
    n_iter: Annotated[
        int, P(ge=1, le=10_000), Control(label="Batch count", step=1, shown=(1, 100), elem_id="batch_count")
    ] = 1
    batch_size: Annotated[int, P(ge=1, le=256), Control(label="Batch size", step=1, shown=(1, 8))] = 1
    cfg_scale: Annotated[
        float, P(ge=0, le=1000), Control(label="CFG Scale", infotext=Infotext(key="CFG scale"), step=0.5, shown=(1, 30))
    ] = 7.0
    seed: Annotated[int, Control(label="Seed", kind="number", infotext=Infotext(key="Seed"))] = -1
    subseed: Annotated[
        int, Control(label="Variation seed", kind="number", infotext=Infotext(key="Variation seed", when=_varies))
    ] = -1
    subseed_strength: Annotated[
        float,
        P(ge=0, le=1),
        Control(label="Variation strength", infotext=Infotext(key="Variation seed strength", when=_varies), step=0.01),
    ] = 0.0
    seed_resize_from_w: Annotated[
        int,
        P(ge=-1, le=MAX_SIDE),
        Control(
            label="Resize seed from width",
            infotext=Infotext(key="Seed resize from", part=0, when=_resizes_seed),
            step=8,
            shown=(0, 2048),
        ),
    ] = 0
    seed_resize_from_h: Annotated[
        int,
        P(ge=-1, le=MAX_SIDE),
        Control(
            label="Resize seed from height",
            infotext=Infotext(key="Seed resize from", part=1, when=_resizes_seed),
            step=8,
            shown=(0, 2048),
        ),
    ] = 0
    denoising_strength: Annotated[
        float | None, P(ge=0, le=1), Control(label="Denoising strength", kind="slider", step=0.01)
    ] = 0.75
    refiner_checkpoint: Annotated[
        str | None, Control(label="Checkpoint", infotext=Infotext(key="Refiner"), choices="checkpoints")
    ] = None
    refiner_switch_at: Annotated[
        float | None,
        P(ge=0, le=1),
        Control(
            label="Switch at",
            kind="slider",
            infotext=Infotext(key="Refiner switch at", when=_refines),
            step=0.01,
            shown=(0.01, 1),
        ),
    ] = None
    eta: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None
    restore_faces: bool | None = None
    tiling: Annotated[
        bool | None,
        Control(label="Tiling", kind="checkbox", infotext=Infotext(key="Tiling", when=lambda r: bool(r.tiling))),
    ] = None
    controlnet: list[ControlNetUnit] = P(default_factory=list)
    disable_extra_networks: bool = False
    override_settings: dict[str, Any] = P(default_factory=dict)
    override_settings_restore_afterwards: bool = True
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    script_name: str | None = None
    script_args: list[Any] = P(default_factory=list)


class Txt2ImgRequest(GenerationRequest):
    """Everything a caller can ask of txt2img."""

    mode: Literal["txt2img"] = "txt2img"
    enable_hr: Annotated[bool, Control(label="Hires. fix", elem_id="hr")] = False
    hr_upscaler: Annotated[
        str | None,
        Control(
            kind="dropdown",
            label="Upscaler",
            infotext=Infotext(key="Hires upscaler", when=_hires),
            choices="hires_upscalers",
        ),
    ] = "Latent"
    hr_second_pass_steps: Annotated[
        int,
        P(ge=0, le=1000),
        Control(
            label="Hires steps",
            infotext=Infotext(key="Hires steps", when=lambda r: r.enable_hr and r.hr_second_pass_steps > 0),
            step=1,
            shown=(0, 150),
            elem_id="hires_steps",
        ),
    ] = 0
    denoising_strength: Annotated[
        float | None,
        P(ge=0, le=1),
        Control(
            label="Denoising strength",
            kind="slider",
            infotext=Infotext(key="Denoising strength", when=_hires),
            step=0.01,
        ),
    ] = 0.7
    hr_scale: Annotated[
        float,
        P(ge=0, le=16),
        Control(
            label="Upscale by",
            infotext=Infotext(key="Hires upscale", when=lambda r: r.enable_hr and not (r.hr_resize_x or r.hr_resize_y)),
            step=0.05,
            shown=(1, 4),
        ),
    ] = 2.0
    hr_resize_x: Annotated[
        int,
        P(ge=0, le=MAX_SIDE),
        Control(
            label="Resize width to",
            infotext=Infotext(
                key="Hires resize", part=0, when=lambda r: r.enable_hr and (r.hr_resize_x or r.hr_resize_y)
            ),
            step=8,
            shown=(0, 2048),
        ),
    ] = 0
    hr_resize_y: Annotated[
        int,
        P(ge=0, le=MAX_SIDE),
        Control(
            label="Resize height to",
            infotext=Infotext(
                key="Hires resize", part=1, when=lambda r: r.enable_hr and (r.hr_resize_x or r.hr_resize_y)
            ),
            step=8,
            shown=(0, 2048),
        ),
    ] = 0
    hr_checkpoint_name: Annotated[
        str | None,
        Control(
            label="Hires checkpoint",
            infotext=Infotext(key="Hires checkpoint", when=_other_hires_checkpoint),
            choices="hires_checkpoints",
        ),
    ] = None
    hr_sampler_name: Annotated[
        str | None,
        Control(
            label="Hires sampling method",
            infotext=Infotext(key="Hires sampler", when=_other_hires_sampler),
            choices="hires_samplers",
        ),
    ] = None
    hr_scheduler: Annotated[
        str | None,
        Control(
            label="Hires schedule type",
            infotext=Infotext(key="Hires schedule type", when=_other_hires_schedule),
            choices="hires_schedules",
        ),
    ] = None
    hr_cfg: Annotated[
        float,
        P(ge=0, le=1000),
        Control(
            label="Hires CFG Scale",
            infotext=Infotext(key="Hires CFG scale", when=lambda r: r.enable_hr and r.hr_cfg > 0),
            step=0.5,
            shown=(0, 30),
            info="0 uses the CFG scale of the first pass.",
        ),
    ] = 0.0
    hr_prompt: Annotated[
        str, Control(label="Hires prompt", lines=3, infotext=Infotext(key="Hires prompt", when=_other_hires_prompt))
    ] = ""
    hr_negative_prompt: Annotated[
        str,
        Control(
            label="Hires negative prompt",
            lines=3,
            infotext=Infotext(key="Hires negative prompt", when=_other_hires_negative_prompt),
            elem_id="hires_neg_prompt",
        ),
    ] = ""
    firstphase_width: Annotated[int, P(ge=0, le=MAX_SIDE)] = 0
    firstphase_height: Annotated[int, P(ge=0, le=MAX_SIDE)] = 0
    firstpass_image: ImageInput | None = None


class SoftInpainting(BaseModel):
    """Soft inpainting: the mask's grey values decide how much changes, per step and at the end.

    Numbers stay whole or broken as given, because the infotext writes them so.

    Source: A1111 extensions-builtin/soft-inpainting.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    enabled: Annotated[bool, Control(label="Soft inpainting", infotext=Infotext(key="Soft inpainting enabled"))] = False
    schedule_bias: Annotated[
        int | float,
        P(ge=0, le=8),
        Control(kind="slider", label="Schedule bias", infotext=Infotext(key="Soft inpainting schedule bias"), step=0.1),
    ] = 1.0
    preservation_strength: Annotated[
        int | float,
        P(ge=0, le=8),
        Control(
            kind="slider",
            label="Preservation strength",
            infotext=Infotext(key="Soft inpainting preservation strength"),
            step=0.05,
        ),
    ] = 0.5
    transition_contrast_boost: Annotated[
        int | float,
        P(ge=1, le=32),
        Control(
            kind="slider",
            label="Transition contrast boost",
            infotext=Infotext(key="Soft inpainting transition contrast boost"),
            step=0.5,
        ),
    ] = 4.0
    mask_influence: Annotated[
        int | float,
        P(ge=0, le=1),
        Control(
            kind="slider", label="Mask influence", infotext=Infotext(key="Soft inpainting mask influence"), step=0.05
        ),
    ] = 0.0
    difference_threshold: Annotated[
        int | float,
        P(ge=0, le=8),
        Control(
            kind="slider",
            label="Difference threshold",
            infotext=Infotext(key="Soft inpainting difference threshold"),
            step=0.25,
        ),
    ] = 0.5
    difference_contrast: Annotated[
        int | float,
        P(ge=0, le=8),
        Control(
            kind="slider",
            label="Difference contrast",
            infotext=Infotext(key="Soft inpainting difference contrast"),
            step=0.25,
        ),
    ] = 2.0


class Img2ImgRequest(GenerationRequest):
    """Everything a caller can ask of img2img and inpaint."""

    mode: Literal["img2img"] = "img2img"
    init_images: list[ImageInput] = P(default_factory=list)
    mask: ImageInput | None = None
    latent_mask: ImageInput | None = None
    resize_mode: Annotated[int, P(ge=0, le=3), Control(label="Resize mode", kind="radio", choices=RESIZE_MODES)] = 0
    denoising_strength: Annotated[
        float | None,
        P(ge=0, le=1),
        Control(label="Denoising strength", kind="slider", infotext=Infotext(key="Denoising strength"), step=0.01),
    ] = 0.75
    image_cfg_scale: Annotated[
        float | None,
        P(ge=0, le=100),
        Control(
            label="Image CFG Scale", kind="slider", infotext=Infotext(key="Image CFG scale"), step=0.05, shown=(0, 3)
        ),
    ] = None
    mask_blur_x: Annotated[int, P(ge=0, le=512)] = 4
    mask_blur_y: Annotated[int, P(ge=0, le=512)] = 4
    mask_blur: Annotated[
        int | None,
        P(ge=0, le=512),
        Control(
            label="Mask blur", kind="slider", infotext=Infotext(key="Mask blur", when=_masked), step=1, shown=(0, 64)
        ),
    ] = None
    mask_round: bool = True
    inpainting_mask_invert: Annotated[
        int,
        P(ge=0, le=1),
        Control(
            label="Mask mode",
            kind="radio",
            choices=MASK_MODES,
            infotext=Infotext(key="Mask mode", names=MASK_MODES, when=_inverts_mask),
        ),
    ] = 0
    inpainting_fill: Annotated[
        int,
        P(ge=0, le=3),
        Control(
            label="Masked content",
            kind="radio",
            choices=MASKED_CONTENT,
            infotext=Infotext(key="Masked content", names=MASKED_CONTENT, when=_replaces_masked),
        ),
    ] = 1
    inpaint_full_res: Annotated[
        bool,
        Control(
            label="Inpaint area",
            kind="radio",
            choices=INPAINT_AREAS,
            infotext=Infotext(key="Inpaint area", names=INPAINT_AREAS, when=_only_masked),
        ),
    ] = False
    inpaint_full_res_padding: Annotated[
        int,
        P(ge=0, le=2048),
        Control(
            label="Only masked padding, pixels",
            infotext=Infotext(key="Masked area padding", when=_only_masked),
            step=4,
            shown=(0, 256),
        ),
    ] = 32
    initial_noise_multiplier: float | None = None
    soft_inpainting: SoftInpainting = P(default_factory=SoftInpainting)
