"""Line maps made one pixel wide again after resizing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]

MAX_ROUNDS = 32
_LINE_DIRECTIONS = (
    ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
)
# Hit-or-miss patterns: 1 must be set, -1 must be clear, 0 does not matter.
_BORDER = (((-1, -1, -1), (0, 1, 0), (1, 1, 1)), ((0, -1, -1), (1, 1, -1), (0, 1, 0)))
_SPUR = (((-1, -1, -1), (-1, 1, -1), (0, 0, -1)), ((-1, -1, -1), (-1, 1, -1), (-1, 0, 0)))


def _turned(patterns: Sequence[Sequence[Sequence[int]]]) -> tuple[NDArray[np.int32], ...]:
    arrays = [np.array(pattern, np.int32) for pattern in patterns]
    return tuple(np.ascontiguousarray(np.rot90(array, turns)) for turns in range(4) for array in arrays)


_BORDERS, _SPURS = _turned(_BORDER), _turned(_SPUR)


def ridges(gray: Gray) -> Gray:
    """(H, W) `gray` where it is the largest of its line in one of four directions, else 0."""
    kept = np.zeros_like(gray)
    for direction in _LINE_DIRECTIONS:
        largest = cv2.dilate(gray, np.array(direction, np.uint8))
        np.putmask(kept, largest == gray, gray)
    return kept


def binarized(gray: Gray) -> Gray:
    """(H, W) 0 or 255, split at Otsu's threshold."""
    _, split = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(split, np.uint8)


def thinned(lines: Gray, *, prune: bool) -> Gray:
    """(H, W) 0 or 255 with every line one pixel wide.

    Args:
        prune: Take one pixel off spurs; for maps that were enlarged.

    Source: Guo & Hall style thinning by hit-or-miss, as sd-webui-controlnet annotator/util.py, lvmin_thin.
    """
    thin = lines.copy()
    for _ in range(MAX_ROUNDS):
        if not _cleared(thin, _BORDERS):
            break
    if prune:
        _cleared(thin, _SPURS)
    return thin


def _cleared(lines: Gray, patterns: tuple[NDArray[np.int32], ...]) -> bool:
    """Clears the pixels that a pattern hits, pattern after pattern, in place; whether there were any."""
    changed = False
    for pattern in patterns:
        hit = cv2.morphologyEx(lines, cv2.MORPH_HITMISS, pattern) > 127
        changed |= bool(hit.any())
        lines[hit] = 0
    return changed
