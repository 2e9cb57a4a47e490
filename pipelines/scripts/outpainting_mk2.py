"""Outpainting mk2: expands a picture side by side, each prefilled with noise that continues it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipelines.inpaint import MaskedContent
from pipelines.masks import Box, flatten
from pipelines.output.grid import grid_size, image_grid
from pipelines.scripts.base import (
    Script,
    ScriptArgument,
    ScriptServices,
    answer,
    composed,
    source_picture,
    with_fixed_seeds,
)
from pipelines.scripts.matched_noise import matched_noise
from pipelines.scripts.outpainting import DIRECTION, PIXELS, SIZE_STEP, plan_expansion
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, GenerationResult

NOTE = "Recommended settings: Sampling Steps: 80-100, Sampler: Euler a, Denoising strength: 0.8"
NOTE_HTML = f'<p style="margin-bottom:0.75em">{NOTE}</p>'
"""The note as A1111's clients know it."""
BLUR_FACTOR = 4
"""The mask is blurred this much more than the argument says."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One step of the expansion: the pictures grow by `pixels` at `name`."""

    name: str
    pixels: int
    inset: int

    @property
    def is_horizontal(self) -> bool:
        """Whether the picture becomes wider."""
        return self.name in ("left", "right")


@dataclass(frozen=True, kw_only=True)
class PreparedSide:
    """What is generated for one side, and where it goes.

    Attributes:
        size: The pictures' size after this side.
        canvases: The enlarged pictures, filled with noise; sides are multiples of 64.
        box: The part of a canvas that is generated.
        mask, latent_mask: Of that part.
    """

    size: tuple[int, int]
    canvases: list[Image.Image]
    box: Box
    mask: Image.Image
    latent_mask: Image.Image


@dataclass(frozen=True, kw_only=True)
class OutpaintingMk2(Script):
    """Expands left, right, up, down, one after the other.

    Source: A1111 scripts/outpainting_mk_2.py.
    """

    name: str = "Outpainting mk2"
    arguments: tuple[ScriptArgument, ...] = (
        ScriptArgument(name="", label="", default=NOTE, note=True, description=NOTE_HTML),
        PIXELS,
        ScriptArgument(name="blur", label="Mask blur", default=8, minimum=0, maximum=64, step=1, elem_id="mask_blur"),
        DIRECTION,
        ScriptArgument(
            name="falloff",
            label="Fall-off exponent (lower=higher detail)",
            default=1.0,
            minimum=0.0,
            maximum=4.0,
            step=0.01,
        ),
        ScriptArgument(
            name="color_variation", label="Color variation", default=0.05, minimum=0.0, maximum=1.0, step=0.01
        ),
    )

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """The enlarged pictures, n_iter times batch_size of them, with a contact sheet of more than one."""
        source = flatten(source_picture(request, self.name), services.background)
        sides = _sides(source.size, values)
        batches = request.n_iter
        fields: dict[str, Any] = {
            "inpaint_full_res": False,
            "inpainting_fill": MaskedContent.ORIGINAL,
            "do_not_save_samples": True,
            "do_not_save_grid": True,
            "n_iter": 1,
            "mask_blur": None,
            "mask_blur_x": max((side.inset for side in sides if side.is_horizontal), default=0) * BLUR_FACTOR,
            "mask_blur_y": max((side.inset for side in sides if not side.is_horizontal), default=0) * BLUR_FACTOR,
        }
        request = with_fixed_seeds(request).model_copy(update=fields)
        services.expect_jobs(batches * len(sides))
        results: list[GenerationResult] = []
        pictures: list[GeneratedImage] = []
        for _ in range(batches):
            images = [source] * request.batch_size
            for side in sides:
                prepared = prepare_side(images, side, limit=(request.width, request.height), values=values)
                results.append(services.generate(_side_request(request, prepared)))
                images = finish_side(prepared, results[-1])
                if results[-1].interrupted:
                    break
            if not results or not results[0].images:
                break
            pictures += [services.save(composed(results[0], image)) for image in images]
            if results[-1].interrupted:
                break
        if not results:
            return GenerationResult(notes=("Nothing to outpaint: no direction.",))
        return answer(results, _with_sheet(results, pictures, request.batch_size, services))


