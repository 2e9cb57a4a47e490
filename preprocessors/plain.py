"""Preprocessors that need only arithmetic on pixels: none, invert, threshold, blur, the colour grid."""

import cv2
import numpy as np

from preprocessors.base import Parameter, Pixels, Preprocessor, Work, unchanged
from preprocessors.geometry import at_resolution, scaled, size_at


def invert(work: Work) -> Pixels:
    """255 minus the picture: white lines on black from black ones on white."""
    return 255 - work.image


def threshold(work: Work) -> Pixels:
    """White where the darkest channel is above `a`, else black."""
    pixels = at_resolution(work.image, work.resolution)
    return np.where(pixels.min(axis=2) > work.a, 255, 0).astype(np.uint8)


def blur_gaussian(work: Work) -> Pixels:
    """The picture blurred by a Gaussian whose deviation is `a` pixels of the map."""
    return np.asarray(cv2.GaussianBlur(at_resolution(work.image, work.resolution), (0, 0), work.a), np.uint8)


def color_grid(work: Work) -> Pixels:
    """Squares of 64 pixels, each of one colour.

    Source: sd-webui-controlnet annotator/color, apply_color: shrunk by 64 with cubic resampling, enlarged by nearest.
    """
    size = size_at(work.image, work.resolution)
    pixels = scaled(work.image, size, cv2.INTER_AREA)
    return scaled(scaled(pixels, (size[0] // 64, size[1] // 64), cv2.INTER_CUBIC), size, cv2.INTER_NEAREST)


PREPROCESSORS = (
    Preprocessor(name="none", types=(), run=unchanged, priority=10, resolution=None),
    Preprocessor(
        name="invert",
        label="invert (from white bg & black line)",
        types=("Canny", "Lineart", "Scribble", "MLSD"),
        run=invert,
        priority=20,
        resolution=None,
    ),
    Preprocessor(
        name="threshold",
        types=(),
        run=threshold,
        sliders=(Parameter(label="Binarization Threshold", minimum=0, maximum=255, default=127),),
    ),
    Preprocessor(
        name="blur_gaussian",
        types=("Tile",),
        run=blur_gaussian,
        sliders=(Parameter(label="Sigma", minimum=0.01, maximum=64, default=9, step=0.01),),
    ),
    Preprocessor(name="color", label="t2ia_color_grid", types=("T2I-Adapter",), run=color_grid),
)
