"""Prompt matrix: one picture per combination of the prompt's optional parts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipelines.output.grid import image_grid
from pipelines.scripts.base import (
    Script,
    ScriptArgument,
    ScriptServices,
    Variation,
    composed,
    with_fixed_seeds,
)
from pipelines.scripts.grid_labels import Label, label_grid
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest
from schema.results import GenerationResult

DELIMITERS = {"comma": ", ", "space": " "}
MAX_PARTS = 10
"""Optional parts accepted; each doubles the number of pictures."""


@dataclass(frozen=True, kw_only=True)
class PromptMatrix(Script):
    """Splits the prompt at `|`; the first part is always there, each of the others is on or off.

    Source: A1111 scripts/prompt_matrix.py.
    """

    name: str = "Prompt matrix"
    is_txt2img: bool = True
    arguments: tuple[ScriptArgument, ...] = (
        ScriptArgument(
            name="at_start",
            label="Put variable parts at start of prompt",
            default=False,
            elem_id="put_at_start",
        ),
        ScriptArgument(
            name="vary_seeds",
            label="Use different seed for each picture",
            default=False,
            elem_id="different_seeds",
        ),
        ScriptArgument(
            name="prompt",
            label="Select prompt",
            default="positive",
            choices=("positive", "negative"),
            radio=True,
            elem_id="prompt_type",
        ),
        ScriptArgument(
            name="joint",
            label="Select joining char",
            default="comma",
            choices=("comma", "space"),
            radio=True,
            elem_id="variations_delimiter",
        ),
        ScriptArgument(
            name="margin",
            label="Grid margins (px)",
            default=0,
            minimum=0,
            maximum=500,
            step=2,
            elem_id="margin_size",
        ),
    )
    rows: tuple[tuple[str, ...], ...] = (("at_start", "vary_seeds"), ("prompt", "joint"))

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """A labelled contact sheet, then a picture per combination."""
        request = with_fixed_seeds(request)
        positive = values["prompt"] == "positive"
        text = request.prompt if positive else request.negative_prompt
        parts = text.split("|")
        if len(parts) - 1 > MAX_PARTS:
            raise InvalidRequest(
                f"Prompt matrix: {len(parts) - 1} parts after the first would make {1 << (len(parts) - 1)} pictures; "
                f"at most {MAX_PARTS} parts are accepted."
            )
        prompts = combinations(parts, delimiter=DELIMITERS[values["joint"]], at_start=values["at_start"])
        variation = Variation(
            prompts=prompts if positive else None,
            negative_prompts=None if positive else prompts,
            seeds=tuple(request.seed + (index if values["vary_seeds"] else 0) for index in range(len(prompts))),
        )
        n_iter = math.ceil(len(prompts) / request.batch_size)
        services.expect_jobs(n_iter)
        result = services.generate(request.model_copy(update={"n_iter": n_iter, "do_not_save_grid": True}), variation)
        if not result.images:
            return result
        sheet = _draw_sheet(result, parts, values["margin"], services)
        grid = services.save(composed(result, sheet, is_grid=True), basename="prompt_matrix", grid=True)
        infotexts = [image.infotext for image in (grid, *result.images)]
        return GenerationResult(
            images=(grid, *result.images),
            info=result.info | {"index_of_first_image": 1, "infotexts": infotexts},
            notes=result.notes,
            interrupted=result.interrupted,
        )


def combinations(parts: list[str], *, delimiter: str, at_start: bool) -> tuple[str, ...]:
    """A prompt for every subset of `parts[1:]`: bit n of its index says whether part n + 1 is in it."""
    prompts: list[str] = []
    for number in range(1 << (len(parts) - 1)):
        chosen = [part.strip().strip(",") for index, part in enumerate(parts[1:]) if number >> index & 1]
        prompts.append(delimiter.join([*chosen, parts[0]] if at_start else [parts[0], *chosen]))
    return tuple(prompts)


def _draw_sheet(result: GenerationResult, parts: list[str], margin: int, services: ScriptServices) -> Image.Image:
    """The contact sheet: the first half of the parts varies along columns, the second along rows."""
    optional = [part.strip() for part in parts[1:]]
    middle = math.ceil(len(optional) / 2)
    columns = 1 << middle
    pictures = [image.image for image in result.images]
    sheet = image_grid(pictures, columns=columns, background=services.grid.background)
    return label_grid(
        sheet,
        cell=pictures[0].size,
        columns=_labels(optional[:middle]),
        rows=_labels(optional[middle:])[: sheet.height // pictures[0].height],
        margin=margin,
        style=services.grid,
    )


def _labels(parts: list[str]) -> list[list[Label]]:
    """For each combination of `parts` all of them, the ones that are on marked active."""
    return [
        [Label(text=part, active=bool(number >> index & 1)) for index, part in enumerate(parts)]
        for number in range(1 << len(parts))
    ]
