"""Turns the tensors of a single-file checkpoint (LDM layout) into those of diffusers and transformers classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pipelines.checkpoints.libraries import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

UNET = "model.diffusion_model."
VAE = "first_stage_model."
Weights = dict[str, Tensor]

_OPEN_CLIP_NAMES = (
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("ln_final.", "final_layer_norm."),
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
)
# Attention names of diffusers VAEs saved before 0.18.
_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def repaired(weights: Mapping[str, Tensor]) -> Weights:
    """The weights under the names that today's checkpoints use.

    Old SD 1 files lack `text_model.`; SD-Turbo (2.1) files name the text encoder as SDXL does.

    Source: A1111 modules/sd_models.py, checkpoint_dict_replacements_sd1 and _sd2_turbo.
    """
    has_vector = f"{UNET}label_emb.0.0.weight" in weights
    is_turbo = "conditioner.embedders.0.model.ln_final.weight" in weights and not has_vector
    names: list[tuple[str, str]] = [
        (f"cond_stage_model.transformer.{part}", f"cond_stage_model.transformer.text_model.{part}")
        for part in ("embeddings.", "encoder.", "final_layer_norm.")
    ]
    if is_turbo:
        names.append(("conditioner.embedders.0.", "cond_stage_model."))

    def renamed(name: str) -> str:
        for old, new in names:
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return {renamed(name): value for name, value in weights.items()}


def part(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    """The weights whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def unet_weights(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Weights:
    """The UNet's weights under `UNet2DConditionModel`'s names; `config` is that class's."""
    return convert_ldm_unet_checkpoint({k: v for k, v in weights.items() if k.startswith(UNET)}, config)


def vae_weights(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Weights:
    """A VAE's weights under `AutoencoderKL`'s names, from LDM names (without prefix) or diffusers names.

    `loss*` and `model_ema*` are training leftovers and are left out.

    Source: A1111 modules/sd_vae.py, load_vae_dict.
    """
    kept = {k: v for k, v in weights.items() if not k.startswith(("loss", "model_ema."))}
    if "decoder.up.0.block.0.conv1.weight" in kept:
        return convert_ldm_vae_checkpoint(kept, config)
    return {_new_attention_name(name): value for name, value in kept.items()}


def _new_attention_name(name: str) -> str:
    match = re.fullmatch(r"(.*\.attentions\.0)\.(query|key|value|proj_attn)\.(weight|bias)", name)
    return f"{match[1]}.{_OLD_VAE_ATTENTION[match[2]]}.{match[3]}" if match else name


def clip_weights(weights: Mapping[str, Tensor]) -> Weights:
    """A CLIP text encoder's weights without `text_model.`."""
    return {name.removeprefix("text_model."): value for name, value in weights.items()}


def open_clip_weights(weights: Mapping[str, Tensor]) -> Weights:
    """An OpenCLIP text encoder's weights under transformers' names, without `text_model.`.

    OpenCLIP keeps query, key and value in one matrix of three equal parts, and its projection transposed.
    """
    converted: Weights = {}
    for name, value in weights.items():
        if name == "text_projection":
            converted["text_projection.weight"] = value.T.contiguous()
            continue
        new_name = name
        for old, new in _OPEN_CLIP_NAMES:
            new_name = new_name.replace(old, new)
        fused = re.fullmatch(r"(.*)\.attn\.in_proj_(weight|bias)", new_name)
        if fused:
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                converted[f"{fused[1]}.self_attn.{letter}_proj.{fused[2]}"] = third
        else:
            converted[new_name] = value
    return converted
