"""Depth maps, white for near: MiDaS, ZoeDepth, LeReS and Depth Anything."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import Parameter, Pixels, Preprocessor, Run, Work
from preprocessors.boosted_depth import MERGE, boosted, can_boost
from preprocessors.depth_anything import LARGE, LARGE_V2, Size, converted, depth_anything_network
from preprocessors.geometry import detected
from preprocessors.providers import provider
from preprocessors.tensors import Floats, loaded, normalized, resized, stretched, to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile

MIDAS = WeightFile(
    folder="midas",
    name="dpt_hybrid-midas-501f0c75.pt",
    repo="lllyasviel/Annotators",
    size_bytes=492_757_791,
    sha256="501f0c75b3bca7daec6b3682c5054c09b366765aef6fa3a09d03a5cb4b230853",
    licence="MIT",
)
ZOE = WeightFile(
    folder="zoedepth",
    name="ZoeD_M12_N.pt",
    repo="lllyasviel/Annotators",
    size_bytes=1_443_406_099,
    sha256="c97f94c4d53c5b788af46c5da0462262aebb37ea116fd70014bcbba93146c33b",
    licence="MIT",
)
LERES = WeightFile(
    folder="leres",
    name="res101.pth",
    repo="lllyasviel/Annotators",
    size_bytes=530_760_553,
    sha256="1d696b2ef3e8336b057d0c15bc82d2fecef821bfebe5ef9d7671a5ec5dde520b",
    licence="CC0-1.0",
)
DEPTH_ANYTHING = WeightFile(
    folder="depth_anything",
    name="depth_anything_vitl14.pth",
    file="checkpoints/depth_anything_vitl14.pth",
    repo="spaces/LiheYoung/Depth-Anything",
    size_bytes=1_341_401_882,
    licence="Apache-2.0",
)
DEPTH_ANYTHING_V2 = WeightFile(
    folder="depth_anything_v2",
    name="depth_anything_v2_vitl.safetensors",
    repo="MackinationsAi/Depth-Anything-V2_Safetensors",
    size_bytes=1_341_322_868,
    licence="CC-BY-NC-4.0",
)

_ANYTHING_SIDE = 518
_ANYTHING_MULTIPLE = 14


def midas_inverse_depth(work: Work, pixels: Pixels) -> Floats:
    """(H, W) inverse depth by MiDaS's DPT-Hybrid, in no unit."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        network_class = provider("controlnet_aux.midas.midas.dpt_depth").DPTDepthModel
        return loaded(network_class(path=None, backbone="vitb_rn50_384", non_negative=True), tensors)

    with torch.inference_mode():
        network = work.runtime.network("midas", [MIDAS], build)
        return to_floats(network(to_tensor(pixels, work.runtime.device) / 127.5 - 1)[0])


def depth_midas(work: Work) -> Pixels:
    """Inverse depth by MiDaS, from 0 for the farthest to 255 for the nearest."""
    return detected(work.image, work.resolution, lambda pixels: to_bytes(stretched(midas_inverse_depth(work, pixels))))


def depth_zoe(work: Work) -> Pixels:
    """Depth by ZoeDepth; the nearest 2 % are white, the farthest 15 % black.

    Source: ControlNet annotator/zoe, ZoeDetector.
    """

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        settings = provider("controlnet_aux.zoe.zoedepth.utils.config").get_config("zoedepth", "infer", **ZOE_SETTINGS)
        network = provider("controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1").ZoeDepth.build_from_config(
            settings
        )
        return _filled_but_for_tables(network, tensors)

    @torch.inference_mode()
    def detect(pixels: Pixels) -> Pixels:
        network: Any = work.runtime.network("zoe", [ZOE], build)
        depth = to_floats(network.infer(to_tensor(pixels, work.runtime.device) / 255)[0, 0])
        near, far = np.percentile(depth, 2), np.percentile(depth, 85)
        return to_bytes(1 - (depth - near) / max(far - near, 1e-6))

    return detected(work.image, work.resolution, detect)


ZOE_SETTINGS: dict[str, object] = {}
"""Differences from the published model's settings."""


def _filled_but_for_tables(network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """`network` with `tensors`; timm now computes the tables of relative positions that older files carry.

    Raises:
        RuntimeError: If other names or shapes differ.
    """
    wanted = network.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith("relative_position_index")}
    differing = wanted.keys() ^ given.keys()
    absent = [name for name in differing if not name.endswith("relative_position_index")]
    if absent:
        raise RuntimeError(f"{len(absent)} tensors are missing or unknown, such as {sorted(absent)[0]}")
    network.load_state_dict(given, strict=False)
    return network.float()


