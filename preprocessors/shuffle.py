"""The picture with its content shuffled along a smooth random flow."""

import cv2
import numpy as np
import numpy.typing as npt

from preprocessors.base import Pixels, Preprocessor, Work
from preprocessors.geometry import at_resolution

_SIDE = 512
_GRID = 256


def shuffle(work: Work) -> Pixels:
    """Each pixel from where two smooth noise fields point to; the same for the same `seed`.

    Source: ControlNet annotator/shuffle, ContentShuffleDetector.
    """
    pixels = at_resolution(work.image, _SIDE)
    height, width = pixels.shape[:2]
    # The legacy generator: the extension seeds numpy's global one, which draws these same numbers.
    noise = np.random.RandomState(work.seed & 0xFFFFFFFF)
    x = _smooth_noise(noise, height, width) * (width - 1)
    y = _smooth_noise(noise, height, width) * (height - 1)
    made = cv2.remap(pixels, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(made, np.uint8)


def _smooth_noise(noise: np.random.RandomState, height: int, width: int) -> npt.NDArray[np.float64]:
    """(height, width) in 0..1: uniform numbers on a grid of 256 pixels, enlarged cubically and stretched."""
    cells = noise.uniform(0, 1, size=(height // _GRID + 2, width // _GRID + 2, 1))
    large = cv2.resize(cells, (width + 2 * _GRID, height + 2 * _GRID), interpolation=cv2.INTER_CUBIC)
    field = np.asarray(large, np.float64)[_GRID : _GRID + height, _GRID : _GRID + width]
    field = field - field.min()
    return field / field.max()


PREPROCESSORS = (
    Preprocessor(name="shuffle", types=("Shuffle",), run=shuffle, priority=100, resolution=None, is_seeded=True),
)
