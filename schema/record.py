"""The facts of one job that its infotexts are made of, and the infotext of one of its pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from schema.infotext import format_infotext, order_parameters
from schema.settings import Settings
from schema.version import INFOTEXT_VERSION

PerPicture = Callable[[int], object]
"""Computes a parameter from the picture's position."""


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """What was used to make the pictures of a job. A fact that does not apply is None, and is not written.

    Attributes:
        prompts, negative_prompts, seeds, subseeds: One per picture.
        main_prompt, main_negative_prompt: What a grid is described with.
        cfg_scale: Printed as Python prints it: 7.0 for a float, 7 for an int.
        image_cfg_scale: Only for models that are told to edit a picture.
        scheduler: Label of the schedule; what the sampler really used overrides it in `extra`.
        model_hash, vae_hash: First ten digits of the SHA-256.
        model_name: File name without ending; `vae_name` has its ending.
        eta: The sampler's noise factor; `ENSD` has no effect when it is 0.
        uses_ensd: Whether the sampler is one that takes the "eta noise seed delta".
        extra: Parameters added by hires fix, img2img, networks, samplers and scripts, in order of addition. A list
            has one value per picture, a function is asked for the picture's value.
    """

    prompts: Sequence[str]
    negative_prompts: Sequence[str]
    seeds: Sequence[int]
    subseeds: Sequence[int]
    main_prompt: str = ""
    main_negative_prompt: str = ""
    steps: int
    sampler: str
    scheduler: str | None = None
    cfg_scale: float
    image_cfg_scale: float | None = None
    width: int
    height: int
    restores_faces: bool = False
    model_hash: str | None = None
    model_name: str | None = None
    vae_hash: str | None = None
    vae_name: str | None = None
    stores_fp8: bool = False
    subseed_strength: float = 0.0
    seed_resize_from_w: int = 0
    seed_resize_from_h: int = 0
    uses_mask_conditioning: bool = False
    eta: float = 1.0
    uses_ensd: bool = False
    token_merging_ratio: float = 0.0
    token_merging_ratio_hr: float = 0.0
    init_image_hash: str | None = None
    tiling: bool = False
    user: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


def write_record(
    record: GenerationRecord, index: int = 0, *, settings: Settings, main: bool = False, version: str = INFOTEXT_VERSION
) -> str:
    """The infotext of picture `index`.

    Args:
        settings: Those of the job: what to add (`add_*_to_info`), Clip skip, RNG, ENSD.
        main: Describes the whole job instead, for its grid: main prompts, seed of the first picture.

    Source: A1111 modules/processing.py, create_infotext.
    """
    if main:
        index = 0
    prompt = record.main_prompt if main else record.prompts[index]
    negative_prompt = record.main_negative_prompt if main else record.negative_prompts[index]
    base = _model_facts(record, settings) | _seed_facts(record, index) | _job_facts(record, settings)
    last = {
        "Version": version if settings.add_version_to_infotext else None,
        "User": record.user if settings.add_user_name_to_info else None,
    }
    parameters = order_parameters(base, record.extra) | last
    return format_infotext(
        prompt, negative_prompt, {key: _of_picture(value, index) for key, value in parameters.items()}
    )


def _job_facts(record: GenerationRecord, settings: Settings) -> dict[str, object]:
    ensd = settings.eta_noise_seed_delta if record.uses_ensd and record.eta != 0 else 0
    clip_skip = settings.CLIP_stop_at_last_layers
    return {
        "Steps": record.steps,
        "Sampler": record.sampler,
        "Schedule type": record.scheduler,
        "CFG scale": record.cfg_scale,
        "Image CFG scale": record.image_cfg_scale,
        "Face restoration": settings.face_restoration_model if record.restores_faces else None,
        "Size": f"{record.width}x{record.height}",
        "Conditional mask weight": settings.inpainting_mask_weight if record.uses_mask_conditioning else None,
        "Clip skip": clip_skip if clip_skip > 1 else None,
        "ENSD": ensd or None,
        "Token merging ratio": record.token_merging_ratio or None,
        "Token merging ratio hr": record.token_merging_ratio_hr or None,
        "Init image hash": record.init_image_hash,
        "RNG": settings.randn_source if settings.randn_source != "GPU" else None,
        "Tiling": True if record.tiling else None,
    }


def _model_facts(record: GenerationRecord, settings: Settings) -> dict[str, object]:
    return {
        "Model hash": record.model_hash if settings.add_model_hash_to_info else None,
        "Model": record.model_name if settings.add_model_name_to_info else None,
        "FP8 weight": settings.fp8_storage if record.stores_fp8 else None,
        "Cache FP16 weight for LoRA": settings.cache_fp16_weight if record.stores_fp8 else None,
        "VAE hash": record.vae_hash if settings.add_vae_hash_to_info else None,
        "VAE": record.vae_name if settings.add_vae_name_to_info else None,
    }


def _seed_facts(record: GenerationRecord, index: int) -> dict[str, object]:
    varies = record.subseed_strength != 0
    resizes = record.seed_resize_from_w > 0 and record.seed_resize_from_h > 0
    return {
        "Seed": record.seeds[index],
        "Variation seed": record.subseeds[index] if varies else None,
        "Variation seed strength": record.subseed_strength if varies else None,
        "Seed resize from": f"{record.seed_resize_from_w}x{record.seed_resize_from_h}" if resizes else None,
    }


def _of_picture(value: object, index: int) -> object:
    """`value` for picture `index`; None, so not written, where a list has none for it."""
    if isinstance(value, list):
        return value[index] if -len(value) <= index < len(value) else None
    return value(index) if callable(value) else value
