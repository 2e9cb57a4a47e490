"""Extras: sizes, blending, records, and A1111's pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from pipelines.extras import ExtrasPicture, limit_size, plan_extras, process_picture
from pipelines.faces.catalogue import scan_restorers
from pipelines.registry import Registry
from pipelines.upscalers.base import Upscaler
from pipelines.upscalers.resample import RESAMPLERS
from schema.errors import ImageError, NotFound, UnknownName
from schema.extras import ExtrasBatchRequest, ExtrasRequest, ExtrasSingleRequest
from schema.images import encode_base64_image
from tests.numerics.pictures import difference, synthetic
from tests.numerics.recorded import recorded_cases

IMAGES = Path(__file__).resolve().parent.parent / "data" / "images"
RESTORERS = scan_restorers((), device=torch.device("cpu"))
UPSCALERS: Registry[Upscaler] = Registry("Upscaler", RESAMPLERS)
LIMITS = [case for case in recorded_cases("postprocess_geometry") if case.values[0]["op"] == "limit"]


def process(request: ExtrasRequest) -> list[ExtrasPicture]:
    plan = plan_extras(request, UPSCALERS, RESTORERS)
    return [made for image in request.images for made in process_picture(plan, image)]


def run(**values: Any) -> list[ExtrasPicture]:
    return process(ExtrasRequest(**values))


def recorded_request(name: str) -> ExtrasRequest:
    recorded = json.loads((IMAGES / f"{name}.request.json").read_text(encoding="utf-8"))
    single = recorded["endpoint"] == "extra-single-image"
    return (ExtrasSingleRequest if single else ExtrasBatchRequest).model_validate(recorded["request"]).batch()


@pytest.mark.parametrize("name", ["extras_batch", "extras_to_size_crop", "extras_two_upscalers"])
def test_pictures_and_records_are_those_of_a1111(name: str):
    answer = json.loads((IMAGES / f"{name}.response.json").read_text(encoding="utf-8"))["response"]
    pictures = process(recorded_request(name))
    for index, picture in enumerate(pictures):
        expected = Image.open(IMAGES / f"{name}_{index}.png")
        assert difference(picture.image, expected) <= 1
        assert picture.image.info == expected.info
    assert answer["html_info"] == f"<p>{pictures[0].record}</p>"
    assert len(pictures) == len(answer.get("images", [answer.get("image")]))


@pytest.mark.parametrize(("given", "expected"), LIMITS)
def test_size_is_limited_as_recorded(given: dict[str, Any], expected: list[int]):
    assert list(limit_size(given["w"], given["h"], given["limit"])) == expected


def test_limited_side_is_written_and_kept():
    (picture,) = run(images=[synthetic(64, 32)], upscaler_1="Lanczos", upscaling_resize=4, max_side_length=128)
    assert picture.image.size == (128, 64)
    assert picture.record == "Postprocess upscale by: 4.0, Max side length: 128, Postprocess upscaler: Lanczos"


def test_scale_to_without_crop_covers_the_size():
    values = {"resize_mode": 1, "upscaling_resize_w": 128, "upscaling_resize_h": 128, "upscaling_crop": False}
    (picture,) = run(images=[synthetic(64, 32)], upscaler_1="Nearest", **values)
    assert picture.image.size == (256, 128)
    assert "crop" not in picture.record


def test_without_upscaler_nothing_is_done_or_written():
    source = synthetic(16, 16)
    (picture,) = run(images=[source])
    assert difference(picture.image, source) == 0
    assert picture.record == ""
    assert picture.image.info == {}


def test_record_of_the_source_is_kept():
    source = synthetic(16, 16)
    source.info["parameters"] = "a cat"
    (picture,) = run(images=[source], upscaler_1="Lanczos", upscaling_resize=2)
    assert picture.image.info["parameters"] == "a cat"
    assert picture.image.info["postprocessing"].startswith("Postprocess upscale by: 2.0")


def test_transparency_is_enlarged_with_the_picture():
    source = synthetic(16, 16).convert("RGBA")
    source.putalpha(Image.linear_gradient("L").resize((16, 16)))
    (picture,) = run(images=[source], upscaler_1="Nearest", upscaling_resize=2)
    assert picture.image.mode == "RGBA"
    assert picture.image.getchannel("A").getextrema()[0] < 20


def test_second_upscaler_counts_only_when_visible():
    plan = plan_extras(
        ExtrasRequest(upscaler_1="Lanczos", upscaler_2="Nearest", extras_upscaler_2_visibility=0),
        UPSCALERS,
        RESTORERS,
    )
    assert plan.upscaling is not None
    assert plan.upscaling.second is None


def test_missing_face_weights_are_named_before_the_first_picture():
    request = ExtrasRequest(images=[synthetic(16, 16)], gfpgan_visibility=0.5)
    with pytest.raises(NotFound, match=r"https://.*GFPGANv1.4.pth into models/GFPGAN"):
        plan_extras(request, UPSCALERS, RESTORERS)


def test_unknown_upscaler_is_refused():
    with pytest.raises(UnknownName, match="Nearest"):
        run(images=[synthetic(16, 16)], upscaler_1="Nearst")


def test_gigantic_results_are_refused():
    with pytest.raises(ImageError, match="smaller scale"):
        run(images=[Image.new("RGB", (2000, 2000))], upscaler_1="Nearest", upscaling_resize=20)


def test_single_route_defaults_to_twice_the_size():
    body = ExtrasSingleRequest.model_validate({"image": encode_base64_image(synthetic(8, 8)), "unknown": 1})
    assert body.batch().upscaling_resize == 2.0
    assert body.batch().images[0].size == (8, 8)


def test_batch_route_needs_its_list():
    with pytest.raises(ValidationError, match="imageList"):
        ExtrasBatchRequest.model_validate({})
