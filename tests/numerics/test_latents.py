"""Previews equal A1111's; latents are enlarged and cropped as in its hires pass."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.checkpoints.model import Family
from pipelines.latents.preview import (
    ApproxDecoder,
    LatentPreviewer,
    PreviewMethod,
    approximate_rgb,
    empty_taesd_decoder,
    preview_grid,
    to_uint8,
)
from pipelines.latents.resize import LATENT_UPSCALE_MODES, resize_latents
from tests.numerics.recorded import recorded_cases

FAMILIES = {"sd15": Family.SD1, "sdxl": Family.SDXL, "sd3": Family.SD1}


@pytest.mark.parametrize(("given", "expected"), recorded_cases("preview"))
def test_cheap_previews_are_the_recorded_ones(given: dict[str, Any], expected: Any):
    rgb = approximate_rgb(torch.tensor(given["latent"]), FAMILIES[given["model"]])
    torch.testing.assert_close(rgb, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def previewer(folder: Path, method: PreviewMethod, family: Family = Family.SD1) -> LatentPreviewer:
    """A previewer whose full decoder paints everything white at eight times the size."""
    return LatentPreviewer(
        method,
        family,
        models_folder=folder,
        decode=lambda latents: torch.ones(latents.shape[0], 3, latents.shape[2] * 8, latents.shape[3] * 8),
        device=torch.device("cpu"),
    )


def test_the_full_preview_is_the_vaes_picture(tmp_path: Path):
    pictures = previewer(tmp_path, PreviewMethod.FULL)(torch.zeros(2, 4, 3, 5))
    assert [picture.shape for picture in pictures] == [(24, 40, 3)] * 2
    assert all((picture == 255).all() for picture in pictures)


@pytest.mark.parametrize("method", [PreviewMethod.APPROX_NN, PreviewMethod.TAESD])
def test_without_its_file_a_preview_is_the_cheap_one(tmp_path: Path, method: PreviewMethod):
    latents = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(1))
    cheap = previewer(tmp_path, PreviewMethod.APPROX_CHEAP)(latents)
    assert np.array_equal(previewer(tmp_path, method)(latents)[0], cheap[0])


def test_the_approximate_network_is_read_from_its_file(tmp_path: Path):
    torch.manual_seed(2)
    network = ApproxDecoder()
    (tmp_path / "VAE-approx").mkdir()
    torch.save(network.state_dict(), tmp_path / "VAE-approx" / "model.pt")
    latents = torch.randn(1, 4, 3, 5)
    picture = previewer(tmp_path, PreviewMethod.APPROX_NN)(latents)[0]
    assert picture.shape == (6, 10, 3)
    assert np.array_equal(picture, to_uint8(network(latents)[0].detach()))


def test_taesd_is_read_from_the_authors_file(tmp_path: Path):
    torch.manual_seed(3)
    decoder = empty_taesd_decoder()
    original: dict[str, torch.Tensor] = {}
    for key, value in decoder.state_dict().items():
        _, number, rest = key.split(".", 2)
        original[f"{int(number) + 1}.{rest}"] = value
    (tmp_path / "VAE-taesd").mkdir()
    save_file(original, tmp_path / "VAE-taesd" / "taesdxl_decoder.safetensors")
    latents = torch.randn(1, 4, 2, 2)
    picture = previewer(tmp_path, PreviewMethod.TAESD, Family.SDXL)(latents)[0]
    assert picture.shape == (16, 16, 3)
    assert np.array_equal(picture, to_uint8(decoder(latents)[0].detach()))


def test_pixels_are_truncated_not_rounded():
    assert to_uint8(torch.tensor([-2.0, 0.0, 0.999]).view(3, 1, 1)).tolist() == [[[0, 127, 254]]]


def test_a_grid_holds_every_picture():
    pictures = [np.full((2, 3, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    grid = np.asarray(preview_grid(pictures))
    assert grid.shape == (4, 6, 3)
    assert [int(grid[row, column, 0]) for row, column in ((0, 0), (0, 3), (2, 0), (2, 3))] == [10, 20, 30, 0]


def test_latent_upscalers_are_listed_as_in_a1111():
    assert LATENT_UPSCALE_MODES.names == [
        "Latent",
        "Latent (antialiased)",
        "Latent (bicubic)",
        "Latent (bicubic antialiased)",
        "Latent (nearest)",
        "Latent (nearest-exact)",
    ]


@pytest.mark.parametrize("name", LATENT_UPSCALE_MODES.names)
def test_latents_are_resized_to_the_wanted_cells(name: str):
    flat = torch.full((2, 4, 8, 8), 0.7)
    resized = resize_latents(flat, height=12, width=10, mode=LATENT_UPSCALE_MODES.get(name))
    torch.testing.assert_close(resized, torch.full((2, 4, 12, 10), 0.7))


def test_interpolation_does_not_align_corners():
    ramp = torch.arange(4.0).view(1, 1, 1, 4)
    doubled = resize_latents(ramp, height=1, width=8, mode=LATENT_UPSCALE_MODES.get("Latent"))
    torch.testing.assert_close(doubled.flatten(), torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    nearest = resize_latents(ramp, height=1, width=8, mode=LATENT_UPSCALE_MODES.get("Latent (nearest)"))
    assert nearest.flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_antialiasing_matters_only_when_shrinking():
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, smooth = (LATENT_UPSCALE_MODES.get(name) for name in ("Latent", "Latent (antialiased)"))
    torch.testing.assert_close(
        resize_latents(latents, height=24, width=24, mode=plain),
        resize_latents(latents, height=24, width=24, mode=smooth),
    )
    small = [resize_latents(latents, height=5, width=5, mode=mode) for mode in (plain, smooth)]
    assert float(small[1].std()) < float(small[0].std())
