"""Loads a checkpoint, single file or diffusers folder, without network access."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.checkpoints.detect import detect
from pipelines.checkpoints.folder import load_folder
from pipelines.checkpoints.libraries import AutoencoderKL, UNet2DConditionModel
from pipelines.checkpoints.model import CheckpointInfo, Family, LoadedModel, Prediction
from pipelines.checkpoints.single_file import load_single_file, load_vae_file
from pipelines.conditioning.tokenizer import clip_tokenizer
from pipelines.device import DevicePolicy
from schema.errors import CheckpointError

_SINGLE_FILE_SIZES = {Family.SD1: 512, Family.SD2: 512, Family.SDXL: 1024, Family.SDXL_REFINER: 1024}


def load_checkpoint(info: CheckpointInfo, policy: DevicePolicy, *, vae_path: Path | None = None) -> LoadedModel:
    """The networks of a checkpoint on the policy's device, ready for inference.

    Args:
        vae_path: VAE file to use instead of the checkpoint's own.

    Raises:
        CheckpointError: If the file cannot be used; the message says why.

    Source: A1111 modules/sd_models.py, load_model and load_model_weights.
    """
    found = detect(info.path)
    load = load_folder if found.is_folder else load_single_file
    parts = load(info.path, found, policy, with_vae=vae_path is None)
    own_vae = load_vae_file(vae_path, found.family, policy.vae_dtype) if vae_path else parts.vae
    if own_vae is None:
        raise CheckpointError(f"'{info.name}' has no VAE. Choose one under SD VAE.")
    unet = _placed_unet(parts.unet, policy)
    prediction = found.prediction or probe_prediction(unet)
    return LoadedModel(
        checkpoint=info,
        family=found.family,
        prediction=prediction,
        unet=unet,
        vae=place_vae(own_vae, policy),
        text_encoders=tuple(encoder.to(policy.device) for encoder in parts.text_encoders),
        tokenizers=tuple(clip_tokenizer(pad=pad) for pad in _padding(found.family)),
        alphas_cumprod=parts.alphas_cumprod,
        unet_in_channels=found.in_channels,
        native_size=_native_size(unet, own_vae) if found.is_folder else _size_of_family(found.family, prediction),
        device=policy.device,
        dtype=policy.dtype,
        vae_dtype=policy.vae_dtype,
        vae_path=vae_path,
    )


def place_vae(vae: AutoencoderKL, policy: DevicePolicy) -> AutoencoderKL:
    """`vae` moved to the policy's device and memory layout."""
    vae.to(device=policy.device)
    return vae.to(memory_format=torch.channels_last) if policy.channels_last else vae


def _placed_unet(unet: UNet2DConditionModel, policy: DevicePolicy) -> UNet2DConditionModel:
    unet.to(device=policy.device)
    return unet.to(memory_format=torch.channels_last) if policy.channels_last else unet


def probe_prediction(unet: UNet2DConditionModel) -> Prediction:
    """Whether an SD 2 UNet predicts noise or velocity, found by running it once on a constant input of 0.5.

    At the last timestep a noise prediction is close to its input, a velocity prediction to minus the clean picture.

    Source: A1111 modules/sd_models_config.py, is_using_v_parameterization_for_sd2.
    """
    width = int(unet.config["cross_attention_dim"])
    x = torch.full((1, int(unet.config["in_channels"]), 8, 8), 0.5, device=unet.device, dtype=unet.dtype)
    context = torch.full((1, 2, width), 0.5, device=unet.device, dtype=unet.dtype)
    with torch.no_grad():
        prediction = unet(x, torch.tensor(999, device=unet.device), context).sample
    return Prediction.V if (prediction - x).float().mean().item() < -1 else Prediction.EPS


def _padding(family: Family) -> tuple[str, ...]:
    """Per tokenizer, the token that fills up a chunk: OpenCLIP's is token 0, an exclamation mark."""
    end, zero = "<|endoftext|>", "!"
    by_family = {Family.SD1: (end,), Family.SD2: (zero,), Family.SDXL: (end, zero), Family.SDXL_REFINER: (zero,)}
    return by_family[family]


def _native_size(unet: UNet2DConditionModel, vae: AutoencoderKL) -> int:
    sample_size = unet.config.get("sample_size") or 64
    side = max(sample_size) if isinstance(sample_size, (list, tuple)) else sample_size
    return int(side) * 2 ** (len(vae.config["block_out_channels"]) - 1)


def _size_of_family(family: Family, prediction: Prediction) -> int:
    if family is Family.SD2 and prediction is Prediction.V:
        return 768
    return _SINGLE_FILE_SIZES[family]
