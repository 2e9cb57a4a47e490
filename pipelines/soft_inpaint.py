"""Soft inpainting after sampling: overlay masks from how far the latents moved.

The blend at every step is `pipelines/sampling/masked.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from pipelines.masks import Placement, keep_unmasked, read_mask, uncrop
from pipelines.resize import ResizeMode, resize_image

KERNEL_RADIUS = 2
KERNEL_STDDEV = 1.5
OVERLAY_BLUR_RADIUS = 4

Map = NDArray[np.float64]
"""(h, w) at latent size."""


@dataclass(frozen=True, kw_only=True)
class SoftInpaintPlan:
    """The six sliders of soft inpainting.

    Source: A1111 extensions-builtin/soft-inpainting, SoftInpaintingSettings.
    """

    schedule_bias: float = 1.0
    preservation_strength: float = 0.5
    transition_contrast_boost: float = 4.0
    mask_influence: float = 0.0
    difference_threshold: float = 0.5
    difference_contrast: float = 2.0

    @property
    def infotext(self) -> dict[str, float | bool]:
        """The fields A1111 writes, in its order."""
        return {
            "Soft inpainting enabled": True,
            "Soft inpainting schedule bias": self.schedule_bias,
            "Soft inpainting preservation strength": self.preservation_strength,
            "Soft inpainting transition contrast boost": self.transition_contrast_boost,
            "Soft inpainting mask influence": self.mask_influence,
            "Soft inpainting difference threshold": self.difference_threshold,
            "Soft inpainting difference contrast": self.difference_contrast,
        }


@dataclass(frozen=True, kw_only=True)
class SoftOverlay:
    """What replaces overlay and overlay mask of one picture."""

    mask: Image.Image
    overlay: Image.Image


def soft_overlays(
    plan: SoftInpaintPlan,
    *,
    nmask: Tensor,
    source: Tensor,
    result: Tensor,
    pictures: Sequence[Image.Image],
    width: int,
    height: int,
    place: Placement | None,
) -> list[SoftOverlay]:
    """Overlay and mask per picture: the more its latents changed, the more of the result shows.

    Args:
        nmask: (h, w), (C, h, w) or (B, C, h, w); 1 = repaint.
        source, result: Latents before and after sampling, (B, C, h, w).
        pictures: The flattened sources, one per batch entry, at full size.
        width, height: Pixels that were sampled.
        place: Where they belong in the picture, or None for all of it.

    Source: A1111 extensions-builtin/soft-inpainting, apply_adaptive_masks.
    """
    scalar = _mask_scalar(plan, nmask)
    distances = (result - source).float().norm(p=2, dim=1).cpu().numpy().astype(np.float64)
    overlays: list[SoftOverlay] = []
    for index, (distance, picture) in enumerate(zip(distances, pictures, strict=True)):
        half = plan.difference_threshold * scalar[min(index, len(scalar) - 1)]
        change = changed_share(distance, half_distance=half, contrast=plan.difference_contrast)
        mask = _to_picture_mask(change, width=width, height=height)
        if place is not None:
            mask = uncrop(mask, picture.size, place)
        overlays.append(SoftOverlay(mask=mask, overlay=keep_unmasked(picture, mask).convert("RGBA")))
    return overlays


def changed_share(distance: Map, *, half_distance: Map | float, contrast: float) -> Map:
    """How much of the result shows, 0..1 per latent cell.

    Args:
        distance: Length of the latents' change.
        half_distance: The distance at which half of it shows.
        contrast: Steepness around that distance.
    """
    kernel = gaussian_kernel(KERNEL_STDDEV, KERNEL_RADIUS)
    distance = histogram_filter(distance, kernel, low=0.9, high=1.0)
    distance = histogram_filter(distance, kernel, low=0.25, high=0.75)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.nan_to_num(distance / half_distance, nan=0.0, posinf=np.inf)
        kept = 1 / (1 + ratio**contrast)
    return 1 - smootherstep(kept)


def gaussian_kernel(stddev: float, radius: int) -> Map:
    """A (2r+1, 2r+1) bell with 1 in the middle that falls to 0 one cell outside `radius`.

    exp(−d²/stddev²), shifted and scaled so that it is 0 at distance r + 1.

    Source: A1111 extensions-builtin/soft-inpainting, get_gaussian_kernel.
    """
    outside = math.exp(-((radius + 1) ** 2) / stddev**2)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    bell = np.exp(-(x**2 + y**2) / stddev**2)
    return np.maximum((bell - outside) / (1 - outside), 0)


def histogram_filter(values: Map, kernel: Map, *, low: float, high: float, min_width: float = 1.0) -> Map:
    """The weighted mean of the neighbours whose rank lies between two percentiles.

    The neighbours under the kernel are sorted and stacked, each as high as its kernel weight; the mean is taken over
    the part of the stack from `low` to `high`, widened to `min_width` around its centre and kept inside the stack.

    Args:
        low, high: 0..1.

    Source: A1111 extensions-builtin/soft-inpainting, weighted_histogram_filter.
    """
    samples, weights = _neighbours(values, kernel)
    order = np.argsort(samples, axis=-1, kind="stable")
    samples, weights = np.take_along_axis(samples, order, -1), np.take_along_axis(weights, order, -1)
    ends = np.cumsum(weights, axis=-1)
    starts = ends - weights
    total = ends[..., -1:]
    first, last = total * low, total * high
    narrow = last - first < min_width
    centre = (first + last) / 2
    first, last = np.where(narrow, centre - min_width / 2, first), np.where(narrow, centre + min_width / 2, last)
    beyond = narrow & (last > total)
    first, last = np.where(beyond, total - min_width, first), np.where(beyond, total, last)
    before = narrow & (first < 0)
    first, last = np.where(before, 0, first), np.where(before, min_width, last)
    overlap = np.clip(np.minimum(last, ends) - np.maximum(first, starts), 0, None)
    share = overlap.sum(axis=-1)
    return np.divide((samples * overlap).sum(axis=-1), share, out=np.zeros_like(share), where=share != 0)


def smootherstep(x: Map) -> Map:
    """6x⁵ − 15x⁴ + 10x³: 0 to 1 with flat ends (Perlin 2002)."""
    return x * x * x * (x * (6 * x - 15) + 10)


def _neighbours(values: Map, kernel: Map) -> tuple[Map, Map]:
    """Samples under the kernel and their weights, both (h, w, k); outside the picture the weight is 0."""
    rows, columns = kernel.shape
    pad = ((rows // 2, rows // 2), (columns // 2, columns // 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values.astype(np.float64), pad), kernel.shape)
    inside = np.lib.stride_tricks.sliding_window_view(np.pad(np.ones_like(values, dtype=np.float64), pad), kernel.shape)
    shape = (*values.shape, kernel.size)
    return windows.reshape(shape), (inside * kernel).reshape(shape)


def _mask_scalar(plan: SoftInpaintPlan, nmask: Tensor) -> Map:
    """(B, h, w) factor of the threshold: small where the mask is white, as far as the mask has influence."""
    mask = nmask.float().cpu().numpy().astype(np.float64)
    mask = mask[None] if mask.ndim == 2 else mask[:1] if mask.ndim == 3 else mask[:, 0]
    scalar = 1 - np.clip(mask, 0, 1) ** (plan.preservation_strength / 2)
    scalar = 0.5 * (1 - plan.mask_influence) + scalar * plan.mask_influence
    return scalar / (1.00001 - scalar)


def _to_picture_mask(share: Map, *, width: int, height: int) -> Image.Image:
    small = Image.fromarray((255 * share).astype(np.uint8))
    mask = read_mask(resize_image(small, ResizeMode.FILL, width, height), binarize=False)
    # The latent grid would show as steps.
    return mask.filter(ImageFilter.GaussianBlur(OVERLAY_BLUR_RADIUS))
