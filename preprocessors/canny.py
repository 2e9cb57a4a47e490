"""Canny edges."""

import cv2
import numpy as np

from preprocessors.base import Parameter, Pixels, Preprocessor, Work
from preprocessors.geometry import detected


def canny(work: Work) -> Pixels:
    """White edges on black, from OpenCV's Canny with the low threshold `a` and the high threshold `b`."""

    def edges(pixels: Pixels) -> Pixels:
        return np.asarray(cv2.Canny(pixels, int(work.a), int(work.b)), np.uint8)

    return detected(work.image, work.resolution, edges)


PREPROCESSORS = (
    Preprocessor(
        name="canny",
        types=("Canny",),
        run=canny,
        priority=100,
        sliders=(
            Parameter(label="Low Threshold", minimum=1, maximum=255, default=100),
            Parameter(label="High Threshold", minimum=1, maximum=255, default=200),
        ),
        soft_weights_in_hires=True,
    ),
)
