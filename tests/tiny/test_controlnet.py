"""ControlNet units from request to picture on toy models: windows, passes, masks, records, maps."""

import numpy as np
import pytest
from PIL import Image

from pipelines.control.geometry import fit_map
from schema.controlnet import ControlNetUnit, UnitResizeMode
from schema.errors import InvalidRequest, WebuiError
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from tests.tiny.builders import tiny_model
from tests.tiny.control_builders import save_ldm_controlnet, tiny_controlnet

SMALL = {"prompt": "a cat", "seed": 1, "steps": 4, "width": 64, "height": 64, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def controlled(make_manager, tmp_path_factory):
    """A manager with two control models for the toy checkpoint."""
    folder = tmp_path_factory.mktemp("controls")
    model = tiny_model()
    tiny_controlnet(model).save_pretrained(folder / "toy_canny")
    save_ldm_controlnet(tiny_controlnet(model, seed=1), folder / "control_v11p_sd15_depth.safetensors")
    return make_manager("--controlnet-dir", str(folder))


@pytest.fixture(scope="module")
def picture():
    pixels = np.zeros((96, 80, 3), np.uint8)
    pixels[20:70, 30:60] = (200, 60, 30)
    pixels[40:50] = 255
    return Image.fromarray(pixels)


def finished(manager, request):
    job = manager.submit(request, save=False)
    job.wait()
    if job.exception:
        raise job.exception
    return job.result


def unit(picture, **values):
    return ControlNetUnit(**{"enabled": True, "module": "canny", "model": "toy_canny", "image": picture} | values)


def made(manager, *units, **values):
    return finished(manager, Txt2ImgRequest(**SMALL | values, controlnet=list(units)))


def pixels_of(result, index=0):
    return np.asarray(result.images[index].image).astype(int)


@pytest.fixture(scope="module")
def plain(controlled):
    return pixels_of(made(controlled))


def test_unit_changes_the_picture_and_its_map_follows(controlled, picture, plain):
    result = made(controlled, unit(picture))
    assert np.abs(pixels_of(result) - plain).mean() > 1
    assert [image.image.size for image in result.images] == [(64, 64), (64, 64)]
    assert set(np.unique(np.asarray(result.images[1].image))) == {0, 255}


def test_weight_zero_and_disabled_units_equal_no_unit_bit_for_bit(controlled, picture, plain):
    assert np.array_equal(pixels_of(made(controlled, unit(picture, weight=0))), plain)
    assert np.array_equal(pixels_of(made(controlled, unit(picture, enabled=False))), plain)


def test_model_is_as_before_after_a_controlled_picture_and_after_an_error(controlled, picture, plain):
    made(controlled, unit(picture, module="reference_adain+attn", model="None"))
    with pytest.raises(InvalidRequest, match="advanced_weighting"):
        made(controlled, unit(picture, module="reference_only"), unit(picture, advanced_weighting=[1.0]))
    assert np.array_equal(pixels_of(made(controlled)), plain)


def test_interrupted_job_leaves_the_model_unchanged(controlled, picture, plain):
    request = Txt2ImgRequest(**SMALL | {"steps": 200}, controlnet=[unit(picture, module="reference_only")])
    job = controlled.submit(request, save=False)
    while job.progress().step < 1 and not job.finished:
        pass
    job.cancel()
    job.wait()
    assert np.array_equal(pixels_of(made(controlled)), plain)


def test_every_control_mode_gives_its_own_picture(controlled, picture, plain):
    pictures = [pixels_of(made(controlled, unit(picture, control_mode=mode))) for mode in range(3)]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert not np.array_equal(pictures[first], pictures[second])
    assert all(not np.array_equal(each, plain) for each in pictures)


def test_more_weight_moves_the_picture_further(controlled, picture, plain):
    distances = [np.abs(pixels_of(made(controlled, unit(picture, weight=w))) - plain).mean() for w in (0.25, 0.5, 1)]
    assert distances[0] < distances[1] < distances[2]


def test_windows_act(controlled, picture, plain):
    early = pixels_of(made(controlled, unit(picture, guidance_end=0.25)))
    late = pixels_of(made(controlled, unit(picture, guidance_start=0.5)))
    never = pixels_of(made(controlled, unit(picture, guidance_start=1.0)))
    assert not np.array_equal(early, late) and not np.array_equal(late, plain)
    # The last of four steps sees 2 of 4.
    assert np.array_equal(never, plain)


def test_two_units_give_two_maps_and_another_picture(controlled, picture):
    second = unit(picture, module="invert", model="control_v11p_sd15_depth")
    both, one = made(controlled, unit(picture), second), made(controlled, unit(picture))
    assert len(both.images) == 3
    assert not np.array_equal(pixels_of(both), pixels_of(one))
    assert "ControlNet 1" in both.images[0].infotext


def test_batch_equals_its_pictures_alone(controlled, picture):
    units = [unit(picture), unit(picture, module="reference_only", model="None")]
    batch = made(controlled, *units, batch_size=2)
    for index in range(2):
        alone = made(controlled, *units, seed=1 + index)
        grid = len(batch.images) - 3 - 2 + 1
        assert np.array_equal(pixels_of(batch, grid + index), pixels_of(alone))


@pytest.mark.parametrize(("option", "acts_low", "acts_high"), [(0, True, True), (1, True, False), (2, False, True)])
def test_hires_option_chooses_the_pass(controlled, picture, option, acts_low, acts_high):
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    result = made(controlled, unit(picture, hr_option=option), **hires)
    assert [image.image.size for image in result.images] == [(96, 96), (96, 96), (64, 64)]
    without = pixels_of(made(controlled, **hires))
    assert not np.array_equal(pixels_of(result), without)
    both = pixels_of(made(controlled, unit(picture), **hires))
    assert np.array_equal(pixels_of(result), both) == (acts_low and acts_high)


def test_hires_option_has_no_effect_without_hires_fix(controlled, picture):
    only = made(controlled, unit(picture, hr_option="High res only"))
    assert np.array_equal(pixels_of(only), pixels_of(made(controlled, unit(picture))))


def test_img2img_picture_stands_in_for_a_missing_one(controlled, picture):
    own = Img2ImgRequest(**SMALL, init_images=[picture], controlnet=[unit(picture, resize_mode=0)])
    none = Img2ImgRequest(**SMALL, init_images=[picture], controlnet=[unit(None, resize_mode=2)])
    first, second = finished(controlled, own), finished(controlled, none)
    assert np.array_equal(pixels_of(first), pixels_of(second))
    assert np.array_equal(pixels_of(first, 1), pixels_of(second, 1))


def test_unit_without_any_picture_is_refused(controlled):
    with pytest.raises(InvalidRequest, match="unit 0 has no image"):
        made(controlled, unit(None))


def test_only_masked_cuts_the_control_picture_too(controlled, picture):
    mask = Image.new("L", picture.size)
    mask.paste(255, (8, 8, 40, 40))
    request = Img2ImgRequest(
        **SMALL,
        init_images=[picture],
        mask=mask,
        inpaint_full_res=True,
        inpaint_full_res_padding=0,
        mask_blur=0,
        controlnet=[unit(picture, module="none", resize_mode=0)],
    )
    shown = finished(controlled, request).images[-1].image
    part = picture.crop((8, 8, 40, 40)).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(part)).max() == 0
    whole = request.model_copy(
        update={"controlnet": [unit(picture, module="none", resize_mode=0, inpaint_crop_input_image=False)]}
    )
    assert not np.array_equal(np.asarray(finished(controlled, whole).images[-1].image), np.asarray(shown))


