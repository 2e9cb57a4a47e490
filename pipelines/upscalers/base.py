"""What an upscaler is, and how one is used to reach a given size."""

from collections.abc import Callable
from typing import Protocol

from PIL import Image

from pipelines.resize import Upscale

OnTile = Callable[[int, int], None]
"""Called as `on_tile(done, total)` after each tile; raises `Interrupted` to stop."""

MAX_RUNS = 3
"""How often a model is applied at most to reach a size."""


def ignore_tiles(done: int, total: int) -> None:
    """An `OnTile` that does nothing."""


class Upscaler(Protocol):
    """One entry of the upscaler list.

    Attributes:
        name: As the lists show it; `aliases` are further names it answers to.
        scale: Factor of one run as far as it is known; what the lists answer.
    """

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...

    @property
    def scale(self) -> float: ...

    def run(self, image: Image.Image, factor: float, on_tile: OnTile = ignore_tiles) -> Image.Image:
        """`image` enlarged once: by the model's own factor, or by `factor` where the method has none.

        Raises:
            CheckpointError: If the model's file cannot be used.
            Interrupted: From `on_tile`.
        """
        ...


def upscale(upscaler: Upscaler, image: Image.Image, factor: float, *, on_tile: OnTile = ignore_tiles) -> Image.Image:
    """`image` enlarged by `factor`; each side of the result is rounded down to a multiple of 8.

    The upscaler runs until both sides reach the size, at most three times and not again when it does not enlarge; a
    factor of exactly 1 runs it once. Lanczos does the rest.

    Source: A1111 modules/upscaler.py, Upscaler.upscale.
    """
    width = max(8, int(image.width * factor // 8 * 8))
    height = max(8, int(image.height * factor // 8 * 8))
    for run in range(MAX_RUNS):
        if image.width >= width and image.height >= height and (run > 0 or factor != 1):
            break
        before = image.size
        image = upscaler.run(image, factor, on_tile)
        if image.size == before:
            break
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def upscale_with(upscaler: Upscaler | None, on_tile: OnTile = ignore_tiles) -> Upscale | None:
    """`upscaler` as the argument of `resize_image`; None for no upscaler and for "None" (Lanczos alone)."""
    if upscaler is None or upscaler.name == "None":
        return None

    def run(image: Image.Image, factor: float) -> Image.Image:
        return upscale(upscaler, image, factor, on_tile=on_tile)

    return run
