"""How attention weights act on a text encoder's output."""

from enum import StrEnum

from torch import Tensor


class Emphasis(StrEnum):
    """The choices of the setting "Emphasis mode"; a name that is none of them acts like `ORIGINAL`."""

    NONE = "None"
    IGNORE = "Ignore"
    ORIGINAL = "Original"
    NO_NORM = "No norm"


def apply_emphasis(mode: str, z: Tensor, weights: Tensor) -> Tensor:
    """`z` with every token multiplied by its weight; `ORIGINAL` then restores the mean of the whole tensor.

    Args:
        mode: A value of `Emphasis`.
        z: (B, T, D), the output of one encoder call for all texts of a prompt's schedule.
        weights: (B, T).

    Source: A1111 modules/sd_emphasis.py.
    """
    if mode in (Emphasis.NONE, Emphasis.IGNORE) or bool((weights == 1).all()):
        return z
    weighted = z * weights[..., None]
    if mode == Emphasis.NO_NORM:
        return weighted
    # The mean over all texts, positions and channels of the call, padding included: part of what users see.
    return weighted * (z.mean() / weighted.mean())
