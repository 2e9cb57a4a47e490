"""Pictures of latents while they are being made: cheap, small networks, or the full VAE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from pipelines.checkpoints.files import read_state_dict
from pipelines.checkpoints.model import Family
from preprocessors.torchvision_ops import ensure_torchvision

Decode = Callable[[Tensor], Tensor]
"""Scaled latents (B, C, h, w) to RGB (B, 3, H, W) in [-1, 1]."""


class PreviewMethod(StrEnum):
    """How latents are shown, under A1111's names."""

    FULL = "Full"
    APPROX_NN = "Approx NN"
    APPROX_CHEAP = "Approx cheap"
    TAESD = "TAESD"


# Least-squares fits of RGB to latents, one row per channel. Source: A1111 modules/sd_vae_approx.py.
_CHEAP_SD = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))
_CHEAP_SDXL = (
    (0.3448, 0.4168, 0.4395),
    (-0.1953, -0.0290, 0.0250),
    (0.1074, 0.0886, -0.0163),
    (-0.3730, -0.2499, -0.2088),
)
_CHEAP_16_CHANNELS = (
    (-0.0645, 0.0177, 0.1052),
    (0.0028, 0.0312, 0.0650),
    (0.1848, 0.0762, 0.0360),
    (0.0944, 0.0360, 0.0889),
    (0.0897, 0.0506, -0.0364),
    (-0.0020, 0.1203, 0.0284),
    (0.0855, 0.0118, 0.0283),
    (-0.0539, 0.0658, 0.1047),
    (-0.0057, 0.0116, 0.0700),
    (-0.0412, 0.0281, -0.0039),
    (0.1106, 0.1171, 0.1220),
    (-0.0248, 0.0682, -0.0481),
    (0.0815, 0.0846, 0.1207),
    (-0.0120, -0.0055, -0.0867),
    (-0.0749, -0.0634, -0.0456),
    (-0.1418, -0.1457, -0.1259),
)


def is_sdxl_latents(family: Family) -> bool:
    """Whether the family's latents are SDXL's (they differ in scale and meaning from SD's)."""
    return family in (Family.SDXL, Family.SDXL_REFINER)


def approximate_rgb(latents: Tensor, family: Family) -> Tensor:
    """RGB (B, 3, h, w), about -1 to 1, at latent resolution: a linear map of (B, 4 or 16, h, w) scaled latents.

    Source: A1111 modules/sd_vae_approx.py, cheap_approximation.
    """
    table = _CHEAP_SDXL if is_sdxl_latents(family) else _CHEAP_SD
    weights = latents.new_tensor(_CHEAP_16_CHANNELS if latents.shape[1] == 16 else table)
    return torch.einsum("bchw,cr->brhw", latents, weights)


