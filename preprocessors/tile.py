"""Preprocessors of the tile model: a coarser picture; the colour fixes themselves act during sampling."""

import cv2

from preprocessors.base import Parameter, Pixels, Preprocessor, Work, unchanged
from preprocessors.geometry import scaled

_UNCHANGED_BELOW = 1.1

_VARIATION = Parameter(label="Variation", minimum=3, maximum=32, default=8)


def tile_resample(work: Work) -> Pixels:
    """The picture shrunk by the factor `a`; itself below 1.1."""
    if work.a < _UNCHANGED_BELOW:
        return work.image
    height, width = work.image.shape[:2]
    return scaled(work.image, (int(width / work.a), int(height / work.a)), cv2.INTER_AREA)


PREPROCESSORS = (
    Preprocessor(
        name="tile_resample",
        types=("Tile",),
        run=tile_resample,
        priority=100,
        resolution=None,
        sliders=(Parameter(label="Down Sampling Rate", minimum=1, maximum=8, default=1, step=0.01),),
    ),
    Preprocessor(name="tile_colorfix", types=("Tile",), run=unchanged, resolution=None, sliders=(_VARIATION,)),
    Preprocessor(
        name="tile_colorfix+sharp",
        types=("Tile",),
        run=unchanged,
        resolution=None,
        sliders=(_VARIATION, Parameter(label="Sharpness", minimum=0, maximum=2, default=1, step=0.01)),
    ),
)
