"""The upscalers without a model: None, Lanczos, Nearest."""

from dataclasses import dataclass

from PIL import Image

from pipelines.upscalers.base import OnTile, ignore_tiles


@dataclass(frozen=True, kw_only=True)
class ResampleUpscaler:
    """Resampling by Pillow; `filter` None leaves the picture as it is.

    Source: A1111 modules/upscaler.py, UpscalerNone, UpscalerLanczos, UpscalerNearest.
    """

    name: str
    filter: Image.Resampling | None
    aliases: tuple[str, ...] = ()
    scale: float = 4.0

    def run(self, image: Image.Image, factor: float, on_tile: OnTile = ignore_tiles) -> Image.Image:
        """`image` with its sides times `factor`, rounded down."""
        if self.filter is None:
            return image
        size = max(1, int(image.width * factor)), max(1, int(image.height * factor))
        resized = image.resize(size, self.filter)
        on_tile(1, 1)
        return resized


NONE = ResampleUpscaler(name="None", filter=None)
LANCZOS = ResampleUpscaler(name="Lanczos", filter=Image.Resampling.LANCZOS)
NEAREST = ResampleUpscaler(name="Nearest", filter=Image.Resampling.NEAREST)

RESAMPLERS = (NONE, LANCZOS, NEAREST)
"""First in every list, in this order."""
