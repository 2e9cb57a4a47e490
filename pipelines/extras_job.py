"""One Extras job from its first picture to its saved results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.extras import ExtrasPicture, ExtrasPlan, plan_extras, process_picture
from pipelines.faces.base import FaceRestorer
from pipelines.faces.retinaface import FaceDetector
from pipelines.jobs import Job
from pipelines.output.filenames import NameFacts
from pipelines.output.metadata import format_for
from pipelines.output.save import SaveOptions, save_image
from pipelines.registry import Registry
from pipelines.upscalers.base import Upscaler
from schema.errors import ImageError, Interrupted, InvalidRequest, OutputError
from schema.extras import ExtrasRequest
from schema.images import MAX_BYTES, decode_image
from schema.infotext import parse_infotext
from schema.results import GeneratedImage, GenerationResult
from schema.settings import Settings

RECORDS = "records"
"""Key of `GenerationResult.info` for what was done to each picture, as A1111 writes it."""


@dataclass(kw_only=True)
class ExtrasRun:
    """What an Extras job works with.

    Attributes:
        folder: Where results go.
        save: Whether they go to disk.
        detector: Finds faces for focal points, where its weights are there.
    """

    upscalers: Registry[Upscaler]
    restorers: Registry[FaceRestorer]
    settings: Settings
    folder: Path
    save: bool = True
    detector: FaceDetector | None = None
    notes: list[str] = field(default_factory=list[str])
    images: list[GeneratedImage] = field(default_factory=list[GeneratedImage])
    records: list[str] = field(default_factory=list[str])

    def run(self, request: ExtrasRequest, job: Job) -> GenerationResult:
        """Processes the pictures one after the other; those finished before an interruption are kept.

        Raises:
            InvalidRequest: If there is no picture.
            UnknownName, NotFound: If an upscaler, restorer or its file is missing; before the first picture.
        """
        if not request.images and not request.files:
            raise InvalidRequest("Extras needs a picture.")
        plan = plan_extras(request, self.upscalers, self.restorers)
        job.plan_runs(len(request.images) + len(request.files))
        for name, picture in _sources(request):
            if job.stop_requested:
                break
            job.begin_batch()
            try:
                image = picture if isinstance(picture, Image.Image) else _read(picture)
                job.raise_if_stopped()
                self._process(plan, request, job, name, image)
            except Interrupted:
                continue
            except ImageError as error:
                if len(request.images) + len(request.files) == 1:
                    raise
                self.notes.append(f"{name}: {error}")
            job.finished_run()
        return GenerationResult(
            images=tuple(self.images),
            info={RECORDS: self.records},
            notes=tuple(self.notes),
            interrupted=job.stop_requested,
        )

    def _process(self, plan: ExtrasPlan, request: ExtrasRequest, job: Job, name: str, image: Image.Image) -> None:
        tiles = 0

        def on_tile(done: int, total: int) -> None:
            nonlocal tiles
            job.raise_if_stopped()
            if done == 1 or total != tiles:
                tiles = total
                job.started_run(total, job.progress().text)
            job.stepped(done)

        for picture in process_picture(
            plan, image, name=name, on_tile=on_tile, say=job.say, find_faces=self._find_faces
        ):
            path = self._save(picture, request.output_dir or self.folder)
            made = _as_result(picture, path)
            self.records.append(picture.record)
            if request.show_extras_results:
                self.images.append(made)
                job.add_image(made)

    def _find_faces(self, image: Image.Image) -> Sequence[tuple[float, float]]:
        if self.detector is None:
            return ()
        faces = self.detector.detect(np.asarray(image.convert("RGB")))
        return [(float(x), float(y)) for x, y in (face.landmarks.mean(axis=0) for face in faces)]

    def _save(self, picture: ExtrasPicture, folder: Path) -> Path | None:
        settings = self.settings
        if not self.save or not settings.samples_save:
            return None
        options = SaveOptions.taken_from(settings)
        extension = format_for(settings.samples_format, picture.image.size)
        forced = None
        suffix = _suffix(picture, settings.use_upscaler_name_as_suffix)
        if settings.use_original_name_batch and picture.name:
            forced = f"{Path(picture.name).stem}{suffix}"
        texts = {str(key): value for key, value in picture.image.info.items() if isinstance(value, str)}
        try:
            saved = save_image(
                picture.image,
                folder,
                facts=NameFacts(),
                options=options,
                # Only PNG has room for the source's record beside ours.
                infotext=picture.record if extension == "png" else extended_record(picture),
                extension=extension,
                suffix="" if forced else suffix,
                forced_name=forced,
                section="extras",
                items=texts,
                save_to_dirs=False,
            )
        except OutputError as error:
            self.notes.append(f"{error} The picture is in the gallery; save it from there.")
            return None
        return saved.path


def extended_record(picture: ExtrasPicture) -> str:
    """The source's generation record with what was done to the picture at its end."""
    if not picture.source or not picture.record:
        return picture.source or picture.record
    separator = ", " if parse_infotext(picture.source).written else "\n"
    return f"{picture.source}{separator}{picture.record}"


def _as_result(picture: ExtrasPicture, path: Path | None) -> GeneratedImage:
    fields = parse_infotext(picture.source).fields if picture.source else {}
    seed = str(fields.get("Seed", ""))
    made = GeneratedImage(
        image=picture.image,
        infotext=extended_record(picture),
        seed=int(seed) if seed.isdecimal() else -1,
        subseed=-1,
        prompt=str(fields.get("Prompt", "")),
        negative_prompt=str(fields.get("Negative prompt", "")),
    )
    return replace(made, path=path)


def _suffix(picture: ExtrasPicture, names_upscaler: bool) -> str:
    upscaler = picture.fields.get("Postprocess upscaler") if names_upscaler else None
    parts = [f"-{upscaler}"] if upscaler else []
    return "".join([*parts, f"-{picture.copy}" if picture.copy else ""])


def _sources(request: ExtrasRequest) -> Iterator[tuple[str, Image.Image | Path]]:
    names = request.names + [""] * (len(request.images) - len(request.names))
    yield from zip(names, request.images, strict=False)
    yield from ((file.name, file) for file in request.files)


def _read(file: Path) -> Image.Image:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"The file has {size} bytes; at most {MAX_BYTES} are accepted.")
        return decode_image(file.read_bytes())
    except OSError as error:
        raise ImageError(f"The file cannot be read: {error.strerror or error}.") from error
