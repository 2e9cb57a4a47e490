"""Colour correction: the source's colours on the result's brightness."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Lab = NDArray[np.uint8]
"""A picture in OpenCV's 8-bit LAB, (H, W, 3)."""


LUMINOSITY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""Share of red, green and blue in the luminosity (ITU-R BT.601)."""


def color_target(image: Image.Image) -> Lab:
    """The LAB pixels of `image`, whose distribution `correct_colors` gives to another picture.

    Source: A1111 modules/processing.py, setup_color_correction.
    """
    return _convert(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2LAB)


def correct_colors(image: Image.Image, target: Lab) -> Image.Image:
    """`image` (RGB) with the colour distribution of `target` and its own luminosity.

    Each LAB channel's histogram is matched to the target's; then the brightness of the uncorrected picture is put
    back ("luminosity" blend), so that only colours change.

    Source: A1111 modules/processing.py, apply_color_correction.
    """
    original = np.asarray(image.convert("RGB"))
    lab = _convert(original, cv2.COLOR_RGB2LAB)
    matched = np.stack([match_histogram(lab[..., i], target[..., i]) for i in range(3)], axis=-1)
    corrected = _convert(matched, cv2.COLOR_LAB2RGB)
    return Image.fromarray(blend_luminosity(corrected, original))


def match_histogram(values: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`values` mapped so that their cumulative distribution becomes that of `reference`; any shapes.

    Fractions are cut off, as scikit-image's `match_histograms` does for 8-bit pictures.
    """
    counts = np.bincount(values.reshape(-1), minlength=256)
    reference_counts = np.bincount(reference.reshape(-1), minlength=256)
    levels = np.nonzero(reference_counts)[0]
    quantiles = np.cumsum(counts) / values.size
    reference_quantiles = np.cumsum(reference_counts[levels]) / reference.size
    table = np.interp(quantiles, reference_quantiles, levels)
    return table.astype(np.uint8)[values]


def match_values(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` (n,) mapped so that their cumulative distribution becomes that of `reference` (m,); not rounded."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    levels, reference_counts = np.unique(reference, return_counts=True)
    quantiles = np.cumsum(counts) / values.size
    return np.interp(quantiles, np.cumsum(reference_counts) / reference.size, levels)[places]


def blend_luminosity(colors: NDArray[np.uint8], brightness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hue and saturation of `colors` with the luminosity of `brightness`, both (H, W, 3).

    Source: W3C Compositing and Blending Level 1, section 10.2.4 (SetLum, ClipColor), with the weights and the cut to
    8 bit of the blendmodes library that A1111 uses.
    """
    base = colors.astype(np.float64) / 255
    shift = _luminosity(brightness.astype(np.float64) / 255) - _luminosity(base)
    return (_clip_color(base + shift) * 255).astype(np.uint8)


def _luminosity(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return (rgb @ LUMINOSITY_WEIGHTS)[..., None]


def _clip_color(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves colours outside [0, 1] towards the grey of their luminosity until they fit."""
    grey = _luminosity(rgb)
    low, high = rgb.min(axis=-1, keepdims=True), rgb.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        rgb = np.where(low < 0, grey + (rgb - grey) * grey / (grey - low), rgb)
        rgb = np.where(high > 1, grey + (rgb - grey) * (1 - grey) / (high - grey), rgb)
    return np.clip(np.nan_to_num(rgb), 0, 1)


def _convert(pixels: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    """`cv2.cvtColor` with a type."""
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)
