"""How close two pictures and two infotexts are."""

import math
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

IDENTICAL_DB = 99.0
"""PSNR reported for equal pictures, whose real value is infinite."""

_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


@dataclass(frozen=True, kw_only=True)
class PictureDifference:
    """Differences of 8-bit RGB pictures.

    Attributes:
        psnr_db: Peak signal-to-noise ratio; `IDENTICAL_DB` for equal pictures, 0 for different sizes.
        largest: Largest difference of a channel, in 1/255.
        within_one: Share of pixels whose channels all differ by at most 1/255.
    """

    psnr_db: float
    largest: int
    within_one: float


def compare_pictures(ours: Image.Image, theirs: Image.Image) -> PictureDifference:
    """How `ours` differs from `theirs`."""
    if ours.size != theirs.size:
        return PictureDifference(psnr_db=0.0, largest=255, within_one=0.0)
    a, b = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (ours, theirs))
    difference = np.abs(a - b)
    error = float(np.mean(difference.astype(np.float64) ** 2))
    psnr = IDENTICAL_DB if error == 0 else min(IDENTICAL_DB, 10 * math.log10(255**2 / error))
    return PictureDifference(
        psnr_db=psnr, largest=int(difference.max()), within_one=float((difference.max(axis=-1) <= 1).mean())
    )


def differing_keys(ours: str, theirs: str) -> list[str]:
    """Names of the parts in which two infotexts differ, `Version` aside; empty when they are identical."""
    ours, theirs = (re.sub(r",? ?Version: [^,]*", "", text) for text in (ours, theirs))
    if ours == theirs:
        return []
    a, b = (_parts(text) for text in (ours, theirs))
    different = [key for key in {**b, **a} if a.get(key) != b.get(key)]
    return different or ["order"]


def _parts(text: str) -> dict[str, str]:
    *prompt, line = text.split("\n")
    return {"(prompt)": "\n".join(prompt)} | dict(_PAIR.findall(line))
