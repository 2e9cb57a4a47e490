"""Request and settings to a plan in which everything is settled: seeds, names, batches, sizes, options."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from pipelines.checkpoints.model import CheckpointInfo
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.prompt_schedule import StepCounts
from pipelines.conditioning.prompts import remove_comments
from pipelines.control.geometry import target_size
from pipelines.control.plan import UnitPlan, plan_units, unit_infotexts
from pipelines.control.session import ControlPlan
from pipelines.faces.base import FaceRestorer
from pipelines.hires import HiresSize, hires_size
from pipelines.inpaint import Img2ImgPlan, InpaintPlan, MaskedContent
from pipelines.library import Library
from pipelines.resize import ResizeMode
from pipelines.sampling.catalogue import ResolvedNames, resolve_sampler_and_schedule
from pipelines.sampling.guidance import GuidanceOptions
from pipelines.sampling.noise import NoiseSource
from pipelines.sampling.run import Churn, PreviewSubject, SamplingOptions
from pipelines.sampling.unipc import UniPCOptions, UniPCSpacing, UniPCVariant
from pipelines.scripts.base import Variation
from pipelines.soft_inpaint import SoftInpaintPlan
from pipelines.upscalers.base import Upscaler, upscale_with
from pipelines.upscalers.catalogue import find_upscaler
from schema.errors import CheckpointNotFound, InvalidRequest, NotFound, UnknownName
from schema.requests import (
    LATENT_UPSCALE_MODES,
    SAME_CHECKPOINT,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    GenerationRequest,
    Img2ImgRequest,
    Txt2ImgRequest,
)
from schema.settings import Settings

MAX_SEED = 4294967293
"""Largest random seed, as in A1111."""

DEFAULT_STRENGTH = 0.75
"""Denoising strength of a request that leaves it out."""

MAX_PIXELS = 8192 * 4096
"""Pixels of one pass beyond which no machine we know of finishes; refused before memory is asked for."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The pictures that are sampled together."""

    index: int
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    hires_prompts: tuple[str, ...]
    hires_negative_prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NoisePlan:
    """Where noise comes from; see `ImageNoise`."""

    source: NoiseSource
    ensd: int = 0
    subseed_strength: float = 0.0
    seed_resize_from: tuple[int, int] | None = None
    initial_multiplier: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PassPlan:
    """One sampling pass.

    Attributes:
        width, height: Pixels; what SDXL is told. The latents have `width // 8` columns.
        counts: Denoiser calls, for prompt schedules.
    """

    sampling: SamplingOptions
    width: int
    height: int
    counts: StepCounts
    token_merging_ratio: float = 0.0

    def as_second(self, first_schedule: str) -> PassPlan:
        """This pass, told the schedule that the first pass recorded."""
        return replace(self, sampling=replace(self.sampling, first_pass_schedule=first_schedule))


@dataclass(frozen=True, kw_only=True)
class HiresPlan:
    """The second pass of txt2img.

    Attributes:
        latent_mode: Name of the latent upscale mode, or None when `upscaler` enlarges the picture.
        checkpoint: Its own checkpoint, or None for the same.
    """

    pass_: PassPlan
    size: HiresSize
    latent_mode: str | None
    upscaler: Upscaler | None
    denoising_strength: float
    checkpoint: CheckpointInfo | None = None


@dataclass(frozen=True, kw_only=True)
class RefinerPlan:
    """The model that finishes a pass."""

    checkpoint: CheckpointInfo
    switch_at: float
    by_steps: bool
    in_first_pass: bool
    in_hires_pass: bool


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """What img2img starts from."""

    preparation: Img2ImgPlan
    images: tuple[Image.Image, ...]
    soft: SoftInpaintPlan | None
    mask_weight: float
    overlay: bool
    denoising_strength: float