def test_inpaint_only_keeps_what_is_not_masked(controlled, picture):
    mask = Image.new("L", picture.size)
    mask.paste(255, (0, 0, 80, 40))
    result = made(controlled, unit(picture, module="inpaint_only", mask=mask))
    kept = fit_map(np.asarray(picture), 64, 64, UnitResizeMode.INNER_FIT)
    assert np.abs(pixels_of(result)[45:] - kept[45:]).max() <= 1
    assert result.images[1].image.mode == "RGBA"


def test_painted_mask_is_the_control_picture_of_other_units(controlled, picture):
    mask = Image.new("L", picture.size)
    mask.paste(255, (10, 10, 70, 30))
    drawn = made(controlled, unit(picture, module="none", mask=mask)).images[1].image
    assert set(np.unique(np.asarray(drawn))) <= {0, 255}
    ignored = made(
        controlled,
        unit(picture, module="none", mask=mask),
        override_settings={"controlnet_ignore_noninpaint_mask": True},
    )
    assert len(np.unique(np.asarray(ignored.images[1].image))) > 2


def test_recolor_keeps_the_lightness_of_the_map(controlled, picture):
    result = made(controlled, unit(picture, module="recolor_intensity"))
    lightness = pixels_of(result).max(axis=2)
    assert np.abs(lightness - np.asarray(result.images[1].image)[:, :, 0]).max() <= 3


