"""Toy networks and denoisers whose answers are known, and the recorded end-to-end case as a sampling pass."""

from typing import Any

import torch
from torch import Tensor

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.model import Prediction
from pipelines.conditioning.types import BatchConditioning, Conditioning, ScheduledConditioning, WeightedPart
from pipelines.sampling.catalogue import resolve_sampler_and_schedule
from pipelines.sampling.guidance import GuidanceOptions
from pipelines.sampling.noise import ImageNoise, NoiseSource
from pipelines.sampling.predict import DiffusionModel
from pipelines.sampling.run import Churn, SampledLatents, SamplingOptions, SamplingPass
from pipelines.sampling.sigmas import ModelSigmas, overridden_alphas
from pipelines.sampling.types import ConditioningBatch
from pipelines.sampling.unipc import UniPCOptions, UniPCSpacing, UniPCVariant
from tests.numerics.recorded import recorded

SHAPE = (4, 4, 4)


def relative_error(result: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    assert result.shape == expected.shape
    return float((result - expected).abs().max() / expected.abs().max())


def model_tables() -> dict[str, ModelSigmas]:
    """Noise levels of the models the recordings name."""
    alphas = training_alphas()
    tau = torch.arange(1, 1001) / 1000
    return {
        "sd15": ModelSigmas.from_alphas(alphas),
        "sdxl": ModelSigmas.from_alphas(alphas),
        "sd15-zsnr": ModelSigmas.from_alphas(overridden_alphas(alphas, downcast=False, zero_terminal_snr=True)),
        "sd15-downcast": ModelSigmas.from_alphas(overridden_alphas(alphas, downcast=True, zero_terminal_snr=False)),
        "sd3": ModelSigmas(3 * tau / (1 + 2 * tau)),
    }


def conditioning(value: float, tokens: int = 3) -> Conditioning:
    """Text states whose mean is `value`."""
    return Conditioning(cross_attention=torch.linspace(-0.5, 0.5, 2 * tokens).reshape(tokens, 2) + value)


def _schedule(entries: list[Any]) -> tuple[ScheduledConditioning, ...]:
    return tuple(
        ScheduledConditioning(until=end, conditioning=conditioning(*(value if isinstance(value, list) else [value])))
        for end, value in entries
    )


def batch_conditioning(
    images: int = 1, conds: list[Any] | None = None, unconds: list[Any] | None = None
) -> BatchConditioning:
    """Prompts in the recordings' notation; one part of value 1.0 and a negative of -0.4 unless given."""
    conds = conds or [[[[[99, 1.0]], 1.0]]] * images
    unconds = unconds or [[[99, -0.4]]] * images
    return BatchConditioning(
        cond=tuple(tuple(WeightedPart(schedule=_schedule(s), weight=w) for s, w in image) for image in conds),
        uncond=tuple(_schedule(entries) for entries in unconds),
    )


class ToyUNet:
    """The recordings' network: elementwise in x, linear in the prompt's mean. Remembers its calls."""

    def __init__(self, prediction: Prediction = Prediction.EPS) -> None:
        self.pattern = torch.tensor(recorded("sampler_e2e")["pattern"])
        self.prediction = prediction
        self.batch_sizes: list[int] = []
        self.timesteps: list[float] = []
        self.calls: list[ConditioningBatch] = []

    def __call__(
        self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        self.batch_sizes.append(x.shape[0])
        self.timesteps.append(round(float(timestep[0]), 3))
        self.calls.append(conditioning)
        mean = conditioning.cross_attention.mean(dim=(1, 2)).view(-1, 1, 1, 1)
        wave = torch.cos(timestep.float().view(-1, 1, 1, 1) / 250)
        eps = x * (0.85 + 0.1 * wave) + 0.3 * mean * self.pattern
        return 0.6 * eps - 0.3 * x if self.prediction is Prediction.V else eps


def toy_model(unet: ToyUNet, *, zero_terminal_snr: bool = False, downcast: bool = False) -> DiffusionModel:
    """`unet` with SD 1.5's noise levels."""
    alphas = overridden_alphas(training_alphas(), downcast=downcast, zero_terminal_snr=zero_terminal_snr)
    return DiffusionModel(
        unet=unet, prediction=unet.prediction, alphas_cumprod=alphas, empty_prompt=torch.full((3, 2), 0.25)
    )


def image_noise(seeds: list[int], case: dict[str, Any] | None = None) -> ImageNoise:
    """Noise of a batch as a recorded case asks for it."""
    case = case or {}
    settings = case.get("settings", {})
    return ImageNoise(
        seeds,
        shape=SHAPE,
        subseeds=[seed + 100 for seed in seeds],
        subseed_strength=case.get("subseed_strength", 0.0),
        source=NoiseSource(settings.get("randn_source", "CPU")),
        ensd=settings.get("eta_noise_seed_delta", 0),
    )


def recorded_options(case: dict[str, Any]) -> SamplingOptions:
    """Sampling options of a recorded case."""
    settings = case.get("settings", {})
    names = resolve_sampler_and_schedule(
        case["sampler"], case.get("scheduler", "Automatic"), default_becomes_automatic=False
    )
    guidance = GuidanceOptions(
        cfg_scale=case.get("cfg", 7.0),
        skip_early_cond=settings.get("skip_early_cond", 0.0),
        s_min_uncond=case.get("p_extra", {}).get("s_min_uncond", 0.0),
        s_min_uncond_all=settings.get("s_min_uncond_all", False),
        pad_cond_uncond=settings.get("pad_cond_uncond", False),
        pad_cond_uncond_v0=settings.get("pad_cond_uncond_v0", False),
        batch_cond_uncond=settings.get("batch_cond_uncond", True),
    )
    churn = {key: settings[key] for key in ("s_churn", "s_tmin", "s_tmax", "s_noise") if key in settings}
    return SamplingOptions(
        sampler=names.sampler,
        schedule=names.schedule,
        steps=case["steps"],
        guidance=guidance,
        eta=case.get("eta"),
        eta_ancestral=settings.get("eta_ancestral", 1.0),
        eta_ddim=settings.get("eta_ddim", 0.0),
        churn_settings=Churn(**churn),
        sigma_min=settings.get("sigma_min", 0.0),
        sigma_max=settings.get("sigma_max", 0.0),
        rho=settings.get("rho", 0.0),
        old_karras_sigmas=settings.get("use_old_karras_scheduler_sigmas", False),
        discard_penultimate=settings.get("always_discard_next_to_last_sigma", False),
        quantize=settings.get("enable_quantization", False),
        sgm_noise_multiplier=settings.get("sgm_noise_multiplier", False),
        extra_noise=settings.get("img2img_extra_noise", 0.0),
        fix_steps=settings.get("img2img_fix_steps", False),
        unipc=UniPCOptions(
            variant=UniPCVariant(settings.get("uni_pc_variant", "bh1")),
            spacing=UniPCSpacing(settings.get("uni_pc_skip_type", "time_uniform")),
            order=settings.get("uni_pc_order", 3),
            lower_order_final=settings.get("uni_pc_lower_order_final", True),
        ),
    )


def sample_recorded(case: dict[str, Any], unet: ToyUNet, seeds: list[int], **changed: Any) -> SampledLatents:
    """A recorded end-to-end case run by this project; `changed` goes to the pass."""
    conds, unconds = case.get("conds"), case.get("unconds")
    noise = image_noise(seeds, case)
    sampling = SamplingPass(
        toy_model(unet, zero_terminal_snr=case.get("zsnr", False), downcast=case.get("down", False)),
        batch_conditioning(len(seeds), conds, unconds),
        noise,
        recorded_options(case),
        **{"on_step": lambda info: None, **changed},
    )
    start = noise.initial()
    if not case.get("img2img"):
        return sampling.from_noise(start)
    return sampling.from_latents(
        torch.stack([0.5 * unet.pattern + 0.01 * image for image in range(len(seeds))]),
        start,
        denoising_strength=case["denoise"],
        explicit_steps="hr_steps" in case,
        mask=torch.tensor(case["mask"]) if "mask" in case else None,
    )
