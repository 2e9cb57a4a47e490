"""Pictures in requests: base64, data URL or PIL image, decoded once with bounded size."""

import base64
import binascii
import io
from typing import Annotated, Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import GetPydanticSchema
from pydantic_core import core_schema

from schema.errors import ImageError

MAX_BYTES = 256 * 1024 * 1024
"""Largest encoded picture accepted from a caller."""

MAX_PIXELS = 16384 * 16384
"""Largest decoded picture; a small file can claim any size (decompression bomb)."""

# Pillow's own guard raises a warning first and an error only at twice its limit; ours refuses before decoding.
Image.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes) -> Image.Image:
    """The picture encoded in `data`, loaded, with its metadata in `info`.

    Raises:
        ImageError: If it is too large, or not a picture that can be read.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"The picture has {len(data)} bytes; at most {MAX_BYTES} are accepted.")
    try:
        image = Image.open(io.BytesIO(data))
        check_pixels(*image.size)
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            "The data is not a picture that can be read. Send a PNG, JPEG, WebP, AVIF or GIF file."
        ) from error
    return image


def check_pixels(width: int, height: int) -> None:
    """Checks the size a picture file claims.

    Raises:
        ImageError: If it has more than `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(f"The picture claims {width} x {height} pixels; at most {MAX_PIXELS} are accepted.")


def decode_base64_image(text: str) -> Image.Image:
    """The picture in a base64 string, with or without a `data:image/...;base64,` prefix.

    File paths and URLs are not accepted: a request must carry its pictures.

    Raises:
        ImageError: If the text is not base64 of a picture.
    """
    payload = text.partition(",")[2] if text.startswith("data:") else text
    if len(payload) > MAX_BYTES * 4 // 3 + 4:
        raise ImageError(f"The picture has more than {MAX_BYTES} bytes.")
    try:
        data = base64.b64decode(payload, validate=False)
    except (binascii.Error, ValueError) as error:
        raise ImageError("The picture is not valid base64.") from error
    return decode_image(data)


def encode_base64_image(image: Image.Image) -> str:
    """`image` as a PNG in base64 without a prefix, as `/sdapi/v1` answers; texts in `image.info` become PNG texts."""
    texts = PngInfo()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str):
            texts.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=texts)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _to_image(value: Any) -> Image.Image:
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, str):
        # A WebuiError inside validation would lose its class; pydantic wants ValueError.
        try:
            return decode_base64_image(value)
        except ImageError as error:
            raise ValueError(str(error)) from error
    raise ValueError("expected a picture: base64 text or a data URL")


def _schema(_source: Any, _handler: Any) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        _to_image,
        serialization=core_schema.plain_serializer_function_ser_schema(encode_base64_image, when_used="json"),
        json_schema_input_schema=core_schema.str_schema(),
    )


ImageInput = Annotated[Image.Image, GetPydanticSchema(_schema)]
"""A request field holding one picture."""