def test_tile_colorfix_and_reference_change_the_picture(controlled, picture, plain):
    for module in ("tile_colorfix", "tile_colorfix+sharp", "reference_only", "reference_adain"):
        assert not np.array_equal(pixels_of(made(controlled, unit(picture, module=module))), plain), module


def test_settings_decide_about_maps(controlled, picture):
    assert len(made(controlled, unit(picture), override_settings={"control_net_no_detectmap": True}).images) == 1
    assert len(made(controlled, unit(picture, save_detected_map=False)).images) == 1


def test_pixel_perfect_map_has_the_pictures_own_resolution(controlled, picture):
    result = made(controlled, unit(picture, module="scribble_xdog", pixel_perfect=True, processor_res=512))
    found = controlled.control.detect_unit(
        unit(picture, module="scribble_xdog", pixel_perfect=True), width=64, height=64, image=picture
    )
    assert found.resolution == 64 and found.image.size == (64, 77)
    assert "Pixel Perfect: True" in result.images[0].infotext


def test_record_is_written_as_the_extension_writes_it_and_pasted_back(controlled, picture):
    result = made(controlled, unit(picture, threshold_a=50, weight=0.5, control_mode=1, guidance_end=0.8))
    infotext = result.images[0].infotext
    name = controlled.library.controls.get("toy_canny").name
    assert (
        f'ControlNet 0: "Module: canny, Model: {name}, Weight: 0.5, Resize Mode: Crop and Resize, '
        "Processor Res: 512, Threshold A: 50.0, Threshold B: 200, Guidance Start: 0.0, Guidance End: 0.8, "
        'Pixel Perfect: False, Control Mode: My prompt is more important"' in infotext
    )
    (pasted,) = controlled.paste(infotext, Txt2ImgRequest).values["controlnet"]
    again = made(controlled, pasted.model_copy(update={"image": picture}))
    assert np.array_equal(pixels_of(again), pixels_of(result))


def test_batch_mode_runs_once_for_every_picture(controlled, picture):
    pictures = [picture, picture.rotate(90), picture.rotate(180)]
    several = unit(None, input_mode="batch", batch_images=pictures)
    result = made(controlled, several)
    assert len(result.images) == 3
    for index, each in enumerate(pictures):
        assert np.array_equal(pixels_of(result, index), pixels_of(made(controlled, unit(each))))
    grown = made(controlled, several, override_settings={"controlnet_increment_seed_during_batch": True})
    assert [image.seed for image in grown.images] == [1, 2, 3]
    with pytest.raises(InvalidRequest, match="batch_images"):
        made(controlled, unit(None, input_mode="batch"))


def test_loopback_unit_gets_the_previous_result(controlled, picture):
    looped = unit(None, input_mode="batch", batch_images=[picture, picture], loopback=True)
    result = made(controlled, looped)
    again = made(controlled, unit(result.images[0].image))
    assert np.array_equal(pixels_of(result, 1), pixels_of(again))


def test_several_inputs_share_the_weight(controlled, picture):
    merged = made(controlled, unit(None, input_mode="merge", batch_images=[picture, picture.rotate(90)], weight=1))
    halves = made(controlled, unit(picture, weight=0.5), unit(picture.rotate(90), weight=0.5))
    assert np.array_equal(pixels_of(merged), pixels_of(halves))


def test_networks_are_let_go_once_units_are_off(controlled, picture):
    made(controlled, unit(picture))
    assert len(controlled.control.tools.networks) == 1
    made(controlled)
    assert len(controlled.control.tools.networks) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"module": "cany"}, r"controlnet\.0\.module: .*Closest: 'canny'"),
        ({"model": "nope"}, r"controlnet\.0\.model: ControlNet model 'nope' is not installed"),
        ({"model": "None"}, r"controlnet\.0\.model: .*needs a control model"),
        ({"module": "densepose"}, r"controlnet\.0\.module: .*cannot run here"),
        ({"control_type": "SparseCtrl"}, r"controlnet\.0\.control_type: .*AnimateDiff"),
    ],
)
def test_unit_that_cannot_be_used_is_refused_at_once(controlled, picture, values, words):
    with pytest.raises(WebuiError, match=words):
        controlled.submit(Txt2ImgRequest(**SMALL, controlnet=[unit(picture, **values)]), save=False)
