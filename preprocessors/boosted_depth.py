"""Depth at high resolution: LeReS on the whole picture and on its detailed patches, merged by a network of its own.

Source: Miangoleh et al., "Boosting Monocular Depth Estimation Models to High-Resolution via Content-Adaptive
Multi-Resolution Merging", CVPR 2021; controlnet_aux carries the search for patches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import Pixels, Work
from preprocessors.providers import provider, quiet
from preprocessors.tensors import Floats, loaded, stretched
from preprocessors.weights import WeightFile

MERGE = WeightFile(
    folder="leres",
    name="latest_net_G.pth",
    repo="lllyasviel/Annotators",
    size_bytes=318_268_048,
    sha256="50ec735d74ed6499562d898f41b49343e521808b8dae589aa3c2f5c9ac9f7462",
    licence="non-commercial (BoostingMonocularDepth)",
)

_LERES = 0
# In pixels: what LeReS sees at once, and the steps in which resolutions are tried.
_RECEPTIVE_FIELD = 448
_STEP = 32


class _Merger:
    """Our merging network behind the three methods that controlnet_aux calls."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self._device = network, device
        self._pair = self._merged = torch.empty(0)

    def set_input(self, coarse: Floats, fine: Floats) -> None:
        """Takes two estimates of the same region, (H, W) each, in no unit."""
        pair = np.stack([stretched(coarse), stretched(fine)]).astype(np.float32) * 2 - 1
        self._pair = torch.from_numpy(pair)[None].to(self._device)

    def test(self) -> None:
        """Merges them."""
        self._merged = self._network(self._pair)

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The merged estimate, (1, 1, H, W) in -1..1, under the name controlnet_aux asks for."""
        return {"fake_B": self._merged}


def can_boost(pixels: Pixels) -> bool:
    """Whether a picture is large enough for details to be looked for: three times its long side exceeds 448."""
    return 3 * max(pixels.shape[:2]) >= _RECEPTIVE_FIELD + _STEP


@torch.inference_mode()
def boosted(work: Work, leres: Any, pixels: Pixels) -> Floats:
    """(H, W) depth in no unit: larger is farther."""
    merger = _Merger(work.runtime.network("leres merge", [MERGE], _merging_network), work.runtime.device)
    with quiet():
        estimate = provider("controlnet_aux.leres.leres.depthmap").estimateboost
        made = estimate(pixels, leres, _LERES, merger, max(pixels.shape[:2]))
    return np.asarray(made, np.float32)


def _merging_network(tensors: dict[str, Tensor]) -> nn.Module:
    networks = provider("controlnet_aux.leres.pix2pix.models.networks")
    norm = networks.get_norm_layer(norm_type="none")
    return loaded(networks.UnetGenerator(2, 1, 10, 64, norm_layer=norm, use_dropout=False), tensors)
