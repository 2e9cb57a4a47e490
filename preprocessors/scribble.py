"""Scribbles without a network: a difference of Gaussians."""

import cv2
import numpy as np

from preprocessors.base import Parameter, Pixels, Preprocessor, Work
from preprocessors.geometry import detected


def scribble_xdog(work: Work) -> Pixels:
    """White where a picture is darker than its surroundings by more than `a` / 2, else black.

    Source: sd-webui-controlnet scripts/processor.py, scribble_xdog.
    """

    def strokes(pixels: Pixels) -> Pixels:
        values = pixels.astype(np.float32)
        fine = np.asarray(cv2.GaussianBlur(values, (0, 0), 0.5), np.float32)
        coarse = np.asarray(cv2.GaussianBlur(values, (0, 0), 5), np.float32)
        darker = 255 - (255 - (coarse - fine).min(axis=2)).clip(0, 255).astype(np.uint8)
        # Doubling in eight bits wraps: the extension's very dark spots come out black, and so do these.
        return np.where(2 * darker > work.a, 255, 0).astype(np.uint8)

    return detected(work.image, work.resolution, strokes)


PREPROCESSORS = (
    Preprocessor(
        name="scribble_xdog",
        types=("Scribble", "SparseCtrl"),
        run=scribble_xdog,
        sliders=(Parameter(label="XDoG Threshold", minimum=1, maximum=64, default=32),),
    ),
)
