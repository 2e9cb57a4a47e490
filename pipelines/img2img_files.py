"""Img2img over many files as one job: each file runs like a request of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from pipelines.img2img_batch import mask_for, naming_overrides, with_file, with_png_info
from pipelines.output.metadata import read_infotext
from pipelines.scripts.base import with_fixed_seeds
from schema.errors import ImageError, InvalidRequest
from schema.images import MAX_BYTES, decode_image
from schema.infotext import parse_infotext
from schema.requests import Img2ImgRequest
from schema.results import GeneratedImage, GenerationResult

log = logging.getLogger(__name__)

SKIPPED_NO_MASK = "{name} was skipped: there is no mask of its name."
SKIPPED_UNREADABLE = "{name} was skipped: {reason}"
NOT_ALL_SHOWN = "{made} pictures were made; the first {shown} are shown, all of them are in the output folder."


@dataclass(frozen=True, kw_only=True)
class FileBatch:
    """Which files a batch runs over and what it takes from them.

    Attributes:
        masks: Files of masks, found by stem, one alone for all; None for a batch without masks.
        output: Folder for results named after their source; None for the usual folder and names.
        factor: Each result has its file's own size times this; None for the request's size.
        png_info: Which of `img2img_batch.PNG_INFO_FIELDS` are taken from the record of a file.
        png_info_folder: Where the files with the records are, by name; None when each file has its own.
        shown: How many results are kept for showing; -1 for all.
    """

    files: tuple[Path, ...]
    masks: tuple[Path, ...] | None = None
    output: Path | None = None
    factor: float | None = None
    png_info: frozenset[str] = frozenset()
    png_info_folder: Path | None = None
    shown: int = -1


class RunFile(Protocol):
    """Runs the request of one file; pictures go to `samples` where that is given."""

    def __call__(self, request: Img2ImgRequest, /, *, samples: Path | None) -> GenerationResult: ...


def read_file(path: Path) -> Image.Image:
    """The picture in `path`.

    Raises:
        ImageError: If it is too large, or not a picture that can be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"the file has more than {MAX_BYTES} bytes.")
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ImageError(f"the file cannot be read ({error.strerror or error}).") from error


def request_for(
    request: Img2ImgRequest, batch: FileBatch, file: Path, *, find_checkpoint: Callable[[str], str | None]
) -> Img2ImgRequest | None:
    """`request` for one file of the batch; None when it has no mask among the batch's.

    Raises:
        ImageError: If the file, its mask or the file of its record cannot be read.

    Source: A1111 modules/img2img.py, process_batch.
    """
    image = read_file(file)
    made = with_file(request, image, factor=batch.factor)
    if batch.masks is not None:
        mask = mask_for(file, batch.masks)
        if mask is None:
            return None
        made = made.model_copy(update={"mask": read_file(mask)})
    if batch.png_info:
        named = read_file(batch.png_info_folder / file.name) if batch.png_info_folder else image
        made = with_png_info(made, record_fields(named), batch.png_info, find_checkpoint=find_checkpoint)
    if batch.output is not None:
        made = made.model_copy(update={"override_settings": made.override_settings | naming_overrides(file, made)})
    return made


def record_fields(image: Image.Image) -> Mapping[str, Any]:
    """What the record of a picture says, by infotext key; empty when it has none."""
    infotext, _ = read_infotext(image)
    return parse_infotext(infotext).fields if infotext else {}


def run_files(
    request: Img2ImgRequest,
    batch: FileBatch,
    *,
    run: RunFile,
    find_checkpoint: Callable[[str], str | None],
    stopped: Callable[[], bool],
) -> GenerationResult:
    """Runs the request for every file, all with the same seed; a file that cannot be used is noted and left out.

    Args:
        stopped: Whether no further file may start.

    Raises:
        InvalidRequest: If not one file could be used.
    """
    request = with_fixed_seeds(request).model_copy(update={"do_not_save_grid": True})  # type: ignore[assignment]
    images: list[GeneratedImage] = []
    notes: list[str] = []
    last, made, interrupted = GenerationResult(), 0, False
    for file in batch.files:
        if stopped():
            interrupted = True
            break
        try:
            own = request_for(request, batch, file, find_checkpoint=find_checkpoint)
        except ImageError as error:
            notes.append(SKIPPED_UNREADABLE.format(name=file.name, reason=error))
            continue
        if own is None:
            notes.append(SKIPPED_NO_MASK.format(name=file.name))
            continue
        last = run(own, samples=batch.output)
        made += len(last.images)
        room = len(last.images) if batch.shown < 0 else max(0, batch.shown - len(images))
        images += last.images[:room]
        notes += last.notes
        interrupted = interrupted or last.interrupted
    if not made and not interrupted:
        raise InvalidRequest(" ".join(notes) or "There is no file to work on.")
    if len(images) < made:
        notes.append(NOT_ALL_SHOWN.format(made=made, shown=len(images)))
    return GenerationResult(
        images=tuple(images), info=last.info, notes=tuple(dict.fromkeys(notes)), interrupted=interrupted
    )
