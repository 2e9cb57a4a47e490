"""Builds the three networks in Stable Diffusion 1.x layout, at their shipped size or at toy size for tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

CLIP_VOCABULARY_SIZE = 49408
BEGIN_TOKEN, END_TOKEN = 49406, 49407
TEXT_LENGTH = 77
LATENT_CHANNELS = 4
LATENT_FACTOR = 8
TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """Widths of the networks. GroupNorm groups hold at least four channels each."""

    vae_channels: tuple[int, ...] = (16, 32, 64, 96)
    vae_groups: int = 4
    unet_channels: tuple[int, ...] = (64, 128, 192)
    unet_has_attention: tuple[bool, ...] = (False, True, True)
    unet_groups: int = 8
    unet_heads: int = 4
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4


SHIPPED = NetworkSizes()
TOY = NetworkSizes(
    vae_channels=(8, 8, 8, 8),
    vae_groups=2,
    unet_channels=(16, 16, 16),
    unet_groups=4,
    unet_heads=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
)


def build_vae(sizes: NetworkSizes) -> AutoencoderKL:
    """Returns an untrained autoencoder, 3 channels to 4 at an eighth of the size."""
    levels = len(sizes.vae_channels)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        block_out_channels=sizes.vae_channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=sizes.vae_groups,
        sample_size=128,
    )
    return vae.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def build_unet(sizes: NetworkSizes) -> UNet2DConditionModel:
    """Returns an untrained UNet whose residual branches start at zero, with plain attention (fastest to train here)."""
    down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in sizes.unet_has_attention)
    up = tuple(name.replace("Down", "Up") for name in reversed(down))
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=down,  # pyright: ignore[reportArgumentType]
        up_block_types=up,  # pyright: ignore[reportArgumentType]
        block_out_channels=sizes.unet_channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        cross_attention_dim=sizes.text_width,
        attention_head_dim=sizes.unet_heads,
        norm_num_groups=sizes.unet_groups,
    )
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out")) or name == "conv_out":
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def build_text_encoder(sizes: NetworkSizes, vocabulary_size: int, begin: int, end: int) -> CLIPTextModel:
    """Returns an untrained CLIP text model over `vocabulary_size` tokens with the given begin and end tokens."""
    config = CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=sizes.text_width,
        intermediate_size=4 * sizes.text_width,
        projection_dim=sizes.text_width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=TEXT_LENGTH,
        hidden_act="quick_gelu",
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=end,
    )
    return CLIPTextModel(config)


def encode_posterior(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of the unscaled latents, (n, 4, H/8, W/8), of images in [-1, 1]."""
    posterior = vae.encode(images).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
    return posterior.mean, posterior.std


def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Returns the images, (n, 3, 8h, 8w), about [-1, 1], of unscaled latents."""
    return vae.decode(latents, return_dict=False)[0]  # pyright: ignore[reportArgumentType]


def scaling_factor(vae: AutoencoderKL) -> float:
    """Returns what unscaled latents are multiplied by before the UNet sees them."""
    return float(vae.config["scaling_factor"])
