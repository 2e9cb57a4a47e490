"""Units in batch mode: the whole job once for every picture.

Source: sd-webui-controlnet scripts/batch_hijack.py, BatchHijack.process_images_cn_batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from PIL import Image

from schema.controlnet import ControlNetUnit, InputMode
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest
from schema.results import GeneratedImage, GenerationResult

Request = TypeVar("Request", bound=GenerationRequest)


def batch_length(units: Sequence[ControlNetUnit]) -> int:
    """How many runs the units ask for: the shortest of their lists; 0 where none is in batch mode.

    Units that get the previous result (loopback) need only a first picture, so their lists count where no other does.

    Raises:
        InvalidRequest: If a unit in batch mode has no pictures.
    """
    lengths: list[tuple[bool, int]] = []
    for place, unit in enumerate(units):
        if unit.enabled and unit.input_mode is InputMode.BATCH:
            if not unit.batch_images:
                raise InvalidRequest(f"controlnet.{place}.batch_images: input mode 'batch' needs pictures.")
            lengths.append((unit.loopback, len(unit.batch_images)))
    counted = [length for loops, length in lengths if not loops] or [length for _, length in lengths]
    return min(counted, default=0)


def run_batch(
    request: Request,
    run: Callable[[Request], GenerationResult],
    *,
    seed: int,
    increments_seed: bool,
    stopped: Callable[[], bool],
) -> GenerationResult:
    """All runs of a request with units in batch mode, as one result without maps.

    Args:
        run: Makes the pictures of one run.
        seed: Of the first run; the others have the same unless `increments_seed`.
        stopped: Whether to end after the run under way.
    """
    images: list[GeneratedImage] = []
    notes: list[str] = []
    info: dict[str, Any] = {}
    previous: Image.Image | None = None
    for number in range(batch_length(request.controlnet)):
        if stopped():
            break
        units = [_of_run(unit, number, previous) for unit in request.controlnet]
        part = request.model_copy(update={"controlnet": units, "seed": seed + (number if increments_seed else 0)})
        result = run(part)
        images += result.images
        notes += [note for note in result.notes if note not in notes]
        info = info or result.info
        first = next((image for image in result.images if not image.is_grid), None)
        previous = first.image if first is not None else previous
    return GenerationResult(images=tuple(images), info=info, notes=tuple(notes), interrupted=stopped())


def _of_run(unit: ControlNetUnit, number: int, previous: Image.Image | None) -> ControlNetUnit:
    changes: dict[str, Any] = {"save_detected_map": False}
    if unit.input_mode is InputMode.BATCH:
        place = min(number, len(unit.batch_images) - 1)
        mask = unit.batch_masks[place] if place < len(unit.batch_masks) else None
        changes |= {"image": unit.batch_images[place], "mask": mask, "input_mode": InputMode.SIMPLE}
        if unit.loopback and previous is not None:
            changes |= {"image": previous, "mask": None}
    return unit.model_copy(update=changes)
