"""Img2img over many files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.img2img_files import FileBatch, run_files
from schema.errors import InvalidRequest
from schema.requests import Img2ImgRequest
from schema.results import GeneratedImage, GenerationResult


@dataclass
class Recorder:
    """A run that keeps what it was asked for."""

    asked: list[Img2ImgRequest] = field(default_factory=list)
    folders: list[Path | None] = field(default_factory=list)
    stop_after: int = 1000

    def __call__(self, request: Img2ImgRequest, *, samples: Path | None) -> GenerationResult:
        self.asked.append(request)
        self.folders.append(samples)
        image = GeneratedImage(
            image=request.init_images[0], infotext="", seed=request.seed, subseed=-1, prompt="", negative_prompt=""
        )
        return GenerationResult(images=(image,))

    def over(self, batch: FileBatch, **request: Any) -> GenerationResult:
        return run_files(
            Img2ImgRequest(**request),
            batch,
            run=self,
            find_checkpoint=lambda _: None,
            stopped=lambda: len(self.asked) >= self.stop_after,
        )


def pictures(folder: Path, *names: str, size: tuple[int, int] = (64, 32), record: str = "") -> tuple[Path, ...]:
    folder.mkdir(exist_ok=True)
    info = PngInfo()
    if record:
        info.add_text("parameters", record)
    for name in names:
        Image.new("RGB", size, "teal").save(folder / name, pnginfo=info)
    return tuple(folder / name for name in names)


def test_every_file_runs_with_the_same_seed(tmp_path: Path) -> None:
    run = Recorder()
    result = run.over(FileBatch(files=pictures(tmp_path / "in", "a.png", "b.png", "c.png")))
    assert len(result.images) == 3
    seeds = {request.seed for request in run.asked}
    assert len(seeds) == 1
    assert seeds.pop() >= 0
    assert run.folders == [None] * 3


def test_a_factor_gives_each_file_its_own_size(tmp_path: Path) -> None:
    run = Recorder()
    files = pictures(tmp_path / "in", "a.png") + pictures(tmp_path / "in", "b.png", size=(20, 40))
    run.over(FileBatch(files=files, factor=2.0))
    assert [(request.width, request.height) for request in run.asked] == [(128, 64), (40, 80)]


def test_a_file_without_its_mask_is_left_out_and_named(tmp_path: Path) -> None:
    run = Recorder()
    masks = pictures(tmp_path / "masks", "a.png", "c.png")
    result = run.over(FileBatch(files=pictures(tmp_path / "in", "a.png", "b.png", "c.png"), masks=masks))
    assert len(run.asked) == 2
    assert all(request.mask is not None for request in run.asked)
    assert result.notes == ("b.png was skipped: there is no mask of its name.",)


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path) -> None:
    run = Recorder()
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    result = run.over(FileBatch(files=(broken, *pictures(tmp_path / "in", "a.png"))))
    assert len(result.images) == 1
    assert result.notes[0].startswith("broken.png was skipped: ")


def test_a_batch_of_nothing_but_broken_files_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    with pytest.raises(InvalidRequest, match=r"broken\.png was skipped"):
        Recorder().over(FileBatch(files=(broken,)))


def test_results_in_a_folder_of_their_own_are_named_after_their_source(tmp_path: Path) -> None:
    run = Recorder()
    files = pictures(tmp_path / "in", "a.png")
    run.over(FileBatch(files=files, output=tmp_path / "out"), override_settings={"eta_ddim": 0.5})
    assert run.folders == [tmp_path / "out"]
    settings = run.asked[0].override_settings
    assert (settings["samples_filename_pattern"], settings["save_to_dirs"], settings["eta_ddim"]) == ("a", False, 0.5)


def test_records_come_from_the_files_or_from_a_folder_of_their_names(tmp_path: Path) -> None:
    record = "a fox\nNegative prompt: blurry\nSteps: 9, Sampler: Euler, CFG scale: 3, Seed: 5, Size: 64x32"
    files = pictures(tmp_path / "in", "a.png", record=record)
    run = Recorder()
    run.over(FileBatch(files=files, png_info=frozenset({"Prompt", "Seed"})), prompt="photo of", steps=20)
    assert (run.asked[0].prompt, run.asked[0].seed, run.asked[0].steps) == ("photo of a fox", 5, 20)
    other = tmp_path / "records"
    pictures(other, "a.png", record=record.replace("fox", "hen"))
    run.over(FileBatch(files=files, png_info=frozenset({"Prompt"}), png_info_folder=other), prompt="photo of")
    assert run.asked[1].prompt == "photo of a hen"


def test_only_the_first_results_are_shown_and_that_is_said(tmp_path: Path) -> None:
    run = Recorder()
    result = run.over(FileBatch(files=pictures(tmp_path / "in", "a.png", "b.png", "c.png"), shown=2))
    assert len(run.asked) == 3
    assert len(result.images) == 2
    assert result.notes == ("3 pictures were made; the first 2 are shown, all of them are in the output folder.",)


def test_an_interrupted_batch_keeps_what_it_made(tmp_path: Path) -> None:
    run = Recorder(stop_after=2)
    result = run.over(FileBatch(files=pictures(tmp_path / "in", "a.png", "b.png", "c.png")))
    assert (len(result.images), result.interrupted) == (2, True)
