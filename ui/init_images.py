"""Pictures that a tab starts from: read with the bounds every picture of a user is read with."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from schema.errors import ImageError
from schema.images import MAX_BYTES, decode_base64_image, decode_image

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
