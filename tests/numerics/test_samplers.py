"""Samplers follow k-diffusion's recorded trajectories, and solve a problem whose answer is known."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.model import Prediction
from pipelines.sampling import dpm_solver, samplers
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES, SamplerKind
from pipelines.sampling.noise import ImageNoise, NoiseSource
from pipelines.sampling.predict import DiffusionModel
from pipelines.sampling.run import Churn, SampledLatents, SamplingOptions, SamplingPass
from pipelines.sampling.sigmas import ModelSigmas, ScheduleInput, exponential, karras
from pipelines.sampling.types import ConditioningBatch
from tests.numerics.recorded import recorded, recorded_cases
from tests.numerics.toy import (
    ToyUNet,
    batch_conditioning,
    image_noise,
    recorded_options,
    relative_error,
    sample_recorded,
)

FUNCTIONS = {
    "sample_euler": samplers.euler,
    "sample_euler_ancestral": samplers.euler_ancestral,
    "sample_heun": samplers.heun,
    "sample_dpm_2": samplers.dpm2,
    "sample_dpm_2_ancestral": samplers.dpm2_ancestral,
    "sample_lms": samplers.lms,
    "sample_dpm_fast": dpm_solver.dpm_fast,
    "sample_dpm_adaptive": dpm_solver.dpm_adaptive,
    "sample_dpmpp_2s_ancestral": samplers.dpmpp_2s_ancestral,
    "sample_dpmpp_sde": samplers.dpmpp_sde,
    "sample_dpmpp_2m": samplers.dpmpp_2m,
    "sample_dpmpp_2m_sde": samplers.dpmpp_2m_sde,
    "sample_dpmpp_3m_sde": samplers.dpmpp_3m_sde,
    "restart_sampler": samplers.restart,
    "sample_lcm": samplers.lcm,
}


class RecordedDenoiser:
    """The denoiser the trajectories were recorded with; counts its calls and the steps reported."""

    def __init__(self) -> None:
        header = recorded("kdiff_trajectories")
        self.a, self.b = header["a"], header["b"]
        self.calls = self.steps = 0

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        self.calls += 1
        return x / (1 + sigma.view(-1, 1, 1, 1) ** 2) * self.a + self.b

    def at_step(self, step: int) -> None:
        assert step == self.steps
        self.steps += 1


def run_recorded(given: dict[str, Any], denoise: RecordedDenoiser) -> Tensor:
    """A recorded trajectory run by our function of the same sampler."""
    header = recorded("kdiff_trajectories")
    low, high, steps = header["sigma_min"], header["sigma_max"], given["steps"]
    arguments: dict[str, Any] = dict(given["args"])
    where: Any = (high, low)
    start = torch.tensor(header["start_noise"])[None]
    noise = ImageNoise([4321], shape=(4, 4, 4), source=NoiseSource.CPU).per_step
    if given["function"] == "sample_dpm_fast":
        arguments["budget"] = steps
    if "schedule" in given:
        asked = ScheduleInput(n=steps, sigma_min=low, sigma_max=high, model=ModelSigmas(torch.ones(1)))
        where = karras(asked) if given["schedule"] == "karras" else exponential(asked)
        high = where[0]
        if "brownian" in given["noise"]:
            source = ImageNoise([77], shape=(4, 4, 4), source=NoiseSource.CPU)
            noise = source.brownian(float(where[where > 0].min()), float(where.max()))
    run = FUNCTIONS[given["function"]]
    return run(denoise, start * high, where, noise=noise, on_step=denoise.at_step, **arguments)[0]


@pytest.mark.parametrize(("given", "expected"), recorded_cases("kdiff_trajectories"))
def test_samplers_follow_the_recorded_trajectories(given: dict[str, Any], expected: dict[str, Any]):
    denoise = RecordedDenoiser()
    result = run_recorded(given, denoise)
    assert relative_error(result, torch.tensor(expected["final"])) <= 1e-4
    assert (denoise.calls, denoise.steps) == (expected["model_calls"], expected["callbacks"])


MEAN, SPREAD = 0.3, 0.5


class GaussianUNet:
    """The exact network for data distributed N(0.3, 0.5²) in every element, whatever the prompt."""

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self.table = ModelSigmas.from_alphas(training_alphas())

    def __call__(
        self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        alpha = (1 / (1 + self.table.to_sigma(timestep.clamp(0, 999)) ** 2)).view(-1, 1, 1, 1)
        denoised = (MEAN * (1 - alpha) + SPREAD**2 * alpha.sqrt() * x) / (SPREAD**2 * alpha + 1 - alpha)
        eps = (x - alpha.sqrt() * denoised) / (1 - alpha).sqrt()
        return alpha.sqrt() * eps - (1 - alpha).sqrt() * denoised if self.prediction is Prediction.V else eps


def sample_gaussian(name: str, prediction: Prediction, steps: int = 40, **options: Any) -> tuple[Tensor, Tensor]:
    """(initial noise, result) of one picture by the sampler called `name`."""
    model = DiffusionModel(unet=GaussianUNet(prediction), prediction=prediction, alphas_cumprod=training_alphas())
    noise = ImageNoise([7], shape=(4, 48, 48), source=NoiseSource.CPU)
    settings = SamplingOptions(sampler=SAMPLERS.get(name), schedule=SCHEDULES.get("Karras"), steps=steps, **options)
    start = noise.initial()
    sampling = SamplingPass(model, batch_conditioning(), noise, settings, on_step=lambda info: None)
    return start, sampling.from_noise(start).latents


@pytest.mark.parametrize("prediction", list(Prediction))
@pytest.mark.parametrize("name", SAMPLERS.names)
def test_every_sampler_turns_noise_into_the_data_distribution(name: str, prediction: Prediction):
    if name == "LCM" and prediction is Prediction.V:
        # A1111 asks every LCM as an eps model; v LCMs do not exist.
        return
    _, result = sample_gaussian(name, prediction)
    assert float(result.mean()) == pytest.approx(MEAN, abs=0.05)
    # First-order samplers shrink the spread a little at 40 steps; LCM ends on an average, well short of it.
    tolerance = 0.2 if name == "LCM" else 0.05
    assert float(result.std()) == pytest.approx(SPREAD, abs=tolerance)


LARGEST_ERROR = {
    "Euler": 0.1,
    "Euler a": 0.1,
    "Heun": 0.005,
    "LMS": 0.005,
    "DPM2": 0.005,
    "DPM2 a": 0.005,
    "DPM++ 2M": 0.005,
    "DPM++ SDE": 0.01,
    "DPM fast": 0.005,
    "DPM adaptive": 0.06,
    "DDIM": 0.12,
    "PLMS": 0.02,
    "UniPC": 0.06,
}
"""At 40 steps without added noise, where the data spread is 0.5 and samples reach ±2."""


@pytest.mark.parametrize("name", list(LARGEST_ERROR))
def test_without_added_noise_samplers_solve_the_probability_flow_ode(name: str):
    start, result = sample_gaussian(name, Prediction.EPS, eta_ancestral=0.0)
    table = ModelSigmas.from_alphas(training_alphas())
    # The ODE keeps (x - mean)/sqrt(SPREAD² + sigma²). Over timesteps, x is scaled by 1/sqrt(1 + sigma²).
    sigma = table.max
    grown = start * ((1 + sigma**2) ** 0.5 if SAMPLERS.get(name).kind is SamplerKind.TIMESTEPS else sigma)
    exact = MEAN + (grown - MEAN) * SPREAD / (SPREAD**2 + sigma**2) ** 0.5
    assert float((result - exact).abs().max()) < LARGEST_ERROR[name]


@pytest.mark.parametrize("name", SAMPLERS.names)
def test_picture_k_of_a_batch_is_bit_equal_to_that_picture_alone(name: str):
    case: dict[str, Any] = {"sampler": name, "steps": 6, "settings": {"eta_ddim": 0.5, "s_churn": 3.0}}
    batch = sample_recorded(case, ToyUNet(), [3, 4, 5])
    for index, seed in enumerate([3, 4, 5]):
        alone = sample_recorded(case, ToyUNet(), [seed])
        assert torch.equal(batch.latents[index], alone.latents[0])


@pytest.mark.parametrize("name", SAMPLERS.names)
@pytest.mark.parametrize("steps", [4, 5])
def test_every_sampler_runs_few_steps_from_latents(name: str, steps: int):
    case: dict[str, Any] = {"sampler": name, "steps": steps, "img2img": True, "denoise": 0.75, "hr_steps": steps}
    assert torch.isfinite(sample_recorded(case, ToyUNet(), [1]).latents).all()


@pytest.mark.parametrize("name", [name for name in SAMPLERS.names if name != "UniPC"])
def test_every_sampler_runs_a_single_step(name: str):
    assert torch.isfinite(sample_recorded({"sampler": name, "steps": 1}, ToyUNet(), [1]).latents).all()


@pytest.mark.parametrize("name", SAMPLERS.names)
def test_no_denoising_at_all_gives_the_latents_back(name: str):
    case: dict[str, Any] = {"sampler": name, "steps": 4, "img2img": True, "denoise": 0.0, "hr_steps": 4}
    unet = ToyUNet()
    assert torch.equal(sample_recorded(case, unet, [1]).latents[0], 0.5 * unet.pattern)
    assert unet.batch_sizes == []


def test_churn_of_the_job_works_without_a_trace_and_that_of_the_settings_is_recorded():
    options = recorded_options({"sampler": "Euler", "steps": 5})
    churn = Churn(s_churn=5.0, s_tmin=0.1, s_tmax=10.0, s_noise=1.01)

    def run(**changed: Any) -> SampledLatents:
        model = DiffusionModel(unet=ToyUNet(), prediction=Prediction.EPS, alphas_cumprod=training_alphas())
        noise = image_noise([1])
        start = noise.initial()
        sampling = SamplingPass(
            model, batch_conditioning(), noise, replace(options, **changed), on_step=lambda info: None
        )
        return sampling.from_noise(start)

    plain, own, setting = run(), run(churn=churn), run(churn_settings=churn)
    assert own.infotext == {}
    assert setting.infotext == {"Sigma churn": 5.0, "Sigma tmin": 0.1, "Sigma tmax": 10.0, "Sigma noise": 1.01}
    assert torch.equal(own.latents, setting.latents)
    assert not torch.equal(own.latents, plain.latents)
