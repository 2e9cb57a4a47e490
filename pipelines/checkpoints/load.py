"""Loads a checkpoint, single file or diffusers folder, without network access."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from pipelines.checkpoints.detect import detect
from pipelines.checkpoints.folder import load_folder, load_folder_vae
from pipelines.checkpoints.layout import read_json
from pipelines.checkpoints.libraries import AutoencoderKL, UNet2DConditionModel
from pipelines.checkpoints.model import CheckpointInfo, Family, LoadedModel, Prediction
from pipelines.checkpoints.single_file import load_single_file, load_single_file_vae, load_vae_file
from pipelines.conditioning.tokenizer import clip_tokenizer
from pipelines.device import DevicePolicy

Network = TypeVar("Network", bound=nn.Module)

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
    parts = load(info.path, found, policy.dtype)
    vae = _vae(info.path, found.family, policy, vae_path)
    unet = place(parts.unet, policy)
    prediction = found.prediction or probe_prediction(unet)
    return LoadedModel(
        checkpoint=info,
        family=found.family,
        prediction=prediction,
        unet=unet,
        vae=vae,
        text_encoders=tuple(place(encoder, policy) for encoder in parts.text_encoders),
        tokenizers=tuple(clip_tokenizer(pad=pad) for pad in padding_tokens(found.family)),
        alphas_cumprod=parts.alphas_cumprod,
        unet_in_channels=found.in_channels,
        native_size=native_size(info.path, prediction),
        device=policy.device,
        dtype=policy.dtype,
        vae_dtype=policy.vae_dtype,
        vae_path=vae_path,
    )


def load_vae(model: LoadedModel, policy: DevicePolicy, vae_path: Path | None) -> AutoencoderKL:
    """The VAE in `vae_path`, or the one of the model's checkpoint where that is None, ready for `model`.

    Raises:
        CheckpointError: If there is none or it is damaged.
    """
    return _vae(model.checkpoint.path, model.family, policy, vae_path)


def _vae(path: Path, family: Family, policy: DevicePolicy, vae_path: Path | None) -> AutoencoderKL:
    if vae_path is not None:
        vae = load_vae_file(vae_path, family, policy.vae_dtype)
    else:
        load_own = load_folder_vae if path.is_dir() else load_single_file_vae
        vae = load_own(path, family, policy.vae_dtype)
    return place(vae, policy)


def move_model(model: LoadedModel, device: torch.device) -> None:
    """Moves all networks of the model to `device`."""
    networks: list[Any] = [model.unet, model.vae, *model.text_encoders]
    for network in networks:
        nn.Module.to(network, device)
    model.device = device


def place(network: Network, policy: DevicePolicy) -> Network:
    """`network` on the policy's device, its convolutions in the policy's memory layout."""
    # The overload that takes a memory format is not typed, transformers' `to` not at all.
    move: Any = functools.partial(nn.Module.to, network)
    move(policy.device)
    if policy.channels_last:
        move(memory_format=torch.channels_last)
    return network


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


def padding_tokens(family: Family) -> tuple[str, ...]:
    """Per tokenizer, the token that fills up a chunk: OpenCLIP's is token 0, an exclamation mark."""
    end, zero = "<|endoftext|>", "!"
    by_family = {Family.SD1: (end,), Family.SD2: (zero,), Family.SDXL: (end, zero), Family.SDXL_REFINER: (zero,)}
    return by_family[family]


def native_size(path: Path, prediction: Prediction | None = None) -> int:
    """Side in pixels the checkpoint at `path` was trained at, told without loading it.

    Args:
        prediction: As probed; Stable Diffusion 2 predicting velocity was trained at 768, predicting noise at 512.

    Raises:
        CheckpointError: If it cannot be read or is of no known kind.
    """
    found = detect(path)
    if found.is_folder:
        return _size_of_folder(path)
    if found.family is Family.SD2 and (prediction or found.prediction) is Prediction.V:
        return 768
    return _SINGLE_FILE_SIZES[found.family]


def _size_of_folder(path: Path) -> int:
    sample_size = read_json(path / "unet" / "config.json").get("sample_size") or 64
    side = max(sample_size) if isinstance(sample_size, list) else sample_size
    vae = path / "vae" / "config.json"
    levels = len(read_json(vae).get("block_out_channels", ())) if vae.is_file() else 0
    return int(side) * 2 ** ((levels or 4) - 1)
