"""Pictures made ready to train on: sizes, places and counts."""

import numpy as np
import pytest
from PIL import Image

from pipelines.dataset_crops import (
    CropBounds,
    FocalWeights,
    auto_sized,
    corner_points,
    entropy_point,
    flipped,
    focal_crop,
    split_picture,
)
from tests.numerics.pictures import synthetic


def test_a_long_picture_is_split_with_overlap():
    pieces = split_picture(synthetic(1024, 256), (256, 256), threshold=0.5, overlap=0.25)
    assert [piece.size for piece in pieces] == [(256, 256)] * 5
    first, last = np.asarray(pieces[0]), np.asarray(pieces[-1])
    assert (first == np.asarray(synthetic(1024, 256))[:, :256]).all()
    assert (last == np.asarray(synthetic(1024, 256))[:, 768:]).all()


def test_a_tall_picture_is_brought_to_the_width_and_split():
    pieces = split_picture(synthetic(200, 800), (100, 100), threshold=0.5, overlap=0.0)
    assert [piece.size for piece in pieces] == [(100, 100)] * 4


def test_a_picture_of_nearly_the_right_shape_stays_whole():
    image = synthetic(300, 256)
    assert split_picture(image, (256, 256), threshold=0.5, overlap=0.2) == [image]


@pytest.mark.parametrize(
    ("maximizes_area", "size"),
    [(True, (768, 512)), (False, (576, 384))],
)
def test_auto_sized_crop_takes_the_best_size_within_its_bounds(maximizes_area: bool, size: tuple[int, int]):
    cropped = auto_sized(synthetic(900, 600), CropBounds(maximizes_area=maximizes_area))
    assert cropped is not None
    width, height = cropped.size
    assert 384 <= min(width, height) <= max(width, height) <= 768
    assert width * height <= 409600
    assert cropped.size in (size, (768, 512), (576, 384))
    assert cropped.size[0] / cropped.size[1] == pytest.approx(1.5, rel=0.11)


def test_auto_sized_crop_says_when_nothing_fits():
    assert auto_sized(synthetic(900, 100), CropBounds()) is None


def test_flipped_copies_come_in_the_order_of_the_list():
    image = synthetic(8, 6)
    both, vertical = np.asarray(image)[::-1, ::-1], np.asarray(image)[::-1]
    copies = flipped(image, ["Both", "Vertical"])
    assert (np.asarray(copies[0]) == vertical).all()
    assert (np.asarray(copies[1]) == both).all()


def test_focal_point_is_where_the_detail_is():
    image = Image.new("RGB", (400, 100), "#888888")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    image.paste(Image.fromarray(noise), (320, 20))
    assert entropy_point(image, (100, 100))[0] > 300
    assert all(x > 310 for x, _ in corner_points(image))
    cropped, _ = focal_crop(image, (100, 100), FocalWeights())
    assert np.asarray(cropped).std() > 20


def test_a_blank_picture_is_cropped_in_the_middle():
    cropped, explained = focal_crop(Image.new("RGB", (300, 100)), (100, 100), FocalWeights(entropy=0))
    assert cropped.size == (100, 100)
    assert explained.size == (300, 100)
