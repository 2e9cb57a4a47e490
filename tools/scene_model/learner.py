"""One network with its optimisers, average, clock and checkpoint: what every long training stage does alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.scene_model.learning import Averaged, Clock, Muon, load_checkpoint, ramp, save_checkpoint
from tools.scene_model.team import Team

_EDGE_NAMES = ("conv_in", "conv_out", "embedding", "quant_conv")


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """How the rates go: `warmup` steps up, full until `hold` of the time, then a cosine down to `floor`.

    Attributes:
        edges: Weights whose names contain one of these are AdamW's, as all vectors are; Muon takes the rest.
    """

    adam: float
    muon: float
    hold: float
    floor: float = 0.02
    warmup: int = 30
    edges: tuple[str, ...] = _EDGE_NAMES


def split_parameters(
    network: nn.Module, edges: Sequence[str] = _EDGE_NAMES
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the trained weights for Muon (inner matrices and kernels) and those for AdamW (the rest)."""
    inner: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_edge = any(edge in name for edge in edges)
        (rest if parameter.dim() < 2 or is_edge else inner).append(parameter)
    return inner, rest


class Learner:
    """Takes gradient steps on `network` for a budget of wall-clock time, over any number of runs.

    Attributes:
        average: The averaged weights, which are what is shipped.
        progress: Share of the budget that is spent, the same in all workers.
        step: Steps over all runs.
        images: Pictures seen over all runs and workers.
    """

    def __init__(self, network: nn.Module, team: Team, file: Path, budget_s: float, rates: LearningRates) -> None:
        self.network, self.team, self.file, self.rates = network, team, file, rates
        self.average = Averaged(network, 0.998)
        inner, rest = split_parameters(network, rates.edges)
        self.parameters = [*inner, *rest]
        self.muon = Muon(inner, lr=rates.muon)
        self.adam = torch.optim.AdamW(rest, lr=rates.adam, betas=(0.9, 0.99), weight_decay=1e-4)
        self.clock = Clock(budget_s=budget_s)
        self.step, self.images = 0, 0
        self.progress = self.clock.progress

    def restore(self) -> bool:
        """Goes on from the checkpoint; false where there is none yet."""
        checkpoint = load_checkpoint(self.file)
        if checkpoint is None:
            return False
        self.network.load_state_dict(checkpoint["network"])
        self.average.network.load_state_dict(checkpoint["average"])
        self.muon.load_state_dict(checkpoint["muon"])
        self.adam.load_state_dict(checkpoint["adam"])
        self.step, self.images = checkpoint["step"], checkpoint["images"]
        self.clock.spent_s = checkpoint["spent_s"]
        self.progress = self.clock.progress
        return True

    def save(self, **more: Any) -> None:
        """Writes the checkpoint with `more` in it; the random generators restart from the step number."""
        if not self.team.is_lead:
            return
        checkpoint = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "images": self.images,
            "spent_s": self.clock.spent_s,
        }
        save_checkpoint(self.file, {**checkpoint, **more})

    def learn(self, loss: Tensor, images: int) -> dict[str, float]:
        """Takes one step down the gradient of `loss` over `images` pictures; returns the numbers to log."""
        rates = self.rates
        factor = ramp(self.progress, hold=rates.hold, floor=rates.floor) * min(1.0, (self.step + 1) / rates.warmup)
        for optimizer, rate in ((self.muon, rates.muon), (self.adam, rates.adam)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        loss.backward()
        self.clock.tick()
        norm, self.progress = self.team.average_gradients(self.parameters, 1.0, self.clock.progress)
        self.muon.step()
        self.adam.step()
        self.network.zero_grad(set_to_none=True)
        self.step += 1
        self.images += images * self.team.size
        if self.team.is_lead:
            self.average.update(self.network, self.step)
        return {"loss": loss.item(), "grad": norm, "lr": factor}