@dataclass(frozen=True, kw_only=True)
class GenerationPlan:
    """A job with nothing left to decide.

    Attributes:
        kind: "txt2img" or "img2img"; chooses the stage and the output folder.
        main_prompt, main_negative_prompt: What a grid is described with.
        extra: First entries of the infotext, in A1111's order of insertion; None keeps a place.
        settings: Snapshot for output and record.
        notes: Substitutions made and values not used.
    """

    kind: str
    checkpoint: CheckpointInfo
    vae_path: Path | None
    batches: tuple[BatchPlan, ...]
    batch_size: int
    main_prompt: str
    main_negative_prompt: str
    first: PassPlan
    noise: NoisePlan
    encode: EncodeOptions
    hires: HiresPlan | None = None
    refiner: RefinerPlan | None = None
    source: SourcePlan | None = None
    firstpass_image: Image.Image | None = None
    tiling: bool = False
    zero_terminal_snr: bool = False
    downcast_alphas: bool = False
    restore_faces: bool = False
    face_restorer: FaceRestorer | None = None
    use_networks: bool = True
    seed_resize_from_w: int = 0
    seed_resize_from_h: int = 0
    subseed_strength: float = 0.0
    styles: tuple[str, ...] = ()
    color_source: Image.Image | None = None
    control: ControlPlan | None = None
    save_images: bool = True
    make_grid: bool = True
    settings: Settings
    extra: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def run_count(self) -> int:
        """Sampling runs; hires counts twice."""
        return len(self.batches) * (2 if self.hires else 1)


def make_plan(
    request: GenerationRequest,
    settings: Settings,
    library: Library,
    *,
    variation: Variation | None = None,
    save: bool = True,
    lenient: bool = False,
) -> GenerationPlan:
    """Settles everything that `request` and `settings` leave open.

    Args:
        settings: Those in force; the request's overrides are laid over them here.
        variation: What a script adds to the request.
        save: Whether pictures and grids go to disk.
        lenient: Unknown overrides and names are replaced and noted as A1111 does, instead of refused.

    Raises:
        InvalidRequest: If a value cannot be used; unknown samplers too unless `lenient`.
        CheckpointNotFound: If a checkpoint is not installed (unless `lenient` and overridden only).
    """
    notes: list[str] = []
    settings, checkpoint = _settings_and_checkpoint(request, settings, library, notes)
    names = resolve_sampler_and_schedule(
        request.sampler_name, request.scheduler, default_becomes_automatic=False, strict=not lenient
    )
    notes += names.substitutions
    prompts = _Prompts.of(request, settings, library)
    variation = variation or Variation()
    units = plan_units(request.controlnet, library.controls)
    extra: dict[str, object] = dict(variation.infotext) | unit_infotexts(units, notes)
    first = _first_pass(request, settings, names)
    hires = None
    if isinstance(request, Txt2ImgRequest) and request.enable_hr:
        first, hires = _hires(request, settings, library, first, prompts, extra, lenient)
    _check_size(first, hires)
    source = _source(request, settings, library, extra) if isinstance(request, Img2ImgRequest) else None
    plan = GenerationPlan(
        kind="img2img" if source else "txt2img",
        checkpoint=checkpoint,
        vae_path=library.choose_vae(checkpoint, settings),
        batches=_batches(request, prompts, variation),
        batch_size=request.batch_size,
        main_prompt=prompts.prompt,
        main_negative_prompt=prompts.negative_prompt,
        first=first,
        noise=_noise(request, settings),
        encode=_encode_options(settings),
        hires=hires,
        refiner=_refiner(request, settings, library),
        source=source,
        color_source=variation.color_source,
        settings=settings,
        extra=extra,
        notes=tuple(notes),
    )
    plan = replace(plan, control=_control(request, plan, units) if units else None)
    return _with_faces(_with_switches(plan, request, save=save), library)


def _control(request: GenerationRequest, plan: GenerationPlan, units: tuple[UnitPlan, ...]) -> ControlPlan:
    settings, seed = plan.settings, plan.batches[0].seeds[0]
    size = plan.hires.size if plan.hires else None
    return ControlPlan(
        units=units,
        size=target_size(plan.first.width, plan.first.height),
        hires_size=target_size(size.upscaled_width, size.upscaled_height) if size else None,
        seed=seed,
        subseed=seed if request.subseed == -1 else max(request.subseed, 0),
        inpaint_blur=settings.control_net_inpaint_blur_sigma,
        ignore_masks=settings.controlnet_ignore_noninpaint_mask,
        shows_maps=not settings.control_net_no_detectmap,
        maps_folder=settings.control_net_detectedmap_dir if settings.control_net_detectmap_autosaving else "",
        cache_size=settings.control_net_model_cache_size,
    )