def depth_leres(*, boost: bool) -> Run:
    """Depth by LeReS, of the whole picture, or with `boost` also of patches at higher resolution, merged."""

    def run(work: Work) -> Pixels:
        def detect(pixels: Pixels) -> Pixels:
            network: Any = work.runtime.network("leres", [LERES], _leres)
            if boost and can_boost(pixels):
                depth = boosted(work, network, pixels)
            else:
                depth = leres_depth(network, pixels, work.runtime.device)
            return remove_ends(stretched(depth), near_percent=work.a, background_percent=work.b)

        return detected(work.image, work.resolution, detect)

    return run


def _leres(tensors: dict[str, Tensor]) -> nn.Module:
    network_class = provider("controlnet_aux.leres.leres.multi_depth_model_woauxi").RelDepthModel
    return loaded(network_class(backbone="resnext101"), tensors)


@torch.inference_mode()
def leres_depth(network: Any, pixels: Pixels, device: torch.device) -> Floats:
    """(H, W) depth in no unit: larger is farther; H and W are multiples of 32."""
    # The extension hands over BGR in 0..255, shifted and scaled as if it went up to 1.
    return to_floats(network.depth_model(normalized(to_tensor(pixels, device).flip(1)))[0, 0])


def remove_ends(depth: Floats, *, near_percent: float, background_percent: float) -> Pixels:
    """Nearness of depth in 0..1 as uint8, black beyond the last `background_percent` and white up to `near_percent`.

    Source: ControlNet annotator/leres, apply_leres: both cuts are percent of 255.
    """
    far = to_bytes(depth)
    if near_percent:
        far = np.where(far > near_percent / 100 * 255, far, 0).astype(np.uint8)
    near = 255 - far
    if background_percent:
        near = np.where(near > background_percent / 100 * 255, near, 0).astype(np.uint8)
    return near


def depth_anything(file: WeightFile, size: Size) -> Run:
    """Inverse depth by Depth Anything, from 0 for the farthest to 255 for the nearest."""

    def run(work: Work) -> Pixels:
        def build(tensors: dict[str, Tensor]) -> nn.Module:
            return loaded(depth_anything_network(size), converted(tensors))

        @torch.inference_mode()
        def detect(pixels: Pixels) -> Pixels:
            height, width = pixels.shape[:2]
            network: Any = work.runtime.network(file.place, [file], build)
            # The extension hands over BGR.
            picture = _at_least(
                pixels[:, :, ::-1].astype(np.float32) / np.float32(255), _ANYTHING_SIDE, _ANYTHING_MULTIPLE
            )
            tensor = torch.from_numpy(picture).to(work.runtime.device).permute(2, 0, 1)[None]
            inverse = to_floats(network(normalized(tensor)).predicted_depth[0])
            return to_bytes(stretched(resized(inverse, height, width)))

        return detected(work.image, work.resolution, detect)

    return run


def _at_least(values: Floats, side: int, multiple: int) -> Floats:
    """`values`, (H, W, C), with its short side at `side` or just above, both sides multiples of `multiple`.

    Source: MiDaS transforms.py, Resize with lower_bound.
    """
    height, width = values.shape[:2]
    factor = side / min(height, width)

    def rounded(length: int) -> int:
        near = round(length * factor / multiple) * multiple
        return near if near >= side else int(np.ceil(length * factor / multiple)) * multiple

    return resized(values, rounded(height), rounded(width), cv2.INTER_CUBIC)


_TYPES = ("Depth",)
_CUTS = (
    Parameter(label="Remove Near %", minimum=0, maximum=100, default=0, step=0.1),
    Parameter(label="Remove Background %", minimum=0, maximum=100, default=0, step=0.1),
)

PREPROCESSORS = (
    Preprocessor(
        name="depth",
        label="depth_midas",
        types=_TYPES,
        run=depth_midas,
        priority=100,
        weights=(MIDAS,),
        provider="controlnet-aux",
    ),
    Preprocessor(name="depth_zoe", types=_TYPES, run=depth_zoe, weights=(ZOE,), provider="controlnet-aux"),
    Preprocessor(
        name="depth_leres",
        types=_TYPES,
        run=depth_leres(boost=False),
        sliders=_CUTS,
        weights=(LERES,),
        provider="controlnet-aux",
    ),
    Preprocessor(
        name="depth_leres++",
        types=_TYPES,
        run=depth_leres(boost=True),
        sliders=_CUTS,
        weights=(LERES, MERGE),
        provider="controlnet-aux",
    ),
    Preprocessor(
        name="depth_anything",
        types=_TYPES,
        run=depth_anything(DEPTH_ANYTHING, LARGE),
        weights=(DEPTH_ANYTHING,),
        provider="transformers",
    ),
    Preprocessor(
        name="depth_anything_v2",
        types=_TYPES,
        run=depth_anything(DEPTH_ANYTHING_V2, LARGE_V2),
        weights=(DEPTH_ANYTHING_V2,),
        provider="transformers",
    ),
)
