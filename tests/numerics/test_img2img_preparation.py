"""Preparation of img2img jobs against what A1111's `init` made of the same jobs."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipelines.inpaint import (
    BLANK_MASK_NOTE,
    Img2ImgPlan,
    InpaintPlan,
    MaskedContent,
    PreparedImg2Img,
    conditioning_mask,
    hide_masked,
    masked_start,
    prepare_img2img,
    stack_conditioning,
)
from pipelines.resize import ResizeMode
from schema.errors import InvalidRequest
from tests.numerics.pictures import decoded, difference, rectangles, synthetic
from tests.numerics.recorded import recorded_cases

Case = dict[str, Any]


def plan_of(given: Case) -> Img2ImgPlan:
    width, height = given["size"]
    return Img2ImgPlan(
        width=width,
        height=height,
        batch_size=given["batch_size"],
        resize_mode=ResizeMode(given.get("resize_mode", 0)),
        denoising_strength=0.6,
        color_correction=given["settings"].get("img2img_color_correction", False),
        inpaint=inpaint_of(given),
    )


def inpaint_of(given: Case) -> InpaintPlan | None:
    if given["mask_rectangles_inclusive"] is None:
        return None
    size = given["mask_size"] or given["image"]
    both = given.get("mask_blur")
    return InpaintPlan(
        mask=rectangles(size, given["mask_rectangles_inclusive"], given["mask_value"]),
        invert=bool(given.get("inpainting_mask_invert", 0)),
        blur_x=given.get("mask_blur_x", 4) if both is None else both,
        blur_y=given.get("mask_blur_y", 4) if both is None else both,
        content=MaskedContent(given.get("inpainting_fill", 0)),
        only_masked=given.get("inpaint_full_res", True),
        padding=given.get("inpaint_full_res_padding", 0),
        binarize=given.get("mask_round", True),
    )


def block_means(pictures: tuple[Image.Image, ...]) -> Tensor:
    """The recordings' stand-in for the VAE: means of 8x8 blocks in [-1, 1], and the mean of the three channels."""
    pixels = torch.stack([torch.from_numpy(np.array(picture, dtype=np.float32)) for picture in pictures])
    latents = torch.nn.functional.avg_pool2d((pixels / 255 * 2 - 1).permute(0, 3, 1, 2), 8)
    return torch.cat([latents, latents.mean(dim=1, keepdim=True)], dim=1)


def start_latents(prepared: PreparedImg2Img, seeds: list[int]) -> Tensor:
    latents = block_means(prepared.pictures)
    if prepared.latent_size:
        latents = torch.nn.functional.interpolate(latents, size=prepared.latent_size, mode="bilinear")
    nmask = prepared.latent_mask(*latents.shape[2:])
    if nmask is None or prepared.mask is None:
        return latents
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.randn(latents.shape[1:], generator=generator) for generator in generators])
    return masked_start(latents, torch.from_numpy(nmask), prepared.mask.content, noise)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("img2img_init"))
def test_preparation_is_as_recorded(given: Case, expected: Case):
    sources = [synthetic(*given["image"], seed=index) for index in range(given["n_images"])]
    prepared = prepare_img2img(plan_of(given), sources)
    written = {key: value for key, value in prepared.infotext.items() if value is not None}
    assert list(written.items()) == [(key, value) for key, value in expected["infotext"].items() if value is not None]
    assert (list(prepared.place) if prepared.place else None) == expected["paste_to"]
    assert prepared.batch_size == expected["batch_size"]
    for picture, png in zip(prepared.pictures, expected["source_png"], strict=False):
        assert difference(picture, decoded(png)) <= 1
    np.testing.assert_allclose(start_latents(prepared, given["seeds"]), expected["init_latent"], atol=1 / 127)
    assert (len(prepared.color_targets) or None) == expected["color_corrections"]


@pytest.mark.parametrize(
    ("given", "expected"), [case for case in recorded_cases("img2img_init") if case.values[1]["nmask_latent"]]
)
def test_masks_and_overlays_are_as_recorded(given: Case, expected: Case):
    sources = [synthetic(*given["image"], seed=index) for index in range(given["n_images"])]
    prepared = prepare_img2img(plan_of(given), sources)
    assert prepared.mask is not None
    rows, columns = np.shape(expected["nmask_latent"])
    nmask = prepared.latent_mask(rows, columns)
    assert nmask is not None
    np.testing.assert_allclose(nmask, expected["nmask_latent"], atol=0 if prepared.mask.binarize else 1 / 127)
    assert difference(prepared.mask.conditioning, decoded(expected["conditioning_mask_png"])) <= 1
    assert difference(prepared.mask.overlay, decoded(expected["mask_for_overlay_png"])) <= 2
    for overlay, png in zip(prepared.overlays, expected["overlay_png"], strict=True):
        assert difference(overlay, decoded(png)) <= 2


