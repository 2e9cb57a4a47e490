"""Builds networks of diffusers and transformers from a configuration and weights, without network access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from pipelines.checkpoints.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
)
from schema.errors import CheckpointError

Network = TypeVar("Network", bound=nn.Module)


def build_unet(config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet with these weights (diffusers names) on the CPU, for inference."""
    with torch.device("meta"):
        unet = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(dict(config)))
    return filled(unet, weights, dtype, "UNet")


def build_vae(config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype) -> AutoencoderKL:
    """The VAE with these weights (diffusers names) on the CPU, for inference."""
    with torch.device("meta"):
        vae = cast(AutoencoderKL, AutoencoderKL.from_config(dict(config)))
    return filled(vae, weights, dtype, "VAE")


def build_text_encoder(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype
) -> CLIPTextModel | CLIPTextModelWithProjection:
    """The text encoder with these weights (transformers names, with or without `text_model.`) on the CPU.

    Whether it projects its pooled output is decided by the weights.
    """
    bare = {name.removeprefix("text_model."): value for name, value in weights.items()}
    projects = "text_projection.weight" in bare
    text_config = CLIPTextConfig.from_dict(dict(config))
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(text_config) if projects else CLIPTextModel(text_config)
    # transformers 5.6 took `text_model.` out of CLIPTextModel; CLIPTextModelWithProjection kept it.
    prefix = "text_model." if hasattr(encoder, "text_model") else ""
    named = {name if name == "text_projection.weight" else prefix + name: value for name, value in bare.items()}
    complete = filled(encoder, named, dtype, "text encoder")
    # Not a weight, so no file supplies it: made on the meta device above.
    positions = torch.arange(text_config.max_position_embeddings)[None]
    complete.get_submodule(f"{prefix}embeddings").register_buffer("position_ids", positions, persistent=False)
    return complete


def filled(network: Network, weights: Mapping[str, Tensor], dtype: torch.dtype, what: str) -> Network:
    """`network` with `weights` assigned (not copied, so that mapped files stay mapped where the dtype fits).

    Args:
        what: What the network is, for error messages.

    Raises:
        CheckpointError: If weights are missing or of other shapes.
    """
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    if missing:
        raise CheckpointError(
            f"The {what} in this file is incomplete: {len(missing)} of {len(wanted)} tensors are missing, "
            f"for instance '{missing[0]}'."
        )
    assigned: dict[str, Tensor] = {}
    for name, target in wanted.items():
        value = weights[name]
        if value.shape != target.shape:
            # 1x1 convolutions and linear layers hold the same numbers; converters disagree on which one to write.
            if value.numel() != target.numel() or value.squeeze().shape != target.squeeze().shape:
                raise CheckpointError(
                    f"The {what} in this file does not fit: '{name}' is {tuple(value.shape)}, "
                    f"expected {tuple(target.shape)}."
                )
            value = value.reshape(target.shape)
        assigned[name] = value.to(dtype) if target.is_floating_point() else value
    network.load_state_dict(assigned, assign=True)
    return network.requires_grad_(False).eval()
