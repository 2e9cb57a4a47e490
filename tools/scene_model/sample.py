"""Makes pictures from captions with networks in memory: enough to evaluate, without the program around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DPMSolverMultistepScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel

from tools.scene_model.networks import (
    LATENT_CHANNELS,
    LATENT_FACTOR,
    TEXT_LENGTH,
    NetworkSizes,
    decode_latents,
    scaling_factor,
)
from tools.scene_model.render import NATIVE_SIZE
from tools.scene_model.tokens import compact_vocabulary, load_tokenizer
from tools.scene_model.train_text import encode, load_text_encoder
from tools.scene_model.train_unet import SCHEDULE, load_unet
from tools.scene_model.train_vae import load_vae, to_images


@dataclass(frozen=True, kw_only=True)
class Painter:
    """The three networks; `encode_captions` turns n captions into states, (n, 77, width)."""

    encode_captions: Callable[[list[str]], Tensor]
    unet: UNet2DConditionModel
    vae: AutoencoderKL


@dataclass(frozen=True, kw_only=True)
class Control:
    """A ControlNet with a control picture for each caption, (n, H, W, 3), 0 to 255; acts at all steps."""

    network: ControlNetModel
    pictures: NDArray[np.uint8]
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How pictures are sampled: DPM++ 2M with Karras sigmas."""

    steps: int = 20
    cfg_scale: float = 4.0
    seed: int = 0
    negative_prompt: str = ""
    size: int = NATIVE_SIZE
    batch_size: int = 30


def load_checkpoint_painter(folder: Path, sizes: NetworkSizes) -> Painter:
    """Returns the averaged networks of a training folder."""
    text, vocabulary = load_text_encoder(folder, sizes), compact_vocabulary()
    return Painter(
        encode_captions=lambda captions: encode(text, vocabulary.encode_batch(captions)),
        unet=load_unet(folder, sizes),
        vae=load_vae(folder, sizes),
    )


def load_exported_painter(folder: Path) -> Painter:
    """Returns the networks of a diffusers folder, in float32."""
    text = CLIPTextModel.from_pretrained(str(folder / "text_encoder"), dtype=torch.float32)
    tokenizer = load_tokenizer()

    def encode_captions(captions: list[str]) -> Tensor:
        options: dict[str, Any] = {"padding": "max_length", "max_length": TEXT_LENGTH, "truncation": True}
        tokens = tokenizer(captions, return_tensors="pt", **options)["input_ids"]
        assert isinstance(tokens, Tensor)
        return encode(text, tokens)

    unet = UNet2DConditionModel.from_pretrained(str(folder / "unet"), torch_dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(str(folder / "vae"), torch_dtype=torch.float32)
    return Painter(encode_captions=encode_captions, unet=unet.eval(), vae=vae.eval())


def _start_noise(count: int, first_seed: int, size: int) -> Tensor:
    """Returns noise, (n, 4, size/8, size/8), picture i's from seed `first_seed + i` whatever the batch."""
    cells = size // LATENT_FACTOR
    generators = [torch.Generator().manual_seed(first_seed + index) for index in range(count)]
    return torch.stack([torch.randn(LATENT_CHANNELS, cells, cells, generator=generator) for generator in generators])


def picture_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Converts control pictures, (n, H, W, 3), 0 to 255, into (n, 3, H, W), float in [0, 1]."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255)
    return batch.contiguous(memory_format=torch.channels_last)


def controlled_noise(
    unet: UNet2DConditionModel,
    controls: Sequence[tuple[ControlNetModel, Tensor, float]],
    noisy: Tensor,
    timesteps: Tensor,
    states: Tensor,
) -> Tensor:
    """Returns the noise the UNet predicts, (n, 4, h, w), with the residuals of all ControlNets added.

    Args:
        unet: The UNet.
        controls: ControlNets with their pictures, (n, 3, 8h, 8w), 0 to 1, and weights; may be empty.
        noisy: Noisy latents, (n, 4, h, w).
        timesteps: (n,), or one for all.
        states: Text states, (n, 77, width).
    """
    residuals = [
        network(noisy, timesteps, states, pictures, conditioning_scale=weight, return_dict=False)
        for network, pictures, weight in controls
    ]
    down = [torch.stack(level).sum(dim=0) for level in zip(*(each for each, _ in residuals), strict=True)]
    return unet(
        noisy,
        timesteps,
        states,
        down_block_additional_residuals=tuple(down) if residuals else None,
        mid_block_additional_residual=torch.stack([each for _, each in residuals]).sum(dim=0) if residuals else None,
        return_dict=False,
    )[0]


@torch.no_grad()
def _paint_batch(
    painter: Painter, captions: list[str], options: SamplingOptions, seed: int, controls: Sequence[Control]
) -> NDArray[np.uint8]:
    scheduler = DPMSolverMultistepScheduler(**SCHEDULE, algorithm_type="dpmsolver++", use_karras_sigmas=True)
    scheduler.set_timesteps(options.steps)
    count = len(captions)
    states = painter.encode_captions(captions)
    negative = painter.encode_captions([options.negative_prompt]).expand(count, -1, -1)
    both = torch.cat([negative, states])
    pictures = [(each.network, picture_tensor(np.concatenate([each.pictures] * 2)), each.weight) for each in controls]
    latents = _start_noise(count, seed, options.size) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        doubled = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
        doubled = doubled.contiguous(memory_format=torch.channels_last)
        without, wanted = controlled_noise(painter.unet, pictures, doubled, timestep, both).chunk(2)
        guided = without + options.cfg_scale * (wanted - without)
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    return to_images(decode_latents(painter.vae, latents / scaling_factor(painter.vae)))


def paint(
    painter: Painter, captions: list[str], options: SamplingOptions, controls: Sequence[Control] = ()
) -> NDArray[np.uint8]:
    """Returns one picture a caption, (n, size, size, 3); picture i starts from noise `seed + i`."""
    batches: list[NDArray[np.uint8]] = []
    for start in range(0, len(captions), options.batch_size):
        part = slice(start, start + options.batch_size)
        guides = [replace(each, pictures=each.pictures[part]) for each in controls]
        batches.append(_paint_batch(painter, captions[part], options, options.seed + start, guides))
    return np.concatenate(batches)


def write_sheet(images: NDArray[np.uint8], path: Path, columns: int) -> None:
    """Saves pictures side by side as PNG; missing ones at the end stay white."""
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = index // columns * height, index % columns * width
        sheet[y : y + height, x : x + width] = image
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet[..., ::-1])
