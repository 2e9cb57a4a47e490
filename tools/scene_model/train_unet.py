"""Trains the UNet on cached latents with the frozen text encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from tools.scene_model.learner import Learner, LearningRates
from tools.scene_model.learning import Log, load_checkpoint
from tools.scene_model.networks import SHIPPED, TRAIN_TIMESTEPS, NetworkSizes, build_unet
from tools.scene_model.team import Team
from tools.scene_model.tokens import CompactVocabulary, compact_vocabulary, with_unknown_words
from tools.scene_model.train_text import encode, load_text_encoder

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


def caption_states(
    text: CLIPTextModel, vocabulary: CompactVocabulary, captions: Sequence[str], rng: np.random.Generator
) -> Tensor:
    """Returns the states of captions, (n, 77, width); some get unknown words strewn in."""
    shares = [0.1 if caption else 0.0 for caption in captions]
    pairs = zip(captions, shares, strict=True)
    rows = [with_unknown_words(vocabulary.encode(caption), rng, share) for caption, share in pairs]
    with torch.no_grad():
        return encode(text, vocabulary.pad(rows))


def add_noise(latents: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
    """Returns noisy latents, (n, 4, h, w), at the cumulative alphas (n,), and the noise in them."""
    noise = torch.randn_like(latents)
    alpha = alphas[:, None, None, None]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    return noisy.contiguous(memory_format=torch.channels_last), noise


def weighted_error(predicted: Tensor, noise: Tensor, masks: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the loss of predicted noise, four times as strict inside the subject, and its mean squared error."""
    error = (predicted - noise).square()
    weighted = (error * (1 + _SUBJECT_WEIGHT * masks)).mean(dim=(1, 2, 3)) * weights
    return weighted.mean(), error.detach().mean()


class UnetTrainer:
    """The UNet with everything its training needs; one step at a time."""

    def __init__(self, team: Team, plan: UnetPlan) -> None:
        self.plan = plan
        torch.manual_seed(7)
        self.unet = build_unet(plan.sizes)
        rates = LearningRates(adam=plan.adam_lr, muon=plan.muon_lr, hold=plan.hold, floor=0.01, warmup=50)
        self.learner = Learner(self.unet, team, plan.file, plan.budget_s, rates)
        self.learner.restore()
        self.rng = np.random.default_rng([11, self.learner.step, team.rank])
        torch.manual_seed(1000 * self.learner.step + team.rank)
        self.text = load_text_encoder(plan.folder, plan.sizes)
        self.vocabulary = compact_vocabulary()
        self.alphas = noise_levels()
        self.weights = timestep_weights(self.alphas)

    def loss(self, data: LatentSet) -> tuple[Tensor, Tensor]:
        """Returns the weighted loss of a random batch and its plain mean squared error."""
        indices = self.rng.integers(0, len(data.specs), self.plan.batch_size).tolist()
        timesteps = sample_timesteps(self.rng, len(indices))
        noisy, noise = add_noise(data.latents[indices].float(), self.alphas[timesteps])
        captions = [
            "" if self.rng.random() < _EMPTY_CAPTIONS else write_caption(data.specs[index], self.rng)
            for index in indices
        ]
        states = caption_states(self.text, self.vocabulary, captions, self.rng)
        predicted: Tensor = self.unet(noisy, timesteps, states, return_dict=False)[0]
        return weighted_error(predicted, noise, data.masks[indices].float(), self.weights[timesteps])


def train_unet(team: Team, plan: UnetPlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint.

    Latents that another process adds meanwhile are taken in at every checkpoint.
    """
    latents = LatentPlan(folder=plan.folder, scenes=0, sizes=plan.sizes)
    data = load_latents(latents)
    trainer = UnetTrainer(team, plan)
    learner = trainer.learner
    log, saved, first_step = Log("unet", every_s=30.0), time.monotonic(), learner.step
    while learner.progress < 1.0 and (plan.max_steps is None or learner.step - first_step < plan.max_steps):
        loss, error = trainer.loss(data)
        row = learner.learn(loss, plan.batch_size)
        if team.is_lead:
            log.add({**row, "mse": error.item()}, images=learner.images, clock=learner.clock)
        if time.monotonic() - saved > plan.save_every_s:
            learner.save()
            data = load_latents(latents)
            saved = time.monotonic()
    learner.save()
    team.wait()


def load_unet(folder: Path, sizes: NetworkSizes) -> UNet2DConditionModel:
    """Returns the averaged UNet."""
    checkpoint = load_checkpoint(folder / "unet.pt")
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no unet.pt: run the stage 'unet' first.")
    unet = build_unet(sizes)
    unet.load_state_dict(checkpoint["average"])
    return unet.eval().requires_grad_(False)
