"""Upscalers from weight files: every architecture that spandrel knows (ESRGAN, DAT, HAT, SwinIR, SCUNet, …)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.checkpoints.files import read_state_dict
from pipelines.output.grid import Tile, TileGrid, combine_grid, split_grid
from pipelines.upscalers.base import OnTile, ignore_tiles
from preprocessors.torchvision_ops import ensure_torchvision
from schema.errors import CheckpointError, OutOfMemory

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

TILE = 192
TILE_OVERLAP = 8
UNKNOWN_SCALE = 4.0

_SCALE_IN_NAME = re.compile(r"(?:^|[^0-9a-z])(?:x([1-8])|([1-8])x)", re.IGNORECASE)


@dataclass(kw_only=True)
class FileUpscaler:
    """An upscaler whose network is in a file; it is read at the first run and kept until `unload`.

    Attributes:
        tile: Side of the tiles in pixels; 0 runs the whole picture at once.
        overlap: Pixels that neighbouring tiles share, blended linearly.
    """

    name: str
    path: Path
    aliases: tuple[str, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    half: bool = False
    tile: int = TILE
    overlap: int = TILE_OVERLAP
    _model: ImageModelDescriptor | None = field(default=None, init=False, repr=False)

    @property
    def scale(self) -> float:
        """The network's factor; before it is read, the number in the file's name, else 4."""
        if self._model is not None:
            return float(self._model.scale)
        match = _SCALE_IN_NAME.search(self.path.stem)
        return float(match[1] or match[2]) if match else UNKNOWN_SCALE

    def run(self, image: Image.Image, factor: float, on_tile: OnTile = ignore_tiles) -> Image.Image:
        """`image` enlarged by the network's own factor, as RGB; `factor` is not used.

        Raises:
            CheckpointError: If the file cannot be read or holds no picture network.
            OutOfMemory: If a tile does not fit the device.
            Interrupted: From `on_tile`.

        Source: A1111 modules/upscaler_utils.py, upscale_with_model.
        """
        model = self._load()
        image = image.convert("RGB")
        try:
            if self.tile <= 0:
                return self._run_tile(model, image)
            return combine_grid(self._run_tiles(model, image, on_tile))
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(
                f"'{self.name}' ran out of memory on a {self.tile or max(image.size)} pixel tile. "
                "Choose a smaller tile size for upscalers."
            ) from error

    def unload(self) -> None:
        """Frees the network; the next run reads it again."""
        self._model = None

    def _run_tiles(self, model: ImageModelDescriptor, image: Image.Image, on_tile: OnTile) -> TileGrid:
        # Tiles larger than the picture would be padded with black, which the network draws into the edges.
        width, height = min(self.tile, image.width), min(self.tile, image.height)
        overlap = min(self.overlap, width - 1, height - 1)
        grid = split_grid(image, tile_width=width, tile_height=height, overlap=overlap)
        total = sum(map(len, grid.rows))
        for done, tile in enumerate(grid.tiles, start=1):
            tile.image = self._run_tile(model, tile.image)
            on_tile(done, total)
        return _grown(grid, model.scale)

    def _run_tile(self, model: ImageModelDescriptor, tile: Image.Image) -> Image.Image:
        with torch.inference_mode():
            return to_image(model(to_tensor(tile).to(device=model.device, dtype=model.dtype)))

    def _load(self) -> ImageModelDescriptor:
        if self._model is None:
            self._model = load_image_model(self.path, self.device, half=self.half)
        return self._model


def _grown(grid: TileGrid, scale: int) -> TileGrid:
    """`grid` with all positions and lengths times `scale`, for tiles that have become larger."""
    rows = tuple(
        tuple(Tile(left=tile.left * scale, top=tile.top * scale, image=tile.image) for tile in row) for row in grid.rows
    )
    return TileGrid(
        rows=rows,
        tile_width=grid.tile_width * scale,
        tile_height=grid.tile_height * scale,
        width=grid.width * scale,
        height=grid.height * scale,
        overlap=grid.overlap * scale,
    )


def load_image_model(path: Path, device: torch.device, *, half: bool = False) -> ImageModelDescriptor:
    """The picture-to-picture network in a weight file, on `device`, ready to run.

    Raises:
        CheckpointError: If the file cannot be read safely, or holds no network that spandrel knows, or one that does
            not turn RGB into RGB.
    """
    ensure_torchvision()
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError, canonicalize_state_dict

    try:
        model = ModelLoader().load_from_state_dict(canonicalize_state_dict(read_state_dict(path)))
    except (UnsupportedModelError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"'{path.name}' is not an upscaler that can be used: {_reason(error)}") from error
    if not isinstance(model, ImageModelDescriptor) or model.input_channels != 3 or model.output_channels != 3:
        raise CheckpointError(f"'{path.name}' is a {model.architecture.name} model, which does not enlarge pictures.")
    model = model.to(device).eval()
    return model.half() if half and model.supports_half else model


def _reason(error: Exception) -> str:
    return str(error).strip() or "no known architecture has these weights."


def to_tensor(image: Image.Image) -> Tensor:
    """`image` as (1, 3, H, W) in [0, 1], channels blue, green, red.

    The order is A1111's, for equal pictures; networks trained on red, green, blue take it without visible harm.

    Source: A1111 modules/upscaler_utils.py, pil_image_to_torch_bgr.
    """
    pixels = np.array(image.convert("RGB"), dtype=np.float32)[..., ::-1] / 255
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def to_image(pixels: Tensor) -> Image.Image:
    """(1, 3, H, W) in [0, 1], channels blue, green, red, as an RGB picture, rounded."""
    array = pixels[0].float().clamp(0, 1).mul(255).round().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)[..., ::-1]))
