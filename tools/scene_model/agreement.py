"""How far a picture keeps what its control picture asks for: shared edges, distance of joints."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scene_model.conditions import edges_of

MEASURING_SIZE = 256
TOLERANCE = 5


def measured_edges(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the Canny edges (100, 200) of a picture brought to 256 x 256, 0 or 255."""
    large = cv2.resize(image, (MEASURING_SIZE, MEASURING_SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    return edges_of(large)


def _near(edges: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns where an edge is at most `TOLERANCE` pixels away."""
    distance = cv2.distanceTransform(255 - edges, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance) <= TOLERANCE


def edge_f1(wanted: NDArray[np.uint8], seen: NDArray[np.uint8], region: NDArray[np.bool_] | None = None) -> float:
    """Returns how well two pictures' edges agree, 0 to 1: the harmonic mean of precision and recall.

    Args:
        wanted: The picture the control was taken from, (h, w, 3).
        seen: The picture that was made, (h, w, 3).
        region: Where edges count, (256, 256); by default everywhere.
    """
    first, second = measured_edges(wanted), measured_edges(seen)
    counted = np.ones_like(first, bool) if region is None else region
    ours, theirs = (first > 0) & counted, (second > 0) & counted
    if not ours.any() or not theirs.any():
        return 0.0
    recall, precision = float(_near(second)[ours].mean()), float(_near(first)[theirs].mean())
    return 2 * precision * recall / max(1e-9, precision + recall)


def figure_region(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns the subject and a margin of the tolerance around it, (256, 256), from a mask of 0 to 255."""
    large = cv2.resize(mask, (MEASURING_SIZE, MEASURING_SIZE), interpolation=cv2.INTER_LINEAR)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * TOLERANCE + 1, 2 * TOLERANCE + 1))
    return cv2.dilate((large > 127).astype(np.uint8), reach) > 0


def joint_error(wanted: NDArray[np.float64], seen: NDArray[np.float64]) -> float:
    """Returns the mean distance of joints as a share of the wanted figure's height.

    Args:
        wanted: Joints, (18, 2).
        seen: The same joints as found, in the same unit; NaN where one was not found. A joint that is missing counts
            as a quarter of the height, so that finding few does not look good.
    """
    height = float(np.ptp(wanted[:, 1]))
    distance = np.linalg.norm(wanted - seen, axis=1) / height
    return float(np.where(np.isnan(distance), 0.25, distance).mean())
