"""One sampling pass: from noise (txt2img) or from noised latents (img2img, hires) to clean latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from pipelines.conditioning.types import BatchConditioning
from pipelines.sampling.catalogue import AUTOMATIC, SCHEDULES, SamplerKind, SamplerSpec, ScheduleSpec
from pipelines.sampling.guidance import GuidanceOptions, GuidedDenoiser, InfotextValue
from pipelines.sampling.masked import Blend, MaskedDenoiser, MaskedInput, linear_blend
from pipelines.sampling.noise import ImageNoise
from pipelines.sampling.predict import DiffusionModel, LcmPredictor, SigmaPredictor, TimestepPredictor
from pipelines.sampling.sigmas import ModelSigmas, ScheduleInput
from pipelines.sampling.switching import RefinerSwitch, SwitchingDenoiser
from pipelines.sampling.timestep_samplers import timestep_list
from pipelines.sampling.types import Denoise, OnStep, StepInfo, StepNoise
from pipelines.sampling.unipc import UniPCOptions
from schema.errors import Interrupted

CFG_PLUS_PLUS_FACTOR = 1 / 12.5
"""What DDIM CFG++ multiplies the guidance scale by, so that the slider keeps its usual range."""


class PreviewSubject(StrEnum):
    """Which estimate the live preview shows."""

    PROMPT = "Prompt"
    NEGATIVE = "Negative prompt"
    COMBINED = "Combined"


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Noise added back during sampling. Source: Karras et al. 2022, algorithm 2.

    Attributes:
        s_churn: Amount, spread over the steps.
        s_tmin: Lowest sigma it happens at.
        s_tmax: Highest sigma it happens at.
        s_noise: Standard deviation of the noise.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Everything that decides a sampling pass besides model, prompts and noise; settings' names are A1111's.

    Attributes:
        schedule: From the catalogue; "Automatic" means the sampler's default.
        eta: The job's own eta, or None for the setting that fits the sampler.
        churn: The job's own values.
        churn_settings: The global settings; one that differs from the default replaces the job's and is recorded.
        sigma_min, sigma_max, rho: Of the schedule; 0 means its own.
        old_karras_sigmas: Schedules run over 0.1 to 10 (A1111 `use_old_karras_scheduler_sigmas`).
        discard_penultimate: Drop the last but one level for every sampler (`always_discard_next_to_last_sigma`).
        quantize: Round noise levels to trained ones (`enable_quantization`).
        extra_noise: Share of noise added to img2img's start (`img2img_extra_noise`).
        fix_steps: img2img runs exactly `steps` steps (`img2img_fix_steps`).
        refiner_by_steps: The refiner counts calls (`refiner_switch_by_sample_steps`); recorded in every job.
        first_pass_schedule: Label the first pass recorded as "Schedule type" ("" for none) when this is the hires
            pass; None otherwise.
    """

    sampler: SamplerSpec
    steps: int
    schedule: ScheduleSpec = field(default_factory=lambda: SCHEDULES.get(AUTOMATIC))
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    eta: float | None = None
    eta_ancestral: float = 1.0
    eta_ddim: float = 0.0
    churn: Churn = field(default_factory=Churn)
    churn_settings: Churn = field(default_factory=Churn)
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    old_karras_sigmas: bool = False
    discard_penultimate: bool = False
    quantize: bool = False
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    sgm_noise_multiplier: bool = False
    extra_noise: float = 0.0
    fix_steps: bool = False
    refiner_by_steps: bool = False
    unipc: UniPCOptions = field(default_factory=UniPCOptions)
    preview: PreviewSubject = PreviewSubject.PROMPT
    first_pass_schedule: str | None = None


@dataclass(frozen=True, kw_only=True)
class SampledLatents:
    """What a pass gives back.

    Attributes:
        latents: (B, 4, h, w) float32; after an interrupt the last conditional x0 estimate, or the start.
        infotext: Entries the pass adds to the record, in A1111's order.
        interrupted: Whether `on_step` ended the pass.
    """

    latents: Tensor
    infotext: dict[str, InfotextValue]
    interrupted: bool