def masked_job(**changes: Any) -> PreparedImg2Img:
    size = {"width": 64, "height": 64}
    mask = rectangles((96, 64), [[40, 20, 60, 40]], 255)
    return prepare_img2img(Img2ImgPlan(**size, inpaint=InpaintPlan(mask=mask, **changes)), [synthetic(96, 64)])


def test_blank_mask_in_only_masked_falls_back_to_the_whole_picture():
    plan = Img2ImgPlan(width=64, height=64, inpaint=InpaintPlan(mask=Image.new("L", (96, 64)), only_masked=True))
    prepared = prepare_img2img(plan, [synthetic(96, 64)])
    assert prepared.mask is None
    assert prepared.notes == (BLANK_MASK_NOTE,)
    assert prepared.pictures[0].size == (64, 64)
    assert "Inpaint area" not in prepared.infotext


def test_unequal_blurs_are_not_written():
    assert masked_job(blur_x=3, blur_y=5).infotext["Mask blur"] is None
    assert "Mask blur" not in masked_job(blur_x=0, blur_y=0).infotext


def test_inverted_mask_is_written_first():
    keys = list(masked_job(invert=True).infotext)
    assert keys == ["Denoising strength", "Mask mode", "Mask blur"]


def test_own_latent_mask_replaces_the_mask_for_the_latents_only():
    own = rectangles((64, 64), [[0, 0, 31, 63]], 255)
    prepared = masked_job(latent_mask=own)
    nmask = prepared.latent_mask(8, 8)
    assert nmask is not None
    assert nmask[:, :4].min() == 1
    assert nmask[:, 4:].max() == 0
    assert prepared.mask is not None
    assert np.asarray(prepared.mask.conditioning)[:, :10].max() == 0


def test_transparent_source_lies_on_the_background_colour():
    source = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    prepared = prepare_img2img(Img2ImgPlan(width=64, height=64, background="#ff0000"), [source])
    assert prepared.pictures[0].getpixel((5, 5)) == (255, 0, 0)


def test_too_many_pictures_are_refused():
    with pytest.raises(InvalidRequest, match="batch size of 2"):
        prepare_img2img(Img2ImgPlan(width=64, height=64, batch_size=2), [synthetic(64, 64)] * 3)


def test_several_pictures_make_the_batch_smaller():
    prepared = prepare_img2img(Img2ImgPlan(width=64, height=64, batch_size=4), [synthetic(64, 64)] * 2)
    assert prepared.batch_size == len(prepared.pictures) == 2


def test_missing_pictures_are_refused():
    with pytest.raises(InvalidRequest, match="init_images"):
        prepare_img2img(Img2ImgPlan(width=64, height=64), [])


def test_latent_resize_refuses_pictures_of_different_sizes():
    plan = Img2ImgPlan(width=64, height=64, batch_size=2, resize_mode=ResizeMode.LATENT)
    with pytest.raises(InvalidRequest, match="64x64, 96x64"):
        prepare_img2img(plan, [synthetic(64, 64), synthetic(96, 64)])


def test_inpainting_conditioning_has_mask_then_masked_latents():
    mask = conditioning_mask(rectangles((16, 16), [[0, 0, 7, 15]], 255), height=16, width=16, binarize=True)
    pictures = torch.full((2, 3, 16, 16), 0.8)
    hidden = hide_masked(pictures, mask, 1.0)
    assert hidden[:, :, :, :8].abs().max() == 0
    assert torch.equal(hidden[:, :, :, 8:], pictures[:, :, :, 8:])
    torch.testing.assert_close(hide_masked(pictures, mask, 0.5)[..., :8], pictures[..., :8] / 2)
    stacked = stack_conditioning(mask, torch.zeros(2, 4, 2, 2))
    assert stacked.shape == (2, 5, 2, 2)
    assert stacked[:, 0].tolist() == [[[1, 0], [1, 0]]] * 2


def test_inpainting_conditioning_without_mask_hides_everything():
    assert conditioning_mask(None, height=4, width=6, binarize=True).tolist() == [[[[1.0] * 6] * 4]]
