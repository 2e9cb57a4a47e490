"""Generation data hidden in the lowest bits of a picture, as NovelAI and a Forge setting write it.

Bits are taken column by column, from alpha or from red, green and blue in turn: a signature of 15 letters, the number
of bits as 32 bits, then the text, plain or packed with gzip.

Source: the "stealth pnginfo" format as documented by its extension, sd_webui_stealth_pnginfo, and by NovelAI.
"""

import logging
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_log = logging.getLogger(__name__)

SIGNATURE_BYTES, LENGTH_BYTES = 15, 4
LARGEST_TEXT = 4 << 20
"""Bytes that a hidden text may have, packed or not."""

SIGNATURES = {
    b"stealth_pnginfo": ("A", False),
    b"stealth_pngcomp": ("A", True),
    b"stealth_rgbinfo": ("RGB", False),
    b"stealth_rgbcomp": ("RGB", True),
}
"""Signature → the channels that hold the text, and whether it is packed."""


def read_stealth(image: Image.Image) -> str | None:
    """The text hidden in `image`, or None where there is none or it is damaged."""
    for channels in ("A", "RGB"):
        if not set(channels) <= set(image.getbands()):
            continue
        head = _bytes(image, channels, 0, SIGNATURE_BYTES + LENGTH_BYTES)
        hidden_in, is_packed = SIGNATURES.get(head[:SIGNATURE_BYTES], ("", False))
        if hidden_in != channels:
            continue
        length = int.from_bytes(head[SIGNATURE_BYTES:], "big") // 8
        if not 0 < length <= LARGEST_TEXT:
            return None
        data = _bytes(image, channels, SIGNATURE_BYTES + LENGTH_BYTES, length)
        if len(data) < length:
            return None
        try:
            return (_unpacked(data) if is_packed else data).decode("utf-8")
        except (UnicodeDecodeError, zlib.error) as error:
            _log.warning("The text hidden in the picture could not be read: %s", error)
    return None


def _bytes(image: Image.Image, channels: str, start: int, count: int) -> bytes:
    """`count` bytes from byte `start` on, fewer where the picture ends."""
    per_column = image.height * len(channels)
    first, last = start * 8 // per_column, -(-(start + count) * 8 // per_column)
    strip = image.crop((first, 0, min(last, image.width), image.height))
    planes = [np.asarray(strip.getchannel(channel)).T for channel in channels]
    bits: NDArray[np.uint8] = np.bitwise_and(np.stack(planes, axis=-1).astype(np.uint8).reshape(-1), np.uint8(1))
    offset = start * 8 - first * per_column
    whole = bits[offset : offset + count * 8]
    return np.packbits(whole[: whole.size // 8 * 8]).tobytes()


def _unpacked(data: bytes) -> bytes:
    """A gzip stream's content, of at most `LARGEST_TEXT` bytes."""
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(data, LARGEST_TEXT)
