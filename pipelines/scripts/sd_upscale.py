"""SD upscale: enlarges a picture and repaints it tile by tile."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipelines.masks import flatten
from pipelines.output.grid import TileGrid, combine_grid, split_grid
from pipelines.scripts.base import (
    Script,
    ScriptArgument,
    ScriptServices,
    Variation,
    answer,
    composed,
    source_picture,
    with_fixed_seeds,
)
from pipelines.upscalers.base import Upscaler, upscale
from pipelines.upscalers.catalogue import find_upscaler
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, GenerationResult

NOTE = "Will upscale the image by the selected scale factor; use width and height sliders to set tile size"
NOTE_HTML = f'<p style="margin-bottom:0.75em">{NOTE}</p>'
"""The note as A1111's clients know it."""


@dataclass(frozen=True, kw_only=True)
class SdUpscale(Script):
    """Upscales by a factor, then runs img2img on overlapping tiles of the request's width and height.

    Source: A1111 scripts/sd_upscale.py.
    """

    name: str = "SD upscale"
    arguments: tuple[ScriptArgument, ...] = (
        ScriptArgument(name="", label="", default=NOTE, note=True, description=NOTE_HTML),
        ScriptArgument(
            name="overlap",
            label="Tile overlap",
            default=64,
            minimum=0,
            maximum=256,
            step=16,
            infotext="SD upscale overlap",
        ),
        ScriptArgument(
            name="upscaler",
            label="Upscaler",
            default="None",
            choices="upscalers",
            elem_id="upscaler_index",
            infotext="SD upscale upscaler",
        ),
        ScriptArgument(
            name="factor",
            label="Scale Factor",
            default=2.0,
            minimum=1.0,
            maximum=4.0,
            step=0.05,
            elem_id="scale_factor",
        ),
    )
    rows: tuple[tuple[str, ...], ...] = (("overlap", "factor"),)

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """One enlarged picture per batch; tiles are neither saved nor shown."""
        source = flatten(source_picture(request, self.name), services.background)
        overlap = values["overlap"]
        if overlap >= min(request.width, request.height):
            raise InvalidRequest(
                f"SD upscale: a tile overlap of {overlap} needs tiles larger than {request.width} x {request.height}."
            )
        upscaler = _find(values["upscaler"], services)
        if upscaler.name != "None":
            source = upscale(upscaler, source, values["factor"], on_tile=services.on_tile)
        fields = {"SD upscale overlap": overlap, "SD upscale upscaler": upscaler.name}
        grid = split_grid(source, tile_width=request.width, tile_height=request.height, overlap=overlap)
        hidden = {"n_iter": 1, "do_not_save_grid": True, "do_not_save_samples": True}
        hidden_request = with_fixed_seeds(request).model_copy(update=hidden)
        runs = math.ceil(sum(map(len, grid.rows)) / request.batch_size)
        services.expect_jobs(runs * request.n_iter)
        results: list[GenerationResult] = []
        pictures: list[GeneratedImage] = []
        tiles = [tile.image for tile in grid.tiles]
        for repeat in range(request.n_iter):
            seed = hidden_request.seed + repeat
            made = _repaint(hidden_request.model_copy(update={"seed": seed}), tiles, fields, services)
            results += made
            if not results[0].images:
                break
            combined = _combine(grid, made, (request.width, request.height))
            pictures.append(services.save(composed(results[0], combined, seed=seed)))
            if made[-1].interrupted:
                break
        return answer(results, pictures)


def _find(wanted: str, services: ScriptServices) -> Upscaler:
    """The upscaler by name, or by its place in the list, as A1111's REST clients may give it."""
    entries = list(services.upscalers)
    if wanted.isdigit() and int(wanted) < len(entries):
        return entries[int(wanted)]
    return find_upscaler(services.upscalers, wanted)


def _repaint(
    request: GenerationRequest, tiles: list[Image.Image], fields: Mapping[str, object], services: ScriptServices
) -> list[GenerationResult]:
    """The runs over all tiles, a batch each; the seed grows by one per run."""
    results: list[GenerationResult] = []
    for run, first in enumerate(range(0, len(tiles), request.batch_size)):
        batch = tiles[first : first + request.batch_size]
        changes = {"init_images": batch, "seed": request.seed + run}
        results.append(services.generate(request.model_copy(update=changes), Variation(infotext=fields)))
        if results[-1].interrupted:
            break
    return results


def _combine(grid: TileGrid, results: list[GenerationResult], size: tuple[int, int]) -> Image.Image:
    """The picture of the repainted tiles; those that were not reached are black."""
    painted = iter([picture.image for result in results for picture in result.images if not picture.is_grid])
    for tile in grid.tiles:
        tile.image = next(painted, None) or Image.new("RGB", size)
    return combine_grid(grid)
