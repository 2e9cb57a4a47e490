"""Where outpainting expands a picture, and the simple way of doing it in tiles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

from pipelines.masks import flatten
from pipelines.output.grid import Tile, TileGrid, combine_grid, split_grid
from pipelines.scripts.base import (
    Script,
    ScriptArgument,
    ScriptServices,
    answer,
    composed,
    source_picture,
    with_fixed_seeds,
)
from schema.errors import InvalidRequest
from schema.requests import MASKED_CONTENT, GenerationRequest
from schema.results import GenerationResult

DIRECTIONS = ("left", "right", "up", "down")
SIZE_STEP = 64

PIXELS = ScriptArgument(name="pixels", label="Pixels to expand", default=128, minimum=8, maximum=256, step=8)
DIRECTION = ScriptArgument(
    name="directions", label="Outpainting direction", default=DIRECTIONS, choices=DIRECTIONS, elem_id="direction"
)


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """Pixels added at each side of a picture."""

    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0


def plan_expansion(size: tuple[int, int], pixels: int, directions: Sequence[str]) -> Expansion:
    """What is added to a picture of `size` so that its sides become multiples of 64.

    Each direction gets `pixels`, and the two of an axis share what the rounding adds.

    Source: A1111 scripts/outpainting_mk_2.py, scripts/poor_mans_outpainting.py.
    """
    left, right, up, down = (pixels if direction in directions else 0 for direction in DIRECTIONS)
    left, right = _share(size[0], left, right)
    up, down = _share(size[1], up, down)
    return Expansion(left=left, right=right, up=up, down=down)


@dataclass(frozen=True, kw_only=True)
class PoorMansOutpainting(Script):
    """Puts the picture on a larger canvas and inpaints the tiles that reach over its border.

    Source: A1111 scripts/poor_mans_outpainting.py.
    """

    name: str = "Poor man's outpainting"
    arguments: tuple[ScriptArgument, ...] = (
        PIXELS,
        ScriptArgument(name="blur", label="Mask blur", default=4, minimum=0, maximum=64, step=1, elem_id="mask_blur"),
        ScriptArgument(
            name="content",
            label="Masked content",
            default="fill",
            choices=MASKED_CONTENT,
            radio=True,
            elem_id="inpainting_fill",
        ),
        DIRECTION,
    )
    rows: tuple[tuple[str, ...], ...] = (("pixels", "blur"),)

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The enlarged picture."""
        source = flatten(source_picture(request, self.name), services.background)
        pixels, blur = values["pixels"], values["blur"]
        if pixels >= min(request.width, request.height):
            raise InvalidRequest(
                f"{self.name}: expanding by {pixels} pixels needs a width and height above {pixels}, "
                f"not {request.width} x {request.height}."
            )
        expansion = plan_expansion(source.size, pixels, values["directions"])
        canvas = expand_canvas(source, expansion)
        cut = {"tile_width": request.width, "tile_height": request.height, "overlap": pixels}
        grid = split_grid(canvas, **cut)
        masks = split_grid(border_mask(canvas.size, expansion, blur * 2), **cut)
        latent_masks = split_grid(border_mask(canvas.size, expansion, blur // 2), **cut)
        work = [
            tiles
            for tiles in zip(grid.tiles, masks.tiles, latent_masks.tiles, strict=True)
            if not _inside(tiles[0], grid, expansion)
        ]
        request = with_fixed_seeds(request).model_copy(
            update={
                "mask_blur": blur * 2,
                "inpainting_fill": MASKED_CONTENT.index(values["content"]),
                "inpaint_full_res": False,
                "n_iter": 1,
                "batch_size": 1,
                "do_not_save_grid": True,
                "do_not_save_samples": True,
            }
        )
        services.expect_jobs(len(work))
        results: list[GenerationResult] = []
        for run, (tile, mask, latent_mask) in enumerate(work):
            changes = {
                "init_images": [tile.image],
                "mask": mask.image,
                "latent_mask": latent_mask.image,
                "seed": request.seed + run,
            }
            results.append(services.generate(request.model_copy(update=changes)))
            if results[-1].images:
                tile.image = results[-1].images[0].image
            if results[-1].interrupted:
                break
        if not results or not results[0].images:
            return answer(results, []) if results else GenerationResult(notes=("Nothing to outpaint: no direction.",))
        return answer(results, [services.save(composed(results[0], combine_grid(grid)))])


def expand_canvas(image: Image.Image, expansion: Expansion) -> Image.Image:
    """`image` on a black canvas larger by `expansion`."""
    width = image.width + expansion.left + expansion.right
    height = image.height + expansion.up + expansion.down
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image, (expansion.left, expansion.up))
    return canvas


def border_mask(size: tuple[int, int], expansion: Expansion, inset: int) -> Image.Image:
    """A mask (L) that is white in the added border and `inset` pixels into the picture on the expanded sides."""
    width, height = size
    mask = Image.new("L", size, "white")
    box = (
        expansion.left + (inset if expansion.left else 0),
        expansion.up + (inset if expansion.up else 0),
        width - expansion.right - (inset if expansion.right else 0),
        height - expansion.down - (inset if expansion.down else 0),
    )
    if box[0] <= box[2] and box[1] <= box[3]:
        # Pillow's rectangles include their right and bottom lines, which A1111's masks show.
        ImageDraw.Draw(mask).rectangle(box, fill="black")
    return mask


def _share(length: int, before: int, after: int) -> tuple[int, int]:
    added = math.ceil((length + before + after) / SIZE_STEP) * SIZE_STEP - length
    if before:
        before = before * added // (before + after)
    if after:
        after = added - before
    return before, after


def _inside(tile: Tile, grid: TileGrid, expansion: Expansion) -> bool:
    """Whether a tile lies wholly within the old picture, so that nothing is to be painted."""
    return (
        tile.left >= expansion.left
        and tile.left + grid.tile_width <= grid.width - expansion.right
        and tile.top >= expansion.up
        and tile.top + grid.tile_height <= grid.height - expansion.down
    )
