"""Samplers over noise levels: the update rules, as pure functions of a denoiser.

Every function here is `(denoise, x, sigmas, *, noise, on_step, ...) -> x`. `denoise(x, sigma)` estimates the clean
latents x0; `x` is (B, C, h, w) at noise level sigmas[0]; `sigmas` is a float32 vector that descends, usually to 0.
`on_step(i)` is called when step i begins. `noise(sigma, sigma_next)` gives unit-variance noise.

Notation: Karras et al. 2022 write the probability-flow ODE dx/dsigma = (x - x0)/sigma. DPM-Solver works in
t = -log sigma, where its exact solution for constant x0 is x(t') = (sigma'/sigma) x + (1 - sigma'/sigma) x0.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pipelines.sampling.sigmas import karras_levels
from pipelines.sampling.types import Denoise, StepNoise, StepReport


def _per_image(denoise: Denoise, x: Tensor, sigma: Tensor) -> Tensor:
    """`denoise` with one noise level for the whole batch."""
    return denoise(x, sigma.to(x) * x.new_ones([x.shape[0]]))


def _slope(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability-flow ODE. Source: Karras 2022, eq. 3 with the score (x0 - x)/sigma^2."""
    return (x - denoised) / sigma


def ancestral_levels(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(sigma_down, sigma_up): the level to solve the ODE down to, and the noise to add to reach `sigma_next`.

    eta 0 adds none, eta 1 is the ancestral (DDPM) posterior. sigma_down² + sigma_up² = sigma_next².

    Source: Ho et al. 2020, eq. 7 in variance-exploding form; k-diffusion get_ancestral_step.
    """
    if not eta:
        return sigma_next, torch.zeros_like(sigma_next)
    posterior = (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5
    up = torch.minimum(sigma_next, eta * posterior)
    return (sigma_next**2 - up**2) ** 0.5, up


class _Churn:
    """Raises the noise level before a step. Source: Karras 2022, algorithm 2, lines 4 to 6.

    Draws noise at every step while `s_churn` is set, also outside [s_tmin, s_tmax], because k-diffusion does and the
    generator's state depends on it.
    """

    def __init__(
        self, steps: int, *, noise: StepNoise, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
    ) -> None:
        self._noise, self._s_churn, self._s_noise = noise, s_churn, s_noise
        self._window = (s_tmin, s_tmax)
        self._gamma = min(s_churn / steps, 2**0.5 - 1) if steps else 0.0

    def __call__(self, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
        """`x` with noise added, and its new level."""
        gamma = self._gamma if self._window[0] <= float(sigma) <= self._window[1] else 0.0
        raised = sigma * (gamma + 1)
        if self._s_churn > 0:
            extra = self._noise(sigma, sigma_next) * self._s_noise
            if gamma > 0:
                x = x + extra * (raised**2 - sigma**2) ** 0.5
        return x, raised


def euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Euler steps. Source: Karras 2022, algorithm 2 without the correction."""
    steps = len(sigmas) - 1
    churn = _Churn(steps, noise=noise, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
    for i in range(steps):
        on_step(i)
        x, sigma = churn(x, sigmas[i], sigmas[i + 1])
        slope = _slope(x, sigma, _per_image(denoise, x, sigma))
        x = x + slope * (sigmas[i + 1] - sigma)
    return x


def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Heun's method: the mean of the slopes at both ends; the step to 0 is Euler. Source: Karras 2022, algorithm 2."""
    steps = len(sigmas) - 1
    churn = _Churn(steps, noise=noise, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
    for i in range(steps):
        on_step(i)
        x, sigma = churn(x, sigmas[i], sigmas[i + 1])
        x = _heun_step(denoise, x, sigma, sigmas[i + 1])
    return x


def _heun_step(denoise: Denoise, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    slope = _slope(x, sigma, _per_image(denoise, x, sigma))
    width = sigma_next - sigma
    ahead = x + slope * width
    if sigma_next == 0:
        return ahead
    slope_next = _slope(ahead, sigma_next, _per_image(denoise, ahead, sigma_next))
    return x + (slope + slope_next) / 2 * width


def dpm2(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Midpoint steps, the midpoint taken in log sigma. Source: Lu et al. 2022, DPM-Solver-2; Karras 2022, alg. 2."""
    steps = len(sigmas) - 1
    churn = _Churn(steps, noise=noise, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
    for i in range(steps):
        on_step(i)
        x, sigma = churn(x, sigmas[i], sigmas[i + 1])
        x = _midpoint_step(denoise, x, sigma, sigmas[i + 1])
    return x


def _midpoint_step(denoise: Denoise, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    slope = _slope(x, sigma, _per_image(denoise, x, sigma))
    if sigma_next == 0:
        return x + slope * (sigma_next - sigma)
    middle = sigma.log().lerp(sigma_next.log(), 0.5).exp()
    halfway = x + slope * (middle - sigma)
    return x + _slope(halfway, middle, _per_image(denoise, halfway, middle)) * (sigma_next - sigma)


def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Euler steps to sigma_down, then fresh noise up to the next level. Source: k-diffusion sample_euler_ancestral."""
    for i in range(len(sigmas) - 1):
        on_step(i)
        down, up = ancestral_levels(sigmas[i], sigmas[i + 1], eta)
        slope = _slope(x, sigmas[i], _per_image(denoise, x, sigmas[i]))
        x = x + slope * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def dpm2_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Midpoint steps to sigma_down, then fresh noise; the last step draws none. Source: sample_dpm_2_ancestral."""
    for i in range(len(sigmas) - 1):
        on_step(i)
        down, up = ancestral_levels(sigmas[i], sigmas[i + 1], eta)
        x = _midpoint_step(denoise, x, sigmas[i], down)
        if down != 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def _adams_bashforth_weight(times: list[float], order: int, step: int, which: int) -> float:
    """Integral over [times[step], times[step + 1]] of the Lagrange polynomial of node step - which; exact."""
    nodes = [times[step - k] for k in range(order)]
    polynomial = np.polynomial.Polynomial([1.0])
    for k, node in enumerate(nodes):
        if k != which:
            polynomial = polynomial * np.polynomial.Polynomial([-node, 1.0]) / (nodes[which] - node)
    integral = polynomial.integ()
    return float(integral(times[step + 1]) - integral(times[step]))


def lms(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: StepNoise, on_step: StepReport, order: int = 4
) -> Tensor:
    """Linear multistep: the last `order` slopes, extrapolated by their Lagrange polynomial and integrated.

    Source: Adams-Bashforth with uneven steps (Hairer, Norsett, Wanner I, III.5); k-diffusion sample_lms.
    """
    times = [float(sigma) for sigma in sigmas]
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        on_step(i)
        slopes.insert(0, _slope(x, sigmas[i], _per_image(denoise, x, sigmas[i])))
        del slopes[order:]
        reach = len(slopes)
        x = x + sum(_adams_bashforth_weight(times, reach, i, k) * slope for k, slope in enumerate(slopes))
    return x


def _minus_log(sigma: Tensor) -> Tensor:
    return sigma.log().neg()


def _level(t: Tensor) -> Tensor:
    return t.neg().exp()


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: StepNoise, on_step: StepReport) -> Tensor:
    """DPM-Solver++(2M): multistep in x0. Source: Lu et al. 2022b (arXiv 2211.01095), algorithm 2."""
    previous: Tensor | None = None
    for i in range(len(sigmas) - 1):
        on_step(i)
        denoised = _per_image(denoise, x, sigmas[i])
        if sigmas[i + 1] == 0:
            x = denoised
        else:
            t, t_next = _minus_log(sigmas[i]), _minus_log(sigmas[i + 1])
            h = t_next - t
            target = denoised
            if previous is not None:
                ratio = (t - _minus_log(sigmas[i - 1])) / h
                target = (1 + 1 / (2 * ratio)) * denoised - 1 / (2 * ratio) * previous
            x = (_level(t_next) / _level(t)) * x - (-h).expm1() * target
        previous = denoised
    return x


def dpmpp_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
) -> Tensor:
    """SDE-DPM-Solver++(2S): an intermediate point at fraction `r` of the step in log sigma, noise at both.

    Source: Lu et al. 2022b, section 6; k-diffusion sample_dpmpp_sde.
    """
    for i in range(len(sigmas) - 1):
        on_step(i)
        denoised = _per_image(denoise, x, sigmas[i])
        if sigmas[i + 1] == 0:
            x = x + _slope(x, sigmas[i], denoised) * (sigmas[i + 1] - sigmas[i])
            continue
        t, t_next = _minus_log(sigmas[i]), _minus_log(sigmas[i + 1])
        s = t + (t_next - t) * r
        start, middle, end = _level(t), _level(s), _level(t_next)

        down, up = ancestral_levels(start, middle, eta)
        u = (_level(_minus_log(down)) / start) * x - (t - _minus_log(down)).expm1() * denoised
        u = u + noise(start, middle) * s_noise * up
        denoised_middle = _per_image(denoise, u, middle)

        share = 1 / (2 * r)
        target = (1 - share) * denoised + share * denoised_middle
        down, up = ancestral_levels(start, end, eta)
        x = (_level(_minus_log(down)) / start) * x - (t - _minus_log(down)).expm1() * target
        x = x + noise(start, end) * s_noise * up
    return x


def dpmpp_2s_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver++(2S) to sigma_down, then fresh noise. Source: Lu et al. 2022b, algorithm 1 with r = 1/2."""
    for i in range(len(sigmas) - 1):
        on_step(i)
        denoised = _per_image(denoise, x, sigmas[i])
        down, up = ancestral_levels(sigmas[i], sigmas[i + 1], eta)
        if down == 0:
            x = x + _slope(x, sigmas[i], denoised) * (down - sigmas[i])
        else:
            t, t_next = _minus_log(sigmas[i]), _minus_log(down)
            h = t_next - t
            s = t + 0.5 * h
            u = (_level(s) / _level(t)) * x - (-h * 0.5).expm1() * denoised
            denoised_middle = _per_image(denoise, u, _level(s))
            x = (_level(t_next) / _level(t)) * x - (-h).expm1() * denoised_middle
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: str = "midpoint",
) -> Tensor:
    """SDE-DPM-Solver++(2M), `solver_type` "midpoint" or "heun". Source: Lu et al. 2022b, eq. 17 and appendix."""
    previous: Tensor | None = None
    h_previous = torch.ones(())
    for i in range(len(sigmas) - 1):
        on_step(i)
        denoised = _per_image(denoise, x, sigmas[i])
        if sigmas[i + 1] == 0:
            return denoised
        h = _minus_log(sigmas[i + 1]) - _minus_log(sigmas[i])
        eta_h = eta * h
        gain = (-h - eta_h).expm1().neg()
        x = sigmas[i + 1] / sigmas[i] * (-eta_h).exp() * x + gain * denoised
        if previous is not None:
            change = h / h_previous * (denoised - previous)
            x = x + ((gain / (-h - eta_h) + 1) if solver_type == "heun" else 0.5 * gain) * change
        if eta:
            spread = sigmas[i + 1] * (-2 * eta_h).expm1().neg().sqrt()
            x = x + noise(sigmas[i], sigmas[i + 1]) * spread * s_noise
        previous, h_previous = denoised, h
    return x


def dpmpp_3m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """SDE-DPM-Solver++(3M): first and second divided differences of x0 in log sigma.

    Source: Lu et al. 2022b, section 5 extended to order 3; k-diffusion sample_dpmpp_3m_sde.
    """
    history: list[tuple[Tensor, Tensor]] = []  # (x0, h) of the last two steps, newest first
    for i in range(len(sigmas) - 1):
        on_step(i)
        denoised = _per_image(denoise, x, sigmas[i])
        if sigmas[i + 1] == 0:
            return denoised
        h = _minus_log(sigmas[i + 1]) - _minus_log(sigmas[i])
        h_eta = h * (eta + 1)
        x = (-h_eta).exp() * x + (-h_eta).expm1().neg() * denoised
        phi_2 = h_eta.neg().expm1() / h_eta + 1
        if len(history) == 2:
            (denoised_1, h_1), (denoised_2, h_2) = history
            r0, r1 = h_1 / h, h_2 / h
            first, second = (denoised - denoised_1) / r0, (denoised_1 - denoised_2) / r1
            phi_3 = phi_2 / h_eta - 0.5
            x = x + phi_2 * (first + (first - second) * r0 / (r0 + r1)) - phi_3 * ((first - second) / (r0 + r1))
        elif history:
            denoised_1, h_1 = history[0]
            x = x + phi_2 * ((denoised - denoised_1) / (h_1 / h))
        if eta:
            spread = sigmas[i + 1] * (-2 * h * eta).expm1().neg().sqrt()
            x = x + noise(sigmas[i], sigmas[i + 1]) * spread * s_noise
        history = [(denoised, h), *history[:1]]
    return x


def lcm(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: StepNoise, on_step: StepReport) -> Tensor:
    """Jumps to x0 and noises it to the next level. Source: Luo et al. 2023 "Latent Consistency Models", algorithm 3."""
    for i in range(len(sigmas) - 1):
        on_step(i)
        x = _per_image(denoise, x, sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * noise(sigmas[i], sigmas[i + 1])
    return x


def restart_levels(sigmas: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The (from, to) levels of every Heun step of the Restart sampler.

    From 20 steps up, part of the budget is spent on going back from about 0.1 to about 2 and down again: once with 9
    steps, or twice with a quarter of all steps each from 36 up. Levels are then Karras levels, whatever was given.

    Source: Xu et al. 2023 "Restart Sampling"; numbers of A1111 modules/sd_samplers_extra.py, restart_sampler.
    """
    steps = len(sigmas) - 1
    length, times = (0, 0) if steps < 20 else (9, 1) if steps < 36 else (steps // 4, 2)
    if times:
        sigmas = karras_levels(steps - length * times, float(sigmas[-2]), float(sigmas[0]))
    pairs = list(zip(sigmas[:-1], sigmas[1:], strict=True))
    if not times:
        return pairs
    low, high = (int((sigmas - level).abs().argmin()) for level in (0.1, 2.0))
    if high >= low or low == 0:
        return pairs
    again = karras_levels(length + 1, float(sigmas[low]), float(sigmas[high]))[:-1]
    return pairs[:low] + list(zip(again[:-1], again[1:], strict=True)) * times + pairs[low:]


def restart(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: StepNoise, on_step: StepReport, s_noise: float = 1.0
) -> Tensor:
    """Heun steps that climb back to a higher noise level now and then. Source: Xu et al. 2023, algorithm 1."""
    last: Tensor | None = None
    for i, (sigma, sigma_next) in enumerate(restart_levels(sigmas)):
        on_step(i)
        if last is not None and last < sigma:
            x = x + noise(last, sigma) * s_noise * (sigma**2 - last**2) ** 0.5
        x = _heun_step(denoise, x, sigma, sigma_next)
        last = sigma_next
    return x
