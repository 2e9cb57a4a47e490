"""What units do to finished pictures: inpaint_only puts the original back, recolor its lightness.

Source: sd-webui-controlnet scripts/controlnet.py, Script.controlnet_main_entry (post-processors).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.control.maps import UnitMaps
from pipelines.control.plan import UnitPlan

Pixels = NDArray[np.uint8]


def finished(
    picture: Image.Image, unit: UnitPlan, maps: UnitMaps, *, is_hires: bool, blur: int, repaints: bool
) -> Image.Image:
    """`picture` (RGB) as the unit leaves it; one of another size than the map is left alone.

    Args:
        is_hires: Whether it comes from the second pass.
        blur: Size in pixels by which the mask is grown and softened (`control_net_inpaint_blur_sigma`).
        repaints: Whether img2img has a mask of its own, which then decides what is kept.
    """
    used = maps.high if is_hires and maps.high is not None else maps.low
    if (picture.height, picture.width) != used.shape[:2]:
        return picture
    name = unit.preprocessor.name
    if name.startswith("inpaint_only") and used.shape[2] == 4 and not repaints:
        return _over_original(picture, used, blur)
    if name == "recolor_luminance":
        return _with_channel(picture, used[:, :, 0], 0, cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB)
    if name == "recolor_intensity":
        return _with_channel(picture, used[:, :, 0], 2, cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
    return picture


def _over_original(picture: Image.Image, hint: Pixels, blur: int) -> Image.Image:
    """m·picture + (1 - m)·original, m being the grown and softened mask."""
    mask = hint[:, :, 3].astype(np.float32) / 255
    if blur > 0:
        mask = cv2.blur(cv2.dilate(mask, np.ones((blur, blur), np.uint8)), (blur, blur))
    share = np.asarray(mask, np.float32)[:, :, None]
    mixed = share * np.asarray(picture, np.float32) + (1 - share) * hint[:, :, :3]
    return Image.fromarray(mixed.clip(0, 255).round().astype(np.uint8))


def _with_channel(picture: Image.Image, values: Pixels, channel: int, there: int, back: int) -> Image.Image:
    converted = np.asarray(cv2.cvtColor(np.asarray(picture), there), np.uint8).copy()
    converted[:, :, channel] = values
    return Image.fromarray(np.asarray(cv2.cvtColor(converted, back), np.uint8))
