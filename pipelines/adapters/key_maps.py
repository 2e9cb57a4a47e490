"""LoRA tensor names → layers: kohya's, LyCORIS's and diffusers' names, for models with diffusers' module paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from torch import nn

from pipelines.checkpoints.model import LoadedModel

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

Patchable = nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm
PATCHABLE = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


class Component(StrEnum):
    """Which of a LoRA's two multipliers applies."""

    UNET = "unet"
    TEXT_ENCODER = "te"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer a LoRA can change.

    Attributes:
        path: Module path inside its network, such as `down_blocks.0.attentions.0.proj_in`.
    """

    component: Component
    path: str
    module: Patchable


# Inside a residual block, LDM's names for diffusers'.
_RESNET_NAMES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SINGLE_NAMES = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_BLOCK = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


@dataclass(frozen=True, kw_only=True)
class UNetShape:
    """What LDM's numbering depends on.

    Attributes:
        layers_per_block: Residual blocks per down block; up blocks have one more.
        attending_up_blocks: Per up block, whether it has attentions.
    """

    layers_per_block: int = 2
    attending_up_blocks: Sequence[bool] = (False, True, True, True)


def unet_shape(unet: UNet2DConditionModel) -> UNetShape:
    """The shape of a loaded UNet."""
    return UNetShape(
        layers_per_block=len(cast("nn.ModuleList", unet.down_blocks[0].resnets)),
        attending_up_blocks=[hasattr(block, "attentions") for block in unet.up_blocks],
    )


def ldm_path(path: str, shape: UNetShape) -> str | None:
    """LDM's name for the UNet layer that diffusers calls `path`; None for one LDM has not.

    LDM numbers all blocks in a row; every down block ends with its downsampler, every up block has one residual
    block more, and its upsampler follows in the last one.
    """
    if path in _SINGLE_NAMES:
        return _SINGLE_NAMES[path]
    if middle := _MIDDLE.fullmatch(path):
        kind, number, inside = middle[1], int(middle[2]), middle[3]
        position = 1 if kind == "attentions" else 2 * number
        return f"middle_block.{position}.{_RESNET_NAMES.get(inside, inside)}"
    block = _BLOCK.fullmatch(path)
    if block is None:
        return None
    side, level, kind, number, inside = block[1], int(block[2]), block[3], int(block[4]), block[5]
    per_level = shape.layers_per_block + 1
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * per_level}.0.op"
    if kind == "upsamplers":
        position = 2 if shape.attending_up_blocks[level] else 1
        return f"output_blocks.{level * per_level + shape.layers_per_block}.{position}.{inside}"
    row = level * per_level + number + (1 if side == "down_blocks" else 0)
    rows = "input_blocks" if side == "down_blocks" else "output_blocks"
    return f"{rows}.{row}.{int(kind == 'attentions')}.{_RESNET_NAMES.get(inside, inside)}"


def layers_by_key(model: LoadedModel) -> dict[str, Layer]:
    """Every layer a LoRA can change, by kohya's name for it.

    UNet layers are there under diffusers' and LDM's names (`lora_unet_…`), text encoder layers as `lora_te_…` and
    `lora_te1_…`, those of a second text encoder as `lora_te2_…`.

    Source: A1111 extensions-builtin/Lora/networks.py, assign_network_names_to_compvis_modules and
    convert_diffusers_name_to_compvis.
    """
    layers: dict[str, Layer] = {}
    shape = unet_shape(model.unet)
    for path, module in _patchable(model.unet):
        layer = Layer(component=Component.UNET, path=path, module=module)
        for name in (path, ldm_path(path, shape)):
            if name is not None:
                layers[f"lora_unet_{_flat(name)}"] = layer
    prefixes = (("lora_te_", "lora_te1_"), ("lora_te2_",))
    for names, encoder in zip(prefixes, model.text_encoders, strict=False):
        for path, module in _patchable(encoder):
            if path == "text_projection":
                # A1111 keeps the projection as a plain matrix, which no LoRA reaches.
                continue
            layer = Layer(component=Component.TEXT_ENCODER, path=path, module=module)
            for prefix in names:
                layers[f"{prefix}text_model_{_flat(path.removeprefix('text_model.'))}"] = layer
    return layers


def _patchable(network: nn.Module) -> Iterator[tuple[str, Patchable]]:
    for path, module in network.named_modules():
        if isinstance(module, PATCHABLE):
            yield path, module


def _flat(path: str) -> str:
    return path.replace(".", "_")


_OWNERS = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
# diffusers' and PEFT's names: owner, path and which matrix.
_DOTTED = re.compile(
    r"(?:base_model\.model\.)?(?P<owner>unet|text_encoder|text_encoder_2)\.(?P<path>.+?)"
    r"(?P<part>\.lora_[AB](?:\.default)?\.weight|(?:\.lora|_lora|\.lora_linear_layer)\.(?:up|down)\.weight|\.alpha)"
)


def split_key(name: str) -> tuple[str, str]:
    """The layer's name in kohya's form, and the rest: which of the layer's tensors it is.

    `lora_unet_mid_block_attentions_0_proj_in.alpha`, `unet.mid_block.attentions.0.proj_in.lora_A.weight` and
    `oft_unet_mid_block_attentions_0_proj_in.oft_blocks` all belong to `lora_unet_mid_block_attentions_0_proj_in`.
    """
    if dotted := _DOTTED.fullmatch(name):
        # Attention processors of early diffusers: `attn1.processor.to_q_lora.down.weight`.
        path = dotted["path"].replace(".processor.", ".")
        path = re.sub(r"\.to_out$", ".to_out.0", path)
        return _OWNERS[dotted["owner"]] + _flat(path), _part(dotted["part"])
    key, _, part = name.partition(".")
    return re.sub(r"^(?:oft|lycoris)_unet_", "lora_unet_", key), part


def _part(part: str) -> str:
    if part.startswith(".lora_") and "linear_layer" not in part:
        return f"lora_{part[6]}.weight"
    if "up" in part or "down" in part:
        return f"lora_{'up' if '.up.' in part else 'down'}.weight"
    return part.removeprefix(".")