class ApproxDecoder(nn.Module):
    """A small convolutional decoder to a quarter of the picture's side (A1111's "Approx NN" files)."""

    def __init__(self, latent_channels: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(latent_channels, 8, 7)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.conv4 = nn.Conv2d(32, 64, 3)
        self.conv5 = nn.Conv2d(64, 32, 3)
        self.conv6 = nn.Conv2d(32, 16, 3)
        self.conv7 = nn.Conv2d(16, 8, 3)
        self.conv8 = nn.Conv2d(8, 3, 3)

    def forward(self, latents: Tensor) -> Tensor:
        """RGB (B, 3, 2h, 2w), about -1 to 1, of (B, 4, h, w) scaled latents."""
        x = functional.interpolate(latents, scale_factor=2.0)
        # The eight unpadded convolutions eat 11 cells at every side.
        x = functional.pad(x, (11, 11, 11, 11))
        for layer in self.children():
            x = functional.leaky_relu(layer(x), 0.1)
        return x


def load_approx_decoder(path: Path, device: torch.device) -> Decode:
    """The decoder stored in an "Approx NN" file, on `device`.

    Raises:
        CheckpointError: If the file cannot be read.
        RuntimeError: If it holds something else.
    """
    network = ApproxDecoder()
    network.load_state_dict(dict(read_state_dict(path)))
    network.eval().to(device)
    return lambda latents: network(latents.to(device, torch.float32))


def taesd_weights(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an original TAESD decoder file under diffusers' names.

    The original numbers its layers from a clamp that diffusers keeps outside the list.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in stored.items():
        number, _, rest = key.partition(".")
        renamed[f"layers.{int(number) - 1}.{rest}"] = value
    return renamed


def empty_taesd_decoder() -> nn.Module:
    """TAESD's decoder, not trained: (B, 4, h, w) scaled latents to RGB (B, 3, 8h, 8w) in [-1, 1]."""
    ensure_torchvision()
    from diffusers import AutoencoderTiny

    return AutoencoderTiny().decoder


def load_taesd_decoder(path: Path, device: torch.device) -> Decode:
    """The decoder of an original `taesd_decoder` or `taesdxl_decoder` file, on `device`.

    Raises:
        CheckpointError: If the file cannot be read.
        RuntimeError: If it holds something else.

    Source: Ollin Boer Bohan, madebyollin/taesd.
    """
    decoder = empty_taesd_decoder()
    decoder.load_state_dict(taesd_weights(read_state_dict(path)))
    decoder.eval().to(device)
    return lambda latents: decoder(latents.to(device, torch.float32))


_APPROX_FILES = {False: ("model.pt", "vaeapprox-sd.pt"), True: ("vaeapprox-sdxl.pt",)}
_TAESD_FILES = {
    False: ("taesd_decoder.safetensors", "taesd_decoder.pth"),
    True: ("taesdxl_decoder.safetensors", "taesdxl_decoder.pth"),
}


class LatentPreviewer:
    """Turns latents into preview pictures by the method asked for, or the cheap one where its file is missing.

    Args:
        models_folder: Holds `VAE-approx/` and `VAE-taesd/`; their files are read when first needed.
        decode: The model's own VAE, for `PreviewMethod.FULL`.
    """

    def __init__(
        self, method: PreviewMethod, family: Family, *, models_folder: Path, decode: Decode, device: torch.device
    ) -> None:
        self._family, self._device = family, device
        self._decode = decode if method is PreviewMethod.FULL else self._small_decoder(method, models_folder)

    def __call__(self, latents: Tensor) -> list[NDArray[np.uint8]]:
        """One RGB picture (H, W, 3) per image of the batch; its size depends on the method."""
        with torch.no_grad():
            return [to_uint8(picture) for picture in self._decode(latents)]

    def _small_decoder(self, method: PreviewMethod, folder: Path) -> Decode:
        sdxl = is_sdxl_latents(self._family)
        if method is PreviewMethod.APPROX_NN:
            path = _first_file(folder / "VAE-approx", _APPROX_FILES[sdxl])
            if path is not None:
                return load_approx_decoder(path, self._device)
        if method is PreviewMethod.TAESD:
            path = _first_file(folder / "VAE-taesd", _TAESD_FILES[sdxl])
            if path is not None:
                return load_taesd_decoder(path, self._device)
        return lambda latents: approximate_rgb(latents.float(), self._family)


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def to_uint8(picture: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [-1, 1] as (H, W, 3) uint8, truncated, not rounded, as A1111 does."""
    scaled = (picture.float() * 0.5 + 0.5).clamp(0, 1) * 255
    return scaled.permute(1, 2, 0).cpu().numpy().astype(np.uint8)


def preview_grid(pictures: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """All pictures in one, in about as many rows as columns; empty places are black."""
    rows = round(math.sqrt(len(pictures)))
    columns = math.ceil(len(pictures) / rows)
    height, width = pictures[0].shape[:2]
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(pictures):
        grid.paste(Image.fromarray(picture), (index % columns * width, index // columns * height))
    return grid
