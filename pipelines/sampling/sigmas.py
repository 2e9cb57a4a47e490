"""The model's own noise levels, and the schedules that choose a sequence of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

ZERO_SNR_LAST_ALPHA = 4.8973451890853435e-08
"""Last alpha-bar after the zero-terminal-SNR rescale: keeps sigma finite (4518.76)."""


def rescale_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Alpha-bar shifted and scaled so that its last value is (nearly) zero and its first is unchanged.

    Source: Lin et al. 2023 "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1; the last
    value as in A1111 modules/sd_models.py, rescale_zero_terminal_snr_abar.
    """
    root = alphas_cumprod.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    rescaled = ((root - last) * (first / (first - last))) ** 2
    rescaled[-1] = ZERO_SNR_LAST_ALPHA
    return rescaled


def overridden_alphas(alphas_cumprod: Tensor, *, downcast: bool, zero_terminal_snr: bool) -> Tensor:
    """Alpha-bar a job samples with; half precision when `downcast` is on.

    Source: A1111 modules/sd_models.py, apply_alpha_schedule_override.
    """
    alphas = alphas_cumprod.half() if downcast else alphas_cumprod
    return rescale_zero_terminal_snr(alphas) if zero_terminal_snr else alphas


class ModelSigmas:
    """The noise levels a model was trained on, ascending, and the map between them and timesteps.

    Args:
        sigmas: (T,) ascending.
        quantize: Round to the nearest trained level instead of interpolating (A1111 `enable_quantization`).

    Source: Karras et al. 2022, table 1 (VP column); interpolation in log sigma as k-diffusion's DiscreteSchedule.
    """

    def __init__(self, sigmas: Tensor, *, quantize: bool = False) -> None:
        self.sigmas = sigmas
        self.log_sigmas = sigmas.log()
        self.quantize = quantize

    @classmethod
    def from_alphas(cls, alphas_cumprod: Tensor, *, quantize: bool = False) -> ModelSigmas:
        """The levels sqrt((1 - alpha-bar) / alpha-bar), in the dtype of `alphas_cumprod`."""
        return cls(((1 - alphas_cumprod) / alphas_cumprod) ** 0.5, quantize=quantize)

    def __len__(self) -> int:
        return len(self.sigmas)

    @property
    def min(self) -> float:
        """The smallest trained sigma."""
        return float(self.sigmas[0])

    @property
    def max(self) -> float:
        """The largest trained sigma."""
        return float(self.sigmas[-1])

    def to_t(self, sigma: Tensor) -> Tensor:
        """Timestep of each sigma: fractional, linear in log sigma between neighbours and clamped to the table's ends;
        the index of the nearest level when quantizing."""
        log_sigma = sigma.log()
        table = self.log_sigmas.to(sigma.device)
        distances = log_sigma - table[:, None]
        if self.quantize:
            return distances.abs().argmin(dim=0).view(sigma.shape)
        low = distances.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=len(table) - 2)
        weight = ((table[low] - log_sigma) / (table[low] - table[low + 1])).clamp(0, 1)
        return ((1 - weight) * low + weight * (low + 1)).view(sigma.shape)

    def to_sigma(self, t: Tensor) -> Tensor:
        """Sigma of each (fractional) timestep in [0, T - 1]."""
        t = t.float()
        table = self.log_sigmas.to(t.device)
        low, high, weight = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - weight) * table[low] + weight * table[high]).exp()

    def default_schedule(self, n: int) -> Tensor:
        """The model's own schedule of `n` levels, used when a sampler has no default: uniform in t, then zero."""
        return with_zero(self.to_sigma(torch.linspace(len(self) - 1, 0, n)))


@dataclass(frozen=True, kw_only=True)
class ScheduleInput:
    """What a schedule may depend on.

    Attributes:
        n: Number of noise levels above zero asked for.
        sigma_min: Lowest level above zero; usually the model's.
        sigma_max: Highest level.
        model: The model's table.
        rho: Curvature for schedules that have one; None means the schedule's default.
        is_sdxl: Whether tabulated schedules take their SDXL table.
        beta_alpha: First shape parameter of the Beta schedule.
        beta_beta: Second shape parameter of the Beta schedule.
    """

    n: int
    sigma_min: float
    sigma_max: float
    model: ModelSigmas
    rho: float | None = None
    is_sdxl: bool = False
    beta_alpha: float = 0.6
    beta_beta: float = 0.6


def with_zero(sigmas: Tensor) -> Tensor:
    """`sigmas` followed by 0."""
    return torch.cat([sigmas, sigmas.new_zeros([1])])


def _listed(values: Sequence[float]) -> Tensor:
    return torch.tensor([*values, 0.0], dtype=torch.float32)