def _first_pass(request: GenerationRequest, settings: Settings, names: ResolvedNames) -> PassPlan:
    return PassPlan(
        sampling=_sampling_options(request, settings, names.sampler.name, names.schedule.name),
        width=request.width,
        height=request.height,
        counts=StepCounts(base=names.sampler.calls(request.steps), old_rule=settings.use_old_scheduling),
        token_merging_ratio=_token_merging(request, settings),
    )


def _with_switches(plan: GenerationPlan, request: GenerationRequest, *, save: bool) -> GenerationPlan:
    """`plan` with the values that request and settings give without anything being looked up."""
    settings = plan.settings
    return replace(
        plan,
        firstpass_image=request.firstpass_image if isinstance(request, Txt2ImgRequest) else None,
        tiling=settings.tiling if request.tiling is None else request.tiling,
        zero_terminal_snr=settings.sd_noise_schedule == "Zero Terminal SNR",
        downcast_alphas=settings.use_downcasted_alpha_bar,
        restore_faces=settings.face_restoration if request.restore_faces is None else request.restore_faces,
        use_networks=not request.disable_extra_networks,
        seed_resize_from_w=request.seed_resize_from_w,
        seed_resize_from_h=request.seed_resize_from_h,
        subseed_strength=request.subseed_strength,
        styles=tuple(request.styles),
        save_images=save and settings.samples_save and not request.do_not_save_samples,
        make_grid=save and not request.do_not_save_grid,
    )


def _with_faces(plan: GenerationPlan, library: Library) -> GenerationPlan:
    """`plan` with its face restorer; a picture without restored faces and a note is worth more than no picture."""
    if not plan.restore_faces:
        return plan
    name = plan.settings.face_restoration_model
    try:
        restorer = library.restorers.get(name)
        restorer.check()
    except (NotFound, UnknownName) as error:
        return replace(plan, restore_faces=False, notes=(*plan.notes, str(error)))
    return replace(plan, face_restorer=restorer)


def _settings_and_checkpoint(
    request: GenerationRequest, settings: Settings, library: Library, notes: list[str]
) -> tuple[Settings, CheckpointInfo]:
    """Settings with the overrides, and the checkpoint they name; a checkpoint override that is not here is noted."""
    overrides = dict(request.override_settings)
    wanted = overrides.pop("sd_model_checkpoint", None)
    notes += settings.override_notes(overrides)
    settings = settings.overridden(overrides)
    checkpoint = library.checkpoints.find(str(wanted)) if wanted else None
    if wanted and checkpoint is None:
        notes.append(f"Checkpoint '{wanted}' is not installed; the current one was used.")
    checkpoint = checkpoint or library.current_checkpoint(settings)
    if checkpoint is None:
        raise CheckpointNotFound("There is no checkpoint. Put one into models/Stable-diffusion, or use Get a model.")
    return settings, checkpoint


