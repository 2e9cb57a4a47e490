"""The network of Depth Anything 1 and 2, built from transformers' parts, and the names in its published files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from preprocessors.providers import provider


@dataclass(frozen=True, kw_only=True)
class Size:
    """Numbers that tell the published sizes apart.

    Attributes:
        taps: Layers, counted from 1, whose results go into the head.
        necks: Widths of what is made of them.
    """

    hidden: int
    layers: int
    heads: int
    taps: tuple[int, int, int, int]
    necks: tuple[int, int, int, int]
    fused: int


LARGE = Size(hidden=1024, layers=24, heads=16, taps=(21, 22, 23, 24), necks=(256, 512, 1024, 1024), fused=256)
LARGE_V2 = Size(hidden=1024, layers=24, heads=16, taps=(5, 12, 18, 24), necks=(256, 512, 1024, 1024), fused=256)


def depth_anything_network(size: Size) -> nn.Module:
    """A network of that size with random weights; it answers `predicted_depth`, (B, H, W), larger for nearer.

    Source: Yang et al., "Depth Anything", 2024: a DINOv2 transformer below a DPT head; the second version takes the
    results of layers all the way up instead of the last four.
    """
    library = provider("transformers")
    backbone = library.Dinov2Config(
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        image_size=518,
        patch_size=14,
        out_features=[f"stage{layer}" for layer in size.taps],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return library.DepthAnythingForDepthEstimation(
        library.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=size.hidden,
            neck_hidden_sizes=list(size.necks),
            fusion_hidden_size=size.fused,
            head_hidden_size=32,
        )
    )


_RENAMED = (
    (r"^pretrained\.(cls_token|mask_token)$", r"backbone.embeddings.\1"),
    (r"^pretrained\.pos_embed$", r"backbone.embeddings.position_embeddings"),
    (r"^pretrained\.patch_embed\.proj\.", r"backbone.embeddings.patch_embeddings.projection."),
    (r"^pretrained\.blocks\.", r"backbone.encoder.layer."),
    (r"^pretrained\.norm\.", r"backbone.layernorm."),
    (r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.attn\.proj\.", r".attention.o_proj."),
    (r"^depth_head\.projects\.(\d)\.", r"neck.reassemble_stage.layers.\1.projection."),
    (r"^depth_head\.resize_layers\.(\d)\.", r"neck.reassemble_stage.layers.\1.resize."),
    (r"^depth_head\.scratch\.output_conv1\.", r"head.conv1."),
    (r"^depth_head\.scratch\.output_conv2\.0\.", r"head.conv2."),
    (r"^depth_head\.scratch\.output_conv2\.2\.", r"head.conv3."),
    (r"\.out_conv\.", r".projection."),
    (r"\.resConfUnit(\d)\.conv(\d)\.", r".residual_layer\1.convolution\2."),
)


def converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a published file under transformers' names.

    Files count the head's fusions from the finest, transformers from the coarsest; the coarsest has one unit that is
    never used and stays.
    """
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for old, new in _RENAMED:
            name = re.sub(old, new, name)
        name = re.sub(
            r"^depth_head\.scratch\.refinenet(\d)\.",
            lambda match: f"neck.fusion_stage.layers.{4 - int(match[1])}.",
            name,
        )
        name = re.sub(r"^depth_head\.scratch\.layer(\d)_rn\.", lambda match: f"neck.convs.{int(match[1]) - 1}.", name)
        if ".attn.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                made[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = piece
        else:
            made[name] = tensor
    return made
