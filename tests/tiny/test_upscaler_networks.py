"""Upscalers from real architectures at toy size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.upscalers.base import upscale
from pipelines.upscalers.spandrel import FileUpscaler, load_image_model, to_image, to_tensor
from preprocessors.torchvision_ops import ensure_torchvision
from schema.errors import CheckpointError, Interrupted
from tests.numerics.pictures import difference, synthetic

ensure_torchvision()

from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402


def save_esrgan(path: Path, *, wrapped: bool = False) -> None:
    torch.manual_seed(0)
    weights = ESRGAN(num_filters=8, num_blocks=1, scale=2).state_dict()
    torch.save({"params_ema": weights} if wrapped else weights, path)


@pytest.fixture
def esrgan(tmp_path: Path) -> FileUpscaler:
    save_esrgan(tmp_path / "4x_misnamed.pth")
    return FileUpscaler(name="tiny", path=tmp_path / "4x_misnamed.pth", tile=48, overlap=8)


def test_factor_comes_from_the_network_once_it_is_read(esrgan: FileUpscaler):
    assert esrgan.scale == 4
    assert esrgan.run(synthetic(40, 30), 2).size == (80, 60)
    assert esrgan.scale == 2


def test_reaching_a_size_runs_the_network_again(esrgan: FileUpscaler):
    assert upscale(esrgan, synthetic(24, 16), 4).size == (96, 64)


def test_tiles_hardly_differ_from_the_whole_picture(esrgan: FileUpscaler):
    image = Image.linear_gradient("L").resize((100, 70)).convert("RGB")
    tiled = np.asarray(esrgan.run(image, 2), dtype=int)
    esrgan.tile = 0
    whole = np.asarray(esrgan.run(image, 2), dtype=int)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 2


def test_tiles_are_reported_and_may_be_stopped(esrgan: FileUpscaler):
    seen: list[tuple[int, int]] = []

    def on_tile(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        esrgan.run(synthetic(100, 70), 2, on_tile)
    assert seen == [(1, 6), (2, 6)]


def test_wrapped_weights_and_other_architectures_are_read(tmp_path: Path):
    save_esrgan(tmp_path / "wrapped.pth", wrapped=True)
    assert load_image_model(tmp_path / "wrapped.pth", torch.device("cpu")).scale == 2
    torch.save({"params": Compact(num_feat=8, num_conv=2, upscale=4).state_dict()}, tmp_path / "compact.pth")
    assert load_image_model(tmp_path / "compact.pth", torch.device("cpu")).scale == 4


def test_file_without_a_known_network_is_refused(tmp_path: Path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="odd.pth"):
        FileUpscaler(name="odd", path=tmp_path / "odd.pth").run(synthetic(16, 16), 2)


def test_unloaded_network_is_read_again(esrgan: FileUpscaler):
    first = esrgan.run(synthetic(16, 16), 2)
    esrgan.unload()
    assert esrgan.scale == 4
    assert difference(esrgan.run(synthetic(16, 16), 2), first) == 0


def test_pixels_survive_the_way_to_the_network_and_back():
    image = synthetic(8, 8)
    assert to_tensor(image)[0, 0, 0, 0] * 255 == image.getpixel((0, 0))[2]
    assert difference(to_image(to_tensor(image)), image) == 0
