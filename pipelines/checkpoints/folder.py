"""Reads the parts of a diffusers folder."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.build import build_text_encoder, build_unet, build_vae
from pipelines.checkpoints.convert import vae_weights
from pipelines.checkpoints.detect import Detected
from pipelines.checkpoints.layout import family_config, read_component, read_json
from pipelines.checkpoints.libraries import AutoencoderKL
from pipelines.checkpoints.model import Family
from pipelines.checkpoints.parts import Parts
from schema.errors import CheckpointError


def load_folder(path: Path, found: Detected, dtype: torch.dtype) -> Parts:
    """UNet and text encoders of a diffusers folder, on the CPU.

    Raises:
        CheckpointError: If a part is missing or damaged.
    """
    encoders = [path / name for name in ("text_encoder", "text_encoder_2") if (path / name).is_dir()]
    if len(encoders) != (2 if found.family is Family.SDXL else 1):
        raise CheckpointError(f"'{path.name}' has {len(encoders)} text encoders, which is wrong for {found.family}.")
    return Parts(
        unet=build_unet(read_json(path / "unet" / "config.json"), read_component(path / "unet"), dtype),
        text_encoders=tuple(
            build_text_encoder(read_json(folder / "config.json"), read_component(folder), dtype) for folder in encoders
        ),
        alphas_cumprod=training_alphas(read_json(path / "scheduler" / "scheduler_config.json")),
    )


def load_folder_vae(path: Path, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE of a diffusers folder, on the CPU.

    Raises:
        CheckpointError: If there is none or it is damaged.
    """
    if not (path / "vae").is_dir():
        raise CheckpointError(f"'{path.name}' has no VAE. Choose one under SD VAE.")
    config = read_json(path / "vae" / "config.json")
    # Old folders do not state it; diffusers then assumes the one of SD 1 for every family.
    config.setdefault("scaling_factor", family_config(family, "vae")["scaling_factor"])
    return build_vae(config, vae_weights(read_component(path / "vae"), config), dtype)
