"""The upscaler list, and how often an upscaler runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipelines.registry import Registry
from pipelines.resize import ResizeMode, resize_image
from pipelines.upscalers.base import OnTile, ignore_tiles, upscale, upscale_with
from pipelines.upscalers.catalogue import display_name, find_upscaler, scan_upscalers
from pipelines.upscalers.resample import LANCZOS, NEAREST, NONE, RESAMPLERS
from schema.errors import NotFound, UnknownName
from tests.numerics.pictures import difference, synthetic
from tests.numerics.recorded import recorded_cases


@dataclass
class CountingUpscaler:
    """Enlarges by a fixed factor and counts its runs."""

    factor: int
    runs: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    name: str = "counting"
    aliases: tuple[str, ...] = ()
    scale: float = 1.0

    def run(self, image: Image.Image, factor: float, on_tile: OnTile = ignore_tiles) -> Image.Image:
        self.runs += 1
        self.sizes.append(image.size)
        on_tile(1, 1)
        return image.resize((image.width * self.factor, image.height * self.factor))


LOOPS = [case for case in recorded_cases("postprocess_geometry") if case.values[0]["op"] == "upscale_loop"]


@pytest.mark.parametrize(("given", "expected"), LOOPS)
def test_upscaler_runs_as_often_as_recorded(given: dict[str, Any], expected: dict[str, Any]):
    upscaler = CountingUpscaler(factor=given["model_factor"])
    result = upscale(upscaler, Image.new("RGB", given["size"]), given["scale"])
    assert {"size": list(result.size), "model_runs": upscaler.runs} == expected


def test_resizing_with_an_upscaler_hits_the_exact_size():
    upscaler = CountingUpscaler(factor=4)
    resized = resize_image(synthetic(30, 20), ResizeMode.STRETCH, 101, 50, upscale=upscale_with(upscaler))
    assert resized.size == (101, 50)
    assert upscaler.runs == 1


def test_upscaler_is_not_used_for_shrinking_or_grey_pictures():
    upscaler = CountingUpscaler(factor=4)
    resize_image(synthetic(30, 20), ResizeMode.STRETCH, 15, 10, upscale=upscale_with(upscaler))
    resize_image(Image.new("L", (30, 20)), ResizeMode.STRETCH, 60, 40, upscale=upscale_with(upscaler))
    assert upscaler.runs == 0


def test_none_is_lanczos_alone():
    assert upscale_with(NONE) is None
    assert upscale_with(None) is None


def test_nearest_repeats_pixels_and_lanczos_does_not():
    image = synthetic(8, 8)
    doubled = image.resize((16, 16), Image.Resampling.NEAREST)
    assert difference(NEAREST.run(image, 2), doubled) == 0
    assert difference(LANCZOS.run(image, 2), doubled) > 0
    assert NEAREST.run(image, 1.3).size == (10, 10)


def test_list_starts_with_the_three_without_a_model_and_is_sorted(tmp_path: Path):
    for name in ("zebra.pth", "RealESRGAN_x4plus.pth", "4x_Alpha.safetensors", "notes.txt", "sub/beta.pth"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    upscalers = scan_upscalers([tmp_path, tmp_path / "missing"], device=torch.device("cpu"))
    assert upscalers.names == ["None", "Lanczos", "Nearest", "4x_Alpha", "beta", "R-ESRGAN 4x+", "zebra"]
    assert upscalers.get("realesrgan_x4plus").name == "R-ESRGAN 4x+"


def test_same_name_in_two_folders_is_listed_once(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.pth").touch()
    upscalers = scan_upscalers([tmp_path / "a", tmp_path / "b", tmp_path / "a"], device=torch.device("cpu"))
    assert upscalers.names[3:] == ["same"]


@pytest.mark.parametrize(
    ("name", "scale"), [("4x_Alpha", 4), ("RealESRGAN_x2plus", 2), ("model", 4), ("2xNomos", 2), ("8x_NMKD", 8)]
)
def test_scale_is_read_from_the_file_name(name: str, scale: float, tmp_path: Path):
    (tmp_path / f"{name}.pth").touch()
    (found,) = list(scan_upscalers([tmp_path], device=torch.device("cpu")))[3:]
    assert found.scale == scale


def test_known_name_without_file_says_where_to_put_it():
    upscalers: Registry[Any] = Registry("Upscaler", RESAMPLERS)
    with pytest.raises(NotFound, match="models/RealESRGAN/RealESRGAN_x4plus.pth"):
        find_upscaler(upscalers, "R-ESRGAN 4x+")
    with pytest.raises(UnknownName, match="Lanczos"):
        find_upscaler(upscalers, "Lanczoss")


def test_display_name_of_unknown_files_is_their_stem():
    assert display_name(Path("some/4x.ultra.pth")) == "4x.ultra"
    assert display_name(Path("some/DAT_x3.pth")) == "DAT x3"
