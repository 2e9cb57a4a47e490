"""Resizing, masks, colours and soft inpainting against what A1111 computed."""

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.color import color_target, correct_colors
from pipelines.hires import hires_size, old_first_pass_size
from pipelines.masks import (
    apply_overlay,
    fill_masked,
    flatten,
    grow_to_aspect,
    masked_region,
    place_result,
    read_mask,
)
from pipelines.resize import resize_image
from pipelines.soft_inpaint import gaussian_kernel, histogram_filter, smootherstep
from tests.numerics.pictures import decoded, difference, rectangles, synthetic
from tests.numerics.recorded import recorded_cases

Case = dict[str, Any]


def cases_of(name: str, *operations: str | None) -> list[Any]:
    return [case for case in recorded_cases(name) if case.values[0].get("op") in operations]


@pytest.mark.parametrize(("given", "expected"), recorded_cases("resize_image"))
def test_resizing_gives_the_recorded_picture(given: Case, expected: Case):
    source = synthetic(*given["source"]).convert(given.get("image_mode", "RGB"))
    resized = resize_image(source, given["resize_mode"], *given["target"])
    assert list(resized.size) == expected["size"]
    assert resized.mode == expected["mode"]
    if "png" in expected:
        assert difference(resized, decoded(expected["png"])) <= 1
    else:
        assert hashlib.sha256(resized.tobytes()).hexdigest() == expected["sha256"]


@pytest.mark.parametrize(("given", "expected"), cases_of("crop_region", "crop_region"))
def test_masked_region_is_the_recorded_box(given: Case, expected: Case):
    mask = rectangles(given["size"], given["rectangles_inclusive"], given["value"])
    region = masked_region(mask, given["pad"])
    assert (list(region) if region else None) == expected["v2"]


@pytest.mark.parametrize(("given", "expected"), cases_of("crop_region", "expand"))
def test_region_grows_to_the_recorded_box(given: Case, expected: list[int]):
    (width, height), (image_width, image_height) = given["processing"], given["image"]
    grown = grow_to_aspect(
        tuple(given["region"]), width=width, height=height, image_width=image_width, image_height=image_height
    )
    assert list(grown) == expected


@pytest.mark.parametrize(("given", "expected"), cases_of("hires_geometry", None))
def test_hires_size_is_as_recorded(given: Case, expected: Case):
    size = hires_size(
        width=given["width"],
        height=given["height"],
        scale=given.get("hr_scale", 2.0),
        resize_x=given.get("hr_resize_x", 0),
        resize_y=given.get("hr_resize_y", 0),
        old_behavior=given["use_old_hires_fix_width_height"],
    )
    assert {
        "first_pass": [size.width, size.height],
        "upscale_to": [size.upscaled_width, size.upscaled_height],
        "truncate_latent": [size.crop_columns, size.crop_rows],
        "resize": [size.resize_x, size.resize_y],
        "infotext": size.infotext,
    } == expected


@pytest.mark.parametrize(("given", "expected"), cases_of("hires_geometry", "old_first_pass"))
def test_old_first_pass_size_is_as_recorded(given: Case, expected: list[int]):
    assert list(old_first_pass_size(given["width"], given["height"])) == expected


@pytest.mark.parametrize(("given", "expected"), cases_of("mask_ops", "create_binary_mask"))
def test_mask_is_read_as_recorded(given: Case, expected: Case):
    mask = read_mask(decoded(given["png"]), binarize=given["round"])
    assert mask.mode == expected["mode"]
    assert np.array_equal(np.asarray(mask), expected["pixels"])


@pytest.mark.parametrize(("given", "expected"), cases_of("mask_ops", "fill"))
def test_masked_part_is_filled_as_recorded(given: Case, expected: Case):
    mask = rectangles(given["size"], given["rectangles_inclusive"], 255)
    assert difference(fill_masked(synthetic(*given["size"]), mask), decoded(expected["png"])) <= 1


@pytest.mark.parametrize(("given", "expected"), cases_of("mask_ops", "flatten"))
def test_transparency_is_flattened_as_recorded(given: Case, expected: Case):
    assert difference(flatten(decoded(given["png"]), given["color"]), decoded(expected["png"])) == 0


@pytest.mark.parametrize(("given", "expected"), cases_of("mask_ops", "color_correction"))
def test_colors_are_corrected_as_recorded(given: Case, expected: Case):
    target = color_target(decoded(given["target_png"]))
    assert np.array_equal(target, expected["target_lab"])
    assert difference(correct_colors(decoded(given["image_png"]), target), decoded(expected["png"])) <= 1


@pytest.mark.parametrize(("given", "expected"), cases_of("mask_ops", "apply_overlay"))
def test_overlay_is_applied_as_recorded(given: Case, expected: Case):
    image, overlay = decoded(given["image_png"]), decoded(given["overlay_png"])
    place = tuple(given["paste_to"]) if given["paste_to"] else None
    assert difference(apply_overlay(image, overlay, place), decoded(expected["png"])) <= 1
    assert difference(place_result(image, overlay.size, place), decoded(expected["denoised_png"])) <= 1


@pytest.mark.parametrize(("given", "expected"), cases_of("soft_inpaint", "kernel"))
def test_soft_inpainting_kernel_is_as_recorded(given: Case, expected: Case):
    kernel = gaussian_kernel(given["stddev_radius"], given["max_radius"])
    np.testing.assert_allclose(kernel, expected["kernel"], atol=1e-12)


@pytest.mark.parametrize(("given", "expected"), cases_of("soft_inpaint", "histogram_filter"))
def test_histogram_filter_is_as_recorded(given: Case, expected: Any):
    filtered = histogram_filter(
        np.array(given["image"]),
        gaussian_kernel(1.5, 2),
        low=given["percentile_min"],
        high=given["percentile_max"],
        min_width=given["min_width"],
    )
    np.testing.assert_allclose(filtered, expected, atol=1e-9)


@pytest.mark.parametrize(("given", "expected"), cases_of("soft_inpaint", "smootherstep"))
def test_smootherstep_is_as_recorded(given: Case, expected: Any):
    np.testing.assert_allclose(smootherstep(np.array(given["x"])), expected, atol=1e-12)


def test_picture_corrected_to_its_own_colours_hardly_changes():
    image = synthetic(24, 24)
    corrected = np.asarray(correct_colors(image, color_target(image)), dtype=int)
    assert np.abs(corrected - np.asarray(image, dtype=int)).mean() < 1


def test_grey_pictures_stay_grey_unless_cropped():
    grey = Image.new("L", (4, 8), 77)
    assert [resize_image(grey, mode, 8, 8).mode for mode in range(4)] == ["L", "RGB", "RGB", "RGB"]
