"""UniPC: a unified predictor-corrector over continuous time.

Source for all: Zhao et al. 2023 "UniPC" (arXiv 2302.04867), algorithms 5 to 8, in x0 (data) prediction; options and
start times as A1111 passes them to the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from pipelines.sampling.types import Denoise, StepNoise, StepReport
from schema.errors import InvalidRequest


class UniPCVariant(StrEnum):
    """B(h) of the paper: h, e^h - 1, or coefficients that vary with the step."""

    BH1 = "bh1"
    BH2 = "bh2"
    VARY_COEFF = "vary_coeff"


class UniPCSpacing(StrEnum):
    """What is spaced evenly: time, its square root, or half log SNR."""

    TIME_UNIFORM = "time_uniform"
    TIME_QUADRATIC = "time_quadratic"
    LOG_SNR = "logSNR"


@dataclass(frozen=True, kw_only=True)
class UniPCOptions:
    """Settings of the UniPC sampler (A1111 `uni_pc_*`).

    Attributes:
        order: Of the predictor; the corrector reaches order + 1. At most the number of steps.
        lower_order_final: Lower the order towards the last steps, which helps when there are few.
    """

    variant: UniPCVariant = UniPCVariant.BH1
    spacing: UniPCSpacing = UniPCSpacing.TIME_UNIFORM
    order: int = 3
    lower_order_final: bool = True


class _Time:
    """Alpha, sigma and lambda = log(alpha/sigma) at continuous time t in [1/T, 1], linear in log alpha between the
    trained steps and beyond them."""

    def __init__(self, alphas_cumprod: Tensor) -> None:
        # The logarithm in the table's own precision, as the reference takes it; the rest in float32.
        self.log_alphas = (0.5 * torch.log(alphas_cumprod.cpu())).float()
        self.total = len(self.log_alphas)
        self.times = torch.linspace(0.0, 1.0, self.total + 1)[1:]

    def log_alpha(self, t: Tensor) -> Tensor:
        return _interpolate(t, self.times, self.log_alphas)

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(1.0 - torch.exp(2.0 * self.log_alpha(t)))

    def half_log_snr(self, t: Tensor) -> Tensor:
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(1.0 - torch.exp(2.0 * log_alpha))

    def of_half_log_snr(self, value: Tensor) -> Tensor:
        log_alpha = -0.5 * torch.logaddexp(torch.zeros(()), -2.0 * value)
        return _interpolate(log_alpha, self.log_alphas.flip(0), self.times.flip(0))


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through (xs, ys), xs ascending; the outer pieces are extended."""
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0)


def _time_points(time: _Time, start: Tensor, steps: int, spacing: UniPCSpacing) -> Tensor:
    end = torch.tensor(1.0 / time.total)
    if spacing is UniPCSpacing.LOG_SNR:
        high, low = (float(time.half_log_snr(t)) for t in (start, end))
        return time.of_half_log_snr(torch.linspace(high, low, steps + 1))
    if spacing is UniPCSpacing.TIME_QUADRATIC:
        return torch.linspace(float(start) ** 0.5, float(end) ** 0.5, steps + 1) ** 2
    return torch.linspace(float(start), float(end), steps + 1)


def _phi(h: Tensor, count: int) -> list[Tensor]:
    """phi_1(h)·h, phi_2(h)·h, …: the exponential integrators' weights."""
    values = [torch.expm1(h)]
    factorial = 1
    for k in range(1, count):
        values.append(values[-1] / h - 1 / factorial)
        factorial *= k + 1
    return values


def _weighted(weights: Tensor, matrix: Tensor) -> list[Tensor]:
    return list(weights @ matrix)


def _bh_weights(ratios: Tensor, h: Tensor, variant: UniPCVariant) -> tuple[list[Tensor], list[Tensor]]:
    """(predictor, corrector) weights times B(h), for bh1 and bh2. Source: algorithm 5, R_p(h) a_p B(h) = phi_p(h)."""
    order = len(ratios)
    scale = h if variant is UniPCVariant.BH1 else torch.expm1(h)
    phi = _phi(h, order + 1)
    matrix = torch.stack([ratios**k for k in range(order)])
    vector = torch.stack([phi[k] * math.factorial(k) / scale for k in range(1, order + 1)])
    half = [0.5 * scale]
    # With one free weight (predictor of order 2, corrector of order 1) the authors take 1/2.
    if order == 1:
        return [], half
    predictor = half if order == 2 else list(scale * torch.linalg.solve(matrix[:-1, :-1], vector[:-1]))
    return predictor, list(scale * torch.linalg.solve(matrix, vector))


