"""Units of one pass as the UNet meets them: where and when each acts, and all of them together.

Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.sampling.types import ConditioningBatch, ControlResiduals, OnStep, StepInfo


@dataclass(frozen=True, kw_only=True)
class ControlWindow:
    """The part of a pass in which a unit acts, as shares of its steps, both ends included."""

    start: float = 0.0
    end: float = 1.0

    def holds(self, step: int, steps: int) -> bool:
        """Whether the call that sees `step` of `steps` is inside."""
        share = step / max(1, steps)
        return self.start <= share <= self.end


@dataclass(frozen=True, kw_only=True)
class UnitForce:
    """How strongly a unit acts, and where.

    Attributes:
        scales: One factor per output of its network, the middle block last.
        cond_only: Whether rows of negative prompts get nothing.
        window: Steps in which it acts.
        region: (1, 1, H, W) in 0..1, or None for everywhere.
        images: (index, count): of pictures 0, 1, … only those with `number % count == index`; None for all.
    """

    scales: tuple[float, ...]
    cond_only: bool = False
    window: ControlWindow = field(default_factory=ControlWindow)
    region: Tensor | None = None
    images: tuple[int, int] | None = None

    def mark(self, conditioning: ConditioningBatch, like: Tensor) -> Tensor:
        """(N, 1, 1, 1): 1 for the rows it acts on."""
        wanted = [
            not (self.cond_only and is_uncond) and (self.images is None or image % self.images[1] == self.images[0])
            for image, is_uncond in zip(conditioning.images, conditioning.is_uncond, strict=True)
        ]
        return torch.tensor(wanted, device=like.device, dtype=like.dtype).view(-1, 1, 1, 1)

    def scaled(self, outputs: Sequence[Tensor], conditioning: ConditioningBatch, *, pools: bool) -> list[Tensor]:
        """The outputs times scale, mark and region; averaged over the picture where the network `pools`."""
        mark = self.mark(conditioning, outputs[0])
        found: list[Tensor] = []
        for output, scale in zip(outputs, self.scales, strict=True):
            part = output * scale * mark
            if self.region is not None:
                part = part * functional.interpolate(self.region.to(part), size=part.shape[-2:], mode="bilinear")
            found.append(part.mean(dim=(2, 3), keepdim=True) if pools else part)
        return found


class ControlUnit(Protocol):
    """One unit in one pass."""

    @property
    def force(self) -> UnitForce: ...

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """What it adds at this call, scaled; None for nothing. Only asked inside its window."""
        ...

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """The UNet's `output` as the unit changes it."""
        ...

    def installed(self) -> AbstractContextManager[None]:
        """The UNet changed for the pass, restored on exit."""
        ...


class UnchangedUNet:
    """Defaults for units that only add residuals."""

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """Nothing."""
        return None

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """`output` itself."""
        return output

    def installed(self) -> AbstractContextManager[None]:
        """Nothing to install."""
        return nullcontext()


class ControlRunner:
    """The units of one pass, as the UNet asks them.

    A unit's window is looked up with the step that the sampler had finished when the call began: A1111 counts a
    step after the model was asked, so step i sees i - 1.

    Source: sd-webui-controlnet scripts/hook.py; A1111 modules/sd_samplers_common.py, callback_state.
    """

    def __init__(self, units: Sequence[ControlUnit]) -> None:
        self._units = tuple(units)
        self._seen, self._current, self._steps = 0, 0, 1

    def at(self, info: StepInfo) -> None:
        """Notes where sampling stands; called before each evaluation."""
        self._seen = self._current if info.call else 0
        self._current, self._steps = info.step, info.steps

    def reporting(self, on_step: OnStep) -> OnStep:
        """`on_step` that also tells the units where sampling stands."""

        def report(info: StepInfo) -> None:
            self.at(info)
            on_step(info)

        return report

    @property
    def acting(self) -> tuple[ControlUnit, ...]:
        """The units whose window the present call is in."""
        return tuple(unit for unit in self._units if unit.force.window.holds(self._seen, self._steps))

    def __call__(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        total: ControlResiduals | None = None
        for unit in self.acting:
            part = unit.residuals(x, timestep, conditioning)
            if part is not None:
                total = part if total is None else total + part
        return total

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """The UNet's `output` as the acting units change it, one after the other."""
        for unit in self.acting:
            output = unit.adjusted(x, timestep, conditioning, output)
        return output

    def installed(self) -> ExitStack:
        """The UNet changed for the pass by all units; restored when the stack closes, also on error."""
        with ExitStack() as stack:
            for unit in self._units:
                stack.enter_context(unit.installed())
            return stack.pop_all()
