"""Img2img of many files: which files, which mask, what their records change, how results are named."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from pipelines.resize import scale_by
from schema.errors import InvalidRequest
from schema.requests import Img2ImgRequest

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")

PNG_INFO_FIELDS = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps", "Model hash")
"""What may be taken over from the record of a file."""


def batch_files(folder: Path) -> list[Path]:
    """The pictures in `folder` and below it, each folder's in natural order ("2" before "10").

    Raises:
        InvalidRequest: If there is no such folder.

    Source: A1111 modules/shared.py, walk_files.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"'{folder}' is not a folder.")
    found = [path for path in folder.rglob("*") if path.suffix.casefold() in ENDINGS and path.is_file()]
    return sorted(found, key=lambda path: (str(path.parent), natural_key(path.name)))


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """A sort key that compares runs of digits as numbers and the rest without regard to case."""
    return [(0, int(part)) if part.isdigit() else (1, part.casefold()) for part in re.split(r"(\d+)", name) if part]


def mask_for(source: Path, masks: Sequence[Path]) -> Path | None:
    """The mask of `source`: the only one there is, else the one with its stem; None means the file is skipped.

    Source: A1111 modules/img2img.py, process_batch.
    """
    if len(masks) == 1:
        return masks[0]
    return next((mask for mask in masks if mask.stem == source.stem), None)


def with_file(request: Img2ImgRequest, image: Image.Image, *, factor: float | None = None) -> Img2ImgRequest:
    """`request` for one file: upright by its EXIF orientation, and its own size times `factor` if given."""
    upright = ImageOps.exif_transpose(image)
    changes: dict[str, Any] = {"init_images": [upright]}
    if factor is not None:
        changes["width"], changes["height"] = scale_by(upright, factor)
    return request.model_copy(update=changes)


def with_png_info(
    request: Img2ImgRequest,
    fields: Mapping[str, Any],
    chosen: Collection[str],
    *,
    find_checkpoint: Callable[[str], str | None],
) -> Img2ImgRequest:
    """`request` with the chosen fields of a file's record.

    Prompts are appended after a space, everything else is replaced; an unknown model hash changes nothing.

    Args:
        fields: Parsed record, keys as in `PNG_INFO_FIELDS`.
        find_checkpoint: Title of the checkpoint with a hash, or None.

    Source: A1111 modules/img2img.py, process_batch.
    """
    taken = {key: fields[key] for key in PNG_INFO_FIELDS if key in chosen and fields.get(key) not in (None, "")}
    changes: dict[str, Any] = {}
    for key, name in (("Prompt", "prompt"), ("Negative prompt", "negative_prompt")):
        if key in taken:
            changes[name] = f"{getattr(request, name)} {taken[key]}"
    conversions = (("Seed", "seed", int), ("CFG scale", "cfg_scale", float), ("Steps", "steps", int))
    for key, name, convert in conversions:
        if key in taken:
            changes[name] = convert(taken[key])
    if "Sampler" in taken:
        changes["sampler_name"] = str(taken["Sampler"])
    checkpoint = find_checkpoint(str(taken["Model hash"])) if "Model hash" in taken else None
    if checkpoint is not None:
        changes["override_settings"] = request.override_settings | {"sd_model_checkpoint": checkpoint}
    return request.model_copy(update=changes)


def naming_overrides(source: Path, request: Img2ImgRequest) -> dict[str, Any]:
    """Settings that name results in a given output folder after `source`.

    Source: A1111 modules/img2img.py, process_batch.
    """
    several = request.n_iter > 1 or request.batch_size > 1
    return {
        "save_to_dirs": False,
        "save_images_add_number": False,
        "save_images_replace_action": "Add number suffix",
        "samples_filename_pattern": f"{source.stem}-[generation_number]" if several else source.stem,
    }
