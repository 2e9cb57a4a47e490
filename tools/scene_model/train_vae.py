"""Trains the autoencoder; later only its decoder, while the UNet already learns from the frozen encoder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from tools.scene_model.learner import Learner, LearningRates
from tools.scene_model.learning import Log, load_checkpoint
from tools.scene_model.networks import (
    LATENT_FACTOR,
    SHIPPED,
    NetworkSizes,
    build_vae,
    decode_latents,
    encode_posterior,
)
from tools.scene_model.render import random_scene
from tools.scene_model.team import Team

# Latent channels 0 to 2 are pulled toward the picture's colours at latent size, times this. Without the pull the
# autoencoder spends its first minutes mixing up red with orange and green with brown.
_GUIDE_SCALE = 2.0
_CROP = 64


@dataclass(frozen=True, kw_only=True)
class VaePlan:
    """How the autoencoder is trained.

    Attributes:
        budget_s: Wall-clock time of the stage, over all runs.
        is_decoder_only: Freeze the encoder and start from the finished stage's file.
        scaling_images: Number of pictures the scaling factor is measured on.
    """

    folder: Path
    budget_s: float
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 4
    adam_lr: float = 5e-4
    muon_lr: float = 0.02
    is_decoder_only: bool = False
    scaling_images: int = 96
    save_every_s: float = 120.0
    max_steps: int | None = None

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.folder / ("decoder.pt" if self.is_decoder_only else "vae.pt")


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Converts pictures, (n, H, W, 3), 0 to 255, into (n, 3, H, W), float in [-1, 1]."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return batch.contiguous(memory_format=torch.channels_last)


def to_images(batch: Tensor) -> NDArray[np.uint8]:
    """Converts (n, 3, H, W), float in [-1, 1], into pictures, (n, H, W, 3), 0 to 255."""
    return batch.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def _batches(rng: np.random.Generator, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yields endless batches of fresh pictures, half of them mirrored."""
    while True:
        scenes = [random_scene(int(rng.integers(2**40)), allow_held_out=True).image for _ in range(size)]
        yield np.stack([image[:, ::-1] if rng.random() < 0.5 else image for image in scenes])


def _crops(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns four random quarters of each picture's size, cut anywhere: more variety for the same pixels."""
    room = images.shape[1] - _CROP + 1
    corners = rng.integers(0, room, (len(images), 2, 2))
    crops = [
        image[y : y + _CROP, x : x + _CROP] for image, pairs in zip(images, corners, strict=True) for y, x in pairs
    ]
    return np.stack(crops)


def _edge_error(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Returns how far a decoded picture is from its target, in colour, edges and eighth-size averages."""
    absolute = (output - target).abs().mean()
    squared = (output - target).square().mean()
    average = (F.avg_pool2d(output, LATENT_FACTOR) - F.avg_pool2d(target, LATENT_FACTOR)).abs().mean()
    return absolute + 0.35 * _edge_error(output, target) + 0.3 * squared + average


def vae_loss(vae: AutoencoderKL, images: Tensor, progress: float, *, is_decoder_only: bool) -> tuple[Tensor, Tensor]:
    """Returns the training loss and the mean absolute error of the reconstruction."""
    with torch.set_grad_enabled(not is_decoder_only):
        mean, std = encode_posterior(vae, images)
    output = decode_latents(vae, mean + std * torch.randn_like(mean))
    loss = reconstruction_loss(output, images)
    if not is_decoder_only:
        divergence = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).mean()
        guide = (mean[:, :3] - _GUIDE_SCALE * F.avg_pool2d(images, LATENT_FACTOR)).abs().mean()
        loss = loss + 5e-4 * divergence + max(0.05, 0.5 * (1 - progress / 0.6)) * guide
    return loss, (output.detach() - images).abs().mean()


def measure_scaling_factor(vae: AutoencoderKL, count: int) -> float:
    """Returns the factor that gives latents of `count` pictures unit standard deviation."""
    images = np.stack([random_scene(10**12 + index).image for index in range(count)])
    with torch.no_grad():
        latents = [encode_posterior(vae, to_tensor(images[i : i + 16]))[0] for i in range(0, count, 16)]
    return 1.0 / float(torch.cat(latents).std())


def load_vae(folder: Path, sizes: NetworkSizes) -> AutoencoderKL:
    """Returns the averaged autoencoder with the newest decoder there is, and the encoder's scaling factor."""
    vae = build_vae(sizes).eval()
    checkpoint = load_checkpoint(folder / "vae.pt")
    if checkpoint is None:
        raise FileNotFoundError(f"'{folder}' holds no vae.pt: run the stage 'vae' first.")
    newer = load_checkpoint(folder / "decoder.pt")
    vae.load_state_dict((newer or checkpoint)["average"])
    vae.register_to_config(scaling_factor=checkpoint["scaling_factor"])
    return vae


class VaeTrainer:
    """The autoencoder with everything its training needs."""

    def __init__(self, team: Team, plan: VaePlan) -> None:
        self.plan = plan
        torch.manual_seed(0)
        self.vae = build_vae(plan.sizes)
        if plan.is_decoder_only:
            for part in (self.vae.encoder, self.vae.quant_conv):
                assert part is not None
                part.requires_grad_(False)
        rates = LearningRates(adam=plan.adam_lr, muon=plan.muon_lr, hold=0.4)
        self.learner = Learner(self.vae, team, plan.file, plan.budget_s, rates)
        if not self.learner.restore() and plan.is_decoder_only:
            finished = load_vae(plan.folder, plan.sizes).state_dict()
            self.vae.load_state_dict(finished)
            self.learner.average.network.load_state_dict(finished)
        self.rng = np.random.default_rng([17, int(plan.is_decoder_only), self.learner.step, team.rank])
        torch.manual_seed(1000 * self.learner.step + team.rank)
        self.batches = _batches(self.rng, plan.batch_size)

    def save(self) -> None:
        """Writes the checkpoint with the scaling factor of its latents."""
        network = self.learner.average.network
        assert isinstance(network, AutoencoderKL)
        if self.learner.team.is_lead:
            self.learner.save(scaling_factor=measure_scaling_factor(network, self.plan.scaling_images))

    def next_images(self) -> Tensor:
        """Returns a batch: quarter-size crops of twice the pictures at first, whole pictures later."""
        pictures = next(self.batches)
        if self.learner.progress < 0.5 and not self.plan.is_decoder_only:
            pictures = _crops(np.concatenate([pictures, next(self.batches)]), self.rng)
        return to_tensor(pictures)


def train_vae(team: Team, plan: VaePlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint."""
    trainer = VaeTrainer(team, plan)
    learner = trainer.learner
    log, saved, first_step = Log(plan.file.stem), time.monotonic(), learner.step
    while learner.progress < 1.0 and (plan.max_steps is None or learner.step - first_step < plan.max_steps):
        images = trainer.next_images()
        loss, error = vae_loss(trainer.vae, images, learner.progress, is_decoder_only=plan.is_decoder_only)
        row = learner.learn(loss, plan.batch_size)
        if team.is_lead:
            log.add({**row, "l1": error.item()}, images=learner.images, clock=learner.clock)
        if time.monotonic() - saved > plan.save_every_s:
            trainer.save()
            saved = time.monotonic()
    trainer.save()
    team.wait()