def _sampling_options(request: GenerationRequest, settings: Settings, sampler: str, schedule: str) -> SamplingOptions:
    names = resolve_sampler_and_schedule(sampler, schedule, default_becomes_automatic=False)
    job = Churn(
        s_churn=settings.s_churn if request.s_churn is None else request.s_churn,
        s_tmin=settings.s_tmin if request.s_tmin is None else request.s_tmin,
        s_tmax=(settings.s_tmax if request.s_tmax is None else request.s_tmax) or math.inf,
        s_noise=settings.s_noise if request.s_noise is None else request.s_noise,
    )
    general = Churn(
        s_churn=settings.s_churn,
        s_tmin=settings.s_tmin,
        s_tmax=settings.s_tmax or math.inf,
        s_noise=settings.s_noise,
    )
    guidance = GuidanceOptions(
        cfg_scale=request.cfg_scale,
        image_cfg_scale=request.image_cfg_scale if isinstance(request, Img2ImgRequest) else None,
        skip_early_cond=settings.skip_early_cond,
        s_min_uncond=settings.s_min_uncond if request.s_min_uncond is None else request.s_min_uncond,
        s_min_uncond_all=settings.s_min_uncond_all,
        pad_cond_uncond=settings.pad_cond_uncond,
        pad_cond_uncond_v0=settings.pad_cond_uncond_v0,
        batch_cond_uncond=settings.batch_cond_uncond,
    )
    return SamplingOptions(
        sampler=names.sampler,
        schedule=names.schedule,
        steps=request.steps,
        guidance=guidance,
        eta=request.eta,
        eta_ancestral=settings.eta_ancestral,
        eta_ddim=settings.eta_ddim,
        churn=job,
        churn_settings=general,
        sigma_min=settings.sigma_min,
        sigma_max=settings.sigma_max,
        rho=settings.rho,
        old_karras_sigmas=settings.use_old_karras_scheduler_sigmas,
        discard_penultimate=settings.always_discard_next_to_last_sigma,
        beta_alpha=settings.beta_dist_alpha,
        beta_beta=settings.beta_dist_beta,
        sgm_noise_multiplier=settings.sgm_noise_multiplier,
        extra_noise=settings.img2img_extra_noise,
        fix_steps=settings.img2img_fix_steps and isinstance(request, Img2ImgRequest),
        refiner_by_steps=settings.refiner_switch_by_sample_steps,
        unipc=UniPCOptions(
            variant=UniPCVariant(settings.uni_pc_variant),
            spacing=UniPCSpacing(settings.uni_pc_skip_type),
            order=settings.uni_pc_order,
            lower_order_final=settings.uni_pc_lower_order_final,
        ),
        preview=PreviewSubject(settings.live_preview_content),
    )


@dataclass(frozen=True, kw_only=True)
class _Prompts:
    """The four texts with styles applied and comments removed."""

    prompt: str
    negative_prompt: str
    hires_prompt: str
    hires_negative_prompt: str

    @classmethod
    def of(cls, request: GenerationRequest, settings: Settings, library: Library) -> _Prompts:
        def final(prompt: str, negative_prompt: str) -> tuple[str, str]:
            styled = library.styles.apply(request.styles, prompt, negative_prompt)
            clean: Callable[[str], str] = remove_comments if settings.enable_prompt_comments else str
            return clean(styled[0]), clean(styled[1])

        prompt, negative_prompt = final(request.prompt, request.negative_prompt)
        hires = prompt, negative_prompt
        if isinstance(request, Txt2ImgRequest):
            hires = final(request.hr_prompt or request.prompt, request.hr_negative_prompt or request.negative_prompt)
        return cls(
            prompt=prompt, negative_prompt=negative_prompt, hires_prompt=hires[0], hires_negative_prompt=hires[1]
        )


def random_seed() -> int:
    """A seed for a request that asks for a random one."""
    return random.SystemRandom().randint(0, MAX_SEED)


def _batches(request: GenerationRequest, prompts: _Prompts, variation: Variation) -> tuple[BatchPlan, ...]:
    """Source: A1111 modules/processing.py, process_images_inner: with variation strength the seed stays the same."""
    seed = random_seed() if request.seed == -1 else request.seed
    subseed = random_seed() if request.subseed == -1 else request.subseed
    size, count = request.batch_size, request.batch_size * request.n_iter
    positive = variation.prompts or (prompts.prompt,) * count
    negative = variation.negative_prompts or (prompts.negative_prompt,) * count
    hires = variation.prompts or (prompts.hires_prompt,) * count
    hires_negative = variation.negative_prompts or (prompts.hires_negative_prompt,) * count
    varies = request.subseed_strength != 0
    seeds = variation.seeds or tuple(seed + (0 if varies else number) for number in range(count))
    subseeds = tuple(subseed + number for number in range(count))
    batches: list[BatchPlan] = []
    for index in range(request.n_iter):
        part = slice(index * size, (index + 1) * size)
        batches.append(
            BatchPlan(
                index=index,
                prompts=positive[part],
                negative_prompts=negative[part],
                hires_prompts=hires[part],
                hires_negative_prompts=hires_negative[part],
                seeds=seeds[part],
                subseeds=subseeds[part],
            )
        )
    return tuple(batches)


