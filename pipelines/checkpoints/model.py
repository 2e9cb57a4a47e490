"""What is loaded: the networks of one checkpoint and the facts detected about them once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


class Family(StrEnum):
    """Architecture family of a checkpoint; decides text encoders, conditioning and default size."""

    SD1 = "SD1"
    SD2 = "SD2"
    SDXL = "SDXL"
    SDXL_REFINER = "SDXL refiner"


class Prediction(StrEnum):
    """What the UNet predicts: noise (DDPM, Ho 2020) or velocity (Salimans & Ho 2022, eq. 12)."""

    EPS = "eps"
    V = "v"


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """One file or diffusers folder in the checkpoint list.

    Attributes:
        path: Absolute path of the file, or of the diffusers folder.
        name: Path relative to its root, with `/`; a folder's name has no ending.
        sha256: Hex digest of the file (a folder: of its UNet weights), or None while not hashed yet.
        problem: Why it cannot be loaded, or None.
    """

    path: Path
    name: str
    sha256: str | None = None
    problem: str | None = None

    @property
    def short_hash(self) -> str | None:
        """First 10 hex digits of `sha256`, as A1111 writes in titles and infotext ("Model hash")."""
        return self.sha256[:10] if self.sha256 else None

    @property
    def title(self) -> str:
        """`name [short_hash]`, or `name` while not hashed: what the dropdown shows."""
        return f"{self.name} [{self.short_hash}]" if self.short_hash else self.name

    @property
    def model_name(self) -> str:
        """`name` without ending and with `_` for `/`: what A1111's API calls "model_name"."""
        name = self.name if self.path.is_dir() else self.name.rpartition(".")[0] or self.name
        return re.sub(r"[/\\]", "_", name)

    @property
    def stem(self) -> str:
        """File name without folder and ending: what infotext calls "Model"."""
        return self.path.name if self.path.is_dir() else self.path.stem


@dataclass(kw_only=True)
class LoadedModel:
    """The networks of one checkpoint on their device, with what was detected about them.

    Attributes:
        text_encoders: SD1/SD2/refiner one, SDXL two (CLIP-L, OpenCLIP-G).
        tokenizers: One per text encoder.
        alphas_cumprod: (1000,) float32 on the CPU; as stored in the file where it has them.
        unet_in_channels: 4, 8 (edit model: +4 source latents) or 9 (inpainting: +1 mask, +4 masked latents).
        dtype: Of the UNet and text encoders; `vae_dtype` of the VAE.
        native_size: Side in pixels the model was trained at (512, 768, 1024; the shipped model 128).
        vae_path: File that replaced the checkpoint's own VAE, or None.
    """

    checkpoint: CheckpointInfo
    family: Family
    prediction: Prediction
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    alphas_cumprod: Tensor
    unet_in_channels: int = 4
    native_size: int = 512
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    vae_dtype: torch.dtype = torch.float32
    vae_path: Path | None = None

    @property
    def is_inpaint(self) -> bool:
        """Whether the UNet takes a mask and masked latents beside the noisy latents."""
        return self.unet_in_channels == 9

    @property
    def is_edit(self) -> bool:
        """Whether the UNet takes source latents beside the noisy latents (InstructPix2Pix)."""
        return self.unet_in_channels == 8
