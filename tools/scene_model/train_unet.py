"""Trains the UNet on cached latents with the frozen text encoder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from tools.scene_model.captions import write_caption
from tools.scene_model.latents import LatentPlan, LatentSet, load_latents
from tools.scene_model.learning import (
    Averaged,
    Clock,
    Log,
    Muon,
    load_checkpoint,
    ramp,
    save_checkpoint,
)
from tools.scene_model.networks import SHIPPED, TRAIN_TIMESTEPS, NetworkSizes, build_unet
from tools.scene_model.team import Team
from tools.scene_model.tokens import CompactVocabulary, compact_vocabulary, with_unknown_words
from tools.scene_model.train_text import encode, load_text_encoder
from tools.scene_model.train_vae import split_parameters

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": TRAIN_TIMESTEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
_SUBJECT_WEIGHT = 3.0
_EMPTY_CAPTIONS = 0.1


@dataclass(frozen=True, kw_only=True)
class UnetPlan:
    """How the UNet is trained.

    Attributes:
        budget_s: Wall-clock time over all runs; the rate falls to nearly zero toward its end. A larger budget later
            raises the rate again and goes on.
        batch_size: Per worker.
    """

    folder: Path
    budget_s: float
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 48
    adam_lr: float = 1e-3
    muon_lr: float = 0.02
    hold: float = 0.5
    save_every_s: float = 120.0
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.folder / "unet.pt"


def noise_levels() -> Tensor:
    """Returns the cumulative alphas of the training schedule, (1000,)."""
    return DDIMScheduler(**SCHEDULE).alphas_cumprod


def timestep_weights(alphas: Tensor) -> Tensor:
    """Returns the loss weight of each timestep, (1000,), for the squared error of the predicted noise.

    The error in the picture itself is 1/snr times the error in the noise. Weighting by (1 + snr)/snr, capped at both
    ends, makes the noisy half count, where subject and colours are decided, and spares effort for the last polish.
    """
    snr = alphas / (1 - alphas)
    return torch.minimum((1 + snr) / snr, 5 / snr).clamp(max=10.0)


def sample_timesteps(rng: np.random.Generator, count: int) -> Tensor:
    """Returns random timesteps: half uniform, half around 600, where the coarse structure forms."""
    uniform = rng.uniform(0, TRAIN_TIMESTEPS, count)
    middle = rng.normal(600, 190, count)
    chosen = np.where(rng.random(count) < 0.5, uniform, middle)
    return torch.from_numpy(np.clip(chosen, 0, TRAIN_TIMESTEPS - 1).astype(np.int64))


def _caption_states(
    text: CLIPTextModel, vocabulary: CompactVocabulary, data: LatentSet, indices: list[int], rng: np.random.Generator
) -> Tensor:
    """Returns the states of freshly written captions, a tenth of them empty, (n, 77, width)."""
    rows: list[list[int]] = []
    for index in indices:
        is_empty = rng.random() < _EMPTY_CAPTIONS
        caption = "" if is_empty else write_caption(data.specs[index], rng)
        rows.append(with_unknown_words(vocabulary.encode(caption), rng, 0.0 if is_empty else 0.1))
    with torch.no_grad():
        return encode(text, vocabulary.pad(rows))


class UnetTrainer:
    """The UNet with everything its training needs; one step at a time."""

    def __init__(self, team: Team, plan: UnetPlan) -> None:
        self.team, self.plan = team, plan
        torch.manual_seed(7)
        self.unet = build_unet(plan.sizes)
        self.average = Averaged(self.unet, 0.998)
        inner, rest = split_parameters(self.unet)
        self.parameters = [*inner, *rest]
        self.muon = Muon(inner, lr=plan.muon_lr)
        self.adam = torch.optim.AdamW(rest, lr=plan.adam_lr, betas=(0.9, 0.99), weight_decay=1e-4)
        self.clock = Clock(budget_s=plan.budget_s)
        self.step, self.images = 0, 0
        self._restore()
        self.rng = np.random.default_rng([11, self.step, team.rank])
        torch.manual_seed(1000 * self.step + team.rank)
        self.text = load_text_encoder(plan.folder, plan.sizes)
        self.vocabulary = compact_vocabulary()
        self.alphas = noise_levels()
        self.weights = timestep_weights(self.alphas)
        self.progress = self.clock.progress

    def _restore(self) -> None:
        checkpoint = load_checkpoint(self.plan.file)
        if checkpoint is None:
            return
        self.unet.load_state_dict(checkpoint["network"])
        self.average.network.load_state_dict(checkpoint["average"])
        self.muon.load_state_dict(checkpoint["muon"])
        self.adam.load_state_dict(checkpoint["adam"])
        self.step, self.images = checkpoint["step"], checkpoint["images"]
        self.clock.spent_s = checkpoint["spent_s"]

    def save(self) -> None:
        """Writes the checkpoint; the random generators restart from the step number."""
        if not self.team.is_lead:
            return
        checkpoint = {
            "network": self.unet.state_dict(),
            "average": self.average.network.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "images": self.images,
            "spent_s": self.clock.spent_s,
        }
        save_checkpoint(self.plan.file, checkpoint)

    def loss(self, data: LatentSet) -> tuple[Tensor, Tensor]:
        """Returns the weighted loss of a random batch and its plain mean squared error."""
        indices = self.rng.integers(0, len(data.specs), self.plan.batch_size).tolist()
        latents, masks = data.latents[indices].float(), data.masks[indices].float()
        timesteps = sample_timesteps(self.rng, len(indices))
        noise = torch.randn_like(latents)
        alpha = self.alphas[timesteps][:, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        states = _caption_states(self.text, self.vocabulary, data, indices, self.rng)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.unet(noisy, timesteps, states, return_dict=False)[0]
        error = (predicted - noise).square()
        weighted = (error * (1 + _SUBJECT_WEIGHT * masks)).mean(dim=(1, 2, 3)) * self.weights[timesteps]
        return weighted.mean(), error.detach().mean()

    def train_step(self, data: LatentSet) -> dict[str, float]:
        """Learns from one batch and returns the numbers to log."""
        factor = ramp(self.progress, hold=self.plan.hold, floor=0.01) * min(1.0, (self.step + 1) / 50)
        for optimizer, lr in ((self.muon, self.plan.muon_lr), (self.adam, self.plan.adam_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
        loss, error = self.loss(data)
        loss.backward()
        self.clock.tick()
        norm, self.progress = self.team.average_gradients(self.parameters, 1.0, self.clock.progress)
        self.muon.step()
        self.adam.step()
        self.unet.zero_grad(set_to_none=True)
        self.step += 1
        self.images += self.plan.batch_size * self.team.size
        if self.team.is_lead:
            self.average.update(self.unet, self.step)
        return {"loss": loss.item(), "mse": error.item(), "grad": norm, "lr": factor}


def train_unet(team: Team, plan: UnetPlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint.

    Latents that another process adds meanwhile are taken in at every checkpoint.
    """
    latents = LatentPlan(folder=plan.folder, scenes=0, sizes=plan.sizes)
    data = load_latents(latents)
    trainer = UnetTrainer(team, plan)
    log, saved, first_step = Log("unet", every_s=30.0), time.monotonic(), trainer.step
    while trainer.progress < 1.0 and (plan.max_steps is None or trainer.step - first_step < plan.max_steps):
        row = trainer.train_step(data)
        if team.is_lead:
            log.add(row, images=trainer.images, clock=trainer.clock)
        if time.monotonic() - saved > plan.save_every_s:
            trainer.save()
            data = load_latents(latents)
            saved = time.monotonic()
    trainer.save()
    team.wait()


def load_unet(folder: Path, sizes: NetworkSizes) -> UNet2DConditionModel:
    """Returns the averaged UNet."""
    checkpoint = load_checkpoint(folder / "unet.pt")
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no unet.pt: run the stage 'unet' first.")
    unet = build_unet(sizes)
    unet.load_state_dict(checkpoint["average"])
    return unet.eval().requires_grad_(False)
