"""Extras jobs: files one after the other, what is saved and said, interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.extras_job import RECORDS, ExtrasRun
from pipelines.faces.catalogue import scan_restorers
from pipelines.jobs import Job
from pipelines.output.metadata import read_infotext
from pipelines.registry import Registry
from pipelines.upscalers.base import OnTile, Upscaler, ignore_tiles
from pipelines.upscalers.resample import RESAMPLERS, ResampleUpscaler
from schema.errors import InvalidRequest
from schema.extras import ExtrasRequest
from schema.results import GenerationResult
from schema.settings import Settings
from tests.numerics.pictures import synthetic

RECORD = "a fox\nNegative prompt: dog\nSteps: 3, Sampler: Euler, Seed: 7, Size: 16x16"


class StoppingUpscaler(ResampleUpscaler):
    """Doubles a picture tile by tile; stops or skips the job at its second tile."""

    def run(self, image: Image.Image, factor: float, on_tile: OnTile = ignore_tiles) -> Image.Image:
        for tile in range(3):
            on_tile(tile + 1, 3)
        return image.resize((image.width * 2, image.height * 2))


def run_job(folder: Path, request: ExtrasRequest, at_tile: Any = None, **settings: Any) -> tuple[Job, GenerationResult]:
    upscalers: Registry[Upscaler] = Registry("Upscaler", (*RESAMPLERS, StoppingUpscaler(name="Slow", filter=None)))
    run = ExtrasRun(
        upscalers=upscalers,
        restorers=scan_restorers((), device=torch.device("cpu")),
        settings=Settings(**settings),
        folder=folder,
    )
    job = Job(lambda job: run.run(request, job), request)
    if at_tile is not None:
        stepped = job.stepped
        job.stepped = lambda step: (stepped(step), at_tile(job, step))  # type: ignore[method-assign, assignment]
    job.run()
    if job.exception is not None:
        raise job.exception
    assert job.result is not None
    return job, job.result


def picture_file(folder: Path, name: str, record: str = RECORD) -> Path:
    texts = PngInfo()
    texts.add_text("parameters", record)
    synthetic(16, 16).save(folder / name, pnginfo=texts)
    return folder / name


def test_files_keep_names_and_records_and_are_all_delivered(tmp_path: Path):
    files = [picture_file(tmp_path, name) for name in ("b 2.png", "b 10.png")]
    request = ExtrasRequest(files=files, upscaler_1="Nearest", upscaling_resize=2)
    _, result = run_job(tmp_path / "out", request)
    assert [image.path.name for image in result.images if image.path] == ["b 2.png", "b 10.png"]
    first = result.images[0]
    assert first.infotext == f"{RECORD}, Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"
    assert (first.seed, first.prompt, first.negative_prompt) == (7, "a fox", "dog")
    saved = Image.open(tmp_path / "out" / "b 2.png")
    done = "Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"
    assert saved.size == (32, 32)
    assert saved.info == {"parameters": RECORD, "postprocessing": done, "extras": done}
    assert result.info[RECORDS] == [done, done]


def test_formats_without_texts_keep_the_record_with_what_was_done(tmp_path: Path):
    request = ExtrasRequest(files=[picture_file(tmp_path, "a.png")], upscaler_1="Nearest", upscaling_resize=2)
    _, result = run_job(tmp_path / "out", request, samples_format="jpg")
    (image,) = result.images
    assert image.path is not None
    assert read_infotext(Image.open(image.path))[0] == image.infotext


def test_copies_get_names_of_their_own(tmp_path: Path):
    request = ExtrasRequest(
        files=[picture_file(tmp_path, "a.png")],
        upscaler_1="Nearest",
        upscaling_resize=2,
        create_flipped_copies=True,
        flips=["Horizontal", "Vertical"],
    )
    _, result = run_job(tmp_path / "out", request, use_upscaler_name_as_suffix=True)
    assert [image.path.name for image in result.images if image.path] == [
        "a-Nearest.png",
        "a-Nearest-1.png",
        "a-Nearest-2.png",
    ]


def test_results_go_to_the_folder_asked_for_and_need_not_be_shown(tmp_path: Path):
    request = ExtrasRequest(
        files=[picture_file(tmp_path, "a.png")],
        output_dir=tmp_path / "mine",
        upscaler_1="Lanczos",
        show_extras_results=False,
    )
    job, result = run_job(tmp_path / "out", request)
    assert result.images == job.progress().images == ()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.png"]


def test_a_file_that_is_no_picture_is_named_and_left_out(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    files = [tmp_path / "broken.png", picture_file(tmp_path, "a.png")]
    _, result = run_job(tmp_path / "out", ExtrasRequest(files=files, upscaler_1="Lanczos"))
    assert len(result.images) == 1
    assert result.notes[0].startswith("broken.png: ")


def test_tiles_are_progress(tmp_path: Path):
    seen: list[tuple[int, int, str]] = []

    def look(job: Job, step: int) -> None:
        now = job.progress()
        seen.append((now.step, now.steps, now.text))

    request = ExtrasRequest(images=[synthetic(8, 8)], upscaler_1="Slow", upscaling_resize=2)
    run_job(tmp_path, request, look)
    assert seen == [(step, 3, "Upscaling with Slow") for step in (1, 2, 3)]


def test_interruption_keeps_what_is_finished(tmp_path: Path):
    def stop(job: Job, step: int) -> None:
        if step == 2 and job.progress().images:
            job.interrupt()

    request = ExtrasRequest(images=[synthetic(8, 8)] * 3, upscaler_1="Slow", upscaling_resize=2)
    _, result = run_job(tmp_path, request, stop)
    assert result.interrupted
    assert len(result.images) == 1


def test_skip_goes_on_with_the_next_picture(tmp_path: Path):
    skipped: list[int] = []

    def skip_once(job: Job, step: int) -> None:
        if step == 2 and not skipped:
            skipped.append(step)
            job.skip()

    request = ExtrasRequest(images=[synthetic(8, 8)] * 3, upscaler_1="Slow", upscaling_resize=2)
    _, result = run_job(tmp_path, request, skip_once)
    assert not result.interrupted
    assert len(result.images) == 2


def test_no_picture_is_refused(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="needs a picture"):
        run_job(tmp_path, ExtrasRequest(upscaler_1="Lanczos"))