def prepare_side(
    images: list[Image.Image], side: Side, *, limit: tuple[int, int], values: Mapping[str, Any]
) -> PreparedSide:
    """Canvases, masks and the part to generate for one side.

    Args:
        limit: Width and height of the request: no more than this is generated along the side's axis.
    """
    width = images[0].width + (side.pixels if side.is_horizontal else 0)
    height = images[0].height + (0 if side.is_horizontal else side.pixels)
    canvas_size = _rounded(width), _rounded(height)
    mask = Image.new("L", canvas_size, "white")
    _blacken(mask, side, side.inset, (width, height))
    canvases: list[Image.Image] = []
    for image in images:
        canvas = Image.new("RGB", canvas_size)
        canvas.paste(image, (side.pixels if side.name == "left" else 0, side.pixels if side.name == "up" else 0))
        canvases.append(_fill_with_noise(canvas, mask, values))
    part_width = min(limit[0], width) if side.is_horizontal else canvas_size[0]
    part_height = canvas_size[1] if side.is_horizontal else min(limit[1], height)
    left = 0 if side.name == "left" else canvas_size[0] - part_width
    top = 0 if side.name == "up" else canvas_size[1] - part_height
    box = (
        left,
        top,
        part_width if side.name == "left" else canvas_size[0],
        part_height if side.name == "up" else canvas_size[1],
    )
    latent_mask = Image.new("L", (part_width, part_height), "white")
    _blacken(latent_mask, side, side.inset * 2, (width, height))
    return PreparedSide(size=(width, height), canvases=canvases, box=box, mask=mask.crop(box), latent_mask=latent_mask)


def finish_side(prepared: PreparedSide, result: GenerationResult) -> list[Image.Image]:
    """The canvases with the generated parts in place, cut to size."""
    finished: list[Image.Image] = []
    painted = [picture.image for picture in result.images if not picture.is_grid]
    for index, canvas in enumerate(prepared.canvases):
        if index < len(painted):
            canvas = canvas.copy()
            canvas.paste(painted[index], prepared.box[:2])
        finished.append(canvas.crop((0, 0, *prepared.size)))
    return finished


def _sides(size: tuple[int, int], values: Mapping[str, Any]) -> list[Side]:
    expansion = plan_expansion(size, values["pixels"], values["directions"])
    amounts = (
        ("left", expansion.left),
        ("right", expansion.right),
        ("up", expansion.up),
        ("down", expansion.down),
    )
    return [Side(name=name, pixels=pixels, inset=values["blur"]) for name, pixels in amounts if pixels > 0]


def _side_request(request: GenerationRequest, prepared: PreparedSide) -> GenerationRequest:
    return request.model_copy(
        update={
            "init_images": [canvas.crop(prepared.box) for canvas in prepared.canvases],
            "mask": prepared.mask,
            "latent_mask": prepared.latent_mask,
            "width": prepared.box[2] - prepared.box[0],
            "height": prepared.box[3] - prepared.box[1],
        }
    )


def _blacken(mask: Image.Image, side: Side, inset: int, size: tuple[int, int]) -> None:
    """Draws the known part of a canvas (or of its generated part) black, up to `inset` pixels from the new side.

    Args:
        size: Where the picture ends on the sides that do not grow.
    """
    reach = side.pixels + inset
    box = (
        reach if side.name == "left" else 0,
        reach if side.name == "up" else 0,
        mask.width - reach if side.name == "right" else size[0],
        mask.height - reach if side.name == "down" else size[1],
    )
    if box[0] <= box[2] and box[1] <= box[3]:
        ImageDraw.Draw(mask).rectangle(box, fill="black")


def _fill_with_noise(canvas: Image.Image, mask: Image.Image, values: Mapping[str, Any]) -> Image.Image:
    pixels = np.asarray(canvas, dtype=np.float64) / 255
    hidden = np.repeat(np.asarray(mask, dtype=np.float64)[..., None] / 255, 3, axis=2)
    filled = matched_noise(pixels, hidden, falloff=values["falloff"], color_variation=values["color_variation"])
    return Image.fromarray(np.clip(filled * 255, 0, 255).astype(np.uint8))


def _rounded(length: int) -> int:
    return math.ceil(length / SIZE_STEP) * SIZE_STEP


def _with_sheet(
    results: list[GenerationResult], pictures: list[GeneratedImage], batch_size: int, services: ScriptServices
) -> list[GeneratedImage]:
    if not pictures or (len(pictures) < 2 and services.grid.only_if_multiple):
        return pictures
    columns, _ = grid_size(
        len(pictures),
        batch_size=batch_size,
        n_rows=services.grid.n_rows,
        prevent_empty_spots=services.grid.prevent_empty_spots,
    )
    sheet = image_grid([picture.image for picture in pictures], columns=columns, background=services.grid.background)
    grid = services.save(composed(results[0], sheet, is_grid=True), basename="grid", grid=True)
    return [grid, *pictures] if services.grid.shown else pictures
