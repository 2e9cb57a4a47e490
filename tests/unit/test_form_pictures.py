"""Pictures that come in through the page's fields."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from schema.errors import ImageError
from ui.init_images import drawn_mask, picture_size, read_upload


def strokes(size: tuple[int, int], opacity: int) -> Image.Image:
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(layer).rectangle((10, 10, 19, 19), fill=(217, 72, 28, opacity))
    return layer


def test_what_was_drawn_is_the_mask_whatever_its_colour() -> None:
    picture = Image.new("RGBA", (64, 48), "navy")
    _, mask = drawn_mask({"background": picture, "layers": [strokes((64, 48), 191)], "composite": None})
    assert mask.size == (64, 48)
    assert mask.getbbox() == (10, 10, 20, 20)
    assert mask.getextrema() == (0, 255)


def test_the_soft_edge_of_a_brush_is_not_part_of_the_mask() -> None:
    picture = Image.new("RGBA", (64, 48), "navy")
    _, mask = drawn_mask({"background": picture, "layers": [strokes((64, 48), 30)], "composite": None})
    assert mask.getbbox() is None


@pytest.mark.parametrize("value", [None, {}, {"background": None, "layers": [], "composite": None}])
def test_an_empty_editor_says_what_to_do(value: dict[str, object] | None) -> None:
    with pytest.raises(ImageError, match="Drop one on the picture field"):
        drawn_mask(value)


def test_a_file_that_is_no_picture_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("not a picture")
    with pytest.raises(ImageError, match="not a picture that can be read"):
        read_upload(str(file))


def test_a_pasted_picture_comes_as_a_data_url() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 24), "red").save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert read_upload(url).size == (40, 24)


def test_sizes_taken_from_a_picture_are_multiples_of_eight(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (515, 39)).save(file)
    assert picture_size(str(file)) == (512, 64)
