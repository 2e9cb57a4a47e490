"""Pictures that come in through the page's fields and editors."""

import base64
import io
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from schema.errors import ForbiddenPath, ImageError
from ui.canvas import Drawing, as_drawing, as_value, picture_editor
from ui.init_images import read_upload
from ui.inpaint import sketched


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def strokes(size: tuple[int, int], opacity: int, color: tuple[int, int, int] = (217, 72, 28)) -> Image.Image:
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(layer).rectangle((10, 10, 19, 19), fill=(*color, opacity))
    return layer


def saved(image: Image.Image, folder: Path, name: str, **options: object) -> str:
    path = folder / name
    image.save(path, **options)
    return str(path)


def drawn(folder: Path, opacity: int = 255, *, picture: Image.Image | None = None, scale: int = 1) -> Drawing:
    picture = picture or Image.new("RGB", (64, 48), "navy")
    layer = strokes((64, 48), opacity)
    layer = layer.resize((64 // scale, 48 // scale), Image.Resampling.NEAREST)
    named = {"picture": saved(picture, folder, "p.png"), "layer": saved(layer, folder, "l.png")}
    return as_drawing(named)


def test_what_was_painted_is_the_mask_whatever_its_colour(uploads: Path) -> None:
    mask = drawn(uploads).mask()
    assert (mask.mode, mask.size) == ("L", (64, 48))
    assert mask.getbbox() == (10, 10, 20, 20)
    assert mask.getextrema() == (0, 255)


def test_the_smooth_edge_of_a_stroke_is_not_part_of_the_mask(uploads: Path) -> None:
    assert drawn(uploads, 100).mask().getbbox() is None


def test_a_coarser_layer_is_brought_to_the_size_of_the_picture(uploads: Path) -> None:
    drawing = drawn(uploads, scale=2)
    assert drawing.mask().size == (64, 48)
    assert drawing.mask().getbbox() == pytest.approx((10, 10, 20, 20), abs=1)


def test_without_a_stroke_the_mask_is_empty(uploads: Path) -> None:
    drawing = as_drawing({"picture": saved(Image.new("RGB", (64, 48)), uploads, "p.png"), "layer": None})
    assert drawing.mask().getbbox() is None
    assert drawing.sketch().size == (64, 48)


def test_a_sketch_is_part_of_the_picture(uploads: Path) -> None:
    sketch = drawn(uploads).sketch()
    assert sketch.mode == "RGB"
    assert sketch.getpixel((15, 15)) == (217, 72, 28)
    assert sketch.getpixel((30, 30)) == (0, 0, 128)


def test_a_sketch_keeps_the_transparency_of_the_picture(uploads: Path) -> None:
    sketch = drawn(uploads, picture=Image.new("RGBA", (64, 48), (0, 0, 0, 0))).sketch()
    assert sketch.mode == "RGBA"
    assert sketch.getpixel((30, 30)) == (0, 0, 0, 0)
    assert sketch.getpixel((15, 15)) == (217, 72, 28, 255)


def test_an_inpaint_sketch_masks_what_differs_as_strongly_as_its_transparency_lets(uploads: Path) -> None:
    fields = sketched(drawn(uploads), transparency=25, blur=0)
    assert fields["mask"].getbbox() == (10, 10, 20, 20)
    assert fields["mask"].getextrema() == (0, 191)
    picture = fields["init_images"][0]
    assert picture.getpixel((30, 30)) == (0, 0, 128)
    assert picture.getpixel((15, 15)) != (0, 0, 128)


def test_a_picture_is_read_upright_as_the_browser_shows_it(uploads: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.new("RGB", (64, 48)), uploads, "turned.jpg", exif=exif)
    assert as_drawing({"picture": turned}).picture().size == (48, 64)


@pytest.mark.parametrize("value", [None, {}, {"picture": None, "layer": None}, "text", {"picture": 7}])
def test_an_empty_editor_says_what_to_do(uploads: Path, value: object) -> None:
    with pytest.raises(ImageError, match="Drop one on the picture field"):
        as_drawing(value).picture()


@pytest.mark.parametrize("named", ["/etc/hostname", "../outside.png", "", "~/x.png"])
def test_a_file_outside_the_uploads_is_refused(uploads: Path, tmp_path: Path, named: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    with pytest.raises((ForbiddenPath, ImageError)):
        as_drawing({"picture": named}).picture()
    with pytest.raises((ForbiddenPath, ImageError)):
        as_drawing({"picture": {"path": named, "meta": {"_type": "gradio.FileData"}}}).picture()


def test_a_link_out_of_the_uploads_is_refused(uploads: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    (uploads / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(ForbiddenPath):
        as_drawing({"picture": str(uploads / "link.png")})


def test_an_upload_that_was_cleaned_away_is_explained(uploads: Path) -> None:
    with pytest.raises(ImageError, match="no longer on the server"):
        as_drawing({"picture": str(uploads / "gone.png")}).picture()


def test_a_picture_that_is_sent_to_an_editor_can_be_fetched_and_read_back(uploads: Path) -> None:
    value = as_value(Image.new("RGB", (40, 24), "red"), str(uploads))
    assert value is not None
    assert value["picture"]["meta"] == {"_type": "gradio.FileData"}
    assert as_drawing(value).picture().size == (40, 24)
    file = saved(Image.new("RGB", (8, 8)), uploads, "sent.png")
    assert as_value(file, str(uploads)) == {"picture": as_value(Path(file), str(uploads))["picture"], "layer": None}  # type: ignore[index]
    assert as_value(None, str(uploads)) is None


def test_an_editor_hands_handlers_a_drawing(uploads: Path) -> None:
    with gr.Blocks():
        editor = picture_editor("mask", "Mask", "some_mask")
    value = {"picture": saved(Image.new("RGB", (16, 16)), uploads, "p.png"), "layer": None, "width": 16, "height": 16}
    drawing = editor.preprocess(value)  # type: ignore[arg-type]
    assert isinstance(drawing, Drawing)
    assert drawing.picture().size == (16, 16)


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
