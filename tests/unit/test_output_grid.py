"""Contact sheets and tiles."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.output.grid import combine_grid, grid_size, image_grid, is_within_limit, split_grid

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"
RECORDED = json.loads((DATA / "grid.json").read_text(encoding="utf-8"))["cases"]


def cases(operation: str) -> list:
    return [
        pytest.param(case["input"], case["output"], id=case["id"])
        for case in RECORDED
        if case["input"]["op"] == operation
    ]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("given", "expected"), cases("image_grid"))
def test_sheet_has_the_recorded_columns_and_rows(given, expected):
    options = given["settings"]
    columns, rows = grid_size(
        given["count"],
        batch_size=given["batch_size"],
        n_rows=options.get("n_rows", -1),
        prevent_empty_spots=options.get("grid_prevent_empty_spots", False),
    )
    assert (columns, rows) == (expected["cols"], expected["rows"])


@pytest.mark.parametrize(("given", "expected"), cases("split_grid"))
def test_tiles_are_where_recorded(given, expected):
    grid = split_grid(
        Image.new("RGB", given["image"]),
        tile_width=given["tile"][0],
        tile_height=given["tile"][1],
        overlap=given["overlap"],
    )
    rows = [[row[0].top, grid.tile_height, [[tile.left, grid.tile_width] for tile in row]] for row in grid.rows]
    assert rows == expected["rows"]


def test_smaller_pictures_are_centred_on_the_background():
    sheet = image_grid([Image.new("RGB", (4, 4), "red"), Image.new("RGB", (2, 2), "blue")], columns=2)
    assert sheet.size == (8, 4)
    assert [sheet.getpixel((x, 1)) for x in (0, 4, 5, 6, 7)] == [
        (255, 0, 0),
        (255, 255, 255),
        (0, 0, 255),
        (0, 0, 255),
        (255, 255, 255),
    ]


@pytest.mark.parametrize(("size", "overlap"), [((150, 90), 16), ((64, 64), 16), ((150, 90), 0), ((65, 130), 63)])
def test_tiles_put_together_give_the_picture_back(size: tuple[int, int], overlap: int):
    picture = noise(*size)
    grid = split_grid(picture, tile_width=64, tile_height=64, overlap=overlap)
    assert np.array_equal(np.asarray(combine_grid(grid)), np.asarray(picture))


def test_changed_tile_fades_in_over_the_overlap():
    grid = split_grid(Image.new("RGB", (112, 64)), tile_width=64, tile_height=64, overlap=16)
    assert [tile.left for tile in grid.tiles] == [0, 48]
    grid.rows[0][1].image = Image.new("RGB", (64, 64), "white")
    line = np.asarray(combine_grid(grid))[0, :, 0].tolist()
    assert line[:48] == [0] * 48 and line[64:] == [255] * 48
    assert line[48:64] == [index * 255 // 16 for index in range(16)]


def test_sheet_of_too_many_pixels_is_not_made():
    pictures = [Image.new("1", (1000, 1000))] * 3
    assert is_within_limit(pictures, 3) and not is_within_limit(pictures, 2.9)
