"""Reads the parts of a single-file checkpoint (LDM layout) and of VAE files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.checkpoints import convert, shapes
from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.build import build_text_encoder, build_unet, build_vae
from pipelines.checkpoints.detect import Detected, read_json
from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.libraries import AutoencoderKL
from pipelines.checkpoints.model import Family
from pipelines.checkpoints.parts import Parts, TextEncoder
from pipelines.device import DevicePolicy
from schema.errors import CheckpointError

_CONFIGS = Path(__file__).parent / "configs"
_CONFIG_FOLDERS = {Family.SD1: "sd1", Family.SD2: "sd2", Family.SDXL: "sdxl", Family.SDXL_REFINER: "refiner"}

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


def family_config(family: Family, component: str) -> dict[str, Any]:
    """The configuration we ship for a component ("unet", "vae", "text_encoder", "text_encoder_2") of a family."""
    return read_json(_CONFIGS / _CONFIG_FOLDERS[family] / f"{component}.json")


def load_single_file(path: Path, found: Detected, policy: DevicePolicy, *, with_vae: bool) -> Parts:
    """The networks in a single-file checkpoint, on the CPU; `with_vae` is off where another VAE replaces its own.

    Raises:
        CheckpointError: If the file is damaged or lacks a text encoder or UNet tensors.
    """
    weights = convert.repaired(read_state_dict(path))
    text_encoders = tuple(
        _text_encoder(found.family, config, convert.part(weights, prefix), policy.dtype, is_open_clip=is_open_clip)
        for config, prefix, is_open_clip in _TEXT_ENCODERS[found.family]
    )
    pooled_size = int(text_encoders[-1].config.projection_dim)
    unet_config = shapes.fit_unet_config(
        family_config(found.family, "unet"), convert.part(weights, convert.UNET), pooled_size=pooled_size
    )
    own_vae = convert.part(weights, convert.VAE) if with_vae else {}
    return Parts(
        unet=build_unet(unet_config, convert.unet_weights(weights, unet_config), policy.dtype),
        vae=build_vae_from(own_vae, found.family, policy.vae_dtype) if own_vae else None,
        text_encoders=text_encoders,
        alphas_cumprod=_stored_alphas(weights, found.family),
    )


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


def build_vae_from(weights: convert.Weights, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE with these weights, in LDM or diffusers names without prefix, scaled as the family's models expect.

    Raises:
        CheckpointError: If the tensors are no complete VAE.
    """
    config = shapes.fit_vae_config(family_config(family, "vae"), weights)
    return build_vae(config, convert.vae_weights(weights, config), dtype)


def load_vae_file(path: Path, family: Family, dtype: torch.dtype) -> AutoencoderKL:
    """The VAE in a file of its own (`.safetensors`, `.ckpt`, `.pt`), or the one inside a checkpoint.

    Raises:
        CheckpointError: If the file is damaged or no VAE.

    Source: A1111 modules/sd_vae.py, load_vae.
    """
    weights = read_state_dict(path)
    weights = convert.part(weights, convert.VAE) or weights
    if "decoder.conv_in.weight" not in weights:
        raise CheckpointError(f"'{path.name}' is no VAE.")
    return build_vae_from(weights, family, dtype)


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