def _varying_weights(ratios: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """(predictor, corrector) weights for vary_coeff. Source: the paper's appendix on varying coefficients.

    The corrector's last weight takes row order - 2 of the inverse, as the authors' code does.
    """
    order = len(ratios)
    phi = torch.stack(_phi(h, order + 1))
    columns = [ratios**k / math.factorial(k + 1) for k in range(order)]
    matrix = torch.stack(columns, dim=1)
    inverse = torch.linalg.inv(matrix)
    last = phi[order] * inverse[max(order - 2, 0), -1]
    if order == 1:
        return [], [last]
    inner = phi[1:order]
    predictor = _weighted(inner, torch.linalg.inv(matrix[:-1, :-1]))
    return predictor, [*_weighted(inner, inverse[:-1, :-1]), last]


class _Solver:
    """The last points of a run, and the update from them to the next time."""

    def __init__(self, predict_noise: Denoise, time: _Time, variant: UniPCVariant) -> None:
        self._predict_noise, self._time, self._variant = predict_noise, time, variant
        self.points: list[tuple[Tensor, Tensor]] = []  # (t, x0), newest last

    def evaluate(self, x: Tensor, t: Tensor) -> Tensor:
        """x0 predicted from `x` at time `t`; the model's timestep is (t - 1/T)·1000."""
        model_time = (t - 1.0 / self._time.total) * 1000.0
        eps = self._predict_noise(x, model_time.to(x) * x.new_ones([x.shape[0]]))
        return (x - self._time.sigma(t).to(x) * eps) / self._time.alpha(t).to(x)

    def update(self, x: Tensor, t: Tensor, *, order: int, correct: bool) -> tuple[Tensor, Tensor | None]:
        """(x at `t`, its x0 when the corrector evaluated it)."""
        time = self._time
        t_last, last = self.points[-1]
        start = time.half_log_snr(t_last)
        h = time.half_log_snr(t) - start
        earlier = [self.points[-1 - k] for k in range(1, order)]
        ratios = [(time.half_log_snr(t_k) - start) / h for t_k, _ in earlier]
        slopes = [(value - last) / ratio.to(x) for (_, value), ratio in zip(earlier, ratios, strict=True)]
        all_ratios = torch.stack([*ratios, torch.ones(())])
        # In x0 prediction the paper's h enters with its sign turned.
        if self._variant is UniPCVariant.VARY_COEFF:
            predictor, corrector = _varying_weights(all_ratios, -h)
        else:
            predictor, corrector = _bh_weights(all_ratios, -h, self._variant)

        alpha = time.alpha(t).to(x)
        base = (time.sigma(t) / time.sigma(t_last)).to(x) * x - alpha * torch.expm1(-h).to(x) * last
        result = base
        for weight, slope in zip(predictor, slopes, strict=True):
            result = result - alpha * weight.to(x) * slope
        if not correct:
            return result, None
        denoised = self.evaluate(result, t)
        result = base
        for weight, slope in zip(corrector, [*slopes, denoised - last], strict=True):
            result = result - alpha * weight.to(x) * slope
        return result, denoised


def unipc(
    predict_noise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    *,
    alphas_cumprod: Tensor,
    noise: StepNoise,
    on_step: StepReport,
    is_img2img: bool = False,
    options: UniPCOptions | None = None,
) -> Tensor:
    """UniPC in len(timesteps) steps on its own grid, from t = 1 (img2img: one trained step above the last entry).

    Raises:
        InvalidRequest: If there are fewer steps than the order.

    Source: Zhao et al. 2023, algorithms 7 and 8; A1111 modules/sd_samplers_timesteps_impl.py, unipc.
    """
    options = options or UniPCOptions()
    steps = len(timesteps)
    if steps < options.order:
        raise InvalidRequest(
            f"UniPC of order {options.order} needs at least {options.order} steps, but {steps} would run. "
            "Raise Sampling steps or Denoising strength, or lower UniPC order in Settings."
        )
    time = _Time(alphas_cumprod)
    start = timesteps[-1].cpu() / 1000 + 1 / 1000 if is_img2img else torch.tensor(1.0)
    times = _time_points(time, start, steps, options.spacing)
    solver = _Solver(predict_noise, time, options.variant)
    on_step(0)
    solver.points.append((times[0], solver.evaluate(x, times[0])))
    for step in range(1, steps + 1):
        # The first steps have fewer points to look back on than the order asks for.
        order = min(options.order, len(solver.points))
        if options.lower_order_final:
            order = min(order, steps + 1 - step)
        # The last update has no evaluation left to correct with.
        x, denoised = solver.update(x, times[step], order=order, correct=step < steps)
        if denoised is not None:
            on_step(step)
            solver.points = [*solver.points, (times[step], denoised)][-options.order :]
    return x
