"""DPM-Solver with its own choice of noise levels: "DPM fast" (fixed budget) and "DPM adaptive" (error control).

Both integrate from sigma_max to sigma_min in t = -log sigma, in the noise estimate eps = (x - x0) / sigma, and ignore
schedules. Source for all: Lu et al. 2022 "DPM-Solver" (arXiv 2206.00927), algorithms 1, 2 and appendix C.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipelines.sampling.samplers import ancestral_levels
from pipelines.sampling.types import Denoise, StepNoise, StepReport

_DONE = 1e-5
"""Distance in t from the end at which an adaptive run counts as finished."""


class _Solver:
    """Single steps of order 1 to 3 from times `t` to `t_next`, both (B,): one step size per image."""

    def __init__(self, denoise: Denoise, x: Tensor, t: Tensor) -> None:
        self._denoise, self._x, self._t = denoise, x, t
        self._known: dict[float, Tensor] = {}
        self.eps = self._evaluate(x, t)

    def _evaluate(self, x: Tensor, t: Tensor) -> Tensor:
        sigma = t.neg().exp()
        return (x - self._denoise(x, sigma)) / _wide(sigma)

    def _eps_at(self, share: float, h: Tensor) -> Tensor:
        """eps at the point an Euler step of size share·h leads to; evaluated once per share."""
        if share not in self._known:
            s = self._t + share * h
            x = self._x - _wide(s.neg().exp() * (share * h).expm1()) * self.eps
            self._known[share] = self._evaluate(x, s)
        return self._known[share]

    def first(self, t_next: Tensor) -> Tensor:
        """Order 1: DDIM. Eq. 3.7."""
        h = t_next - self._t
        return self._x - _wide(t_next.neg().exp() * h.expm1()) * self.eps

    def second(self, t_next: Tensor, r1: float = 1 / 2) -> Tensor:
        """Order 2: one evaluation inside the step. Algorithm 1, or algorithm 4 for other r1."""
        h = t_next - self._t
        sigma_next = t_next.neg().exp()
        change = self._eps_at(r1, h) - self.eps
        return self.first(t_next) - _wide(sigma_next / (2 * r1) * h.expm1()) * change

    def third(self, t_next: Tensor, r1: float = 1 / 3, r2: float = 2 / 3) -> Tensor:
        """Order 3: two evaluations inside the step. Algorithm 2."""
        h = t_next - self._t
        sigma_next = t_next.neg().exp()
        s2 = self._t + r2 * h
        sigma_2 = s2.neg().exp()
        change = self._eps_at(r1, h) - self.eps
        bend = sigma_2 * (r2 / r1) * ((r2 * h).expm1() / (r2 * h) - 1)
        u2 = self._x - _wide(sigma_2 * (r2 * h).expm1()) * self.eps - _wide(bend) * change
        change_2 = self._evaluate(u2, s2) - self.eps
        return self.first(t_next) - _wide(sigma_next / r2 * (h.expm1() / h - 1)) * change_2


def _wide(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _noisy_target(s: Tensor, t: Tensor, t_end: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(time to solve the ODE to, noise to add there) for a step s → t with eta."""
    if not eta:
        return t, torch.zeros_like(t)
    sigma_next = t.neg().exp()
    down, _ = ancestral_levels(s.neg().exp(), sigma_next, eta)
    target = torch.minimum(t_end, down.log().neg())
    return target, (sigma_next**2 - target.neg().exp() ** 2) ** 0.5


def _orders(budget: int) -> list[int]:
    """Orders of the steps that spend `budget` evaluations. Source: section 3.4, "DPM-Solver-fast"."""
    groups = budget // 3 + 1
    if budget % 3 == 0:
        return [3] * (groups - 2) + [2, 1]
    return [3] * (groups - 1) + [budget % 3]


def dpm_fast(
    denoise: Denoise,
    x: Tensor,
    sigma_range: tuple[float, float],
    *,
    budget: int,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 0.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-fast: steps of even length in log sigma, of order 3 while the budget lasts.

    Args:
        sigma_range: (sigma_max, sigma_min); the result is at sigma_min, not at 0.
        budget: Evaluations of the denoiser, at least 1.
    """
    start, end = (torch.tensor(sigma, dtype=torch.float32).log().neg() for sigma in sigma_range)
    orders = _orders(budget)
    times = torch.linspace(float(start), float(end), len(orders) + 1, device=x.device)
    ones = x.new_ones([x.shape[0]])
    for i, order in enumerate(orders):
        on_step(i)
        t, t_next = times[i], times[i + 1]
        target, up = _noisy_target(t, t_next, times[-1], eta)
        solver = _Solver(denoise, x, t * ones)
        step = (solver.first, solver.second, solver.third)[order - 1]
        x = step(target * ones)
        if eta:
            x = x + up * s_noise * noise(t.neg().exp(), t_next.neg().exp())
    return x


class _StepSizes:
    """One step size per image, grown or shrunk by its own error. Source: k-diffusion PIDStepSizeController, I only."""

    def __init__(self, images: int, *, first: float, order: float, safety: float) -> None:
        self.h = [first] * images
        self._order, self._safety = order, safety

    def accept(self, image: int, error: float) -> bool:
        """Whether the step with relative `error` counts; changes the image's next step size either way."""
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / self._order) - 1)
        self.h[image] *= factor
        return factor >= self._safety


def dpm_adaptive(
    denoise: Denoise,
    x: Tensor,
    sigma_range: tuple[float, float],
    *,
    noise: StepNoise,
    on_step: StepReport,
    eta: float = 0.0,
    s_noise: float = 1.0,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h_init: float = 0.05,
    safety: float = 0.81,
) -> Tensor:
    """DPM-Solver-12 style error control with orders 2 and 3: three evaluations per attempt.

    Every image has its own step size and accepts or rejects for itself; images that are done wait. k-diffusion takes
    one error for the whole batch, so that a picture there depends on its neighbours.

    Args:
        sigma_range: (sigma_max, sigma_min); the result is at sigma_min, not at 0.
    """
    start, end = (torch.tensor(sigma, dtype=torch.float32, device=x.device).log().neg() for sigma in sigma_range)
    sizes = _StepSizes(x.shape[0], first=h_init, order=1.5 if eta else 3, safety=safety)
    s = start * x.new_ones([x.shape[0]])
    lower = x
    attempt = 0
    while bool((active := s < end - _DONE).any()):
        on_step(attempt)
        attempt += 1
        h = torch.tensor(sizes.h, dtype=torch.float32, device=x.device)
        # A finished image is carried along with a harmless step whose result is not used.
        t = torch.where(active, torch.minimum(end, s + h), s + h_init)
        target, up = _noisy_target(s, t, torch.maximum(end, t), eta)
        solver = _Solver(denoise, x, s)
        low, high = solver.second(target, r1=1 / 3), solver.third(target)
        tolerance = torch.clamp(rtol * torch.maximum(low.abs(), lower.abs()), min=atol)
        size = x[0].numel() ** 0.5
        errors = [float(torch.linalg.norm(ratio) / size) for ratio in (low - high) / tolerance]
        taken = [i for i in range(len(errors)) if bool(active[i]) and sizes.accept(i, errors[i])]
        x, lower, s = x.clone(), lower.clone(), s.clone()
        for i in taken:
            lower[i], x[i] = low[i], high[i]
            if eta:
                x[i] += up[i] * s_noise * noise(s[i].neg().exp(), t[i].neg().exp(), [i])[0]
            s[i] = t[i]
    return x
