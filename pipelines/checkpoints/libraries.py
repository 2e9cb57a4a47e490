"""The classes we take from diffusers and transformers, imported after torchvision has been made importable."""

from preprocessors.torchvision_ops import ensure_torchvision

ensure_torchvision()

from diffusers import (  # noqa: E402
    AutoencoderKL,
    ControlNetModel,
    ControlNetUnionModel,
    T2IAdapter,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import (  # noqa: E402
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from transformers import (  # noqa: E402
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

__all__ = [
    "AutoencoderKL",
    "CLIPTextConfig",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "CLIPVisionConfig",
    "CLIPVisionModelWithProjection",
    "ControlNetModel",
    "ControlNetUnionModel",
    "T2IAdapter",
    "UNet2DConditionModel",
    "convert_ldm_unet_checkpoint",
    "convert_ldm_vae_checkpoint",
]
