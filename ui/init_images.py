"""Pictures that a tab starts from: read with the bounds every picture of a user is read with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from schema.errors import ImageError
from schema.images import MAX_BYTES, decode_base64_image, decode_image

DRAWN_OPACITY = 64
"""Opacity (0 to 255) above which a stroke counts: the brush lets the picture through and has soft edges."""

MISSING_IMAGE = "There is no picture to start from. Drop one on the picture field first."


def read_upload(path: str | None) -> Image.Image:
    """The picture in an uploaded file, or in a data URL.

    Raises:
        ImageError: If there is none, or it cannot be read, or it is too large.
    """
    if not path:
        raise ImageError(MISSING_IMAGE)
    if path.startswith("data:"):
        return decode_base64_image(path)
    file = Path(path)
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ImageError(f"The file has {size} bytes; at most {MAX_BYTES} are accepted.")
    return decode_image(file.read_bytes())


def drawn_mask(editor: dict[str, Any] | None) -> tuple[Image.Image, Image.Image]:
    """Background (RGBA) and mask (L, 255 = repaint) of an image editor's value.

    What was drawn on any layer is the mask: its opacity, whatever its colour.

    Raises:
        ImageError: If there is no background picture.
    """
    background = editor.get("background") if editor else None
    if editor is None or background is None:
        raise ImageError(MISSING_IMAGE)
    mask = Image.new("L", background.size, 0)
    for layer in editor.get("layers") or []:
        strokes = layer.convert("RGBA").getchannel("A")
        if strokes.size != mask.size:
            strokes = strokes.resize(mask.size)
        mask.paste(255, mask=strokes.point(lambda opacity: 255 if opacity > DRAWN_OPACITY else 0))
    return background.convert("RGBA"), mask


def picture_size(path: str | None) -> tuple[int, int]:
    """Width and height of an uploaded picture, each rounded down to a multiple of 8 and at least 64."""
    width, height = read_upload(path).size
    return max(64, width // 8 * 8), max(64, height // 8 * 8)
