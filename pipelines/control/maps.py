"""Control maps of a job's units: preprocessed once, fitted to both passes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.control.geometry import fit_map, pixel_perfect_resolution
from pipelines.control.inputs import ControlInput, ControlSource, choose_input
from pipelines.control.plan import UnitPlan
from preprocessors.base import ControlMap, Preprocessor
from preprocessors.weights import Runtime

Pixels = NDArray[np.uint8]

KEPT_MAPS = 16
"""How many maps are remembered (--controlnet-preprocessor-cache-size)."""


@dataclass(frozen=True, kw_only=True)
class UnitMaps:
    """What a unit's control networks are shown.

    Attributes:
        made: Straight from the preprocessor.
        source: What it was made of.
        low: (h, w, 3 or 4) at the first pass's size.
        high: At the hires pass's size, or None without one.
    """

    made: ControlMap
    source: ControlInput
    low: Pixels
    high: Pixels | None = None

    def hint(self, *, is_hires: bool) -> Tensor:
        """(1, 3 or 4, h, w) in 0..1 for one of the passes."""
        pixels = self.high if is_hires and self.high is not None else self.low
        return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()

    def pictures(self) -> list[Image.Image]:
        """The maps as results show them: the hires one first; where it was masked, transparent by half.

        Source: sd-webui-controlnet scripts/controlnet.py, Script.postprocess and display of inpaint maps.
        """
        return [_shown(pixels) for pixels in (self.high, self.low) if pixels is not None]


class MapMaker:
    """Runs preprocessors and remembers their last maps.

    Source: sd-webui-controlnet scripts/supported_preprocessor.py, Preprocessor.cached_call.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._kept: OrderedDict[tuple[object, ...], ControlMap] = OrderedDict()

    def make(
        self, entry: Preprocessor, given: ControlInput, *, resolution: float, a: float, b: float, seed: int = 0
    ) -> ControlMap:
        """The map of a picture.

        Raises:
            WebuiError: As the preprocessor does.
        """
        key = (entry.name, _digest(given.image), _digest(given.mask), resolution, a, b)
        if not entry.is_seeded and key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        mask = given.mask
        if mask is None and entry.requires_mask:
            mask = np.zeros(given.image.shape[:2], np.uint8)
        made = entry(given.image, runtime=self.runtime, resolution=resolution, a=a, b=b, mask=mask, seed=seed)
        if not entry.is_seeded:
            self._kept[key] = made
            while len(self._kept) > KEPT_MAPS:
                self._kept.popitem(last=False)
        return made


def unit_maps(
    unit: UnitPlan,
    maker: MapMaker,
    *,
    size: tuple[int, int],
    hires_size: tuple[int, int] | None,
    source: ControlSource | None,
    seed: int,
    ignore_masks: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> UnitMaps:
    """A unit's maps for both passes.

    Args:
        size, hires_size: (width, height) of the latents in pixels.
        seed: For preprocessors that draw random numbers.
        say: Told what is going on.

    Raises:
        InvalidRequest: If the unit has no picture.
        WebuiError: If its preprocessor cannot run.
    """
    given = choose_input(unit, source, ignore_masks=ignore_masks)
    resolution = unit.resolution
    if unit.pixel_perfect:
        height, width = given.image.shape[:2]
        resolution = pixel_perfect_resolution(width, height, *size, given.resize_mode)
        if (slider := unit.preprocessor.resolution) is not None:
            resolution = min(max(resolution, slider.minimum), slider.maximum)
    if unit.preprocessor.name != "none":
        say(f"Preprocessing: {unit.preprocessor.label}")
    made = maker.make(unit.preprocessor, given, resolution=resolution, a=unit.a, b=unit.b, seed=seed)
    pixels = made.image
    if made.mask is not None and "Inpaint" in unit.preprocessor.types:
        pixels = np.concatenate([pixels, made.mask[:, :, None]], axis=2)
    return UnitMaps(
        made=made,
        source=given,
        low=fit_map(pixels, *size, given.resize_mode),
        high=fit_map(pixels, *hires_size, given.resize_mode) if hires_size else None,
    )


def shuffle_seed(seed: int, subseed: int) -> int:
    """What seeds preprocessors in a job. Source: sd-webui-controlnet scripts/controlnet.py, Script.process."""
    return (seed + subseed) & 0xFFFFFFFF


def _shown(pixels: Pixels) -> Image.Image:
    if pixels.shape[2] == 4:
        return Image.fromarray(np.concatenate([pixels[:, :, :3], 255 - pixels[:, :, 3:] // 2], axis=2))
    return Image.fromarray(pixels)


def _digest(pixels: Pixels | None) -> bytes:
    if pixels is None:
        return b""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
