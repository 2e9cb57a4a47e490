"""The lightness of a picture, to be coloured anew."""

import cv2
import numpy as np

from preprocessors.base import Parameter, Pixels, Preprocessor, Work

_GAMMA = (Parameter(label="Gamma Correction", minimum=0.1, maximum=2, default=1, step=0.001),)


def recolor_luminance(work: Work) -> Pixels:
    """L of CIE Lab to the power of `a`.

    The extension hands RGB to the BGR conversion; its models were made with that, so the same is done here.

    Source: sd-webui-controlnet scripts/processor.py, recolor_luminance.
    """
    return _gamma(np.asarray(cv2.cvtColor(work.image, cv2.COLOR_BGR2LAB), np.uint8)[:, :, 0], work.a)


def recolor_intensity(work: Work) -> Pixels:
    """V of HSV, the largest channel, to the power of `a`."""
    return _gamma(work.image.max(axis=2), work.a)


def _gamma(channel: Pixels, gamma: float) -> Pixels:
    powered = (channel.astype(np.float32) / 255) ** gamma * 255
    return powered.clip(0, 255).astype(np.uint8)


PREPROCESSORS = (
    Preprocessor(
        name="recolor_luminance",
        types=("Recolor",),
        run=recolor_luminance,
        priority=100,
        resolution=None,
        sliders=_GAMMA,
    ),
    Preprocessor(name="recolor_intensity", types=("Recolor",), run=recolor_intensity, resolution=None, sliders=_GAMMA),
)
