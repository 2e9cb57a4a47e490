"""Faces taken out of a picture, upright and of one size, and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from schema.errors import ImageError

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]

FACE_SIZE = 512
"""Side in pixels of a face as the restoring networks take it."""

TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Where left eye, right eye, nose and both corners of the mouth (as seen in the picture) lie in an aligned face.

Source: the mean face of FFHQ, as facexlib's FaceRestoreHelper aligns to it and as GFPGAN and CodeFormer were trained.
"""

OUTSIDE = (132.0, 133.0, 135.0)
"""Colour (RGB) of what lies outside the picture in an aligned face. Source: the same."""

BORDER = 25
"""Pixels at each side of an aligned face that are not put back: a twentieth of it, as the same helper takes off."""

SOFTNESS = 8.0
"""Sigma in pixels of an aligned face, of the blur of the mask's edge. Source: the same, for a kernel of 51."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """One face in a picture.

    Attributes:
        landmarks: (5, 2) pixels: left eye, right eye, nose, left and right corner of the mouth.
        score: How sure the detector is, 0 to 1.
    """

    landmarks: Numbers
    score: float = 1.0

    @property
    def eye_distance(self) -> float:
        """Pixels between the eyes: how large the face is."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


def alignment(face: Face) -> Numbers:
    """The similarity transform (2, 3) that moves `face` onto the template.

    Raises:
        ImageError: If its landmarks lie in one point.
    """
    # OpenCV answers None where it finds no transform, which its annotations do not say.
    matrix = cast(Any, cv2.estimateAffinePartial2D(face.landmarks.astype(np.float64), TEMPLATE, method=cv2.LMEDS)[0])
    if matrix is None or abs(np.linalg.det(matrix[:, :2])) < 1e-9:
        raise ImageError("A face in the picture has no size and cannot be restored.")
    return cast(Numbers, matrix)


def take_face(pixels: Pixels, matrix: Numbers) -> Pixels:
    """The aligned face (512, 512, 3) that `matrix` takes out of `pixels` (H, W, 3)."""
    size = (FACE_SIZE, FACE_SIZE)
    return cast(Pixels, cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE))


def put_face(pixels: Pixels, face: Pixels, matrix: Numbers, mask: NDArray[np.float32] | None = None) -> Pixels:
    """`pixels` with an aligned `face` back where `matrix` took it from, its edges blended.

    Args:
        mask: (512, 512) in [0, 1]: how much of the face counts; `square_mask()` when None.
    """
    inverse = np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float64)
    left, top, right, bottom = _reach(inverse, pixels.shape[1], pixels.shape[0])
    if left >= right or top >= bottom:
        return pixels
    # Only the part of the picture that the face covers is warped: pictures may be large.
    inverse[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    weight = cv2.warpAffine(square_mask() if mask is None else mask, inverse, size)[..., None]
    warped = cv2.warpAffine(face, inverse, size, flags=cv2.INTER_LINEAR)
    under = pixels[top:bottom, left:right].astype(np.float32)
    result = pixels.copy()
    result[top:bottom, left:right] = np.rint(under + weight * (warped - under)).clip(0, 255).astype(np.uint8)
    return result


def square_mask() -> NDArray[np.float32]:
    """(512, 512): 1 in the middle of an aligned face, falling softly to 0 at its edges."""
    mask = np.zeros((FACE_SIZE, FACE_SIZE), dtype=np.float32)
    mask[BORDER:-BORDER, BORDER:-BORDER] = 1
    return cast(NDArray[np.float32], cv2.GaussianBlur(mask, (2 * BORDER + 1, 2 * BORDER + 1), SOFTNESS))


def _reach(inverse: Numbers, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that an aligned face covers."""
    corners = np.array([[0, 0, 1], [FACE_SIZE, 0, 1], [0, FACE_SIZE, 1], [FACE_SIZE, FACE_SIZE, 1]]) @ inverse.T
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return max(0, int(low[0])), max(0, int(low[1])), min(width, int(high[0])), min(height, int(high[1]))
