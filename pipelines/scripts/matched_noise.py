"""Noise that continues a picture: its spectrum and colours are those of the known part."""

import numpy as np
from numpy.typing import NDArray

from pipelines.color import match_values

Pixels = NDArray[np.float64]
"""(H, W, 3) in 0..1."""

BLACK_BELOW = 1e-3
WHITE_ABOVE = 1e-6


def matched_noise(image: Pixels, mask: Pixels, *, falloff: float = 1.0, color_variation: float = 0.05) -> Pixels:
    """`image` with its masked part replaced by noise that looks like the rest.

    Grey-ish noise with a falling spectrum gets the amplitude of the picture's spectrum (to the power `falloff`) and
    its phase; then its colours are matched to the known part. The noise does not depend on the job's seed.

    Args:
        mask: 0 = known, 1 = to fill, equal in the three channels.
        falloff: Lower gives more detail.
        color_variation: 0 is grey noise, 1 independent channels.

    Source: A1111 scripts/outpainting_mk_2.py, get_matched_noise.
    """
    grey_mask = mask.mean(axis=2)
    fill, known = grey_mask > WHITE_ABOVE, grey_mask < BLACK_BELOW
    window = image * (1 - mask)
    # The masked part gets the mean of the whole picture: a black one would add its own edges to the spectrum.
    window = window / (window.max() or 1.0) + image.mean() * mask
    spectrum = _fft(window)
    amplitude = np.abs(spectrum)
    phase = np.divide(spectrum, amplitude, out=np.zeros_like(spectrum), where=amplitude != 0)

    noise = np.random.default_rng(0).random(image.shape)
    noise = noise * color_variation + (1 - color_variation) * (noise.sum(axis=2, keepdims=True) / 3)
    smooth = np.real(_inverse_fft(_fft(noise) * _falling_window(*image.shape[:2])[..., None]))
    strength = np.abs(_fft(smooth)) ** 2 * amplitude**falloff
    shaped = np.real(_inverse_fft((strength * phase).astype(np.complex128)))
    shaped -= shaped.min()
    shaped /= shaped.max() or 1.0
    if known.any():
        for channel in range(3):
            shaped[fill, channel] = match_values(shaped[fill, channel], image[known, channel])
    return np.clip(image * (1 - mask) + shaped * mask, 0, 1)


def _falling_window(rows: int, columns: int) -> NDArray[np.float64]:
    """1 / ((1 + x²)(1 + y²)) with x, y from -1 to 1 along the shorter axis and further along the longer."""
    shorter = min(rows, columns)
    y = (np.arange(rows) / rows * 2 - 1) * (rows / shorter)
    x = (np.arange(columns) / columns * 2 - 1) * (columns / shorter)
    return 1 / ((y[:, None] ** 2 + 1) * (x[None, :] ** 2 + 1))


def _fft(values: NDArray[np.float64]) -> NDArray[np.complex128]:
    shifted = np.fft.fftshift(values, axes=(0, 1))
    return np.fft.ifftshift(np.fft.fft2(shifted, axes=(0, 1), norm="ortho"), axes=(0, 1))


def _inverse_fft(values: NDArray[np.complex128]) -> NDArray[np.complex128]:
    shifted = np.fft.fftshift(values, axes=(0, 1))
    return np.fft.ifftshift(np.fft.ifft2(shifted, axes=(0, 1), norm="ortho"), axes=(0, 1))
