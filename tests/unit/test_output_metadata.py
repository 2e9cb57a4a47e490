"""Infotext inside picture files, ours and those of other programs."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.output.metadata import format_for, read_infotext, write_image
from schema.errors import ImageError

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"
CASES = json.loads((DATA / "metadata_io.json").read_text(encoding="utf-8"))["cases"]


def written(image: Image.Image, extension: str, **options) -> Image.Image:
    buffer = io.BytesIO()
    write_image(image, buffer, extension, **options)
    result = Image.open(io.BytesIO(buffer.getvalue()))
    result.load()
    return result


def user_comment(image: Image.Image) -> str | None:
    if "exif" not in image.info:
        return None
    return image.getexif().get_ifd(0x8769)[0x9286].hex()


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_infotext_is_stored_and_read_back_as_recorded(case):
    given = case["input"]
    image = written(
        Image.new("RGB", (8, 8), (9, 9, 9)),
        given["extension"],
        infotext=given["text"],
        with_metadata=given["settings"].get("enable_pnginfo", True),
    )
    infotext, items = read_infotext(image)
    assert {
        "read_back": infotext,
        "other_items": items,
        "png_text_keys": sorted(image.text) if given["extension"] == "png" else None,
        "exif_user_comment_hex": user_comment(image),
    } == case["output"]


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "avif", "gif"])
def test_half_a_surrogate_pair_does_not_stop_saving(extension: str):
    image = written(Image.new("RGB", (8, 8)), extension, infotext="a\ud800b")
    assert read_infotext(image)[0] == "a\ufffdb"


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "avif", "gif"])
def test_what_a_picture_came_with_is_not_saved_unasked(extension: str):
    image = Image.new("RGB", (8, 8))
    image.info = {"comment": b"secret", "parameters": "secret", "exif": b"Exif\0\0secret"}
    assert read_infotext(written(image, extension, infotext=None))[0] is None


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("extension", ["jpg", "webp", "avif"])
def test_pictures_of_every_mode_can_be_saved(mode: str, extension: str):
    image = Image.new(mode, (8, 8))
    assert read_infotext(written(image, extension, infotext="text"))[0] == "text"


def test_sixteen_bits_become_eight_without_clipping():
    image = written(Image.new("I;16", (8, 8), 32768), "jpg", quality=100)
    assert image.getpixel((0, 0)) == pytest.approx(127, abs=1)


def test_jpeg_says_when_the_text_is_too_long_for_it():
    buffer = io.BytesIO()
    assert not write_image(Image.new("RGB", (8, 8)), buffer, "jpg", infotext="x" * 40_000)
    assert Image.open(io.BytesIO(buffer.getvalue())).format == "JPEG"


def test_extras_keep_the_original_text_next_to_their_own():
    image = written(
        Image.new("RGB", (8, 8)), "png", infotext="Upscaler: x", section="extras", items={"parameters": "a"}
    )
    assert read_infotext(image) == ("a", {"extras": "Upscaler: x"})


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "Steps: 20, é".encode("utf-16-le"),
        b"UNICODE\0" + "\ufeffSteps: 20, é".encode("utf-16-be"),
        b"\0" * 8 + "Steps: 20, é".encode(),
        "Steps: 20, é".encode(),
    ],
)
def test_user_comments_of_other_programs_are_read(comment: bytes):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    assert read_infotext(Image.open(buffer))[0] == "Steps: 20, é"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"", b"MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x69\x87" * 9]
)
def test_damaged_exif_is_passed_over(exif: bytes):
    image = Image.new("RGB", (8, 8))
    image.info = {"exif": exif, "parameters": "still here"}
    assert read_infotext(image) == ("still here", {})


def png_with(**texts: str) -> Image.Image:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8)).save(buffer, "PNG", pnginfo=info)
    image = Image.open(buffer)
    image.load()
    return image


def test_novelai_record_becomes_an_infotext():
    comment = json.dumps({"uc": "bad", "steps": 28, "sampler": "k_euler_ancestral", "scale": 11.0, "seed": 7})
    infotext, items = read_infotext(png_with(Software="NovelAI", Description="a girl", Comment=comment))
    assert infotext == (
        "a girl\nNegative prompt: bad\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 11.0, Seed: 7, Size: 16x8, Clip skip: 2, ENSD: 31337"
    )
    assert items["Software"] == "NovelAI"


def test_damaged_novelai_record_is_passed_over():
    assert read_infotext(png_with(Software="NovelAI", Comment="{"))[0] is None


def test_workflow_of_comfyui_is_kept_as_an_item():
    infotext, items = read_infotext(png_with(prompt='{"3": {}}', workflow="{}"))
    assert infotext is None and items == {"prompt": '{"3": {}}', "workflow": "{}"}


def test_pictures_too_large_for_a_format_become_png():
    assert format_for("webp", (16384, 8)) == format_for("JPG", (8, 65536)) == "png"
    assert format_for("webp", (16383, 8)) == "webp"


def test_unknown_format_is_refused():
    with pytest.raises(ImageError, match="exe"):
        format_for("exe", (8, 8))
