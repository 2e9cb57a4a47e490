"""Preprocessors that need no network, against their formulas."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessors.base import ControlMap
from preprocessors.catalogue import PREPROCESSORS, preprocessor
from preprocessors.geometry import at_resolution, padded
from preprocessors.weights import Runtime, WeightStore
from schema.errors import InvalidRequest, WebuiError

WEIGHT_FREE = [
    entry for entry in PREPROCESSORS if not entry.weights and not entry.unavailable and not entry.requires_mask
]


def read_nothing(path: Path):
    raise AssertionError(f"{path} was read")


@pytest.fixture
def runtime():
    return Runtime(weights=WeightStore(roots=(), read=read_nothing))


@pytest.fixture
def scene():
    """96 x 128 pixels: smooth colours, a dark bar, a bright disc and some noise."""
    y, x = np.mgrid[:96, :128]
    image = np.stack([x * 1.5 + 20, y * 2 + 10, 200 - x], axis=2).clip(0, 255).astype(np.uint8)
    image[20:70, 30:40] = 10
    cv2.circle(image, (90, 50), 20, (250, 240, 230), -1)
    return np.clip(image + np.random.default_rng(1).integers(-6, 7, image.shape), 0, 255).astype(np.uint8)


def run(name, image, runtime, **values):
    return preprocessor(name)(image, runtime=runtime, **values).image


@pytest.mark.parametrize("entry", WEIGHT_FREE, ids=lambda entry: entry.name)
def test_every_weight_free_one_answers_a_picture(entry, scene, runtime):
    made = entry(scene, runtime=runtime, resolution=64)
    assert isinstance(made, ControlMap)
    assert made.image.dtype == np.uint8 and made.image.ndim == 3 and made.image.shape[2] == 3
    if entry.resolution is not None:
        assert made.image.shape == (64, 85, 3)


@pytest.mark.parametrize("entry", [entry for entry in WEIGHT_FREE if entry.resolution], ids=lambda entry: entry.name)
def test_resolution_is_the_short_side_of_the_map(entry, scene, runtime):
    assert entry(scene, runtime=runtime, resolution=128).image.shape == (128, 171, 3)
    assert entry(scene, runtime=runtime).image.shape == (512, 683, 3)
    assert entry(scene, runtime=runtime, resolution=63).image.shape == (512, 683, 3), "out of bounds: the default"


@pytest.mark.parametrize(
    ("name", "slider", "value"),
    [
        ("canny", "a", 20),
        ("canny", "b", 250),
        ("threshold", "a", 60),
        ("blur_gaussian", "a", 2),
        ("scribble_xdog", "a", 5),
        ("tile_resample", "a", 4),
        ("recolor_luminance", "a", 0.5),
        ("recolor_intensity", "a", 1.7),
    ],
)
def test_sliders_change_the_map(name, slider, value, scene, runtime):
    # Edges of every strength.
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 1, scene.shape), (0, 0), 3)
    scene = np.clip(scene * 0.5 + 60 + 250 * noise, 0, 255).astype(np.uint8)
    usual = run(name, scene, runtime, resolution=128)
    changed = run(name, scene, runtime, resolution=128, **{slider: value})
    assert usual.shape != changed.shape or (usual != changed).any()


@pytest.mark.parametrize("entry", WEIGHT_FREE, ids=lambda entry: entry.name)
def test_what_sampling_uses_leaves_the_picture_alone(entry, scene, runtime):
    """Sliders that act later (style fidelity, variation, sharpness) do not touch the picture here."""
    acting_later = entry.name.startswith(("reference_", "tile_colorfix")) or not entry.returns_image
    if acting_later or entry.name == "none":
        assert np.array_equal(entry(scene, runtime=runtime, a=0.9).image, scene)


def test_canny_is_opencvs(scene, runtime):
    picture = padded(scene, 128)
    expected = cv2.Canny(picture.pixels, 80, 160)[:128, :171]
    made = run("canny", scene, runtime, resolution=128, a=80, b=160)
    assert np.array_equal(made, np.repeat(expected[:, :, None], 3, axis=2))
    assert set(np.unique(made)) == {0, 255}


def test_invert_and_threshold(scene, runtime):
    assert np.array_equal(run("invert", scene, runtime), 255 - scene)
    small = at_resolution(scene, 64)
    expected = np.where(small.min(axis=2, keepdims=True) > 90, 255, 0) * np.ones((1, 1, 3))
    assert np.array_equal(run("threshold", scene, runtime, resolution=64, a=90), expected)


def test_blur_is_a_gaussian_without_padding(scene, runtime):
    small = at_resolution(scene, 64)
    assert np.array_equal(
        run("blur_gaussian", scene, runtime, resolution=64, a=3.5), cv2.GaussianBlur(small, (0, 0), 3.5)
    )


def test_xdog_marks_what_is_darker_than_its_surroundings(scene, runtime):
    made = run("scribble_xdog", scene, runtime, resolution=96, a=32)
    pixels = padded(scene, 96).pixels.astype(np.float64)
    darker = (cv2.GaussianBlur(pixels, (0, 0), 5) - cv2.GaussianBlur(pixels, (0, 0), 0.5)).min(axis=2)[:96, :128]
    clear = (np.abs(darker - 16) > 2) & (darker < 120)
    assert np.array_equal(made[:, :, 0][clear] > 0, darker[clear] > 16)
    # The extension doubles in eight bits, so that what is darker by 128 or more wraps around.
    assert not made[(darker > 129) & (darker < 142)].any()


def test_standard_lines_are_bright_on_black(scene, runtime):
    made = run("lineart_standard", scene, runtime, resolution=96)
    pixels = padded(scene, 96).pixels.astype(np.float32)
    darker = np.clip((cv2.GaussianBlur(pixels, (0, 0), 6.0) - pixels).min(axis=2), 0, 255)
    expected = np.clip(darker / max(16, np.median(darker[darker > 8])) * 127, 0, 255)[:96, :128]
    assert np.abs(made[:, :, 0].astype(int) - expected.astype(int)).max() <= 1


def test_a_blank_page_has_no_lines(runtime):
    page = np.full((64, 64, 3), 255, np.uint8)
    assert not run("lineart_standard", page, runtime, resolution=64).any()
    assert not run("scribble_xdog", page, runtime, resolution=64).any()


def test_shuffle_repeats_for_a_seed_and_only_moves_colours(scene, runtime):
    first, again, other = (preprocessor("shuffle")(scene, runtime=runtime, seed=seed).image for seed in (5, 5, 6))
    assert np.array_equal(first, again) and (first != other).any()
    large = at_resolution(scene, 512)
    assert first.shape == large.shape
    assert first.min() >= large.min() and first.max() <= large.max()


def test_shuffle_draws_the_extensions_noise(scene, runtime):
    """numpy's global generator after numpy.random.seed, two fields of a 256 pixel grid, x first."""
    large = at_resolution(scene, 512)
    height, width = large.shape[:2]
    draw = np.random.RandomState(7)

    def field():
        noise = draw.uniform(0, 1, (height // 256 + 2, width // 256 + 2, 1))
        noise = cv2.resize(noise, (width + 512, height + 512), interpolation=cv2.INTER_CUBIC)[
            256 : 256 + height, 256 : 256 + width
        ]
        noise -= noise.min()
        return noise / noise.max()

    flow = np.stack([field() * (width - 1), field() * (height - 1)], axis=2).astype(np.float32)
    made = preprocessor("shuffle")(scene, runtime=runtime, seed=7).image
    assert np.array_equal(made, cv2.remap(large, flow, None, cv2.INTER_LINEAR))


def test_tile_resample_shrinks_by_area(scene, runtime):
    assert np.array_equal(run("tile_resample", scene, runtime, a=1.05), scene)
    expected = cv2.resize(scene, (51, 38), interpolation=cv2.INTER_AREA)
    assert np.array_equal(run("tile_resample", scene, runtime, a=2.5), expected)


def test_recolor_takes_lightness_to_a_power(scene, runtime):
    lightness = cv2.cvtColor(scene, cv2.COLOR_BGR2LAB)[:, :, 0] / 255
    value = cv2.cvtColor(scene, cv2.COLOR_BGR2HSV)[:, :, 2] / 255
    for name, channel in (("recolor_luminance", lightness), ("recolor_intensity", value)):
        made = run(name, scene, runtime, a=0.7)
        assert np.abs(made[:, :, 1] - np.floor(channel**0.7 * 255)).max() <= 1
        assert (made[:, :, 0] == made[:, :, 2]).all()


def test_colour_grid_has_squares_of_64_pixels(runtime):
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    made = run("color", picture, runtime, resolution=256)
    assert made.shape == (256, 384, 3)
    for top in range(0, 256, 64):
        for left in range(0, 384, 64):
            assert len(np.unique(made[top : top + 64, left : left + 64].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(made.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("name", ["inpaint", "inpaint_only", "inpaint_only+lama"])
def test_inpainting_needs_a_mask_of_the_pictures_size(name, scene, runtime):
    with pytest.raises(InvalidRequest, match="mask"):
        run(name, scene, runtime)
    with pytest.raises(InvalidRequest, match="8x4"):
        run(name, scene, runtime, mask=np.zeros((4, 8), np.uint8))


def test_inpaint_passes_picture_and_mask_on(scene, runtime):
    mask = np.zeros(scene.shape[:2], np.uint8)
    mask[10:20] = 255
    made = preprocessor("inpaint_only")(scene, runtime=runtime, mask=mask)
    assert np.array_equal(made.image, scene) and np.array_equal(made.mask, mask)


def test_grey_and_transparent_pictures_become_rgb(scene, runtime):
    grey = scene[:, :, 0]
    assert np.array_equal(run("none", grey, runtime), np.repeat(grey[:, :, None], 3, axis=2))
    assert np.array_equal(run("none", grey[:, :, None], runtime)[:, :, 2], grey)
    half = np.dstack([scene, np.full(grey.shape, 128, np.uint8)])
    expected = scene * (128 / 255) + 255 * (1 - 128 / 255)
    assert np.abs(run("none", half, runtime) - expected).max() <= 1
    hidden = np.dstack([scene, np.zeros_like(grey)])
    assert (run("none", hidden, runtime) == 255).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5, 2), (5,)])
def test_odd_pictures_are_refused(shape, runtime):
    with pytest.raises(InvalidRequest, match="shape"):
        run("canny", np.zeros(shape, np.uint8), runtime)


@pytest.mark.parametrize("size", [(1, 1), (5, 150), (150, 5)])
@pytest.mark.parametrize("name", ["canny", "scribble_xdog", "color", "tile_resample", "lineart_standard", "shuffle"])
def test_tiny_and_narrow_pictures_work(name, size, runtime):
    picture = np.full((*size, 3), 100, np.uint8)
    assert run(name, picture, runtime, resolution=64, a=8).size > 0


def test_very_narrow_pictures_are_refused(runtime):
    with pytest.raises(InvalidRequest, match="1000x1 pixels would become 64000x64"):
        run("canny", np.zeros((1, 1000, 3), np.uint8), runtime, resolution=64)


def test_padding_repeats_the_border_up_to_64_and_is_cut_off(scene):
    picture = padded(scene, 100)
    assert picture.pixels.shape == (128, 192, 3) and (picture.height, picture.width) == (100, 133)
    assert (picture.pixels[100:, :133] == picture.pixels[99, :133]).all()
    assert (picture.pixels[:100, 133:] == picture.pixels[:100, 132:133]).all()
    assert picture.cut(picture.pixels).shape == (100, 133, 3)


def test_what_cannot_run_says_why(scene, runtime):
    absent = [entry for entry in PREPROCESSORS if entry.unavailable]
    assert 0 < len(absent) <= 11
    for entry in absent:
        mask = np.zeros(scene.shape[:2], np.uint8)
        with pytest.raises(WebuiError, match=r"cannot run here: .+\."):
            entry(scene, runtime=runtime, mask=mask)