def img2img_steps(steps: int, denoising_strength: float, *, explicit: bool, fix_steps: bool = False) -> tuple[int, int]:
    """(steps asked of the schedule, t_enc): t_enc + 1 of them run.

    Args:
        explicit: The step count is meant literally (hires pass).
        fix_steps: The same by setting (`img2img_fix_steps`).

    Source: A1111 modules/sd_samplers_common.py, setup_img2img_steps.
    """
    strength = min(denoising_strength, 0.999)
    if explicit or fix_steps:
        return (int(steps / strength) if denoising_strength > 0 else 0), steps - 1
    return steps, int(strength * steps)


def schedule_sigmas(
    options: SamplingOptions, steps: int, table: ModelSigmas, *, is_sdxl: bool
) -> tuple[Tensor, dict[str, InfotextValue]]:
    """(noise levels for `steps` steps, infotext entries about their choice).

    Source: A1111 modules/sd_samplers_kdiffusion.py, KDiffusionSampler.get_sigmas.
    """
    infotext: dict[str, InfotextValue] = {}
    discard = options.sampler.discard_next_to_last_sigma
    if options.discard_penultimate and not discard:
        discard = True
        infotext["Discard penultimate sigma"] = True
    count = steps + 1 if discard else steps
    schedule = options.schedule
    if schedule.sigmas is None and options.sampler.default_schedule is not None:
        schedule = SCHEDULES.get(options.sampler.default_schedule)
    if schedule.sigmas is None:
        sigmas = table.default_schedule(count)
    else:
        given = _schedule_input(options, schedule, count, table, is_sdxl, infotext)
        sigmas = schedule.sigmas(given)
    return (torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas), infotext


def _schedule_input(
    options: SamplingOptions,
    schedule: ScheduleSpec,
    count: int,
    table: ModelSigmas,
    is_sdxl: bool,
    infotext: dict[str, InfotextValue],
) -> ScheduleInput:
    """The range and shape a schedule runs with; what differs from the defaults is added to `infotext`."""
    low, high = (0.1, 10.0) if options.old_karras_sigmas else (table.min, table.max)
    rho = schedule.default_rho
    if options.first_pass_schedule is None:
        infotext["Schedule type"] = schedule.name
    elif options.first_pass_schedule != schedule.name:
        infotext["Hires schedule type"] = schedule.name
    if options.sigma_min not in (0, table.min):
        low = infotext["Schedule min sigma"] = options.sigma_min
    if options.sigma_max not in (0, table.max):
        high = infotext["Schedule max sigma"] = options.sigma_max
    if rho is not None and options.rho not in (0, rho):
        rho = infotext["Schedule rho"] = options.rho
    if schedule.name == "Beta":
        infotext["Beta schedule alpha"] = options.beta_alpha
        infotext["Beta schedule beta"] = options.beta_beta
    return ScheduleInput(
        n=count,
        sigma_min=low,
        sigma_max=high,
        model=table,
        rho=rho,
        is_sdxl=is_sdxl,
        beta_alpha=options.beta_alpha,
        beta_beta=options.beta_beta,
    )


class _Stepped:
    """The outermost `Denoise`: reports before each evaluation and keeps the estimate to show or to fall back on."""

    def __init__(
        self, denoise: Denoise, source: SwitchingDenoiser, options: SamplingOptions, steps: int, on_step: OnStep
    ) -> None:
        self.step = 0
        self.last_x0: Tensor | None = None
        self._preview: Tensor | None = None
        self._denoise, self._source, self._subject = denoise, source, options.preview
        self._steps, self._on_step = steps, on_step

    def at_step(self, step: int) -> None:
        """Notes that the sampler begins `step`."""
        self.step = step

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        guided = self._source.current
        self._on_step(
            StepInfo(
                call=guided.call,
                calls=guided.calls,
                step=self.step,
                steps=self._steps,
                sigma=float(sigma[0]),
                denoised=self._preview,
            )
        )
        result = self._denoise(x, sigma)
        guided = self._source.current
        last = guided.last
        assert last is not None
        self.last_x0 = guided.predict.to_x0(last.x, last.cond, sigma)
        shown = {PreviewSubject.NEGATIVE: last.uncond, PreviewSubject.COMBINED: result}.get(self._subject)
        self._preview = self.last_x0 if shown is None else guided.predict.to_x0(last.x, shown, sigma)
        return result


