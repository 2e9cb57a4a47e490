"""Reads the parts of a single-file checkpoint (LDM layout) and of VAE files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pipelines.checkpoints import convert, shapes
from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.build import build_text_encoder, build_unet, build_vae
from pipelines.checkpoints.detect import Detected
from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.layout import family_config
from pipelines.checkpoints.libraries import AutoencoderKL
from pipelines.checkpoints.model import Family
from pipelines.checkpoints.parts import Parts, TextEncoder
from schema.errors import CheckpointError

# Per family and encoder: configuration, prefix in the file, whether it is OpenCLIP.
_TEXT_ENCODERS: dict[Family, tuple[tuple[str, str, bool], ...]] = {
    Family.SD1: (("text_encoder", "cond_stage_model.transformer.", False),),
    Family.SD2: (("text_encoder", "cond_stage_model.model.", True),),
    Family.SDXL: (
        ("text_encoder", "conditioner.embedders.0.transformer.", False),
        ("text_encoder_2", "conditioner.embedders.1.model.", True),
    ),
    Family.SDXL_REFINER: (("text_encoder", "conditioner.embedders.0.model.", True),),
}


def load_single_file(path: Path, found: Detected, dtype: torch.dtype) -> Parts:
    """UNet and text encoders of a single-file checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file is damaged or lacks a text encoder or UNet tensors.
    """
    weights = convert.repaired(read_state_dict(path))
    text_encoders = tuple(
        _text_encoder(found.family, config, convert.part(weights, prefix), dtype, is_open_clip=is_open_clip)
        for config, prefix, is_open_clip in _TEXT_ENCODERS[found.family]
    )
    pooled_size = int(text_encoders[-1].config.projection_dim or 0)
    config = shapes.fit_unet_config(
        family_config(found.family, "unet"), convert.part(weights, convert.UNET), pooled_size=pooled_size
    )
    return Parts(
        unet=build_unet(config, convert.unet_weights(weights, config), dtype),
        text_encoders=text_encoders,
        alphas_cumprod=_stored_alphas(weights, found.family),
    )


def load_single_file_vae(path: Path, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE inside a single-file checkpoint, on the CPU.

    Raises:
        CheckpointError: If there is none or it is damaged.
    """
    weights = convert.part(read_state_dict(path), convert.VAE)
    if not weights:
        raise CheckpointError(f"'{path.name}' has no VAE. Choose one under SD VAE.")
    return _vae_from(weights, family, dtype)


def load_vae_file(path: Path, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE in a file of its own (`.safetensors`, `.ckpt`, `.pt`) or inside another checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file is damaged or no VAE.

    Source: A1111 modules/sd_vae.py, load_vae.
    """
    weights = read_state_dict(path)
    weights = convert.part(weights, convert.VAE) or weights
    if "decoder.conv_in.weight" not in weights:
        raise CheckpointError(f"'{path.name}' is no VAE.")
    return _vae_from(weights, family, dtype)


def _vae_from(weights: convert.Weights, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    config = shapes.fit_vae_config(family_config(family, "vae"), weights)
    return build_vae(config, convert.vae_weights(weights, config), dtype)


def _text_encoder(
    family: Family, config: str, weights: convert.Weights, dtype: torch.dtype, *, is_open_clip: bool
) -> TextEncoder:
    if not weights:
        raise CheckpointError("The checkpoint has no text encoder. Take the complete file.")
    named = convert.open_clip_weights(weights) if is_open_clip else convert.clip_weights(weights)
    if family is Family.SD2:
        # Stable Diffusion 2 reads OpenCLIP's last but one layer; diffusers' convention is to cut off the last.
        last = shapes.count(named, "encoder.layers.") - 1
        dropped = (f"encoder.layers.{last}.", "text_projection.")
        named = {name: value for name, value in named.items() if not name.startswith(dropped)}
    return build_text_encoder(shapes.fit_text_config(family_config(family, config), named), named, dtype)


def _stored_alphas(weights: convert.Weights, family: Family) -> Tensor:
    """alphas_cumprod of the file where the reference program would read it, else the computed table.

    Its SD 1 and SD 2 models keep the table in a buffer that the file overwrites (rounded to float16 in half precision
    files); its SDXL models always compute it.

    Source: A1111 modules/sd_models.py, load_model_weights; modules/sd_models_xl.py, extend_sdxl.
    """
    stored = weights.get("alphas_cumprod")
    if stored is None or stored.shape != (1000,) or family in (Family.SDXL, Family.SDXL_REFINER):
        return training_alphas()
    return stored.float()