def _noise(request: GenerationRequest, settings: Settings) -> NoisePlan:
    multiplier = settings.initial_noise_multiplier
    if isinstance(request, Img2ImgRequest) and request.initial_noise_multiplier is not None:
        multiplier = request.initial_noise_multiplier
    resizes = request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0
    return NoisePlan(
        source=NoiseSource(settings.randn_source),
        ensd=settings.eta_noise_seed_delta,
        subseed_strength=request.subseed_strength,
        seed_resize_from=(request.seed_resize_from_w, request.seed_resize_from_h) if resizes else None,
        initial_multiplier=multiplier,
    )


def _encode_options(settings: Settings) -> EncodeOptions:
    return EncodeOptions(
        clip_skip=settings.CLIP_stop_at_last_layers,
        emphasis=settings.emphasis,
        comma_backtrack=settings.comma_padding_backtrack,
        old_emphasis=settings.use_old_emphasis_implementation,
        sdxl_clip_l_skip=settings.sdxl_clip_l_skip,
        crop=(settings.sdxl_crop_top, settings.sdxl_crop_left),
        aesthetic_scores=(settings.sdxl_refiner_high_aesthetic_score, settings.sdxl_refiner_low_aesthetic_score),
        ti_hashes=settings.textual_inversion_add_hashes_to_infotext,
    )


def _token_merging(request: GenerationRequest, settings: Settings) -> float:
    """Source: A1111 modules/processing.py, get_token_merging_ratio."""
    if isinstance(request, Img2ImgRequest):
        overridden = settings.token_merging_ratio if "token_merging_ratio" in request.override_settings else 0.0
        return overridden or settings.token_merging_ratio_img2img or settings.token_merging_ratio
    return settings.token_merging_ratio


def _hires(
    request: Txt2ImgRequest,
    settings: Settings,
    library: Library,
    first: PassPlan,
    prompts: _Prompts,
    extra: dict[str, object],
    lenient: bool,
) -> tuple[PassPlan, HiresPlan]:
    """First pass (its size may change) and second pass; the infotext entries in A1111's order.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.__post_init__ and init.
    """
    size = _hires_size(request, settings)
    sampler_name = request.hr_sampler_name if request.hr_sampler_name not in (None, SAME_SAMPLER) else None
    scheduler = request.hr_scheduler if request.hr_scheduler not in (None, SAME_SCHEDULE) else None
    names = resolve_sampler_and_schedule(
        sampler_name or request.sampler_name,
        scheduler or request.scheduler,
        default_becomes_automatic=False,
        strict=not lenient,
    )
    steps = request.hr_second_pass_steps or request.steps
    strength = DEFAULT_STRENGTH if request.denoising_strength is None else request.denoising_strength
    changes = {"steps": steps} | ({"cfg_scale": request.hr_cfg} if request.hr_cfg else {})
    sampling = _sampling_options(request.model_copy(update=changes), settings, names.sampler.name, names.schedule.name)
    checkpoint = None
    if request.hr_checkpoint_name not in (None, "", SAME_CHECKPOINT):
        checkpoint = library.checkpoints.get(str(request.hr_checkpoint_name))
    upscaler = request.hr_upscaler or LATENT_UPSCALE_MODES[0]
    is_latent = upscaler in LATENT_UPSCALE_MODES
    extra |= {"Denoising strength": strength}
    extra["Hires checkpoint"] = checkpoint.title if checkpoint else None
    extra["Hires sampler"] = names.sampler.name if sampler_name and names.sampler != first.sampling.sampler else None
    extra["Hires prompt"] = _if_different(prompts.hires_prompt, prompts.prompt)
    extra["Hires negative prompt"] = _if_different(prompts.hires_negative_prompt, prompts.negative_prompt)
    extra["Hires schedule type"] = None
    if request.hr_cfg and request.hr_cfg != request.cfg_scale:
        extra["Hires CFG scale"] = request.hr_cfg
    extra |= size.infotext
    if request.hr_second_pass_steps:
        extra["Hires steps"] = request.hr_second_pass_steps
    extra["Hires upscaler"] = request.hr_upscaler
    counts = StepCounts(base=first.counts.base, hires=names.sampler.calls(steps), old_rule=settings.use_old_scheduling)
    second = PassPlan(
        sampling=sampling,
        width=size.upscaled_width,
        height=size.upscaled_height,
        counts=counts,
        token_merging_ratio=settings.token_merging_ratio_hr or settings.token_merging_ratio,
    )
    plan = HiresPlan(
        pass_=second,
        size=size,
        latent_mode=upscaler if is_latent else None,
        upscaler=None if is_latent else find_upscaler(library.upscalers, upscaler),
        denoising_strength=strength,
        checkpoint=checkpoint,
    )
    return replace(first, width=size.width, height=size.height), plan


