"""Samplers over integer timesteps: DDIM, DDIM CFG++ and PLMS.

Every function is `(predict_noise, x, timesteps, *, alphas_cumprod, noise, on_step, ...) -> x`.
`predict_noise(x, t)` estimates the noise in `x` = sqrt(a_t) x0 + sqrt(1 - a_t) eps, with a = `alphas_cumprod`.
`timesteps` ascend; the loop runs from the last down to index 1, so it evaluates one point fewer than the list holds
(the reference's habit): index 0 is only ever a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.sampling.types import Denoise, StepNoise, StepReport
from schema.errors import InvalidRequest


def timestep_list(steps: int) -> Tensor:
    """Ascending integer timesteps for `steps` steps; can hold more entries than `steps` (30 gives 31).

    Raises:
        InvalidRequest: If there are more steps than trained timesteps.

    Source: A1111 modules/sd_samplers_timesteps.py, CompVisSampler.get_timesteps.
    """
    if steps > 1000:
        raise InvalidRequest(
            f"This sampler has 1000 timesteps, but {steps} steps would be needed. "
            "Lower Sampling steps, or raise Denoising strength."
        )
    return torch.clip(torch.arange(0, 1000, 1000 // steps) + 1, 0, 999)


@dataclass(frozen=True, kw_only=True)
class _Point:
    """Coefficients of the step from timestep index i to i - 1."""

    alpha: Tensor
    alpha_previous: Tensor
    sigma: Tensor


def _points(timesteps: Tensor, alphas_cumprod: Tensor, eta: float) -> list[_Point]:
    """One point per timestep; entry 0 steps to itself. sigma is eq. 16 of Song et al. 2020, scaled by eta."""
    # float64 for the previous level, as the reference: it decides the last bits of 1 - alpha.
    alphas = alphas_cumprod.cpu()[timesteps]
    previous = alphas_cumprod.cpu()[torch.cat([timesteps[:1], timesteps[:-1]])].to(torch.float64)
    sigmas = eta * ((1 - previous) / (1 - alphas) * (1 - alphas / previous)) ** 0.5
    return [
        _Point(alpha=alpha, alpha_previous=before.float(), sigma=sigma.float())
        for alpha, before, sigma in zip(alphas.float(), previous, sigmas, strict=True)
    ]


def _at(predict_noise: Denoise, x: Tensor, timestep: Tensor) -> Tensor:
    return predict_noise(x, timestep.to(x) * x.new_ones([x.shape[0]]))


def _transfer(x: Tensor, eps: Tensor, direction: Tensor, point: _Point) -> Tensor:
    """`x` taken to the previous timestep: x0 from `eps`, noise direction from `direction`. Song et al. 2020, eq. 12."""
    denoised = (x - (1 - point.alpha).sqrt() * eps) / point.alpha.sqrt()
    return point.alpha_previous.sqrt() * denoised + (1 - point.alpha_previous - point.sigma**2).sqrt() * direction


def ddim(
    predict_noise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    *,
    alphas_cumprod: Tensor,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 0.0,
    direction: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """DDIM; eta 1 is DDPM. Source: Song et al. 2020 (arXiv 2010.02502), eq. 12 and 16.

    Args:
        direction: Gives the noise direction to re-noise with from the guided eps; None uses the guided eps itself.
    """
    points = _points(timesteps, alphas_cumprod, eta)
    for i, index in enumerate(range(len(timesteps) - 1, 0, -1)):
        on_step(i)
        point = points[index]
        eps = _at(predict_noise, x, timesteps[index])
        x = _transfer(x, eps, eps if direction is None else direction(eps), point)
        if eta:
            x = x + point.sigma * noise(timesteps[index], timesteps[index - 1])
    return x


def plms(
    predict_noise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    *,
    alphas_cumprod: Tensor,
    noise: StepNoise,
    on_step: StepReport,
) -> Tensor:
    """PLMS: Adams-Bashforth in eps up to order 4; the first step is a pseudo improved Euler step (two evaluations).

    Source: Liu et al. 2022 (arXiv 2202.09778), eq. 9 to 12.
    """
    points = _points(timesteps, alphas_cumprod, 0.0)
    history: list[Tensor] = []
    for i, index in enumerate(range(len(timesteps) - 1, 0, -1)):
        on_step(i)
        point = points[index]
        eps = _at(predict_noise, x, timesteps[index])
        if not history:
            ahead = _at(predict_noise, _transfer(x, eps, eps, point), timesteps[index - 1])
            mixed = (eps + ahead) / 2
        elif len(history) == 1:
            mixed = (3 * eps - history[-1]) / 2
        elif len(history) == 2:
            mixed = (23 * eps - 16 * history[-1] + 5 * history[-2]) / 12
        else:
            mixed = (55 * eps - 59 * history[-1] + 37 * history[-2] - 9 * history[-3]) / 24
        x = _transfer(x, mixed, mixed, point)
        history = [*history[-2:], eps]
    return x
