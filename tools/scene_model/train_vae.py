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
from torch import Tensor, nn

from tools.scene_model.learning import (
    Averaged,
    Checkpoint,
    Clock,
    Log,
    Muon,
    load_checkpoint,
    ramp,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from tools.scene_model.networks import LATENT_FACTOR, SHIPPED, NetworkSizes, build_vae
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
    """

    folder: Path
    budget_s: float
    sizes: NetworkSizes = SHIPPED
    batch_size: int = 4
    adam_lr: float = 5e-4
    muon_lr: float = 0.01
    is_decoder_only: bool = False
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
        posterior = vae.encode(images).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
    mean, std = posterior.mean, posterior.std
    output: Tensor = vae.decode(mean + std * torch.randn_like(mean)).sample  # pyright: ignore[reportAttributeAccessIssue]
    loss = reconstruction_loss(output, images)
    if not is_decoder_only:
        divergence = 0.5 * (mean.square() + std.square() - 1 - posterior.logvar).mean()
        guide = (mean[:, :3] - _GUIDE_SCALE * F.avg_pool2d(images, LATENT_FACTOR)).abs().mean()
        loss = loss + 5e-4 * divergence + max(0.05, 0.5 * (1 - progress / 0.6)) * guide
    return loss, (output.detach() - images).abs().mean()


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the trained weights for Muon (inner matrices and kernels) and those for AdamW (the rest)."""
    inner: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_edge = "conv_in" in name or "conv_out" in name or "embedding" in name or "quant_conv" in name
        (rest if parameter.dim() < 2 or is_edge else inner).append(parameter)
    return inner, rest


def measure_scaling_factor(vae: AutoencoderKL, count: int = 128) -> float:
    """Returns the factor that gives latents of `count` pictures unit standard deviation."""
    with torch.no_grad():
        images = np.stack([random_scene(10**12 + index).image for index in range(count)])
        latents = [vae.encode(to_tensor(images[i : i + 16])).latent_dist.mean for i in range(0, count, 16)]  # pyright: ignore[reportAttributeAccessIssue]
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


def _restore(plan: VaePlan, vae: AutoencoderKL, average: Averaged) -> Checkpoint | None:
    checkpoint = load_checkpoint(plan.file)
    if checkpoint is not None:
        vae.load_state_dict(checkpoint["network"])
        average.network.load_state_dict(checkpoint["average"])
    elif plan.is_decoder_only:
        finished = load_vae(plan.folder, plan.sizes)
        vae.load_state_dict(finished.state_dict())
        average.network.load_state_dict(finished.state_dict())
    return checkpoint


def train_vae(team: Team, plan: VaePlan) -> None:
    """Trains until the time budget is spent; a later call goes on from the last checkpoint."""
    torch.manual_seed(team.rank)
    rng = np.random.default_rng(1000 + team.rank + 77 * plan.is_decoder_only)
    vae = build_vae(plan.sizes)
    if plan.is_decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    if team.size > 1:
        torch.manual_seed(0)
        vae.load_state_dict(build_vae(plan.sizes).state_dict())
        torch.manual_seed(100 + team.rank)
    average = Averaged(vae, 0.998)
    inner, rest = split_parameters(vae)
    muon = Muon(inner, lr=plan.muon_lr)
    adam = torch.optim.AdamW(rest, lr=plan.adam_lr, betas=(0.9, 0.99), weight_decay=1e-4)
    clock, step, images_seen = Clock(budget_s=plan.budget_s), 0, 0
    checkpoint = _restore(plan, vae, average)
    if checkpoint is not None:
        muon.load_state_dict(checkpoint["muon"])
        adam.load_state_dict(checkpoint["adam"])
        restore_random_state(rng, checkpoint["random"])
        step, images_seen, clock.spent_s = checkpoint["step"], checkpoint["images"], checkpoint["spent_s"]
        rng = np.random.default_rng([step, team.rank])
    log, batches = Log(plan.file.stem), _batches(rng, plan.batch_size)
    saved, progress, first_step = time.monotonic(), clock.progress, step

    def save() -> None:
        if not team.is_lead:
            return
        network: AutoencoderKL = average.network  # pyright: ignore[reportAssignmentType]
        save_checkpoint(
            plan.file,
            {
                "network": vae.state_dict(),
                "average": network.state_dict(),
                "muon": muon.state_dict(),
                "adam": adam.state_dict(),
                "random": random_state(rng),
                "step": step,
                "images": images_seen,
                "spent_s": clock.spent_s,
                "scaling_factor": measure_scaling_factor(network),
            },
        )

    while progress < 1.0 and (plan.max_steps is None or step - first_step < plan.max_steps):
        pictures = next(batches)
        is_cropped = progress < 0.5 and not plan.is_decoder_only
        images = to_tensor(_crops(np.concatenate([pictures, next(batches)]), rng) if is_cropped else pictures)
        factor = ramp(progress, hold=0.4) * min(1.0, (step + 1) / 30)
        for group in muon.param_groups:
            group["lr"] = plan.muon_lr * factor
        for group in adam.param_groups:
            group["lr"] = plan.adam_lr * factor
        loss, error = vae_loss(vae, images, progress, is_decoder_only=plan.is_decoder_only)
        loss.backward()
        clock.tick()
        norm, progress = team.average_gradients([*inner, *rest], 1.0, clock.progress)
        muon.step()
        adam.step()
        vae.zero_grad(set_to_none=True)
        step += 1
        images_seen += plan.batch_size * team.size
        average.update(vae, step)
        log.add({"loss": loss.item(), "l1": error.item(), "grad": norm}, images=images_seen, clock=clock)
        if time.monotonic() - saved > plan.save_every_s:
            save()
            saved = time.monotonic()
    save()
    team.wait()
