"""Preprocessors of the inpaint models: the picture with its mask, or what LaMa puts in the masked place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import ControlMap, Preprocessor, Work, unchanged
from preprocessors.geometry import padded, scaled
from preprocessors.providers import provider
from preprocessors.tensors import to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile

LAMA = WeightFile(
    folder="lama",
    name="ControlNetLama.pth",
    repo="lllyasviel/Annotators",
    size_bytes=204_597_536,
    sha256="3b54044a23222eb835b549d61b480c444c06cf36df0ca86ea97aa9b14b001150",
    licence="Apache-2.0",
)

_TRAINED_SIDE = 256
_PREFIX = "generator."


def inpaint_lama(work: Work) -> ControlMap:
    """The picture with its masked part filled by LaMa from what surrounds it.

    Source: sd-webui-controlnet scripts/preprocessor/lama_inpaint.py: filled at 256 pixels, put into the full picture.
    """

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        network: nn.Module = provider("spandrel.architectures.LaMa.__arch.LaMa").LaMa(in_nc=4, out_nc=3)
        # The file also holds what trained the generator.
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
        network.load_state_dict({name.removeprefix(_PREFIX): tensor for name, tensor in own.items()})
        return network.float()

    assert work.mask is not None, "the caller checks that there is a mask"
    network: Any = work.runtime.network("lama", [LAMA], build)
    both = padded(np.dstack([work.image, work.mask]), _TRAINED_SIDE)
    device = work.runtime.device
    with torch.inference_mode():
        picture = to_tensor(both.pixels[:, :, :3], device) / 255
        hole = (to_tensor(both.pixels[:, :, 3], device) > 127.5).float()
        small = to_floats(network(picture, hole)[0]).transpose(1, 2, 0)
    height, width = work.image.shape[:2]
    filled = scaled(both.cut(to_bytes(small)), (width, height)).astype(np.float32)
    share = work.mask[:, :, None].astype(np.float32) / 255
    mixed = filled * share + work.image.astype(np.float32) * (1 - share)
    return ControlMap(image=mixed.clip(0, 255).astype(np.uint8), mask=work.mask)


_TYPES = ("Inpaint",)

PREPROCESSORS = (
    Preprocessor(name="inpaint_only", types=_TYPES, run=unchanged, priority=100, resolution=None, requires_mask=True),
    Preprocessor(
        name="inpaint",
        label="inpaint_global_harmonious",
        types=_TYPES,
        run=unchanged,
        resolution=None,
        requires_mask=True,
    ),
    Preprocessor(
        name="inpaint_only+lama",
        types=_TYPES,
        run=inpaint_lama,
        resolution=None,
        requires_mask=True,
        weights=(LAMA,),
        provider="spandrel",
    ),
)
