"""The refiner: another model takes over for the last part of sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipelines.sampling.guidance import GuidedDenoiser, InfotextValue


@dataclass(frozen=True, kw_only=True)
class RefinerSwitch:
    """When the refiner takes over, and how to get it.

    Attributes:
        name: Title written to the infotext ("Refiner").
        switch_at: Share of the way at which to switch, 0 to 1.
        by_steps: Count calls instead of looking at the noise level (A1111 `refiner_switch_by_sample_steps`).
        load: Makes the refiner's denoiser, with its own conditioning, given the calls made so far. Called once.
    """

    name: str
    switch_at: float
    load: Callable[[int], GuidedDenoiser]
    by_steps: bool = False


class SwitchingDenoiser:
    """A `Denoise` that hands over to the refiner's once the switch point is reached.

    Source: Podell et al. 2023 "SDXL", section 2.5; A1111 modules/sd_samplers_common.py, apply_refiner.
    """

    def __init__(self, base: GuidedDenoiser, refiner: RefinerSwitch | None = None) -> None:
        self.current = base
        self.infotext: dict[str, InfotextValue] = {}
        self._refiner = refiner

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        refiner = self._refiner
        if refiner is not None and self._completed(float(sigma.max()), refiner.by_steps) >= refiner.switch_at:
            self._refiner = None
            self.infotext |= self.current.infotext
            self.infotext |= {"Refiner": refiner.name, "Refiner switch at": refiner.switch_at}
            scale_factor = self.current.scale_factor
            self.current = refiner.load(self.current.call)
            self.current.scale_factor = scale_factor
        return self.current(x, sigma)

    def _completed(self, sigma: float, by_steps: bool) -> float:
        """Share of the way already gone: by calls, or by the trained timestep nearest to `sigma`."""
        if by_steps:
            return self.current.call / self.current.calls
        table = self.current.predict.sigmas
        timestep = int(sigma) if table is None else int((table - sigma).abs().argmin())
        return (999 - timestep) / 1000
