"""What all training stages share: optimiser, averaged weights, rates over wall-clock time, checkpoints, log lines."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Checkpoint = dict[str, Any]

# Newton-Schulz coefficients that push singular values toward 1 in five rounds. Source: Keller Jordan, Muon.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def _orthogonalize(matrix: Tensor) -> Tensor:
    """Returns the matrix, (r, c), with its singular values replaced by roughly 1."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    is_tall = x.size(0) > x.size(1)
    if is_tall:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each weight matrix (or flattened kernel) is orthogonalised; AdamW takes the rest.

    Per image seen it learns faster than AdamW here, and images are what a CPU lacks.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Updates all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum: Tensor = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                matrix = update.reshape(update.size(0), -1)
                scale = max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5
                parameter.mul_(1 - group["lr"] * group["decay"])
                parameter.add_(_orthogonalize(matrix).view_as(update), alpha=-group["lr"] * scale)


def ramp(progress: float, hold: float = 0.5, floor: float = 0.02) -> float:
    """Returns the learning-rate factor: 1 until `hold` of the time, then a cosine down to `floor`."""
    if progress < hold:
        return 1.0
    share = min(1.0, (progress - hold) / (1 - hold))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


class Averaged:
    """An exponential moving average of a network's weights, kept in a copy of it."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves toward `network`; early steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (15 + step))
        for mean, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint so that a kill at any moment leaves the old or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(checkpoint, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Returns the checkpoint at `path`, or None where there is none yet."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  (our own file, no code in it)


def random_state(rng: np.random.Generator) -> Checkpoint:
    """Returns the state of numpy's and torch's generators."""
    return {"numpy": rng.bit_generator.state, "torch": torch.get_rng_state()}


def restore_random_state(rng: np.random.Generator, state: Checkpoint) -> None:
    """Continues both generators where `random_state` saw them."""
    rng.bit_generator.state = state["numpy"]
    torch.set_rng_state(state["torch"])


@dataclass(kw_only=True)
class Clock:
    """Wall-clock time spent in a stage, over all its runs."""

    budget_s: float
    spent_s: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        """Adds the time since the last tick. A gap over a minute (a suspended machine) counts as one second."""
        now = time.monotonic()
        gap = now - self._last
        self.spent_s += gap if gap < 60 else 1.0
        self._last = now

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, self.spent_s / self.budget_s) if self.budget_s > 0 else 1.0


class Log:
    """Prints the mean of the recorded numbers every `every_s` seconds."""

    def __init__(self, name: str, every_s: float = 20.0) -> None:
        self.name = name
        self.every_s = every_s
        self._rows: list[dict[str, float]] = []
        self._last = time.monotonic()

    def add(self, row: dict[str, float], *, images: int, clock: Clock) -> None:
        """Records a step's numbers; `images` is the count seen by the stage so far."""
        self._rows.append(row)
        seconds = time.monotonic() - self._last
        if seconds < self.every_s:
            return
        means = " ".join(f"{key} {np.mean([r[key] for r in self._rows]):.4f}" for key in row)
        pace = len(self._rows) / seconds
        print(f"{self.name} {clock.spent_s:.0f}s images {images} steps/s {pace:.2f} {means}", flush=True)
        self._rows.clear()
        self._last = time.monotonic()
