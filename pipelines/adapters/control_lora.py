"""Networks stored as what they add to the base UNet: Control-LoRAs and "difference" ControlNets."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipelines.adapters.control_names import Weights, diffusers_names
from schema.errors import CheckpointError

DIFFERENCE, CONTROL_LORA = "difference", "lora_controlnet"
"""Tensors of these names mark such files."""


def is_bound_to_base(names: Mapping[str, object]) -> bool:
    """Whether the file with these (bare) names needs the base UNet's weights."""
    return CONTROL_LORA in names or DIFFERENCE in names or any(name.endswith(".down") for name in names)


def added_to_base(weights: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Weights:
    """The weights of a "difference" ControlNet (diffusers names): the base UNet's plus its own.

    Source: sd-webui-controlnet scripts/controlnet_model_guess.py, build_model_by_guess.
    """
    return {
        name: base[name].float() + value.float() if name in base else value
        for name, value in weights.items()
        if name != DIFFERENCE
    }


def control_lora_weights(file: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Weights:
    """The full ControlNet of a Control-LoRA: base weights W + up·down, and its own where it has whole ones.

    Args:
        file: LDM names without prefix; `layer.up` (out, r) and `layer.down` (r, in…) in place of `layer.weight`.
        base: Weights of the UNet it was made for, diffusers names.

    Raises:
        CheckpointError: If the base UNet has other shapes.

    Source: Stability AI's Control-LoRA; sd-webui-controlnet scripts/controlnet_lora.py.
    """
    named = diffusers_names({name: value for name, value in file.items() if name != CONTROL_LORA})
    whole = {name: value for name, value in named.items() if not name.endswith((".up", ".down"))}
    parts = {name.removesuffix(".up") for name in named if name.endswith(".up")}
    merged: Weights = {}
    for layer in parts:
        name = f"{layer}.weight"
        if name not in base:
            raise CheckpointError(f"This Control-LoRA changes '{layer}', which the checkpoint's UNet does not have.")
        merged[name] = _plus(base[name], named[f"{layer}.up"], named[f"{layer}.down"], layer)
    encoder = ("conv_in.", "time_embedding.", "add_embedding.", "down_blocks.", "mid_block.")
    shared = {name: value for name, value in base.items() if name.startswith(encoder)}
    return shared | merged | whole


def _plus(weight: Tensor, up: Tensor, down: Tensor, layer: str) -> Tensor:
    delta = up.flatten(1).float() @ down.flatten(1).float()
    if delta.numel() != weight.numel():
        raise CheckpointError(
            f"This Control-LoRA was made for another model: '{layer}' has {tuple(weight.shape)} weights here."
        )
    return (weight.to("cpu", torch.float32) + delta.reshape(weight.shape)).to(weight.dtype)
