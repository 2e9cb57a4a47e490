"""Infotext inside picture files, ours and those of other programs."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
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


def hidden(text: bytes, signature: bytes, mode: str) -> Image.Image:
    """A picture with `text` in its lowest bits."""
    bits = np.unpackbits(np.frombuffer(signature + (len(text) * 8).to_bytes(4, "big") + text, dtype=np.uint8))
    channels = 1 if mode == "RGBA" else 3
    width, height = 61, 37
    flat = np.full(width * height * channels, 254, dtype=np.uint8)
    flat[: bits.size] |= bits
    planes = flat.reshape(width, height, channels).transpose(1, 0, 2)
    if mode == "RGB":
        return Image.fromarray(np.ascontiguousarray(planes))
    image = Image.new("RGB", (width, height), "#123456")
    image.putalpha(Image.fromarray(np.ascontiguousarray(planes[..., 0])))
    return image


@pytest.mark.parametrize(
    ("signature", "mode", "is_packed"),
    [
        (b"stealth_pnginfo", "RGBA", False),
        (b"stealth_pngcomp", "RGBA", True),
        (b"stealth_rgbinfo", "RGB", False),
        (b"stealth_rgbcomp", "RGB", True),
    ],
)
def test_text_hidden_in_the_lowest_bits_is_read(signature: bytes, mode: str, is_packed: bool):
    text = "a fox in snow\nSteps: 3, Sampler: Euler, Seed: 7"
    data = gzip.compress(text.encode()) if is_packed else text.encode()
    assert read_infotext(hidden(data, signature, mode))[0] == text


def test_novelai_keeps_its_record_in_alpha_when_the_texts_are_lost():
    comment = {"uc": "bad", "steps": 28, "sampler": "k_euler_ancestral", "scale": 5.0, "seed": 9}
    record = {"Software": "NovelAI", "Description": "a cat", "Comment": json.dumps(comment)}
    infotext, items = read_infotext(hidden(gzip.compress(json.dumps(record).encode()), b"stealth_pngcomp", "RGBA"))
    assert infotext is not None
    assert infotext.startswith("a cat\nNegative prompt: bad\nSteps: 28, Sampler: Euler a, CFG scale: 5.0, Seed: 9")
    assert items["Software"] == "NovelAI"


def test_damaged_hidden_texts_are_passed_over():
    assert read_infotext(hidden(b"no gzip at all", b"stealth_pngcomp", "RGBA"))[0] is None
    assert read_infotext(hidden(b"", b"stealth_pnginfo", "RGBA"))[0] is None
    assert read_infotext(Image.new("RGBA", (1, 1)))[0] is None


GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": ["20", 0],
            "steps": 25,
            "cfg": 6.5,
            "sampler_name": "dpmpp_2m_sde_gpu",
            "scheduler": "karras",
            "denoise": 1.0,
            "model": ["11", 0],
            "positive": ["12", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD1.5\\dream_v8.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse, storm", "clip": ["10", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["15", 0], "vae": ["9", 0]}},
    "9": {"class_type": "VAELoader", "inputs": {"vae_name": "vae-ft-mse.safetensors"}},
    "10": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["11", 1]}},
    "11": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8, "model": ["4", 0], "clip": ["4", 1]},
    },
    "12": {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0},
    },
    "15": {
        "class_type": "KSampler",
        "inputs": {"seed": 1, "steps": 9, "denoise": 0.5, "latent_image": ["3", 0], "model": ["4", 0]},
    },
    "16": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
    "20": {"class_type": "PrimitiveInt", "inputs": {"value": 123456}},
}


def test_comfyui_graph_becomes_the_same_fields():
    image = Image.new("RGB", (8, 8))
    image.info = {"prompt": json.dumps(GRAPH), "workflow": "{}"}
    infotext, items = read_infotext(image)
    assert infotext == (
        "a lighthouse, storm, <lora:ink:0.8>\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M SDE, "
        "Schedule type: Karras, CFG scale: 6.5, Seed: 123456, Size: 512x768, Model: dream_v8, "
        "VAE: vae-ft-mse.safetensors, Clip skip: 2, RNG: CPU, Version: ComfyUI"
    )
    assert items.keys() == {"prompt", "workflow"}


def test_comfyui_graph_of_separate_parts_is_followed():
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {name: [f"{name}-node", 0] for name in PARTS}},
        "guider-node": {"class_type": "CFGGuider", "inputs": {"cfg": 3.5, "positive": ["p", 0], "negative": ["n", 0]}},
        "sampler-node": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "sigmas-node": {"class_type": "BasicScheduler", "inputs": {"scheduler": "beta", "steps": 4, "denoise": 0.6}},
        "noise-node": {"class_type": "RandomNoise", "inputs": {"noise_seed": 77}},
        "latent_image-node": {"class_type": "VAEEncode", "inputs": {}},
        "p": {"class_type": "CLIPTextEncode", "inputs": {"text": "day"}},
        "n": {"class_type": "CLIPTextEncode", "inputs": {"text": "night"}},
    }
    image = Image.new("RGB", (16, 8))
    image.info = {"prompt": json.dumps(graph)}
    assert read_infotext(image)[0] == (
        "day\nNegative prompt: night\nSteps: 4, Sampler: Euler, Schedule type: Beta, CFG scale: 3.5, Seed: 77, "
        "Size: 16x8, Denoising strength: 0.6, RNG: CPU, Version: ComfyUI"
    )


PARTS = ("guider", "sampler", "sigmas", "noise", "latent_image")


@pytest.mark.parametrize(
    "prompt",
    ["", "{", "[]", "{}", '{"1": 5}', '{"1": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0]}}}'],
)
def test_odd_graphs_are_passed_over(prompt: str):
    image = Image.new("RGB", (8, 8))
    image.info = {"prompt": prompt}
    infotext, items = read_infotext(image)
    assert infotext is None or infotext.startswith("Size: 8x8")
    assert items == {"prompt": prompt}


def test_comfyui_graph_in_the_exif_of_a_webp_is_read():
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", exif=exif.tobytes())
    infotext, items = read_infotext(Image.open(buffer))
    assert infotext is not None
    assert infotext.startswith("a lighthouse, storm")
    assert "prompt" in items


def test_a_record_of_our_own_counts_more_than_a_graph():
    image = Image.new("RGB", (8, 8))
    image.info = {"parameters": "a cat", "prompt": json.dumps(GRAPH)}
    assert read_infotext(image)[0] == "a cat"