class SamplingPass:
    """A pass over one batch: model, prompts, noise and options brought together.

    Args:
        conditioning: Prompts of every image.
        noise: The batch's noise; its initial draw has been made by the caller.
        image_conditioning: (B, c, h, w) for inpainting (mask, masked latents) and edit models (source latents).
        refiner: Model that takes over, or None.
        on_step: Called before each evaluation; raises `Interrupted` to stop.
    """

    def __init__(
        self,
        model: DiffusionModel,
        conditioning: BatchConditioning,
        noise: ImageNoise,
        options: SamplingOptions,
        *,
        image_conditioning: Tensor | None = None,
        refiner: RefinerSwitch | None = None,
        on_step: OnStep,
    ) -> None:
        self._model, self._conditioning, self._noise, self._options = model, conditioning, noise, options
        self._image_conditioning, self._refiner, self._on_step = image_conditioning, refiner, on_step
        self._sampler = options.sampler

    def from_noise(self, start_noise: Tensor) -> SampledLatents:
        """Samples pictures from `start_noise` (B, C, h, w), the batch's initial draw (txt2img).

        Source: A1111 sd_samplers_kdiffusion.py and sd_samplers_timesteps.py, sample.
        """
        options, steps = self._options, self._options.steps
        if self._sampler.kind is SamplerKind.TIMESTEPS:
            timesteps, infotext = self._timesteps(steps)
            return self._run_timesteps(start_noise, timesteps, steps=steps, infotext=infotext)
        table = self._table()
        sigmas, infotext = schedule_sigmas(options, steps, table, is_sdxl=self._model.is_sdxl)
        if options.sgm_noise_multiplier:
            infotext["SGM noise multiplier"] = True
            x = start_noise * torch.sqrt(1.0 + sigmas[0] ** 2.0)
        else:
            x = start_noise * sigmas[0]
        span = (table.max, table.min)
        return self._run_sigmas(x, sigmas, sigmas, span=span, budget=steps, steps=steps, infotext=infotext)

    def from_latents(
        self,
        latents: Tensor,
        start_noise: Tensor,
        *,
        denoising_strength: float,
        explicit_steps: bool = False,
        mask: Tensor | None = None,
        blend: Blend = linear_blend,
    ) -> SampledLatents:
        """Samples pictures from noised `latents` (img2img and the hires pass).

        Args:
            latents: (B, C, h, w), scaled.
            start_noise: The batch's initial draw, already multiplied by `initial_noise_multiplier`.
            denoising_strength: 0 to 1: how far up the schedule to start.
            explicit_steps: Run exactly `steps` steps (hires).
            mask: 1 = repaint, broadcasts to the latents; None repaints everything. The blend once more at the very
                end is the caller's (`linear_blend`), as in A1111.
            blend: How masked latents are mixed at every step.

        Source: A1111 sd_samplers_kdiffusion.py and sd_samplers_timesteps.py, sample_img2img.
        """
        options = self._options
        steps, t_enc = img2img_steps(
            options.steps, denoising_strength, explicit=explicit_steps, fix_steps=options.fix_steps
        )
        masking = None if mask is None else _Masking(latents=latents, mask=mask, blend=blend)
        if self._sampler.kind is SamplerKind.TIMESTEPS:
            return self._timesteps_from_latents(latents, start_noise, steps, t_enc, masking)
        if steps == 0:
            return SampledLatents(latents=latents, infotext={}, interrupted=False)
        sigmas, infotext = schedule_sigmas(options, steps, self._table(), is_sdxl=self._model.is_sdxl)
        # A schedule may hold fewer levels than asked for (DDIM above 1000); start no later than its last step.
        kept = sigmas[min(steps - t_enc - 1, max(len(sigmas) - 2, 0)) :]
        if len(kept) < 2:
            return SampledLatents(latents=latents, infotext=infotext, interrupted=False)
        x = latents + start_noise * kept[0]
        if options.extra_noise > 0:
            infotext["Extra noise"] = options.extra_noise
            x = x + start_noise * options.extra_noise
        return self._run_sigmas(
            x,
            kept,
            sigmas,
            span=(float(kept[0]), float(kept[-2])),
            budget=len(kept) - 1,
            steps=t_enc + 1,
            infotext=infotext,
            masking=masking,
            fallback=latents,
        )

    def _timesteps_from_latents(
        self, latents: Tensor, start_noise: Tensor, steps: int, t_enc: int, masking: _Masking | None
    ) -> SampledLatents:
        timesteps, infotext = self._timesteps(max(steps, 1))
        if steps == 0:
            return SampledLatents(latents=latents, infotext=infotext, interrupted=False)
        t_enc = min(t_enc, len(timesteps) - 1)
        alpha = self._model.alphas_cumprod.cpu()[timesteps[t_enc]]
        x = latents * torch.sqrt(alpha) + start_noise * torch.sqrt(1 - alpha)
        if self._options.extra_noise > 0:
            infotext["Extra noise"] = self._options.extra_noise
            x = x + start_noise * self._options.extra_noise * torch.sqrt(alpha)
        return self._run_timesteps(
            x, timesteps[:t_enc], steps=t_enc + 1, infotext=infotext, masking=masking, fallback=latents, is_img2img=True
        )

    def _table(self) -> ModelSigmas:
        predictor = self._predictor()
        assert not isinstance(predictor, TimestepPredictor)
        return predictor.table

    def _predictor(self) -> SigmaPredictor | LcmPredictor | TimestepPredictor:
        if self._sampler.kind is SamplerKind.TIMESTEPS:
            return TimestepPredictor(self._model)
        if self._sampler.is_lcm:
            return LcmPredictor(self._model)
        return SigmaPredictor(self._model, quantize=self._options.quantize)

    def _timesteps(self, steps: int) -> tuple[Tensor, dict[str, InfotextValue]]:
        discard = self._options.discard_penultimate
        infotext: dict[str, InfotextValue] = {"Discard penultimate sigma": True} if discard else {}
        return timestep_list(steps + 1 if discard else steps), infotext

    def _parameters(self, infotext: dict[str, InfotextValue]) -> dict[str, float]:
        """Eta and churn values for the sampler; what A1111 records of them is added to `infotext`.

        Source: A1111 modules/sd_samplers_common.py, Sampler.initialize.
        """
        options, takes = self._options, self._sampler.takes
        parameters: dict[str, float] = {}
        if "eta" in takes:
            over_timesteps = self._sampler.kind is SamplerKind.TIMESTEPS
            setting, usual, key = (
                (options.eta_ddim, 0.0, "Eta DDIM") if over_timesteps else (options.eta_ancestral, 1.0, "Eta")
            )
            parameters["eta"] = setting if options.eta is None else options.eta
            if parameters["eta"] != usual:
                infotext[key] = parameters["eta"]
        for name in ("s_churn", "s_tmin", "s_tmax", "s_noise"):
            if name in takes:
                default = getattr(Churn(), name)
                # A limit of 0 means none.
                value, setting = (
                    getattr(churn, name) or (default if name == "s_tmax" else 0.0)
                    for churn in (options.churn, options.churn_settings)
                )
                parameters[name] = value if setting == default else setting
                if setting != default:
                    infotext[f"Sigma {name[2:]}"] = setting
        return parameters

    def _guided(self, calls: int) -> SwitchingDenoiser:
        base = GuidedDenoiser(
            self._predictor(),
            self._conditioning,
            self._options.guidance,
            calls=calls,
            image_conditioning=self._image_conditioning,
            is_edit=self._model.is_edit,
            empty_prompt=self._model.empty_prompt,
        )
        return SwitchingDenoiser(base, self._refiner)

    def _run_sigmas(
        self,
        x: Tensor,
        sigmas: Tensor,
        all_sigmas: Tensor,
        *,
        span: tuple[float, float],
        budget: int,
        steps: int,
        infotext: dict[str, InfotextValue],
        masking: _Masking | None = None,
        fallback: Tensor | None = None,
    ) -> SampledLatents:
        parameters: dict[str, Any] = dict(self._parameters(infotext))
        source = self._guided(self._sampler.calls(steps))
        denoise: Denoise = source
        if masking is not None:
            denoise = MaskedDenoiser(source, masking.latents, masking.mask, masking.blend)
        stepped = _Stepped(denoise, source, self._options, steps, self._on_step)
        where: Any = sigmas
        if self._sampler.kind is SamplerKind.SIGMA_RANGE:
            where = span
            if self._sampler.name == "DPM fast":
                parameters["budget"] = budget
        parameters["noise"] = self._step_noise(all_sigmas)

        def sample() -> Tensor:
            return self._sampler.run(stepped, x, where, on_step=stepped.at_step, **parameters)

        return self._finish(sample, stepped, source, infotext, fallback=x if fallback is None else fallback)

    def _step_noise(self, sigmas: Tensor) -> StepNoise:
        if not self._sampler.brownian:
            return self._noise.per_step
        positive = sigmas[sigmas > 0]
        return self._noise.brownian(float(positive.min()), float(positive.max()))

    def _run_timesteps(
        self,
        x: Tensor,
        timesteps: Tensor,
        *,
        steps: int,
        infotext: dict[str, InfotextValue],
        masking: _Masking | None = None,
        fallback: Tensor | None = None,
        is_img2img: bool = False,
    ) -> SampledLatents:
        parameters: dict[str, Any] = dict(self._parameters(infotext))
        source = self._guided(self._sampler.calls(steps))
        denoise: Denoise = source
        if masking is not None:
            denoise = MaskedInput(source, masking.latents, masking.mask, masking.blend)
        stepped = _Stepped(denoise, source, self._options, steps, self._on_step)
        if self._sampler.name == "DDIM CFG++":
            source.current.scale_factor = CFG_PLUS_PLUS_FACTOR
            parameters["direction"] = lambda eps: _last_uncond(source, eps)
        if self._sampler.name == "UniPC":
            parameters |= {"is_img2img": is_img2img, "options": self._options.unipc}

        def sample() -> Tensor:
            return self._sampler.run(
                stepped,
                x,
                timesteps,
                alphas_cumprod=self._model.alphas_cumprod,
                noise=self._noise.per_step,
                on_step=stepped.at_step,
                **parameters,
            )

        return self._finish(sample, stepped, source, infotext, fallback=x if fallback is None else fallback)

    def _finish(
        self,
        sample: Callable[[], Tensor],
        stepped: _Stepped,
        source: SwitchingDenoiser,
        infotext: dict[str, InfotextValue],
        *,
        fallback: Tensor,
    ) -> SampledLatents:
        interrupted = False
        with torch.no_grad():
            try:
                latents = sample()
            except Interrupted:
                interrupted = True
                latents = fallback if stepped.last_x0 is None else stepped.last_x0
        if self._options.refiner_by_steps and source.current.call:
            infotext["Refiner switch by sampling steps"] = True
        infotext |= source.infotext
        infotext |= source.current.infotext
        infotext |= source.current.pad_infotext
        return SampledLatents(latents=latents, infotext=infotext, interrupted=interrupted)


@dataclass(frozen=True, kw_only=True)
class _Masking:
    latents: Tensor
    mask: Tensor
    blend: Blend


def _last_uncond(source: SwitchingDenoiser, eps: Tensor) -> Tensor:
    """The unconditional part of the call that just gave `eps`. Source: Chung et al. 2024 (CFG++), algorithm 2."""
    last = source.current.last
    assert last is not None
    return last.uncond
