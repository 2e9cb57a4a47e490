"""Loopback: each result is the next run's source."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.inpaint import MaskedContent
from pipelines.output.grid import image_grid
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
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, GenerationResult

CURVES = ("Aggressive", "Linear", "Lazy")
NO_INTERROGATION = "None"


@dataclass(frozen=True, kw_only=True)
class Loopback(Script):
    """Runs img2img on its own results, the denoising strength moving towards a final value.

    Source: A1111 scripts/loopback.py.
    """

    name: str = "Loopback"
    arguments: tuple[ScriptArgument, ...] = (
        ScriptArgument(name="loops", label="Loops", default=4, minimum=1, maximum=32, step=1),
        ScriptArgument(
            name="final",
            label="Final denoising strength",
            default=0.5,
            minimum=0,
            maximum=1,
            step=0.01,
            elem_id="final_denoising_strength",
            infotext="Final denoising strength",
        ),
        ScriptArgument(
            name="curve",
            label="Denoising strength curve",
            default="Linear",
            choices=CURVES,
            elem_id="denoising_curve",
            infotext="Denoising curve",
        ),
        ScriptArgument(
            name="interrogate",
            label="Append interrogated prompt at each iteration",
            default=NO_INTERROGATION,
            choices=(NO_INTERROGATION, "CLIP", "DeepBooru"),
            elem_id="append_interrogation",
        ),
    )
    rows: tuple[tuple[str, ...], ...] = (("loops", "final"), ("curve", "interrogate"))

    def run(self, request: GenerationRequest, values: Mapping[str, Any], services: ScriptServices) -> GenerationResult:
        """One batch shows every step, several show the last step of each; with a contact sheet of more than one."""
        source_picture(request, self.name)
        if values["interrogate"] != NO_INTERROGATION:
            raise InvalidRequest("Loopback cannot append interrogated prompts here; choose None.")
        batches = request.n_iter
        fixed = {"batch_size": 1, "n_iter": 1, "do_not_save_grid": True}
        request = with_fixed_seeds(request).model_copy(update=fixed)
        services.expect_jobs(values["loops"] * batches)
        results: list[GenerationResult] = []
        history: list[GeneratedImage] = []
        seed = request.seed
        for _ in range(batches):
            made = self._loop(request, seed, values, services)
            results += made
            finished = [result for result in made if result.images and not result.interrupted]
            pictures = [result.images[0] for result in finished]
            history += pictures if batches == 1 else pictures[-1:]
            seed += len(finished)
            if any(result.interrupted for result in made):
                break
        return _with_sheet(results, history, services)

    def _loop(
        self, request: GenerationRequest, seed: int, values: Mapping[str, Any], services: ScriptServices
    ) -> list[GenerationResult]:
        """The runs of one batch, each from the result of the one before."""
        start = request.denoising_strength or 0.0
        source = source_picture(request, self.name)
        variation = Variation(
            infotext={"Final denoising strength": values["final"], "Denoising curve": values["curve"]},
            color_source=source,
        )
        results: list[GenerationResult] = []
        for loop in range(values["loops"]):
            changes: dict[str, Any] = {
                "seed": seed + loop,
                "denoising_strength": loop_strength(
                    loop, loops=values["loops"], start=start, final=values["final"], curve=values["curve"]
                ),
            }
            if results:
                changes |= {"init_images": [results[-1].images[0].image], "inpainting_fill": MaskedContent.ORIGINAL}
            results.append(services.generate(request.model_copy(update=changes), variation))
            if results[-1].interrupted or not results[-1].images:
                break
        return results


def loop_strength(loop: int, *, loops: int, start: float, final: float, curve: str) -> float:
    """Denoising strength of run `loop` (0-based) of `loops`: `start` first, `final` last, bent by `curve`.

    Source: A1111 scripts/loopback.py, calculate_denoising_strength.
    """
    if loops == 1:
        return start
    progress = loop / (loops - 1)
    if curve == "Aggressive":
        progress = math.sin(progress * math.pi * 0.5)
    elif curve == "Lazy":
        progress = 1 - math.cos(progress * math.pi * 0.5)
    return start + (final - start) * progress


def _with_sheet(
    results: list[GenerationResult], history: list[GeneratedImage], services: ScriptServices
) -> GenerationResult:
    pictures = list(history)
    if len(history) > 1:
        sheet = image_grid(
            [picture.image for picture in history], columns=len(history), background=services.grid.background
        )
        grid = services.save(composed(results[0], sheet, is_grid=True), basename="grid", grid=True)
        if services.grid.shown:
            pictures.insert(0, grid)
    return answer(results, pictures)
