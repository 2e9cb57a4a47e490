"""Toy control networks of the real classes, and the files and folders real ones come in."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.checkpoints.libraries import ControlNetModel, ControlNetUnionModel, T2IAdapter
from pipelines.checkpoints.model import LoadedModel

HINT_WIDTHS = (4, 4, 8, 8)


def with_random_weights(network: nn.Module, *, seed: int = 0, scale: float = 0.05) -> nn.Module:
    """`network` with every weight random, its zero convolutions too; the same seed gives the same weights."""
    generator = torch.Generator().manual_seed(seed)
    for name, weights in network.named_parameters():
        middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        weights.data = middle + scale * torch.randn(weights.shape, generator=generator)
    return network.requires_grad_(False).eval()


def tiny_controlnet(model: LoadedModel, *, seed: int = 0) -> ControlNetModel:
    """A ControlNet that fits `model`, whose outputs are not small."""
    network = ControlNetModel.from_unet(model.unet, conditioning_embedding_out_channels=HINT_WIDTHS)
    return with_random_weights(network, seed=seed)


def tiny_union(model: LoadedModel, *, seed: int = 0) -> ControlNetUnionModel:
    """A union ControlNet that knows six kinds of maps."""
    config = dict(model.unet.config)
    kept = (
        "block_out_channels",
        "down_block_types",
        "layers_per_block",
        "cross_attention_dim",
        "attention_head_dim",
        "use_linear_projection",
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
        "transformer_layers_per_block",
    )
    network = ControlNetUnionModel(
        **{key: config[key] for key in kept},
        conditioning_embedding_out_channels=HINT_WIDTHS,
        num_trans_channel=config["block_out_channels"][0],
        num_proj_channel=config["block_out_channels"][0],
        num_trans_head=4,
    )
    return with_random_weights(network, seed=seed)


def tiny_t2i_adapter(model: LoadedModel, *, kind: str = "full_adapter", channels: int = 3) -> T2IAdapter:
    """A T2I-Adapter that fits an SD 1 toy."""
    widths = list(model.unet.config["block_out_channels"])
    return with_random_weights(T2IAdapter(in_channels=channels, channels=widths, adapter_type=kind))


def ldm_control_weights(network: ControlNetModel) -> dict[str, Tensor]:
    """A ControlNet's weights under LDM names, without prefix."""
    per_level = network.config["layers_per_block"] + 1
    inner = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    fixed = {
        "conv_in.": "input_blocks.0.0.",
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "add_embedding.linear_1.": "label_emb.0.0.",
        "add_embedding.linear_2.": "label_emb.0.2.",
        "mid_block.attentions.0.": "middle_block.1.",
        "controlnet_mid_block.": "middle_block_out.0.",
        "controlnet_cond_embedding.conv_in.": "input_hint_block.0.",
        "controlnet_cond_embedding.conv_out.": "input_hint_block.14.",
    }
    found: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        new = name
        for old, replacement in fixed.items():
            if name.startswith(old):
                new = replacement + name.removeprefix(old)
        if block := re.fullmatch(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
            number = 1 + int(block[1]) * per_level + int(block[3])
            new = f"input_blocks.{number}.{0 if block[2] == 'resnets' else 1}.{block[4]}"
        elif block := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
            new = f"input_blocks.{(int(block[1]) + 1) * per_level}.0.op.{block[2]}"
        elif block := re.fullmatch(r"mid_block\.resnets\.(\d)\.(.*)", name):
            new = f"middle_block.{int(block[1]) * 2}.{block[2]}"
        elif block := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(.*)", name):
            new = f"zero_convs.{block[1]}.0.{block[2]}"
        elif block := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d)\.(.*)", name):
            new = f"input_hint_block.{2 * int(block[1]) + 2}.{block[2]}"
        if ".resnets." in name:
            for old, replacement in inner.items():
                new = new.replace(f".{old}.", f".{replacement}.")
        found[new] = value.clone()
    return found


def save_ldm_controlnet(network: ControlNetModel, path: Path, *, prefix: str = "control_model.") -> Path:
    """Writes `network` as a single file of the LDM layout and returns `path`."""
    weights = {prefix + name: value.contiguous() for name, value in ldm_control_weights(network).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def authors_t2i_weights(adapter: T2IAdapter) -> dict[str, Tensor]:
    """A full adapter's weights under the names of its authors: all ResNets in one row."""
    found: dict[str, Tensor] = {}
    for name, value in adapter.state_dict().items():
        bare = name.removeprefix("adapter.")
        if block := re.fullmatch(r"body\.(\d+)\.resnets\.(\d+)\.(.*)", bare):
            bare = f"body.{2 * int(block[1]) + int(block[2])}.{block[3]}"
        elif block := re.fullmatch(r"body\.(\d+)\.in_conv\.(.*)", bare):
            bare = f"body.{2 * int(block[1])}.in_conv.{block[2]}"
        found[bare] = value.clone()
    return found
