"""The classes we take from diffusers and transformers, imported after torchvision has been made importable."""

from pipelines.torchvision_ops import ensure_torchvision

ensure_torchvision()

from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from diffusers.loaders.single_file_utils import (  # noqa: E402
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from transformers import (  # noqa: E402
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

__all__ = [
    "AutoencoderKL",
    "CLIPTextConfig",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "UNet2DConditionModel",
    "convert_ldm_unet_checkpoint",
    "convert_ldm_vae_checkpoint",
]
