"""Batches of files, sketches, and soft inpainting's overlays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.img2img_batch import (
    batch_files,
    mask_for,
    naming_overrides,
    with_file,
    with_png_info,
)
from pipelines.masks import mask_composite, sketch_mask, sketch_picture
from pipelines.soft_inpaint import SoftInpaintPlan, soft_overlays
from schema.errors import InvalidRequest
from schema.requests import Img2ImgRequest
from tests.numerics.pictures import synthetic


def test_files_are_in_natural_order_and_only_pictures(tmp_path: Path):
    for name in ("a10.png", "a2.PNG", "b.webp", "notes.txt", "deep/c.tiff", "deep/B1.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [path.name for path in batch_files(tmp_path)] == ["a2.PNG", "a10.png", "b.webp", "B1.jpg", "c.tiff"]
    with pytest.raises(InvalidRequest, match="not a folder"):
        batch_files(tmp_path / "missing")


def test_single_mask_serves_all_files():
    masks = [Path("masks/one.png")]
    assert mask_for(Path("in/two.png"), masks) == masks[0]


def test_mask_is_found_by_stem_or_not_at_all():
    masks = [Path("masks/one.png"), Path("masks/two.jpg")]
    assert mask_for(Path("in/two.png"), masks) == masks[1]
    assert mask_for(Path("in/three.png"), masks) is None


def test_png_info_appends_prompts_and_replaces_the_rest():
    request = Img2ImgRequest(prompt="base", negative_prompt="bad", steps=5, seed=1)
    fields = {
        "Prompt": "a cat",
        "Negative prompt": "dog",
        "Seed": "77",
        "Steps": "9",
        "CFG scale": "4.5",
        "Sampler": "Euler",
        "Model hash": "abc",
    }
    changed = with_png_info(request, fields, fields.keys() - {"Steps"}, find_checkpoint=lambda found: f"model-{found}")
    assert (changed.prompt, changed.negative_prompt) == ("base a cat", "bad dog")
    assert (changed.seed, changed.cfg_scale, changed.steps, changed.sampler_name) == (77, 4.5, 5, "Euler")
    assert changed.override_settings == {"sd_model_checkpoint": "model-abc"}
    assert with_png_info(request, fields, (), find_checkpoint=lambda _: None) == request


def test_results_are_named_after_their_source():
    several = naming_overrides(Path("in/cat.png"), Img2ImgRequest(n_iter=2))
    assert several["samples_filename_pattern"] == "cat-[generation_number]"
    assert naming_overrides(Path("in/cat.png"), Img2ImgRequest())["samples_filename_pattern"] == "cat"


def test_file_is_turned_upright_and_sets_the_size():
    image = Image.new("RGB", (30, 20))
    image.getexif()[0x0112] = 6
    request = with_file(Img2ImgRequest(), image, factor=1.5)
    assert request.init_images[0].size == (20, 30)
    assert (request.width, request.height) == (30, 45)


def test_sketch_mask_is_where_something_was_drawn():
    original = synthetic(16, 16)
    sketch = original.copy()
    sketch.paste((255, 255, 255), (4, 4, 8, 8))
    mask = np.asarray(sketch_mask(sketch, original, transparency=20))
    assert set(np.unique(mask)) == {0, 204}
    assert mask[4:8, 4:8].min() == 204
    assert mask[9:].max() == 0


def test_sketch_picture_keeps_what_was_not_drawn_on():
    original = synthetic(32, 32)
    sketch = original.copy()
    sketch.paste((255, 0, 0), (12, 12, 20, 20))
    picture = sketch_picture(sketch, original, sketch_mask(sketch, original), blur=1)
    assert picture.getpixel((1, 1)) == original.getpixel((1, 1))
    assert picture.getpixel((16, 16)) == (255, 0, 0)


def test_mask_composite_is_transparent_outside_the_mask():
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    composite = mask_composite(synthetic(16, 16), mask)
    assert composite.getpixel((3, 3))[3] == 255
    assert composite.getpixel((12, 3))[3] == 0


def soft_result(changed: float) -> tuple[Image.Image, Image.Image]:
    source = torch.zeros(1, 4, 8, 8)
    result = source.clone()
    result[:, :, :, :4] = changed
    (overlay,) = soft_overlays(
        SoftInpaintPlan(),
        nmask=torch.ones(1, 1, 8, 8),
        source=source,
        result=result,
        pictures=[synthetic(64, 64).convert("RGBA")],
        width=64,
        height=64,
        place=None,
    )
    return overlay.mask, overlay.overlay


def test_soft_overlay_shows_the_result_where_latents_changed():
    mask, overlay = soft_result(5.0)
    assert mask.getpixel((4, 32)) > 250
    assert mask.getpixel((60, 32)) < 30
    assert overlay.getpixel((4, 32))[3] < 5
    assert overlay.getpixel((60, 32))[3] > 225


def test_soft_overlay_keeps_the_source_where_nothing_changed():
    mask, overlay = soft_result(0.0)
    assert mask.getextrema() == (0, 0)
    assert overlay.getchannel("A").getextrema() == (255, 255)


def test_soft_overlay_goes_where_only_masked_worked():
    (overlay,) = soft_overlays(
        SoftInpaintPlan(difference_threshold=0.0),
        nmask=torch.ones(8, 8),
        source=torch.zeros(1, 4, 8, 8),
        result=torch.ones(1, 4, 8, 8),
        pictures=[synthetic(128, 96).convert("RGBA")],
        width=64,
        height=64,
        place=(32, 16, 40, 40),
    )
    alpha = np.asarray(overlay.overlay.getchannel("A"))
    assert alpha.shape == (96, 128)
    assert alpha[16:56, 32:72].max() == 0
    assert alpha[:16].min() == 255
