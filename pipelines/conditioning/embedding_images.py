"""Embeddings hidden in pictures: in a text chunk, or in the low bits of the pixels at the sides."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from schema.errors import CheckpointError

_TEXT_CHUNK = "sd-ti-embedding"
_TENSOR_KEY = "TORCHTENSOR"


def read_embedded_data(path: Path) -> dict[str, Any]:
    """The content of the embedding file that the picture carries; lists marked as tensors are tensors.

    Raises:
        CheckpointError: If the picture carries none.

    Source: A1111 modules/textual_inversion/image_embedding.py.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(_TEXT_CHUNK)
            payload = base64.b64decode(text) if isinstance(text, str) else _from_pixels(image)
        content = json.loads(payload, object_hook=_restore_tensor)
    except (OSError, UnidentifiedImageError, ValueError, zlib.error) as error:
        raise CheckpointError(f"'{path.name}' carries no embedding.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path.name}' carries no embedding.")
    return content


def _restore_tensor(entry: dict[str, Any]) -> dict[str, Any] | Tensor:
    return torch.tensor(entry[_TENSOR_KEY]) if _TENSOR_KEY in entry else entry


def _from_pixels(image: Image.Image) -> bytes:
    """The JSON text in the low four bits of the pixel blocks left (low nibbles) and right (high nibbles).

    The blocks are separated by black columns, surrounded by a black border, and masked with a fixed random sequence.
    """
    nibbles = _without_black_border(np.asarray(image.convert("RGB"), dtype=np.uint8)) & np.uint8(0x0F)
    black = np.flatnonzero(nibbles.sum(axis=(0, 2)) == 0)
    if len(black) < 2:
        raise ValueError("no data blocks")
    low = _unmasked(nibbles[:, : black.min()])
    high = _unmasked(nibbles[:, black.max() + 1 :])
    if low.shape != high.shape:
        raise ValueError("data blocks differ in size")
    return zlib.decompress(((high << 4) | low).tobytes())


def _without_black_border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    filled = pixels.min(axis=2)
    rows, columns = np.flatnonzero(filled.max(axis=1)), np.flatnonzero(filled.max(axis=0))
    if not len(rows):
        raise ValueError("no data blocks")
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _unmasked(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mask = np.fromiter(islice(_mask_values(), block.size), dtype=np.uint8, count=block.size)
    return block ^ (mask.reshape(block.shape) & np.uint8(0x0F))


def _mask_values() -> Iterator[int]:
    """Linear congruential generator (Numerical Recipes constants), each state modulo 255."""
    state = 0
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state % 255
