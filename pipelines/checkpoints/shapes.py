"""Adapts a family's model configuration to the shapes of a file's tensors.

What shapes cannot tell (heads, activation, scaling factor) comes from the family's file in `configs/`. Deriving the
rest means that inpainting and edit models, pruned models and toy models need no configuration of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from schema.errors import CheckpointError

Config = dict[str, Any]
Weights = Mapping[str, Tensor]


def fit_unet_config(config: Mapping[str, Any], weights: Weights, *, pooled_size: int = 0) -> Config:
    """`config` with the widths, depths and channels of an LDM UNet.

    Args:
        weights: Names without the `model.diffusion_model.` prefix.
        pooled_size: Width of the pooled text vector (SDXL, refiner).
    """
    widths: list[int] = []
    depths: list[int] = []
    blocks = 1
    while f"input_blocks.{blocks}.0.in_layers.2.weight" in weights or f"input_blocks.{blocks}.0.op.weight" in weights:
        if f"input_blocks.{blocks}.0.op.weight" not in weights:
            starts_level = blocks == 1 or f"input_blocks.{blocks - 1}.0.op.weight" in weights
            if starts_level:
                widths.append(weights[f"input_blocks.{blocks}.0.out_layers.3.weight"].shape[0])
                depths.append(count(weights, f"input_blocks.{blocks}.1.transformer_blocks."))
        blocks += 1
    # n levels of `per_level` ResNets, with n - 1 downsamplers between them, after the first convolution.
    per_level = blocks // len(widths) - 1
    mid_depth = count(weights, "middle_block.1.transformer_blocks.")
    fitted = dict(config) | {
        "in_channels": weights["input_blocks.0.0.weight"].shape[1],
        "out_channels": weights["out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": per_level,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        # The last level's entry is also the middle block's depth.
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or mid_depth or 1],
        "cross_attention_dim": _first(weights, r".*\.attn2\.to_k\.weight").shape[1],
    }
    if isinstance(config["attention_head_dim"], list):
        # Heads of 64 channels each; diffusers calls the number of heads "attention_head_dim".
        fitted["attention_head_dim"] = [max(1, width // 64) for width in widths]
    if "label_emb.0.0.weight" in weights:
        vector = weights["label_emb.0.0.weight"].shape[1]
        ids = 5 if config["projection_class_embeddings_input_dim"] == 2560 else 6
        fitted["projection_class_embeddings_input_dim"] = vector
        fitted["addition_time_embed_dim"] = (vector - pooled_size) // ids
    return fitted


def fit_vae_config(config: Mapping[str, Any], weights: Weights) -> Config:
    """`config` with the widths and depths of a VAE in LDM or diffusers names, without prefix."""
    is_ldm = "encoder.down.0.block.0.conv1.weight" in weights
    level, block = ("encoder.down.", "block.") if is_ldm else ("encoder.down_blocks.", "resnets.")
    levels = count(weights, level)
    try:
        widths = [weights[f"{level}{i}.{block}0.conv1.weight"].shape[0] for i in range(levels)]
        latent_channels = weights["decoder.conv_in.weight"].shape[1]
    except KeyError as error:
        raise CheckpointError(f"The VAE is incomplete: {error.args[0]} is missing.") from error
    return dict(config) | {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": count(weights, f"{level}0.{block}"),
        "latent_channels": latent_channels,
    }


def fit_text_config(config: Mapping[str, Any], weights: Weights) -> Config:
    """`config` with the sizes of a CLIP text encoder in transformers names (without `text_model.`)."""
    vocab, width = weights["embeddings.token_embedding.weight"].shape
    fitted = dict(config) | {
        "vocab_size": vocab,
        "hidden_size": width,
        "max_position_embeddings": weights["embeddings.position_embedding.weight"].shape[0],
        "num_hidden_layers": count(weights, "encoder.layers."),
        "intermediate_size": weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_attention_heads": max(1, width // 64),
    }
    if "text_projection.weight" in weights:
        fitted["projection_dim"] = weights["text_projection.weight"].shape[0]
    return fitted


def count(weights: Weights, prefix: str) -> int:
    """How many numbered parts follow `prefix`."""
    numbers = {name.removeprefix(prefix).split(".", 1)[0] for name in weights if name.startswith(prefix)}
    return len([number for number in numbers if number.isdecimal()])


def _first(weights: Weights, pattern: str) -> Tensor:
    return next(value for name, value in weights.items() if re.fullmatch(pattern, name))