def _if_different(text: str, other: str) -> str | None:
    return text if text != other else None


def _hires_size(request: Txt2ImgRequest, settings: Settings) -> HiresSize:
    """A1111's legacy fields `firstphase_*` replace the size of the first pass; the scale applies to them.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.__post_init__.
    """
    width, height = request.width, request.height
    if request.firstphase_width or request.firstphase_height:
        width, height = request.firstphase_width, request.firstphase_height
        if not (width and height):
            raise InvalidRequest("Give both firstphase_width and firstphase_height, or neither.")
    return hires_size(
        width=width,
        height=height,
        scale=request.hr_scale,
        resize_x=request.hr_resize_x,
        resize_y=request.hr_resize_y,
        old_behavior=settings.use_old_hires_fix_width_height,
    )


def _check_size(first: PassPlan, hires: HiresPlan | None) -> None:
    for part in (first, hires.pass_ if hires else first):
        if part.width < 8 or part.height < 8:
            raise InvalidRequest(f"The picture is {part.width} x {part.height} pixels; each side must be at least 8.")
        if part.width * part.height > MAX_PIXELS:
            raise InvalidRequest(
                f"The picture is {part.width} x {part.height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels "
                "can be sampled. Make it smaller and upscale it in Extras."
            )


def _refiner(request: GenerationRequest, settings: Settings, library: Library) -> RefinerPlan | None:
    name = request.refiner_checkpoint
    if name in (None, "", "None", "none") or not request.refiner_switch_at:
        return None
    passes = settings.hires_fix_refiner_pass
    has_hires = isinstance(request, Txt2ImgRequest) and request.enable_hr
    return RefinerPlan(
        checkpoint=library.checkpoints.get(str(name)),
        switch_at=request.refiner_switch_at,
        by_steps=settings.refiner_switch_by_sample_steps,
        in_first_pass=not has_hires or passes != "second pass",
        in_hires_pass=passes != "first pass",
    )


def _source(request: Img2ImgRequest, settings: Settings, library: Library, extra: dict[str, object]) -> SourcePlan:
    strength = DEFAULT_STRENGTH if request.denoising_strength is None else request.denoising_strength
    soft = None
    if request.soft_inpainting.enabled and request.mask is not None:
        values = request.soft_inpainting.model_dump(exclude={"enabled"})
        soft = SoftInpaintPlan(**values)
    inpaint = None
    if request.mask is not None:
        inpaint = InpaintPlan(
            mask=request.mask,
            latent_mask=request.latent_mask,
            invert=bool(request.inpainting_mask_invert),
            blur_x=request.mask_blur_x if request.mask_blur is None else request.mask_blur,
            blur_y=request.mask_blur_y if request.mask_blur is None else request.mask_blur,
            content=MaskedContent(request.inpainting_fill),
            only_masked=request.inpaint_full_res,
            padding=request.inpaint_full_res_padding,
            binarize=request.mask_round and soft is None,
        )
    upscaler = settings.upscaler_for_img2img
    preparation = Img2ImgPlan(
        width=request.width,
        height=request.height,
        batch_size=request.batch_size,
        resize_mode=ResizeMode(request.resize_mode),
        denoising_strength=strength,
        background=settings.img2img_background_color,
        color_correction=settings.img2img_color_correction,
        upscale=upscale_with(find_upscaler(library.upscalers, upscaler)) if upscaler else None,
        hash_images=settings.save_init_img,
        inpaint=inpaint,
    )
    if soft is not None:
        extra |= soft.infotext
    return SourcePlan(
        preparation=preparation,
        images=tuple(request.init_images),
        soft=soft,
        mask_weight=settings.inpainting_mask_weight,
        overlay=settings.overlay_inpaint,
        denoising_strength=strength,
    )
