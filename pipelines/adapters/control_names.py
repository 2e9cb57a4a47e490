"""Tensor names of ControlNets in the LDM layout, and the configuration that a ControlNet's tensors ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from pipelines.checkpoints.shapes import count

Weights = dict[str, Tensor]

_FIXED = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block_out.0": "controlnet_mid_block",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_SHARED = (
    "act_fn",
    "addition_embed_type",
    "addition_embed_type_num_heads",
    "addition_time_embed_dim",
    "attention_head_dim",
    "cross_attention_dim",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
    "mid_block_scale_factor",
    "norm_eps",
    "norm_num_groups",
    "num_attention_heads",
    "projection_class_embeddings_input_dim",
    "resnet_time_scale_shift",
    "upcast_attention",
    "use_linear_projection",
)
"""What a ControlNet has in common with the UNet it was copied from and its shapes do not tell."""


def bare_names(weights: Mapping[str, Tensor]) -> Weights:
    """The weights without the prefixes that files of whole training runs have."""
    return {re.sub(r"^(module\.)?(control_model\.|controlnet\.)?", "", name): value for name, value in weights.items()}


def is_ldm(names: Iterable[str]) -> bool:
    """Whether the (bare) names are those of the LDM layout."""
    return any(name.startswith(("input_blocks.", "zero_convs.")) for name in names)


def diffusers_names(weights: Mapping[str, Tensor]) -> Weights:
    """LDM weights (bare names) under `ControlNetModel`'s names; anything after a layer's name is kept."""
    per_level = _blocks_per_level(weights)
    last_hint = max((int(found[1]) for name in weights if (found := _HINT.match(name))), default=0)
    return {_renamed(name, per_level, last_hint): value for name, value in weights.items()}


_HINT = re.compile(r"input_hint_block\.(\d+)\.")
_INPUT = re.compile(r"input_blocks\.(\d+)\.(\d)\.(.*)")
_MIDDLE = re.compile(r"middle_block\.([02])\.(.*)")
_ZERO = re.compile(r"zero_convs\.(\d+)\.0\.(.*)")


def _blocks_per_level(weights: Iterable[str]) -> int:
    """ResNets of a level plus its downsampler: the number of the first input block that downsamples."""
    names = list(weights)
    found = [int(number[1]) for name in names if (number := re.match(r"input_blocks\.(\d+)\.0\.op\.", name))]
    blocks = {name.split(".")[1] for name in names if name.startswith("input_blocks.")}
    return min(found, default=len(blocks))


def _renamed(name: str, per_level: int, last_hint: int) -> str:
    if found := _ZERO.match(name):
        return f"controlnet_down_blocks.{found[1]}.{found[2]}"
    if found := _HINT.match(name):
        number = int(found[1])
        place = {0: "conv_in", last_hint: "conv_out"}.get(number, f"blocks.{number // 2 - 1}")
        return f"controlnet_cond_embedding.{place}.{name[found.end() :]}"
    if found := _MIDDLE.match(name):
        return f"mid_block.resnets.{int(found[1]) // 2}.{_resnet(found[2])}"
    for old, new in _FIXED.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    if found := _INPUT.match(name):
        level, place = divmod(int(found[1]) - 1, per_level)
        if found[2] == "1":
            return f"down_blocks.{level}.attentions.{place}.{found[3]}"
        if found[3].startswith("op."):
            return f"down_blocks.{level}.downsamplers.0.conv.{found[3].removeprefix('op.')}"
        return f"down_blocks.{level}.resnets.{place}.{_resnet(found[3])}"
    return name


def _resnet(rest: str) -> str:
    for old, new in _RESNET.items():
        if rest.startswith(f"{old}."):
            return new + rest.removeprefix(old)
    return rest


def fitted_config(base: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration of the `ControlNetModel` that `weights` (its own names) belong to.

    Args:
        base: Configuration of the UNet it is to control, for what shapes do not tell.
    """
    levels = count(weights, "down_blocks.")
    widths = [weights[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)]
    depths = [count(weights, f"down_blocks.{level}.attentions.0.transformer_blocks.") for level in range(levels)]
    middle = count(weights, "mid_block.attentions.0.transformer_blocks.")
    config: dict[str, Any] = {key: base[key] for key in _SHARED if key in base} | {
        "in_channels": weights["conv_in.weight"].shape[1],
        "conditioning_channels": weights["controlnet_cond_embedding.conv_in.weight"].shape[1],
        "conditioning_embedding_out_channels": _hint_widths(weights),
        "block_out_channels": widths,
        "layers_per_block": count(weights, "down_blocks.0.resnets."),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle or 1],
    }
    if not middle:
        config["mid_block_type"] = "UNetMidBlock2D"
    states = next((value for name, value in weights.items() if name.endswith(".attn2.to_k.weight")), None)
    if states is not None:
        config["cross_attention_dim"] = states.shape[1]
    if "add_embedding.linear_1.weight" in weights:
        config["projection_class_embeddings_input_dim"] = weights["add_embedding.linear_1.weight"].shape[1]
    else:
        config["addition_embed_type"] = None
    heads = config.get("attention_head_dim")
    if isinstance(heads, list | tuple) and len(heads) != levels:
        config["attention_head_dim"] = [max(1, width // 64) for width in widths]
    return config


def _hint_widths(weights: Mapping[str, Tensor]) -> list[int]:
    """Channels of the layers that make features of the map: the first, and every second of the others."""
    place = "controlnet_cond_embedding."
    others = count(weights, f"{place}blocks.")
    first = weights[f"{place}conv_in.weight"].shape[0]
    return [first, *(weights[f"{place}blocks.{number}.weight"].shape[0] for number in range(1, others, 2))]