def karras_levels(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """`n` levels from `sigma_max` to `sigma_min`, even in sigma^(1/rho), then 0. Source: Karras 2022, eq. 5."""
    ramp = torch.linspace(0, 1, n)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return with_zero((high + ramp * (low - high)) ** rho)


def uniform(given: ScheduleInput) -> Tensor:
    """Evenly spaced timesteps from 999 to 0, whatever the range given. Source: k-diffusion DiscreteSchedule."""
    return given.model.default_schedule(given.n)


def karras(given: ScheduleInput) -> Tensor:
    """Karras et al. 2022, eq. 5, rho 7 unless given."""
    return karras_levels(given.n, given.sigma_min, given.sigma_max, 7.0 if given.rho is None else given.rho)


def exponential(given: ScheduleInput) -> Tensor:
    """Evenly spaced in log sigma."""
    return with_zero(torch.linspace(math.log(given.sigma_max), math.log(given.sigma_min), given.n).exp())


def polyexponential(given: ScheduleInput) -> Tensor:
    """Log sigma follows the power rho (1 unless given) of a linear ramp."""
    ramp = torch.linspace(1, 0, given.n) ** (1.0 if given.rho is None else given.rho)
    low, high = math.log(given.sigma_min), math.log(given.sigma_max)
    return with_zero((ramp * (high - low) + low).exp())


def _timestep_range(given: ScheduleInput) -> tuple[float, float]:
    """Timesteps of the highest and the lowest level."""
    start, end = (given.model.to_t(torch.tensor(sigma)) for sigma in (given.sigma_max, given.sigma_min))
    return float(start), float(end)


def sgm_uniform(given: ScheduleInput) -> Tensor:
    """Evenly spaced timesteps, one more than needed, the last left out. Source: Stability's generative-models."""
    start, end = _timestep_range(given)
    return with_zero(given.model.to_sigma(torch.linspace(start, end, given.n + 1)[:-1]))


def kl_optimal(given: ScheduleInput) -> Tensor:
    """Evenly spaced in arctan sigma; n + 1 levels that end at sigma_min, not at 0.

    Source: Sabour et al. 2024 "Align Your Steps", the Gaussian case; A1111 modules/sd_schedulers.py, kl_optimal.
    """
    low, high = (torch.arctan(torch.tensor(sigma)) for sigma in (given.sigma_min, given.sigma_max))
    steps = torch.arange(given.n + 1)
    return torch.tan(steps / given.n * low + (1.0 - steps / given.n) * high)


ALIGN_YOUR_STEPS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGN_YOUR_STEPS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def align_your_steps(given: ScheduleInput) -> Tensor:
    """The published 11 levels, interpolated linearly in log sigma to n. Source: Sabour et al. 2024, appendix."""
    table = ALIGN_YOUR_STEPS_SDXL if given.is_sdxl else ALIGN_YOUR_STEPS
    if given.n == len(table):
        return _listed(table)
    # From the low end up, so that n = 1 gives the lowest level, as A1111 does.
    ascending = np.log(np.array(table[::-1]))
    places = np.linspace(0, 1, given.n)
    levels = np.exp(np.interp(places, np.linspace(0, 1, len(table)), ascending))[::-1]
    return _listed([float(level) for level in levels])


def simple(given: ScheduleInput) -> Tensor:
    """Every (T/n)-th trained level from the top. Source: A1111 modules/sd_schedulers.py, simple_scheduler."""
    stride = len(given.model) / given.n
    return _listed([float(given.model.sigmas[-(1 + int(i * stride))]) for i in range(given.n)])


def normal(given: ScheduleInput) -> Tensor:
    """Evenly spaced timesteps between the highest and the lowest level."""
    start, end = _timestep_range(given)
    return with_zero(given.model.to_sigma(torch.linspace(start, end, given.n)))


def ddim(given: ScheduleInput) -> Tensor:
    """Every (T//n)-th trained level from index 1, reversed; may hold more than n levels (30 gives 31).

    Source: A1111 modules/sd_schedulers.py, ddim_scheduler.
    """
    stride = max(len(given.model) // given.n, 1)
    levels = [float(sigma) for sigma in given.model.sigmas[1::stride]]
    return _listed(levels[::-1])


def beta(given: ScheduleInput) -> Tensor:
    """Levels at the quantiles of a Beta distribution over the range. Source: Lee et al. 2024, arXiv 2407.12173."""
    quantiles = special.betaincinv(given.beta_alpha, given.beta_beta, 1 - np.linspace(0, 1, given.n))
    span = given.sigma_max - given.sigma_min
    return _listed([given.sigma_min + float(quantile) * span for quantile in quantiles])
